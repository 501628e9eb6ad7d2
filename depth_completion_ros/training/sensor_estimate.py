"""What a recording says about its sensor: range, holes, quantisation, and time between colour and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_RANGE = (0.1, 99.9)  # percentiles of the measured depth
_SPREAD = (5, 95)  # percentiles over frames
_LARGE_HOLE = 0.01  # share of an image
_RESOLUTION = 1e-5  # of the smallest difference of depth values that is looked for [m]
_NEAR_MEDIAN = 0.05  # relative


@dataclass(frozen=True)
class SensorEstimate:
    """Estimates from some frames of a recording.

    Attributes:
        range_m: 0.1 and 99.9 % quantiles of the measured depth [m].
        median_m: Median of the measured depth [m].
        holes: Mean share of the pixels without depth, 0..1.
        holes_spread: 5 and 95 % quantiles of that share over frames.
        large_holes: Share of the pixels without depth that belong to holes larger than 1 % of the image, 0..1.
        unit_m: Smallest difference of two depth values [m]; 0 if it is below 0.01 mm, so that depth has no steps.
        step_m: Typical difference of neighbouring depth values near the median [m].
        offset_s: Median of the stamp of depth minus that of colour [s].
        offset_spread_s: 5 and 95 % quantiles of this difference [s].
    """

    range_m: tuple[float, float]
    median_m: float
    holes: float
    holes_spread: tuple[float, float]
    large_holes: float
    unit_m: float
    step_m: float
    offset_s: float
    offset_spread_s: tuple[float, float]

    def lines(self) -> list[str]:
        """Describe the estimates to users."""
        low, high = self.range_m
        first, last = self.holes_spread
        early, late = (1e3 * value for value in self.offset_spread_s)
        unit = f"multiples of {1e3 * self.unit_m:.3g} mm" if self.unit_m else "not quantised"
        return [
            f"depth seen: {low:.2f} to {high:.2f} m, median {self.median_m:.2f} m",
            f"pixels without depth: {self.holes:.0%} (5 to 95 % of the frames: {first:.0%} to {last:.0%}); "
            f"{self.large_holes:.0%} of them in holes larger than 1 % of the image",
            f"depth values: {unit}; near {self.median_m:.2f} m, they are {1e3 * self.step_m:.2g} mm apart",
            f"stamp of depth minus stamp of colour: median {1e3 * self.offset_s:.1f} ms "
            f"(5 to 95 %: {early:.1f} to {late:.1f} ms)",
        ]


def estimate_sensor(depths: Sequence[np.ndarray], offsets_ns: Sequence[int]) -> SensorEstimate:
    """Estimate properties of the sensor.

    Args:
        depths: Depth of some frames, (H, W) float32 [m] each, NaN = missing.
        offsets_ns: Stamp of depth minus that of colour [ns], of all frames.
    """
    measured = np.concatenate([depth[np.isfinite(depth)] for depth in depths])
    median = float(np.median(measured))
    holes = [float(np.isnan(depth).mean()) for depth in depths]
    levels = np.unique(np.round(measured.astype(np.float64) / _RESOLUTION).astype(np.int64))
    # Rounding may change a difference by one; float32 has errors of that size beyond 100 m.
    smallest = int(np.diff(levels).min()) if levels.size > 1 else 0
    near = levels[np.abs(levels * _RESOLUTION - median) <= _NEAR_MEDIAN * median]
    seconds = np.asarray(offsets_ns, np.float64) / 1e9
    return SensorEstimate(
        range_m=_pair(np.percentile(measured, _RANGE)),
        median_m=median,
        holes=float(np.mean(holes)),
        holes_spread=_pair(np.percentile(holes, _SPREAD)),
        large_holes=_share_of_large_holes(depths),
        unit_m=smallest * _RESOLUTION if smallest > 2 else 0.0,
        step_m=float(np.median(np.diff(near))) * _RESOLUTION if near.size > 1 else 0.0,
        offset_s=float(np.median(seconds)),
        offset_spread_s=_pair(np.percentile(seconds, _SPREAD)),
    )


def _share_of_large_holes(depths: Sequence[np.ndarray]) -> float:
    total = large = 0
    for depth in depths:
        _, _, statistics, _ = cv2.connectedComponentsWithStats(np.isnan(depth).astype(np.uint8))
        areas = statistics[1:, cv2.CC_STAT_AREA]
        total += int(areas.sum())
        large += int(areas[areas > _LARGE_HOLE * depth.size].sum())
    return large / total if total else 0.0


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
