"""The completer around engines made for the purpose: an Engine is an interface that users write against too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import laplace

from depth_completion_ros.completer import DepthCompleter, confidence_of
from depth_completion_ros.engines import Engine
from depth_completion_ros.errors import ConfigurationError, EngineError, InputError
from depth_completion_ros.frame import CompletedDepth, Intrinsics, RgbdFrame
from depth_completion_ros.profiles import Profile

PROFILE = Profile("test", min_range=0.5, max_range=8.0, noise=(0.01, 0.0, 0.0))
NAN, INF = np.nan, np.inf


class Level(Engine):
    """Says that all is at the median depth, sure of it or not; remembers copies of what it was given."""

    engine, model = "level", "test"

    def __init__(self, multiple=1, sigma=0.02):
        self.multiple = multiple
        self.sigma = sigma
        self.closed = False

    def run(self, image, depth, scale):
        self.given = image.copy(), depth.copy(), scale
        return np.full(depth.shape, scale, np.float32), np.full(depth.shape, self.sigma, np.float32)

    def close(self):
        self.closed = True


class Ramp(Engine):
    """Depth and sigma grow from pixel to pixel, in buffers that the engine owns and writes again at each run."""

    engine, model = "ramp", "test"

    def __init__(self, multiple=1):
        self.multiple = multiple
        self.buffers = {}

    def run(self, image, depth, scale):
        rows, columns = np.indices(depth.shape, np.float32)
        dense, sigma = self.buffers.setdefault(depth.shape, (np.empty_like(depth), np.empty_like(depth)))
        dense[...] = scale + 0.1 * rows + 0.01 * columns
        sigma[...] = scale * (0.005 + 0.001 * rows + 0.0002 * columns)
        return dense, sigma


class Broken(Engine):
    engine, model = "broken", "test"

    def run(self, image, depth, scale):
        raise ZeroDivisionError("the card fell out")


def random_frame(height=12, width=17, seed=0, **others):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.6, 7.5, (height, width)).astype(np.float32)
    depth[rng.random((height, width)) < 0.4] = NAN
    return RgbdFrame(rng.integers(0, 256, (height, width, 3), np.uint8), depth, **others)


def frame_with(depth):
    depth = np.array(depth, np.float32)
    return RgbdFrame(np.zeros((*depth.shape, 3), np.uint8), depth)


def completer(engine=None, **options):
    return DepthCompleter(PROFILE, engine or Level(), **options)


def copies(completed):
    return {name: getattr(completed, name).copy() for name in ("depth", "sigma", "confidence", "measured")}


def test_the_result_has_the_promised_shapes_types_and_timings():
    completed = completer(Ramp()).complete(random_frame())
    for name, dtype in {"depth": np.float32, "sigma": np.float32, "confidence": np.float32, "measured": bool}.items():
        array = getattr(completed, name)
        assert (array.shape, array.dtype) == ((12, 17), dtype)
    assert set(completed.timings_ms) == {"prepare", "engine", "compose"}
    assert min(completed.timings_ms.values()) >= 0


@pytest.mark.parametrize("multiple", [1, 2, 5, 8, 16, 32])
@pytest.mark.parametrize("shape", [(1, 1), (12, 17), (16, 32), (33, 31)])
def test_the_engine_gets_multiples_and_the_padding_is_cut_off_again(multiple, shape):
    engine, frame = Level(multiple), random_frame(*shape, seed=3)
    frame.depth[0, 0] = 1.0
    completed = completer(engine).complete(frame)
    image, depth, _ = engine.given
    height, width = shape
    assert depth.shape == image.shape[:2] == (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
    assert depth.dtype == np.float32
    nearest = np.ix_(np.minimum(np.arange(len(image)), height - 1), np.minimum(np.arange(image.shape[1]), width - 1))
    np.testing.assert_array_equal(image, frame.rgb[nearest])
    np.testing.assert_array_equal(depth[:height, :width], np.nan_to_num(frame.depth))
    assert not depth[height:].any() and not depth[:, width:].any(), "the padding holds no measurement"
    assert completed.depth.shape == shape


def test_padding_does_not_change_the_result():
    plain, padded = (completer(Ramp(multiple)).complete(random_frame()) for multiple in (1, 32))
    for name, array in copies(plain).items():
        np.testing.assert_array_equal(getattr(padded, name), array)


@pytest.mark.parametrize("options", [{}, {"fill_only": True}, {"min_confidence": 0.7}])
def test_reused_arrays_give_the_result_of_new_ones(options):
    reused, out = completer(Ramp(8), **options), CompletedDepth.empty(12, 17)
    for name in ("depth", "sigma", "confidence"):
        getattr(out, name)[...] = NAN
    out.measured[...] = True
    for seed in range(5):
        frame = random_frame(seed=seed)
        assert reused.complete(frame, out) is out
        fresh = completer(Ramp(8), **options).complete(frame)
        for name, array in copies(fresh).items():
            np.testing.assert_array_equal(getattr(out, name), array)


def test_results_stay_when_the_next_frame_is_completed():
    """The engine's arrays hold only until its next run: results must not be views of them."""
    ramp = completer(Ramp())
    first = ramp.complete(random_frame(seed=0))
    before = copies(first)
    ramp.complete(random_frame(seed=1))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(first, name), array)


