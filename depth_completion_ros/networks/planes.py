"""Our small U-Net for CPUs, which chooses the depth of a pixel from the depth around it.

Networks are fast on a CPU if they move little memory. Therefore the image is folded by pixel-unshuffle (x4), and only
the last few operations work above a quarter of the resolution. All layers are plain 3x3 convolutions with batch
norm (folded away by every engine) and ReLU: they run at four times the speed of depthwise and normalised blocks of
equal arithmetic.

At 1/8 of the resolution, planes are fitted again as in the prefill (``Fit``), but along edges and with weights of the
measurements that are predicted from the features, as in a domain transform with learned edges (Chen et al., CVPR
2016). At 1/4, each cell is a convex mean of the 3x3 coarser ones around it (``Pull``), as in the upsampling of RAFT
(Teed, Deng, ECCV 2020, section 3.3), with weights that start as bilinear ones times the similarity of colour; a gate
puts the measured cells back. From 1/4 to the full size, each pixel mixes the nearest and the farthest surface around
it, as in SMD-Nets (Tosi et al., CVPR 2021, section 3.2), the prefill and its own measurement. Edges stay sharp because
the network only has to decide on which side a pixel is.

The input is the difference of depth from its surroundings, and the output is scaled to the size of these differences.

Shapes, channels c0..c3: features (64 + 35, H/4, W/4) → c0 at 1/4 → c1 at 1/8 → c2 at 1/16 → c3 at 1/32, two
convolutions each → up again, 1x1, bilinear, added, one convolution each; depth fitted between 1/8 and 1/4 → head
(5·16 + 2, H/4, W/4) → shuffle (2, H, W).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import START_LOG_B, STEP, conv, mean_pool, pool_measured, stretch, upsample
from .completion_network import CoreInputs, Method
from .hole_filling import REACH, along, fitted, steps, within_range

_HALVINGS = 2  # down to the resolution of the features
_FOLD = 2**_HALVINGS
_IMAGE_FEATURES, _DEPTH_FEATURES = (3 + 1) * _FOLD**2, 2 * _FOLD**2 + 3
_SURROUNDINGS = 9  # cells across
_GAIN = 4.0  # of what is chosen by: choices should be made early in training
_COLOUR_SIGMA = 0.1  # of 0..1
_EDGE_GAIN, _MOST_EDGE = 4.0, 4.0  # beyond _GAIN; a link becomes e^4 times as long or as short at most
_BEYOND = 0.2  # log-depth: training tells nothing of what is further than 1.25 times the farthest measurement
_KEEP, _DISTRUST = 3.0, -3.0  # logits at the start: of what is measured, and of what is not the prefill


class Planes(nn.Module):
    """channels: at 1/4, 1/8, 1/16 and 1/32 of the resolution. Height and width are multiples of 16."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        pairs = list(pairwise(channels))
        # Two halves of one convolution, because int8 suits only one: a step of 1/255 would hide the fine relief.
        self.of_image = nn.Conv2d(_IMAGE_FEATURES, channels[0], 3, padding=1, bias=False)
        self.of_depth = nn.Conv2d(_DEPTH_FEATURES, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList([conv(channels[0], channels[0])])
        self.encoder.extend(
            nn.Sequential(conv(fine + 1, coarse, stride=2), conv(coarse, coarse)) for fine, coarse in pairs
        )
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(conv(fine, fine) for fine, _ in pairs)
        self.fit = Fit(channels[1])
        self.pull = Pull(channels[1])
        self.surfaces = zero_convolution(channels[0], 2)
        self.mixture = zero_convolution(channels[0], 5 * _FOLD**2)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        """The correction of the prefill in log-depth, and log_b, each (N, 1, H, W)."""
        correction, log_b, keep, _ = self.without_measurements(inputs)
        return torch.lerp(correction, inputs.sparse - inputs.prefill, inputs.measured * keep), log_b

    def without_measurements(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same before measurements are put back; the share, 0 to 1, that each should have in the answer; and the
        features (N, c0, H / 4, W / 4).
        """
        sparse, measured, prefill, image = (
            F.pixel_unshuffle(x, _FOLD) for x in (inputs.sparse, inputs.measured, inputs.prefill, inputs.image)
        )
        # Halved step by step as the filling of holes has halved them, so that engines do it once for both.
        levels = [_Level(inputs.sparse, inputs.measured, inputs.image, inputs.prefill)]
        for _ in range(_HALVINGS + len(self.lateral) - 1):
            levels.append(levels[-1].halved())
        del levels[:_HALVINGS]
        cells = levels[0].prefill

        depths = stretch(prefill - cells), stretch((sparse - cells) * measured)
        distance = upsample(inputs.distance, prefill.shape[-1] // inputs.distance.shape[-1])
        x = self.of_image(torch.cat([2 * image, measured], dim=1))
        x = torch.relu(x + self.of_depth(torch.cat([*depths, cells, levels[0].relief(), distance], dim=1)))
        skips = [self.encoder[0](x)]
        for stage, level in zip(self.encoder[1:], levels, strict=True):
            skips.append(stage(torch.cat([skips[-1], level.relief()], dim=1)))

        x = skips.pop()
        for index in reversed(range(1, len(skips))):
            x = self._decoded(index, x, skips)
        depth, x = self.fit(x, levels[1])
        depth = self.pull(x, depth, levels[0], levels[1])
        x = self._decoded(0, x, skips)

        side, trust, keep, delta, log_b = self.mixture(x).float().chunk(5, dim=1)
        moved = STEP * self.surfaces(x).float()
        far = F.max_pool2d(depth, 3, 1, 1) + moved[:, :1]
        near = -F.max_pool2d(-depth, 3, 1, 1) + moved[:, 1:]
        mixed = torch.lerp(near, far, torch.sigmoid(_GAIN * side))
        mixed = torch.lerp(prefill, mixed, torch.sigmoid(_GAIN * trust + _DISTRUST)) + STEP * delta
        keep = torch.sigmoid(_GAIN * keep + _KEEP)
        correction, log_b, keep = (F.pixel_shuffle(x, _FOLD) for x in (mixed - prefill, log_b + START_LOG_B, keep))
        return correction, log_b, keep, x

    def _decoded(self, index: int, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Features of the next finer grid."""
        # The 1x1 convolution goes before the resize: the same result at a quarter of the cost.
        # A grid of an odd size was halved to one cell more.
        height, width = skips[index].shape[-2:]
        return self.decoder[index](upsample(self.lateral[index](x), 2)[..., :height, :width] + skips[index])


class _Level:
    """What is known at one resolution: value, measured, prefill (N, 1, h, w); image (N, 3, h, w)."""

    def __init__(self, value: Tensor, measured: Tensor, image: Tensor, prefill: Tensor):
        self.value, self.measured, self.image, self.prefill = value, measured, image, prefill

    def halved(self) -> _Level:
        """At half the resolution."""
        value, measured = pool_measured(self.value, self.measured, 2)
        return _Level(value, measured, mean_pool(self.image, 2), mean_pool(self.prefill, 2))

    def relief(self) -> Tensor:
        """How far each cell of the prefill lies before or behind its surroundings, stretched."""
        surroundings, padding = self.prefill, _SURROUNDINGS // 2
        for window, pad in (((1, _SURROUNDINGS), (0, padding)), ((_SURROUNDINGS, 1), (padding, 0))):
            surroundings = F.avg_pool2d(surroundings, window, 1, pad, count_include_pad=False)
        return stretch(self.prefill - surroundings)


class Pull(nn.Module):
    """Depth at twice the resolution. channels: of the features that say how."""

    prior: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.choice = zero_convolution(channels, (9 + 2) * 4)
        # Of the two cells that one becomes, each takes 3/4 of it and 1/4 of the neighbour on its own side.
        pair = torch.tensor([[0.25, 0.75, 0.01], [0.01, 0.75, 0.25]])
        bilinear = torch.einsum("iy,jx->yxij", pair, pair).log().flatten()
        prior = torch.cat([bilinear, torch.full((4,), _KEEP), torch.zeros(4)])
        self.register_buffer("prior", prior.view(1, -1, 1, 1), persistent=False)

    def forward(self, features: Tensor, depth: Tensor, finer: _Level, coarser: _Level) -> Tensor:
        """features (N, channels, h, w), depth (N, 1, h, w), levels of 2h x 2w and h x w: (N, 1, 2h, 2w)."""
        choice = self.choice(features).float() * _GAIN + self.prior
        side, keep, delta = choice[:, :36], choice[:, 36:40], choice[:, 40:]
        unlike = (_children(finer.image) - around(coarser.image).unsqueeze(3)).square().sum(dim=2)
        weight = (side.unflatten(1, (9, 4)) - unlike / (2 * _COLOUR_SIGMA**2)).softmax(dim=1)
        mixed = (weight * around(depth)).sum(dim=1) + STEP / _GAIN * delta
        value, measured = F.pixel_unshuffle(finer.value, 2), F.pixel_unshuffle(finer.measured, 2)
        return F.pixel_shuffle(torch.lerp(mixed, value, measured * torch.sigmoid(keep)), 2)


class Fit(nn.Module):
    """Depth by planes that are fitted to what was measured. channels: of the features that say how."""

    def __init__(self, channels: int):
        super().__init__()
        self.choice = zero_convolution(channels, 5)
        self.outcome = zero_convolution(3, channels)

    def forward(self, features: Tensor, level: _Level) -> tuple[Tensor, Tensor]:
        """features (N, channels, h, w): the depth (N, 1, h, w), and the features told what has come out."""
        value, measured = level.value, level.measured
        right, down, trust, keep, delta = (self.choice(features).float() * _GAIN).chunk(5, dim=1)
        farther = _times(right)[:, 0, :, 1:], _times(down)[:, 0, 1:].transpose(1, 2)
        # Not in half precision: planes stem from differences of large sums.
        with torch.autocast(features.device.type, enabled=False):
            rows, columns = (along(s * times) for s, times in zip(steps(level.image, REACH), farther, strict=True))
            depth, distance = fitted(value, measured * torch.sigmoid(trust), rows, columns)
        inside = within_range(depth, value, measured)  # planes go on for ever
        depth = inside + (depth - inside).clamp(-_BEYOND, _BEYOND)
        outcome = stretch(depth - level.prefill), stretch((depth - value) * measured), distance
        depth = torch.lerp(depth + STEP / _GAIN * delta, value, measured * torch.sigmoid(keep + _KEEP))
        return depth, features + self.outcome(torch.cat(outcome, dim=1))


def _times(edge: Tensor) -> Tensor:
    """How many times as far from each other neighbours count as their colour says: 1/50 to 50, 1 at 0."""
    return torch.exp(_MOST_EDGE * torch.tanh(_EDGE_GAIN / _MOST_EDGE * edge))


def around(x: Tensor) -> Tensor:
    """(N, C, h, w) to the 3x3 around each cell, the border repeated: (N, 9, C, h, w)."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return torch.stack([padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], dim=1)


def _children(x: Tensor) -> Tensor:
    """(N, C, 2h, 2w) to the four finer cells of each cell: (N, 1, C, 4, h, w)."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unsqueeze(1)


def zero_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """1x1, zero at the start."""
    convolution = nn.Conv2d(inputs, outputs, 1)
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


METHOD = Method(
    core=Planes,
    paper="ours",
    inputs="image, depth",
    sizes={"small": {"channels": (32, 64, 128, 256)}, "full": {"channels": (64, 128, 256, 384)}},
    precise=("of_depth", "encoder.1.0"),  # what reads relief at 1/4 of the resolution
)
