"""The network contract: names and numbers that networks and engines agree on (see ``networks/completion_network.py``).

Inputs: image (1, 3, H, W) 0..1; depth (1, 1, H, W) metres, 0 = missing; scale (1, 1, 1, 1) metres. Outputs: completed
(1, 1, H, W) metres; sigma (1, 1, H, W) metres, its standard deviation. All are float32, in every precision.
"""

from __future__ import annotations

CONTRACT_VERSION = 2
MULTIPLE = 32  # H and W are multiples of this number
INPUTS = ("image", "depth", "scale")
OUTPUTS = ("completed", "sigma")  # "completed" because ONNX needs different names for inputs and outputs
PRECISIONS = ("fp32", "fp16", "int8", "w8a16")  # w8a16: weights in int8, layers computed in float16
DEFAULT_NETWORK = "lite"  # the one whose network files are shipped