def test_a_rejected_frame_does_not_affect_the_next_one():
    one, out = completer(Ramp()), CompletedDepth.empty(12, 17)
    with pytest.raises(InputError):
        one.complete(frame_with(np.full((12, 17), NAN)), out)
    one.complete(random_frame(), out)
    for name, array in copies(completer(Ramp()).complete(random_frame())).items():
        np.testing.assert_array_equal(getattr(out, name), array)


@pytest.mark.parametrize(
    ("value", "measured"),
    [
        (NAN, False),
        (INF, False),
        (-INF, False),
        (0.0, False),
        (-0.0, False),
        (-1.0, False),
        (1e-30, False),
        (0.49, False),
        (0.5, False),  # the ends of the range are where sensors and simulators clip: nothing was measured there
        (0.501, True),
        (7.999, True),
        (7.9999995, False),
        (8.0, False),
        (8.01, False),
        (1e30, False),
    ],
)
def test_only_finite_depth_within_the_range_is_measured(value, measured):
    engine = Level()
    completed = completer(engine).complete(frame_with([[1.0, value]]))
    assert completed.measured.tolist() == [[True, measured]]
    assert engine.given[1].tolist() == [[1.0, np.float32(value) if measured else 0.0]]


def test_zero_is_missing_even_for_a_sensor_that_measures_from_zero():
    profile = Profile("from zero", 0.0, 8.0, (0.01, 0.0, 0.0))
    completed = DepthCompleter(profile, Level()).complete(frame_with([[1.0, 0.0]]))
    assert completed.measured.tolist() == [[True, False]]


@pytest.mark.parametrize("value", [NAN, 0.0, -1.0, INF, 0.1, 50.0])
@pytest.mark.parametrize("shape", [(6, 8), (3, 4), (12, 16)])
def test_a_frame_without_depth_raises_empty_depth(value, shape):
    frame = RgbdFrame(np.zeros((6, 8, 3), np.uint8), np.full(shape, value, np.float32))
    with pytest.raises(InputError, match=r"no depth between 0\.5 and 8 m") as caught:
        completer().complete(frame)
    assert caught.value.cause == "empty_depth"


@pytest.mark.parametrize("measurements", [1, 2, 5, 100])
def test_the_scale_is_the_median_of_what_was_measured(measurements):
    rng, engine = np.random.default_rng(measurements), Level()
    depth = np.full((40, 50), NAN, np.float32)
    depth.reshape(-1)[rng.choice(2000, measurements, replace=False)] = rng.uniform(1, 7, measurements)
    depth[0, :3] = 0.0, INF, 100.0
    completer(engine).complete(frame_with(depth))
    valid = depth[(depth >= 0.5) & (depth <= 8)]
    assert engine.given[2] == pytest.approx(np.median(valid))


def test_the_scale_of_a_large_frame_is_close_to_the_median():
    rng, engine = np.random.default_rng(0), Level()
    depth = rng.uniform(1, 7, (480, 640)).astype(np.float32)
    completer(engine).complete(frame_with(depth))
    assert engine.given[2] == pytest.approx(float(np.median(depth)), rel=0.03)


