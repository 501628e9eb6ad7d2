"""The Triton kernels give the same results as PyTorch's operators. Without a GPU, Triton's interpreter runs them."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="the kernels are checked against PyTorch")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported
pytest.importorskip("triton", reason="the kernels need Triton, which comes with PyTorch for CUDA")

from depth_completion_ros.networks.nlspn import Propagation  # noqa: E402
from depth_completion_ros.networks.propagation_triton import propagate  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("height, width, block", [(12, 20, 64), (7, 9, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kernels_give_the_results_of_the_operators(height, width, block, dtype):
    """The inputs have offsets far beyond the border, two images, sizes that do not fill a block, and channels last."""
    generator = torch.Generator(DEVICE).manual_seed(0)

    def noise(channels: int) -> torch.Tensor:
        return torch.randn(2, channels, height, width, generator=generator, device=DEVICE)

    network = Propagation(iterations=5).to(DEVICE)
    predicted = (3 * noise(24)).to(dtype).contiguous(memory_format=torch.channels_last)
    initial, confidence, sparse = noise(1).to(dtype), torch.sigmoid(noise(1)).to(dtype), noise(1)
    measured = (noise(1) > 1).float()
    with torch.no_grad():
        expected = network.reference(predicted, initial, confidence, sparse, measured)
        given = propagate(predicted, network.gamma, initial, confidence, sparse, measured, 5, block)
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
