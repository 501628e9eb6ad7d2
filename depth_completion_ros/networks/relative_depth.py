"""Relative depth of one image, from a small branch that is trained with the network or from a large pre-trained model.

Relative depth is depth up to an unknown scale and shift.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigurationError
from .blocks import PlainUNet, upsample

_FOLD = 4
_PATCH = 14  # Depth Anything's vision transformer needs sizes in multiples of its patch
_QUANTILES = (0.02, 0.98)
_IMAGE_MEAN, _IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as the model was trained


class RelativeDepthBranch(nn.Module):
    """Predict relative depth (N, 1, H, W) from an image (N, 3, H, W) about -0.5..0.5 at a quarter of the resolution."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        self.body = PlainUNet(3 * _FOLD**2, channels)
        self.head = nn.Conv2d(channels[0], 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.head(self.body(F.pixel_unshuffle(image, _FOLD))), _FOLD)


class PretrainedRelativeDepth(nn.Module):
    """A Depth Anything V2 model (Yang et al., NeurIPS 2024) with the interface of ``RelativeDepthBranch``.

    Args:
        model: Module that predicts inverse relative depth (N, h, w) from normalised pixels (N, 3, h, w), where h and w
            are multiples of 14.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(_IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGE_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        height, width = (max(1, round(size / _PATCH)) * _PATCH for size in image.shape[-2:])
        pixels = F.interpolate(image + 0.5, (height, width), mode="bilinear", align_corners=False)
        pixels = (pixels - self.mean) / self.std
        inverse = self.model(pixels).unsqueeze(1)
        inverse = F.interpolate(inverse, image.shape[-2:], mode="bilinear", align_corners=False)
        return normalise_by_quantiles(inverse)


def normalise_by_quantiles(x: Tensor) -> Tensor:
    """Shift and scale x so that its 2 % quantile becomes 0 and its 98 % quantile becomes 1.

    x has the shape (N, 1, H, W), where H and W are multiples of 16. The quantiles are those of the means of 16x16
    blocks, because engines limit how many values can be sorted.
    """
    ordered = F.avg_pool2d(x.float(), 16).flatten(1).sort(dim=1).values
    low, high = (ordered[:, round(q * (ordered.shape[1] - 1))].view(-1, 1, 1, 1) for q in _QUANTILES)
    return (x - low) / (high - low).clamp(min=1e-6)


class _TransformersModel(nn.Module):
    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).predicted_depth


class _OnnxModel(nn.Module):
    """A model that runs in ONNX Runtime. It has no gradients and cannot be exported."""

    def __init__(self, session: Any):
        super().__init__()
        self.session = session

    def __deepcopy__(self, memo: dict[int, Any]) -> _OnnxModel:
        return self  # a session cannot be copied, and it has no state that changes

    def forward(self, pixels: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            raise ConfigurationError(
                "a network whose relative depth comes from an ONNX file cannot be exported: "
                "load the same model from its transformers folder"
            )
        (answer, *_) = self.session.run(None, {self.session.get_inputs()[0].name: pixels.detach().cpu().numpy()})
        return torch.from_numpy(answer).to(pixels).reshape(len(pixels), *pixels.shape[-2:])


def load_relative_depth(path: Path) -> PretrainedRelativeDepth:
    """Load a Depth Anything V2 model from a local ``.onnx`` file or ``transformers`` folder.

    The result can replace ``core.relative_depth``. Nothing is downloaded.

    Raises:
        ConfigurationError: If the path contains no such model or the library that reads it is missing.
    """
    try:
        if path.suffix == ".onnx":
            from onnxruntime import InferenceSession

            return PretrainedRelativeDepth(_OnnxModel(InferenceSession(path, providers=["CPUExecutionProvider"])))
        from transformers import AutoModelForDepthEstimation

        model = AutoModelForDepthEstimation.from_pretrained(str(path), local_files_only=True)
        return PretrainedRelativeDepth(_TransformersModel(model))
    except ImportError as error:
        raise ConfigurationError(
            f"{path} needs {error.name}: pip install 'depth_completion_ros[transformers]'"
        ) from error
    except Exception as error:  # each library raises exceptions of its own
        raise ConfigurationError(
            f"{path} contains no relative-depth model ({error}): give an .onnx file or a transformers folder"
        ) from error