def test_fill_only_keeps_measured_pixels_bit_for_bit():
    frame = random_frame()
    completed = completer(Ramp(8), fill_only=True).complete(frame)
    filled = completer(Ramp(8)).complete(frame)
    measured = completed.measured
    assert measured.any() and not measured.all()
    assert completed.depth[measured].tobytes() == frame.depth[measured].tobytes()
    np.testing.assert_array_equal(completed.depth[~measured], filled.depth[~measured])
    assert not np.array_equal(filled.depth[measured], frame.depth[measured])


def test_confidence_is_the_laplace_probability_of_a_small_error():
    """P(|error| < max(5 cm, 2 %)) for a Laplace error: SciPy's distribution function, its scale sigma / sqrt 2."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.3, 120, (50, 60)).astype(np.float32)
    sigma = np.exp(rng.uniform(np.log(1e-4), np.log(50), (50, 60))).astype(np.float32)
    tolerance = np.maximum(0.05, 0.02 * depth.astype(np.float64))
    error = laplace(scale=sigma.astype(np.float64) / np.sqrt(2))
    assert error.std() == pytest.approx(sigma)
    expected = error.cdf(tolerance) - error.cdf(-tolerance)
    given = depth.copy(), sigma.copy()
    confidence = confidence_of(depth, sigma)
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, expected, atol=1e-6)
    np.testing.assert_array_equal(depth, given[0])
    np.testing.assert_array_equal(sigma, given[1])
    out = np.full_like(depth, NAN)
    assert confidence_of(depth, sigma, out) is out
    np.testing.assert_array_equal(out, confidence)


def test_confidence_falls_as_sigma_grows_and_stays_within_bounds():
    sigmas = np.array([1e-6, 0.01, 0.05, 0.1, 1.0, 1e6], np.float32)
    confidence = confidence_of(np.full(6, 2.0, np.float32), sigmas)
    assert all(a > b for a, b in pairwise(confidence.tolist()))
    assert confidence.min() >= 0 and confidence.max() <= 1


@pytest.mark.parametrize("fill_only", [False, True])
def test_depth_is_missing_exactly_where_confidence_is_below_min_confidence(fill_only):
    """The gate has the last word, also over measured pixels of ``fill_only``."""
    open_, gated = (
        completer(Ramp(), fill_only=fill_only, min_confidence=gate).complete(random_frame()) for gate in (0.0, 0.9)
    )
    assert np.isfinite(open_.depth).all()
    below = open_.confidence < 0.9
    assert below.any() and not below.all()
    np.testing.assert_array_equal(np.isnan(gated.depth), below)
    np.testing.assert_array_equal(gated.depth[~below], open_.depth[~below])
    np.testing.assert_array_equal(gated.confidence, open_.confidence)
    np.testing.assert_array_equal(gated.sigma, open_.sigma)


def test_settings_and_engine_may_change_between_frames():
    changing = completer(Level(sigma=0.02))
    frame = random_frame()
    assert np.isfinite(changing.complete(frame).depth).all()
    changing.min_confidence = 0.99999
    assert np.isnan(changing.complete(frame).depth).all()
    changing.min_confidence, changing.fill_only = 0.0, True
    completed = changing.complete(frame)
    np.testing.assert_array_equal(completed.depth[completed.measured], frame.depth[completed.measured])
    changing.profile = Profile("near", 0.5, 2.0, (0.01, 0.0, 0.0))
    assert (changing.complete(frame).measured == (frame.depth <= 2.0)).all()
    changing.engine, changing.fill_only = Ramp(), False
    assert len(np.unique(changing.complete(frame).depth)) > 100


def test_any_exception_of_an_engine_becomes_an_engine_error_with_its_name():
    with pytest.raises(EngineError, match=r"engine broken, model test.*the card fell out") as caught:
        completer(Broken()).complete(random_frame())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("engine", [Level(), Level(8), "classical"], ids=["plain", "padded", "classical"])
def test_the_frame_is_not_modified(engine):
    """Messages share their memory with the frame; read-only arrays must do as well."""
    cameras = {"intrinsics": Intrinsics(20, 20, 8, 6, 17, 12)}
    others = {"depth_intrinsics": Intrinsics(20, 20, 8, 6, 17, 12), "depth_to_rgb": np.eye(4)}
    for frame in (random_frame(), random_frame(**cameras), random_frame(**cameras, **others)):
        for value in (0.0, -1.0, INF, 50.0):
            frame.depth[3, 4:6] = value
            before = frame.rgb.tobytes(), frame.depth.tobytes()
            frame.rgb.flags.writeable = frame.depth.flags.writeable = False
            for fill_only in (False, True):
                DepthCompleter(PROFILE, engine, fill_only=fill_only, min_confidence=0.5).complete(frame)
            assert (frame.rgb.tobytes(), frame.depth.tobytes()) == before
            frame.depth.flags.writeable = True


def test_a_view_with_padded_rows_gives_the_result_of_its_copy():
    """Decoded images of padded step are such views."""
    frame = random_frame(24, 32)
    wide = np.zeros((24, 40, 3), np.uint8)
    wide[:, :32] = frame.rgb
    one = DepthCompleter(PROFILE, "classical")
    expected = copies(one.complete(frame))
    found = one.complete(RgbdFrame(wide[:, :32], frame.depth))
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(found, name), array)


def test_depth_of_another_resolution_comes_out_at_that_of_rgb():
    rgb = np.zeros((12, 16, 3), np.uint8)
    for shape, measured in [((6, 8), 6 * 8), ((24, 32), 12 * 16)]:
        completed = completer().complete(RgbdFrame(rgb, np.full(shape, 2.0, np.float32)))
        assert completed.depth.shape == (12, 16)
        assert completed.measured.sum() == measured


def test_close_closes_the_engine():
    engine = Level()
    completer(engine).close()
    assert engine.closed


def test_unknown_names_are_rejected_with_the_choices():
    with pytest.raises(ConfigurationError, match=r"'sonar'.*kinect"):
        DepthCompleter("sonar")
    with pytest.raises(ConfigurationError, match=r"'warp'.*classical"):
        DepthCompleter("kinect", "warp")
    with pytest.raises(ConfigurationError, match="'no such model'"):
        DepthCompleter("kinect", "classical", "no such model")


# What a frame refuses

RGB, DEPTH = np.zeros((6, 8, 3), np.uint8), np.ones((6, 8), np.float32)
CAMERA = Intrinsics(10, 10, 4, 3, 8, 6)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"rgb": RGB[..., 0]}, "rgb"),
        ({"rgb": RGB[..., :2]}, "rgb"),
        ({"rgb": RGB.astype(np.float32)}, "rgb"),
        ({"rgb": RGB[:0]}, "rgb"),
        ({"depth": DEPTH.astype(np.float64)}, "depth"),
        ({"depth": DEPTH.astype(np.uint16)}, "depth"),
        ({"depth": np.stack([DEPTH] * 2, axis=2)}, "depth"),
        ({"depth": DEPTH[:, :0]}, "depth"),
        ({"intrinsics": Intrinsics(10, 10, 4, 3, 6, 8)}, "size"),
        ({"depth_intrinsics": Intrinsics(10, 10, 4, 3, 6, 8)}, "size"),
        ({"depth_to_rgb": np.eye(4)}, "camera_info"),
        ({"depth_to_rgb": np.eye(4), "intrinsics": CAMERA}, "camera_info"),
        ({"depth_to_rgb": np.eye(3), "intrinsics": CAMERA, "depth_intrinsics": CAMERA}, "extrinsic"),
        ({"depth_to_rgb": np.eye(4) * NAN, "intrinsics": CAMERA, "depth_intrinsics": CAMERA}, "extrinsic"),
    ],
)
def test_a_frame_with_inconsistent_parts_is_rejected(fields, cause):
    with pytest.raises(InputError) as caught:
        RgbdFrame(**{"rgb": RGB, "depth": DEPTH, **fields})
    assert caught.value.cause == cause


def test_depth_with_a_channel_axis_is_accepted():
    np.testing.assert_array_equal(RgbdFrame(RGB, DEPTH[..., None]).depth, DEPTH)
