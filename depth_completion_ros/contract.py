"""The network contract as names and numbers: what networks and engines must agree on. ``networks/shell.py`` says more.

Inputs image (1, 3, H, W) 0..1; depth (1, 1, H, W) metres, 0 = missing; scale (1, 1, 1, 1) metres. Outputs completed
(1, 1, H, W) metres; sigma (1, 1, H, W) metres, its standard deviation. All float32, in every precision.
"""

from __future__ import annotations

CONTRACT_VERSION = 2
MULTIPLE = 32  # H and W are multiples of it
INPUTS = ("image", "depth", "scale")
OUTPUTS = ("completed", "sigma")  # completed is the contract's depth; ONNX names inputs and outputs apart
PRECISIONS = ("fp32", "fp16", "int8")
DEFAULT_NETWORK = "lite"  # the one whose network files are shipped
