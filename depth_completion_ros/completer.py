"""Complete an RgbdFrame to a CompletedDepth. The node, the command line and the evaluation all use this module."""

from __future__ import annotations

import time

import numpy as np

from .engines import Engine, open_engine
from .errors import EngineError, InputError
from .frame import CompletedDepth, RgbdFrame
from .geometry import depth_on_rgb_grid
from .profiles import Profile, load_profile
from .working_size import enlarged, reduced, reduction

# confidence is P(|error| < max(TOLERANCE_M, TOLERANCE_RELATIVE · depth))
TOLERANCE_M = 0.05
TOLERANCE_RELATIVE = 0.02
# Depth that was measured for another image: how fast the scene moves, as a standard deviation. A person walks at 1 m/s.
_SCENE_SPEED_M_PER_S = 0.5


class DepthCompleter:
    """Completes depth frame by frame. Not thread-safe: only one thread may use it at a time.

    The attributes ``engine``, ``profile``, ``fill_only``, ``min_confidence`` and ``working_pixels`` can be changed
    between frames.

    Args:
        profile: Name of a profile ("kinect", "tof", "lidar") or a Profile.
        engine: Name of an engine (see ``open_engine``) or an Engine.
        model: Name of the model; "auto" = the best one.
        fill_only: Whether measured pixels keep their measured depth.
        min_confidence: Depth with a lower confidence (0..1) becomes NaN.
        threads: Number of CPU threads of the engine; 0 = library default.
        working_pixels: Images with more pixels are completed at a half, a third, … of their size; 0 = the limit of the
            engine.

    Raises:
        ConfigurationError: If the profile, engine or model is unknown.
    """

    def __init__(
        self,
        profile: str | Profile = "kinect",
        engine: str | Engine = "auto",
        model: str = "auto",
        *,
        fill_only: bool = False,
        min_confidence: float = 0.0,
        threads: int = 0,
        working_pixels: int = 0,
    ):
        self.profile = load_profile(profile) if isinstance(profile, str) else profile
        if isinstance(engine, str):
            engine = open_engine(engine, model, profile=self.profile, threads=threads)
        self.engine = engine
        self.fill_only = fill_only
        self.min_confidence = min_confidence
        self.working_pixels = working_pixels

    def complete(self, frame: RgbdFrame, out: CompletedDepth | None = None) -> CompletedDepth:
        """Compute dense depth, sigma and confidence at the RGB resolution.

        Args:
            frame: The frame to complete.
            out: Arrays of the right size (``CompletedDepth.empty``) to write to and return; None = make new ones.

        Raises:
            InputError: With the cause "empty_depth", if no pixel is measured in the range of the profile, or recalled.
            EngineError: If the engine fails.
        """
        height, width = frame.rgb.shape[:2]
        if out is None:
            out = CompletedDepth.empty(height, width)
        started = time.perf_counter()

        depth = self._known_depth(frame, out)
        scale = self._median(depth)
        prepared = time.perf_counter()

        dense, sigma = self._run_at_working_size(frame.rgb, depth, scale)
        ran = time.perf_counter()

        np.copyto(out.depth, dense)
        np.copyto(out.sigma, sigma)
        if self.fill_only:
            np.copyto(out.depth, depth, where=out.measured)
            np.copyto(out.sigma, self.profile.measurement_sigma(depth), where=out.measured)
        if frame.recalled is not None and out.recalled is not None:
            out.sigma[out.recalled] = np.hypot(out.sigma[out.recalled], frame.recalled.sigma[out.recalled])
        if frame.depth_age > 0:
            np.hypot(out.sigma, np.float32(_SCENE_SPEED_M_PER_S * frame.depth_age), out=out.sigma)
        confidence_of(out.depth, out.sigma, out=out.confidence)
        if self.min_confidence > 0:
            out.depth[out.confidence < self.min_confidence] = np.nan
        finished = time.perf_counter()

        out.timings_ms = {
            "prepare": (prepared - started) * 1e3,
            "engine": (ran - prepared) * 1e3,
            "compose": (finished - ran) * 1e3,
        }
        return out

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _known_depth(self, frame: RgbdFrame, out: CompletedDepth) -> np.ndarray:
        """Depth on the RGB grid (H, W) [m], measured or recalled, 0 = neither; fills these masks of ``out``."""
        depth = depth_on_rgb_grid(frame)
        self.profile.measured(depth, out=out.measured)
        out.recalled = None
        missing: np.ndarray | np.float32 = np.float32(0)
        if frame.recalled is not None:
            missing = frame.recalled.depth
            out.recalled = (missing > 0) & ~out.measured
        if not out.measured.any() and (out.recalled is None or not out.recalled.any()):
            raise InputError("empty_depth", _why_empty(depth, self.profile))
        return np.where(out.measured, depth, missing)

    def _median(self, depth: np.ndarray) -> float:
        """Median of depth above 0 [m], of a subsample if that is large enough; it need not be exact."""
        sample = depth[::4, ::4]
        sample = sample[sample > 0]
        if sample.size < 200:
            sample = depth[depth > 0]
        return float(np.median(sample))

    def _run_at_working_size(self, rgb: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        pixels = self.working_pixels or self.engine.working_pixels
        factor = reduction(depth.shape[0], depth.shape[1], pixels) if pixels else 1
        if factor == 1:
            return self._run(rgb, depth, scale)
        return enlarged(*self._run(*reduced(rgb, depth, factor), scale), depth, factor)

    def _run(self, rgb: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        height, width = depth.shape
        down, right = -height % self.engine.multiple, -width % self.engine.multiple
        if down or right:
            rgb = np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="edge")
            depth = np.pad(depth, ((0, down), (0, right)))
        try:
            dense, sigma = self.engine.run(rgb, depth, scale)
        except Exception as error:  # each library raises its own types
            raise EngineError(f"engine {self.engine.engine}, model {self.engine.model}, failed: {error!r}") from error
        return dense[:height, :width], sigma[:height, :width]


def _why_empty(depth: np.ndarray, profile: Profile) -> str:
    """The error message for depth [m] without any value within the range of the profile."""
    with np.errstate(invalid="ignore"):
        values = depth[(depth > 0) & (depth < np.inf)]
    text = f"no depth between {profile.min_range:g} and {profile.max_range:g} m in this frame: "
    if values.size == 0:
        return text + "no pixel is measured: check whether the sensor is covered, too close or switched off"
    low, high = values.min(), values.max()
    return text + (
        f"all {values.size} measurements lie between {low:.4g} and {high:.4g} m. If these distances are wrong, set "
        "depth.unit to the length of one count (0.001 for millimetres); if they are right, set depth.min_range and "
        "depth.max_range to the range of the sensor"
    )


def confidence_of(depth: np.ndarray, sigma: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The probability that the error of depth is below max(5 cm, 2 % of depth), if it has a Laplace distribution.

    A Laplace variable x of scale b has ``P(|x| < t) = 1 - exp(-t/b)`` and the standard deviation b·√2.

    Args:
        depth: Depth [m], float32.
        sigma: Standard deviation of depth [m], float32, of the same shape.
        out: Array to write to and return; None = make a new one.

    Returns:
        Confidence, 0..1, float32, of the same shape.
    """
    tolerance = np.maximum(np.float32(TOLERANCE_M), np.float32(TOLERANCE_RELATIVE) * depth)
    exponent = np.divide(tolerance, sigma, out=out)
    exponent *= np.float32(-np.sqrt(2))
    np.exp(exponent, out=exponent)
    return np.subtract(np.float32(1), exponent, out=exponent)
