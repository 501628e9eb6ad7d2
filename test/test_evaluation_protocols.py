"""Protocols that hide what they say, and the sources of samples: folders, bags and their profiles."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from frame_sets import edit_meta, write_set
from moving_scene import frame as moving_frame
from moving_scene import holes, pose, view

from depth_completion_ros.bag.folders import read_folder
from depth_completion_ros.bag.make import BagOptions, make_bag
from depth_completion_ros.bag.messages import header, image
from depth_completion_ros.bag.reader import DEPTH_TOPIC, RGB_TOPIC
from depth_completion_ros.bag.writer import BagWriter
from depth_completion_ros.errors import ConfigurationError, InputError
from depth_completion_ros.evaluation.protocols import PROTOCOLS, PUBLISHED, make_trial
from depth_completion_ros.evaluation.samples import Sample, SampleSet, make_sample, open_bag, open_folder, profile_of
from depth_completion_ros.frame import Intrinsics, RgbdFrame
from depth_completion_ros.frame_builder import FrameSettings
from depth_completion_ros.profiles import load_profile

KINECT = load_profile("kinect")
NAN = np.float32(np.nan)
SEQUENCES = {name for name in PROTOCOLS if name.startswith("sequence")}


@pytest.fixture
def folder(tmp_path):
    write_set(tmp_path / "small")
    return open_folder(tmp_path / "small")


def set_of(*samples: Sample) -> SampleSet:
    return SampleSet("made up", KINECT, "", len(samples), samples.__getitem__)


def sample(depth: np.ndarray, **known: np.ndarray) -> Sample:
    return make_sample(KINECT, RgbdFrame(np.zeros((*depth.shape, 3), np.uint8), depth), **known)


@pytest.mark.parametrize("protocol", sorted(set(PROTOCOLS) - {"raw", "transparent"} - SEQUENCES - PUBLISHED.keys()))
def test_no_protocol_shows_what_it_scores_and_a_seed_gives_the_same_trial(folder, protocol):
    trial, again = make_trial(protocol, folder, 1), make_trial(protocol, folder, 1)
    scored = np.isfinite(trial.truth)
    assert np.isfinite(trial.frame.depth).any() and scored.any()
    assert not (trial.frame.depth == trial.truth).any()
    np.testing.assert_array_equal(trial.truth[scored], folder[1].ground_truth[scored])
    np.testing.assert_array_equal(trial.truth, again.truth)
    np.testing.assert_array_equal(trial.frame.depth, again.frame.depth)


def moving_set(count: int, poses: bool = True) -> SampleSet:
    """Frames of a moving camera, each with other holes."""
    frames = []
    for number in range(count):
        camera = pose(0.01 * number, 0.002 * number)
        rgb, depth, _ = view(camera)
        depth[holes(number)] = NAN
        frames.append(moving_frame(number, rgb, depth, camera if poses else None))
    samples = [make_sample(KINECT, each) for each in frames]

    def around(index: int, before: float, after: float) -> list[RgbdFrame]:
        now = frames[index].stamp_ns
        return [each for each in frames if -before <= (each.stamp_ns - now) * 1e-9 <= after]

    return SampleSet("moving", KINECT, "", count, samples.__getitem__, around)


@pytest.mark.parametrize("protocol", sorted(SEQUENCES))
def test_real_holes_are_scored_against_what_other_frames_measured(protocol):
    samples = moving_set(12)
    trial = make_trial(protocol, samples, 6)
    hole, scored = np.isnan(samples[6].frame.depth), np.isfinite(trial.truth)
    assert not (scored & ~hole).any() and scored.sum() > 0.8 * hole.sum()
    exact = view(pose(0.06, 0.012))[1]
    # neighbouring pixels of the floor differ by up to 5 cm
    assert np.abs(trial.truth - exact)[scored].mean() < 0.02
    np.testing.assert_array_equal(trial.frame.depth, samples[6].frame.depth)
    if protocol == "sequence":
        assert trial.frame.recalled is None
    else:
        assert (trial.frame.recalled.depth[hole] > 0).mean() > 0.8


@pytest.mark.parametrize("samples", [moving_set(12, poses=False), moving_set(3)], ids=["no poses", "too few frames"])
def test_sequences_need_poses_and_several_frames(samples):
    assert make_trial("sequence", samples, 1) is None


def test_folders_and_bags_with_poses_give_the_frames_around_a_sample(tmp_path):
    write_set(tmp_path / "small", count=6)

    def add_poses(meta):
        for number, entry in enumerate(meta["frames"]):
            entry["pose"] = [0.1 * number, 0, 0, 0, 0, 0, 1]
            del entry["points"]

    edit_meta(tmp_path / "small", add_poses)
    folder = open_folder(tmp_path / "small")
    make_bag(read_folder(tmp_path / "small"), tmp_path / "bag", list(range(6)), BagOptions())
    bag = open_bag(tmp_path / "bag", 6, settings=FrameSettings(fixed_frame="odom"))
    for samples in (folder, bag):
        frames = samples.around(3, 0.07, 0.04)
        assert [round(float(each.camera_pose[0, 3]), 6) for each in frames] == [0.1, 0.2, 0.3, 0.4]


def test_random_pixels_change_with_seed_and_frame(folder):
    trials = [make_trial("sparse5", folder, index, seed) for index, seed in ((0, 0), (1, 0), (0, 1))]
    shown = [np.isfinite(trial.frame.depth) for trial in trials]
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], shown[2])
    known = np.isfinite(folder[0].ground_truth).sum()
    assert all(pixels.sum() == round(0.05 * known) for pixels in shown)


def test_raw_hides_the_other_frames_holes():
    depth = np.full((24, 32), 2, np.float32)
    holed = depth.copy()
    holed[5:9, 4:20] = NAN
    pair = set_of(sample(depth), sample(holed))
    trial = make_trial("raw", pair, 0)
    np.testing.assert_array_equal(np.isfinite(trial.truth), np.isnan(holed))
    np.testing.assert_array_equal(trial.frame.depth, holed)
    assert make_trial("raw", pair, 1) is None, "the other frame has no holes: nothing to score"


@pytest.mark.parametrize("protocol", ["raw", "rows", "sr4"])
def test_sparse_depth_has_no_holes_to_imitate_and_is_no_dense_sensor(protocol):
    sparse, other = (np.full((24, 32), 2, np.float32) for _ in range(2))
    sparse[np.random.default_rng(0).random(sparse.shape) > 0.1] = NAN
    other[5:9] = NAN
    assert make_trial(protocol, set_of(sample(sparse), sample(other)), 0) is None
    assert make_trial(protocol, set_of(sample(np.full((24, 32), 3, np.float32)), sample(other)), 0) is not None


def test_raw_uses_the_depth_of_the_sensor_and_scores_against_ground_truth_if_there_is_one():
    exact, noisy = np.full((24, 32), 2, np.float32), np.full((24, 32), 2.01, np.float32)
    holed = noisy.copy()
    holed[5:9] = NAN
    trial = make_trial("raw", set_of(sample(noisy, ground_truth=exact), sample(holed, ground_truth=exact)), 0)
    np.testing.assert_array_equal(trial.frame.depth, holed)
    np.testing.assert_array_equal(trial.truth, np.where(np.isnan(holed), exact, NAN))


def test_lidar_rings_keeps_every_fourth_ring():
    rings = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 65
    depth = np.full((24, 32), 2, np.float32)
    trial = make_trial("lidar-rings", set_of(sample(depth, rings=rings)), 0)
    np.testing.assert_array_equal(np.isfinite(trial.frame.depth), np.isin(rings, np.arange(1, 65, 4)))
    np.testing.assert_array_equal(np.isfinite(trial.truth), ~np.isin(rings, np.arange(1, 65, 4)))


def test_lidar_without_rings_uses_every_fourth_band_of_elevation():
    intrinsics = Intrinsics(fx=700, fy=710, cx=300, cy=60, width=600, height=200)
    frame = RgbdFrame(np.zeros((200, 600, 3), np.uint8), np.full((200, 600), 9, np.float32), intrinsics)
    lidar = load_profile("lidar")
    samples = SampleSet("made up", lidar, "", 1, (make_sample(lidar, frame),).__getitem__)
    shown = np.isfinite(make_trial("lidar-rings", samples, 0).frame.depth)
    for u, v in ((300, 60), (0, 199), (599, 120), (450, 0), (300, 69)):
        direction = np.array([(u - 300) / 700, (v - 60) / 710, 1])
        depression = np.degrees(np.arcsin(direction[1] / np.linalg.norm(direction)))
        assert shown[v, u] == (int(depression // 0.4) % 4 == 1)
    assert 0.2 < shown.mean() < 0.3
    assert make_trial("lidar-rings", set_of(make_sample(KINECT, frame)), 0) is None


@pytest.mark.parametrize("factor", [4, 8])
def test_low_resolution_keeps_one_pixel_a_block_with_the_profiles_noise(factor):
    depth = np.full((400, 600), 3, np.float32)
    trial = make_trial(f"sr{factor}", set_of(sample(depth)), 0)
    shown = np.isfinite(trial.frame.depth)
    assert (shown.reshape(400 // factor, factor, 600 // factor, factor).sum(axis=(1, 3)) == 1).all()
    noise = trial.frame.depth[shown] - 3
    sigma = 0.0012 + 0.001425 * 3**2
    # within five standard errors
    assert noise.std() == pytest.approx(sigma, rel=5 / np.sqrt(2 * noise.size))
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(noise.size)
    assert np.isfinite(trial.truth[shown]).all(), "the noise of what is shown is scored too"


def test_given_needs_ground_truth_and_scores_holes_and_measurements():
    depth, truth = np.full((24, 32), 2.1, np.float32), np.full((24, 32), 2, np.float32)
    depth[:8] = NAN
    truth[:, :3] = NAN
    trial = make_trial("given", set_of(sample(depth, ground_truth=truth)), 0)
    np.testing.assert_array_equal(trial.frame.depth, depth)
    np.testing.assert_array_equal(trial.truth, truth)
    assert make_trial("given", set_of(sample(depth)), 0) is None
    assert make_trial("lidar-rings", set_of(sample(depth)), 0) is None


def test_transparent_scores_glass_only():
    depth, truth = np.full((24, 32), 2.1, np.float32), np.full((24, 32), 2, np.float32)
    glass = np.zeros(depth.shape, bool)
    glass[4:9, 4:9] = True
    trial = make_trial("transparent", set_of(sample(depth, ground_truth=truth, transparent=glass)), 0)
    np.testing.assert_array_equal(np.isfinite(trial.truth), glass)
    assert make_trial("transparent", set_of(sample(depth, ground_truth=truth)), 0) is None


def test_an_unknown_protocol_is_rejected_with_the_choices(folder):
    with pytest.raises(ConfigurationError, match="sparse500"):
        make_trial("guess", folder, 0)


def test_depth_beyond_the_range_of_the_profile_is_neither_shown_nor_scored(folder, tmp_path):
    recorded = read_folder(tmp_path / "small")[0]
    for found, whole in (
        (folder[0].frame.depth, recorded.frame.depth),
        (folder[0].ground_truth, recorded.ground_truth),
    ):
        inside = (whole >= KINECT.min_range) & (whole <= KINECT.max_range)
        assert inside.any() and not inside[np.isfinite(whole)].all()
        np.testing.assert_array_equal(found, np.where(inside, whole, NAN))


def test_the_profile_follows_the_name_or_the_sensor_unless_one_is_asked_for(tmp_path):
    assert profile_of("lidar64_pjlab 64-beam spinning LiDAR") == "lidar"
    assert profile_of("street Velodyne HDL-64E") == "lidar"
    assert profile_of("street camera + accumulated LiDAR") == "lidar"
    assert profile_of("tof_arkit iPhone dToF LiDAR through ARKit") == "tof"
    assert profile_of("office Microsoft Kinect v2 (ToF)") == "tof"
    assert profile_of("desk Microsoft Kinect v1 (structured light)") == "kinect"
    assert profile_of("autofocus_test") == profile_of("sunbeam_room") == profile_of("lidarless") == "kinect"
    assert profile_of("corridor_tof2") == "tof" and profile_of("LIDAR-64_beams") == "lidar"
    write_set(tmp_path / "set", sensor="Ouster OS1")
    assert open_folder(tmp_path / "set").profile.name == "lidar"
    assert open_folder(tmp_path / "set", "tof").profile.name == "tof"


def test_a_bag_gives_the_frames_it_was_made_of(tmp_path):
    write_set(tmp_path / "small", count=7)
    # without points the bag holds depth images
    edit_meta(tmp_path / "small", lambda meta: [entry.pop("points") for entry in meta["frames"]])
    frames = read_folder(tmp_path / "small")
    make_bag(frames, tmp_path / "bag", list(range(7)), BagOptions(rgb="raw", depth="32FC1"))
    bag, folder = open_bag(tmp_path / "bag", wanted=10), open_folder(tmp_path / "small")
    assert len(bag) == 7
    np.testing.assert_array_equal(bag[2].frame.rgb, folder[2].frame.rgb)
    np.testing.assert_array_equal(bag[2].frame.depth, folder[2].frame.depth)
    assert bag[2].frame.stamp_ns == folder[2].frame.stamp_ns
    assert make_trial("rows", bag, 2) is not None
    assert make_trial("given", bag, 2) is None
    stamps = [one.frame.stamp_ns for one in frames]
    assert [one.frame.stamp_ns for one in open_bag(tmp_path / "bag", wanted=3)] == stamps[::3]


def write_bag(path, truth_stamps: list[int]) -> None:
    """Three frames; the depth of frame n is n + 1 m, its reference, at half the resolution, n + 1.5 m."""
    with BagWriter(path) as bag:
        for number in range(3):
            stamp_ns = 10**9 + number * 10**8
            head = header(stamp_ns, "camera")
            bag.write_message(RGB_TOPIC, stamp_ns, image(head, "rgb8", np.full((24, 32, 3), number, np.uint8)))
            bag.write_message(DEPTH_TOPIC, stamp_ns, image(head, "32FC1", np.full((24, 32), number + 1, np.float32)))
            if number in truth_stamps:
                truth = np.full((12, 16), number + 1.5, np.float32)
                bag.write_message("/reference", stamp_ns, image(head, "32FC1", truth))


def test_a_bag_is_scored_against_its_reference_topic_where_that_has_the_frame(tmp_path):
    write_bag(tmp_path / "bag", [0, 2])
    bag = open_bag(tmp_path / "bag", 10, truth_topic="/reference")
    assert [one.frame.rgb[0, 0, 0] for one in bag] == [0, 2]
    trial = make_trial("given", bag, 1)
    assert np.nanmax(trial.frame.depth) == 3
    assert np.isfinite(trial.truth).sum() == 12 * 16
    assert np.nanmax(trial.truth) == 3.5


def test_a_bag_without_the_reference_asked_for_says_which_topics_it_has(tmp_path):
    write_bag(tmp_path / "bag", [])
    with pytest.raises(InputError, match=DEPTH_TOPIC):
        open_bag(tmp_path / "bag", 10, truth_topic="/reference")


def test_synthetic_scenes_have_exact_truth_and_are_the_same_every_time():
    synthetic = pytest.importorskip("depth_completion_ros.training.held_out_scenes")
    samples, again = (synthetic.open_synthetic("tabletop", count) for count in (2, 1))
    np.testing.assert_array_equal(samples[0].frame.depth, again[0].frame.depth)
    np.testing.assert_array_equal(samples[0].frame.rgb, again[0].frame.rgb)
    assert not np.array_equal(samples[0].frame.rgb, samples[1].frame.rgb)
    trial = make_trial("given", samples, 0)
    both = np.isfinite(trial.frame.depth) & np.isfinite(trial.truth)
    error = np.abs(trial.frame.depth[both] - trial.truth[both]) / trial.truth[both]
    assert 0 < np.median(error) < 0.02, "a Kinect's noise"
    assert np.isfinite(samples[0].ground_truth).sum() > np.isfinite(samples[0].frame.depth).sum()


def test_synthetic_scenes_outdoors_are_seen_by_a_lidar():
    synthetic = pytest.importorskip("depth_completion_ros.training.held_out_scenes")
    samples = synthetic.open_synthetic("outdoor", 1)
    assert samples.profile.name == "lidar"
    assert np.isfinite(samples[0].frame.depth).mean() < 0.1 < np.isfinite(samples[0].ground_truth).mean()


def test_synthetic_scenes_need_a_known_kind_and_a_modelled_sensor():
    synthetic = pytest.importorskip("depth_completion_ros.training.held_out_scenes")
    with pytest.raises(ConfigurationError, match="tabletop"):
        synthetic.open_synthetic("moon", 1)
    with pytest.raises(ConfigurationError, match="kinect"):
        synthetic.open_synthetic("tabletop", 1, "sonar")
