"""Our small U-Net for CPUs, which combines the depth of a pixel from the depth around it.

Networks are fast on a CPU if they access little memory. Therefore a pixel-unshuffle (x4) folds the image, and only the
last few operations work above a quarter of the resolution. All layers are plain 3x3 convolutions with batch norm (which
every engine merges into the convolution) and ReLU. They are four times as fast as depthwise and normalised blocks with
the same number of operations.

At 1/8 of the resolution, planes are fitted again as in the prefill (``PlaneFitting``), but with edges and weights of
the measurements that are predicted from the features, as in a domain transform with learned edges (Chen et al., CVPR
2016). At 1/4, the depth of each cell is a convex combination of the 3x3 coarser cells around it (``ConvexUpsampling``),
as in RAFT (Teed, Deng, ECCV 2020, section 3.3). Its initial weights are bilinear weights times the similarity of
colour, and a gate restores measured cells. From 1/4 to full resolution, each pixel combines the nearest and the
farthest surface around it, as in SMD-Nets (Tosi et al., CVPR 2021, section 3.2), the prefill and its own measurement.
Edges stay sharp because the network only has to decide to which side a pixel belongs.

The input is the difference of depth from its local mean, and the output is scaled to the size of these differences.

Shapes, channels c0..c3: features (64 + 35, H/4, W/4) → c0 at 1/4 → c1 at 1/8 → c2 at 1/16 → c3 at 1/32, two
convolutions each → decoder, each stage a 1x1 convolution, a bilinear resize, an addition and one convolution; depth
fitted between 1/8 and 1/4 → head (5·16 + 2, H/4, W/4) → shuffle (2, H, W).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import CORRECTION_UNIT, INITIAL_LOG_B, conv, mean_pool, pool_measured, softsign, upsample
from .completion_network import CoreInputs, Method
from .hole_filling import (
    DISTANCE_SCALE,
    clamp_to_measured_range,
    fit_planes_and_residuals,
    neighbour_distances,
    pairwise_weights,
)

_HALVINGS = 2  # from full resolution to the resolution of the features
_BLOCK_SIZE = 2**_HALVINGS
_IMAGE_FEATURES, _DEPTH_FEATURES = (3 + 1) * _BLOCK_SIZE**2, 2 * _BLOCK_SIZE**2 + 3
_LOCAL_MEAN_SIZE = 9  # cells
_LOGIT_SCALE = 4.0  # factor of the logits; a large factor makes the predicted shares approach 0 or 1 early in training
_COLOUR_SIGMA = 0.1  # standard deviation of the colour similarity, in colours of 0..1
# Predicted edges multiply the distance between cells by e^-4 to e^4. _EDGE_SCALE is a factor besides _LOGIT_SCALE.
_EDGE_SCALE, _MAX_LOG_DISTANCE_FACTOR = 4.0, 4.0
# Log-depth. Planes may exceed the range of the measurements by a factor of 1.25. Pixels with more distant true depth
# have no weight in training.
_MAX_EXTRAPOLATION = 0.2
# An untrained network keeps measured depth, and elsewhere the prefill.
_INITIAL_KEEP_LOGIT, _INITIAL_REPLACE_LOGIT = 3.0, -3.0


class Planes(nn.Module):
    """The core. Height and width must be multiples of 16.

    Args:
        channels: Number of channels at 1/4, 1/8, 1/16 and 1/32 of the resolution.
    """

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        pairs = list(pairwise(channels))
        # One convolution in two parts: only the first suits int8, whose step of 1/255 of the range is too coarse for
        # small differences of depth.
        self.of_image = nn.Conv2d(_IMAGE_FEATURES, channels[0], 3, padding=1, bias=False)
        self.of_depth = nn.Conv2d(_DEPTH_FEATURES, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList([conv(channels[0], channels[0])])
        self.encoder.extend(
            nn.Sequential(conv(fine + 1, coarse, stride=2), conv(coarse, coarse)) for fine, coarse in pairs
        )
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(conv(fine, fine) for fine, _ in pairs)
        self.fit = PlaneFitting(channels[1])
        self.pull = ConvexUpsampling(channels[1])
        self.surfaces = zero_convolution(channels[0], 2)
        self.mixture = zero_convolution(channels[0], 5 * _BLOCK_SIZE**2)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        """Return the correction of the prefill in log-depth, and log_b, each (N, 1, H, W)."""
        correction, log_b, keep, _ = self.predict_before_measurements(inputs)
        return torch.lerp(correction, inputs.sparse - inputs.prefill, inputs.measured * keep), log_b

    def predict_before_measurements(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predict the result before measured depth is restored.

        Returns:
            The correction of the prefill; log_b; the weight, 0 to 1, that each measurement should have in the result,
            each (N, 1, H, W); and the features, (N, c0, H / 4, W / 4).
        """
        sparse, measured, prefill, image = (
            F.pixel_unshuffle(x, _BLOCK_SIZE) for x in (inputs.sparse, inputs.measured, inputs.prefill, inputs.image)
        )
        # The resolution is halved in the same steps as in the hole filling, so that engines compute each level once.
        levels = [_Level(inputs.sparse, inputs.measured, inputs.image, inputs.prefill)]
        for _ in range(_HALVINGS + len(self.lateral) - 1):
            levels.append(levels[-1].halved())
        del levels[:_HALVINGS]
        cells = levels[0].prefill

        depths = softsign(prefill - cells), softsign((sparse - cells) * measured)
        distance = upsample(inputs.distance, prefill.shape[-1] // inputs.distance.shape[-1])
        x = self.of_image(torch.cat([2 * image, measured], dim=1))
        x = torch.relu(x + self.of_depth(torch.cat([*depths, cells, levels[0].relief(), distance], dim=1)))
        skips = [self.encoder[0](x)]
        for stage, level in zip(self.encoder[1:], levels, strict=True):
            skips.append(stage(torch.cat([skips[-1], level.relief()], dim=1)))

        x = skips.pop()
        for index in reversed(range(1, len(skips))):
            x = self._decode(index, x, skips)
        depth, x = self.fit(x, levels[1])
        depth = self.pull(x, depth, levels[0], levels[1])
        x = self._decode(0, x, skips)

        far_logit, replace_logit, keep_logit, delta, log_b = self.mixture(x).float().chunk(5, dim=1)
        shift = CORRECTION_UNIT * self.surfaces(x).float()
        far = F.max_pool2d(depth, 3, 1, 1) + shift[:, :1]
        near = -F.max_pool2d(-depth, 3, 1, 1) + shift[:, 1:]
        surface = torch.lerp(near, far, torch.sigmoid(_LOGIT_SCALE * far_logit))
        replace = torch.sigmoid(_LOGIT_SCALE * replace_logit + _INITIAL_REPLACE_LOGIT)
        result = torch.lerp(prefill, surface, replace) + CORRECTION_UNIT * delta
        keep = torch.sigmoid(_LOGIT_SCALE * keep_logit + _INITIAL_KEEP_LOGIT)
        correction, log_b, keep = (
            F.pixel_shuffle(x, _BLOCK_SIZE) for x in (result - prefill, log_b + INITIAL_LOG_B, keep)
        )
        return correction, log_b, keep, x

    def _decode(self, index: int, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Return the features of the next finer grid."""
        # The 1x1 convolution comes before the resize, which gives the same result at a quarter of the cost.
        # Halving a grid of odd size rounds up, so the upsampled grid may have one cell too many.
        height, width = skips[index].shape[-2:]
        return self.decoder[index](upsample(self.lateral[index](x), 2)[..., :height, :width] + skips[index])


class _Level:
    """The inputs at one resolution: value, measured, prefill (N, 1, h, w); image (N, 3, h, w)."""

    def __init__(self, value: Tensor, measured: Tensor, image: Tensor, prefill: Tensor):
        self.value, self.measured, self.image, self.prefill = value, measured, image, prefill

    def halved(self) -> _Level:
        """Return the inputs at half of the resolution."""
        value, measured = pool_measured(self.value, self.measured, 2)
        return _Level(value, measured, mean_pool(self.image, 2), mean_pool(self.prefill, 2))

    def relief(self) -> Tensor:
        """Return the difference of each cell of the prefill from its local mean, as a feature."""
        local_mean, padding = self.prefill, _LOCAL_MEAN_SIZE // 2
        for window, pad in (((1, _LOCAL_MEAN_SIZE), (0, padding)), ((_LOCAL_MEAN_SIZE, 1), (padding, 0))):
            local_mean = F.avg_pool2d(local_mean, window, 1, pad, count_include_pad=False)
        return softsign(self.prefill - local_mean)


class ConvexUpsampling(nn.Module):
    """Upsample depth by two: each finer cell is a convex combination of the 3x3 coarser cells around it.

    Args:
        channels: Number of channels of the features from which the weights are predicted.
    """

    prior: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.choice = zero_convolution(channels, (9 + 2) * 4)
        # Initial weights along one axis. A coarse cell becomes two finer cells. Each takes 3/4 of the coarse cell and
        # 1/4 of the coarse neighbour on its own side.
        pair = torch.tensor([[0.25, 0.75, 0.01], [0.01, 0.75, 0.25]])
        bilinear = torch.einsum("iy,jx->yxij", pair, pair).log().flatten()
        prior = torch.cat([bilinear, torch.full((4,), _INITIAL_KEEP_LOGIT), torch.zeros(4)])
        self.register_buffer("prior", prior.view(1, -1, 1, 1), persistent=False)

    def forward(self, features: Tensor, depth: Tensor, finer: _Level, coarser: _Level) -> Tensor:
        """Upsample depth and restore measured cells.

        Args:
            features: Features at the coarser resolution, (N, channels, h, w).
            depth: Depth to upsample, (N, 1, h, w).
            finer: Inputs at the finer resolution, 2h x 2w.
            coarser: Inputs at the coarser resolution, h x w.

        Returns:
            The upsampled depth, (N, 1, 2h, 2w).
        """
        predicted = self.choice(features).float() * _LOGIT_SCALE + self.prior
        weight_logit, keep_logit, delta = predicted[:, :36], predicted[:, 36:40], predicted[:, 40:]
        difference = (_unshuffle_2x2(finer.image) - windows_3x3(coarser.image).unsqueeze(3)).square().sum(dim=2)
        weight = (weight_logit.unflatten(1, (9, 4)) - difference / (2 * _COLOUR_SIGMA**2)).softmax(dim=1)
        mean = (weight * windows_3x3(depth)).sum(dim=1) + CORRECTION_UNIT / _LOGIT_SCALE * delta
        value, measured = F.pixel_unshuffle(finer.value, 2), F.pixel_unshuffle(finer.measured, 2)
        return F.pixel_shuffle(torch.lerp(mean, value, measured * torch.sigmoid(keep_logit)), 2)


class PlaneFitting(nn.Module):
    """Fit planes to the measurements, with edges and weights of measurements that are predicted from features.

    Args:
        channels: Number of channels of the features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.choice = zero_convolution(channels, 5)
        self.outcome = zero_convolution(3, channels)

    def forward(self, features: Tensor, level: _Level) -> tuple[Tensor, Tensor]:
        """Fit planes at one resolution.

        Args:
            features: Features, (N, channels, h, w).
            level: Inputs at this resolution.

        Returns:
            The fitted depth, (N, 1, h, w), and the features with information about the fit added, (N, channels, h, w).
        """
        value, measured = level.value, level.measured
        predicted = self.choice(features).float() * _LOGIT_SCALE
        edge_left, edge_above, weight_logit, keep_logit, delta = predicted.chunk(5, dim=1)
        factors = (
            _distance_factor(edge_left)[:, 0, :, 1:],
            _distance_factor(edge_above)[:, 0, 1:].transpose(1, 2),
        )
        # Not in half precision: planes are differences of large sums.
        with torch.autocast(features.device.type, enabled=False):
            distances = neighbour_distances(level.image, DISTANCE_SCALE)
            rows, columns = (
                pairwise_weights(distance * factor) for distance, factor in zip(distances, factors, strict=True)
            )
            depth, distance = fit_planes_and_residuals(value, measured * torch.sigmoid(weight_logit), rows, columns)
        # Far from the measurements, slanted planes leave the range of plausible depth.
        inside = clamp_to_measured_range(depth, value, measured)
        depth = inside + (depth - inside).clamp(-_MAX_EXTRAPOLATION, _MAX_EXTRAPOLATION)
        outcome = softsign(depth - level.prefill), softsign((depth - value) * measured), distance
        keep = torch.sigmoid(keep_logit + _INITIAL_KEEP_LOGIT)
        depth = torch.lerp(depth + CORRECTION_UNIT / _LOGIT_SCALE * delta, value, measured * keep)
        return depth, features + self.outcome(torch.cat(outcome, dim=1))


def _distance_factor(edge: Tensor) -> Tensor:
    """Return the factor, 1/50 to 50, by which a predicted edge changes the distance of two cells; it is 1 at 0."""
    return torch.exp(_MAX_LOG_DISTANCE_FACTOR * torch.tanh(_EDGE_SCALE / _MAX_LOG_DISTANCE_FACTOR * edge))


def windows_3x3(x: Tensor) -> Tensor:
    """Return the 3x3 window around each cell of x (N, C, h, w) as (N, 9, C, h, w); the border is repeated."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return torch.stack([padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], dim=1)


def _unshuffle_2x2(x: Tensor) -> Tensor:
    """Return the 2x2 blocks of x (N, C, 2h, 2w) as (N, 1, C, 4, h, w)."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unsqueeze(1)


def zero_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 1x1 convolution whose weights and biases are zero before training."""
    convolution = nn.Conv2d(inputs, outputs, 1)
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


METHOD = Method(
    core=Planes,
    paper="ours",
    inputs="image, depth",
    sizes={"small": {"channels": (32, 64, 128, 256)}, "full": {"channels": (64, 128, 256, 384)}},
    precise=("of_depth", "encoder.1.0"),  # the layers whose inputs are small differences of depth at 1/4
)
