"""The synchroniser against brute force and against every trouble that stamps and transport make."""

from __future__ import annotations

import itertools
import random

import pytest

from depth_completion_ros.synchronizer import JUMP_BACK_NS, Pair, Synchronizer, best_matching, why_unpaired

MS = 1_000_000
S = 1000 * MS
SLOP = 20 * MS
PERIOD = 33_333_333
START = 1_700_000_000 * S


def weight(pairs):
    return sum(SLOP + 1 - abs(rgb - depth) for rgb, depth in pairs)


# The best matching of two whole lists


def brute_force(rgb, depth, slop):
    """The largest (equal stamps, summed weight) over all order-preserving matchings, each tried."""
    best = (0, 0)
    for size in range(1, min(len(rgb), len(depth)) + 1):
        for some_rgb in itertools.combinations(rgb, size):
            for some_depth in itertools.combinations(depth, size):
                offsets = [abs(a - b) for a, b in zip(some_rgb, some_depth, strict=True)]
                if max(offsets) <= slop:
                    best = max(best, (offsets.count(0), sum(slop + 1 - offset for offset in offsets)))
    return best


def test_the_matching_is_the_optimum_of_ten_thousand_random_schedules():
    rng = random.Random(1)
    for _ in range(10_000):
        slop, span = rng.choice([0, 1, 5, 20]), rng.choice([6, 20, 60])
        rgb, depth = (sorted(rng.sample(range(span), rng.randint(0, 5))) for _ in range(2))
        matching = best_matching(rgb, depth, slop)
        assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(matching))
        offsets = [abs(rgb[i] - depth[j]) for i, j in matching]
        assert max(offsets, default=0) <= slop
        found = (offsets.count(0), sum(slop + 1 - offset for offset in offsets))
        assert found == brute_force(rgb, depth, slop), (rgb, depth, slop)


# Streams, as they arrive


def stream(rng, name, count, period=PERIOD, phase=0, jitter=0.0, drop=0.0, lag=0, transport=0):
    """(arrival, stream, stamp) of each message that arrives; times in ns, jitter in periods, transport: random lag."""
    messages = []
    for i in range(count):
        if rng.random() >= drop:
            stamp = START + phase + i * period + int(rng.uniform(-jitter, jitter) * period)
            messages.append((stamp + lag + rng.uniform(0, transport), name, stamp))
    return messages


class Played:
    """A schedule played into a Synchronizer in order of arrival; checks what must hold for every schedule there is."""

    def __init__(self, schedule, slop=SLOP, queue_size=10, jumps=False):
        self.synchronizer = Synchronizer(slop, queue_size)
        self.pairs, self.delays = [], []
        schedule = sorted(schedule)
        for number, (arrival, name, stamp) in enumerate(schedule):
            for pair in self.synchronizer.add(name, stamp, number):
                self.pairs.append(pair)
                self.delays.append(arrival - max(schedule[pair.rgb][0], schedule[pair.depth][0]))
        for role in ("rgb", "depth"):
            items = [getattr(pair, role) for pair in self.pairs]
            assert len(set(items)) == len(items), "a message was used twice"
            for item, pair in zip(items, self.pairs, strict=True):
                assert schedule[item][1:] == (role, getattr(pair, f"{role}_ns")), "a pair does not hold its message"
            stamps = [getattr(pair, f"{role}_ns") for pair in self.pairs]
            assert jumps or stamps == sorted(stamps), "pairs come out of order"
        assert all(abs(pair.rgb_ns - pair.depth_ns) <= slop for pair in self.pairs)
        before = sum(self.synchronizer.dropped.values())
        self.dropped = +self.synchronizer.dropped
        self.synchronizer.clear()
        self.waiting = sum(self.synchronizer.dropped.values()) - before
        assert not queue_size or self.waiting <= 2 * queue_size
        assert len(schedule) == 2 * len(self.pairs) + sum(self.dropped.values()) + self.waiting

    def stamps(self):
        return [(pair.rgb_ns, pair.depth_ns) for pair in self.pairs]


def optimum(schedule):
    rgb, depth = (sorted({stamp for _, name, stamp in schedule if name == role}) for role in ("rgb", "depth"))
    return [(rgb[i], depth[j]) for i, j in best_matching(rgb, depth, SLOP)]


@pytest.mark.parametrize("jitter", [0.0, 0.09])
@pytest.mark.parametrize("phase_ms", [*range(-14, 15), 20, 25, 30, 33])
def test_steady_streams_pair_every_message_at_once_at_any_phase(phase_ms, jitter):
    """Only the first pair may wait: no period is known yet. Half a period apart (left out) either partner is right."""
    for seed in range(5):
        rng = random.Random(seed)
        schedule = stream(rng, "rgb", 60, jitter=jitter / 2)
        schedule += stream(rng, "depth", 60, phase=phase_ms * MS, jitter=jitter / 2)
        played = Played(schedule)
        assert len(played.pairs) >= 59
        assert set(played.delays[1:]) == {0}


@pytest.mark.parametrize("lagging", ["rgb", "depth"])
@pytest.mark.parametrize("lag_ms", [0, 5, 10, 20])
def test_equal_stamps_are_paired_even_if_others_are_within_the_slop(lagging, lag_ms):
    """Depth at three times the rate: two of three lie 11 ms beside an image, one of them before the equal one."""
    rng = random.Random(0)
    schedule = stream(rng, "rgb", 60, lag=lag_ms * MS if lagging == "rgb" else 0)
    schedule += stream(rng, "depth", 180, PERIOD // 3, lag=lag_ms * MS if lagging == "depth" else 0)
    stamps = Played(schedule).stamps()
    assert len(stamps) == 60
    assert all(rgb == depth for rgb, depth in stamps[2:])


TROUBLES = {
    "none": ({}, {}, 0.98),
    "jitter": ({"jitter": 0.3}, {"jitter": 0.3}, 0.94),
    "drop-outs": ({"drop": 0.1}, {"drop": 0.1}, 0.98),
    "half lost": ({"drop": 0.5}, {"drop": 0.5}, 0.96),
    "rgb lags two periods": ({"lag": 2 * PERIOD}, {}, 0.98),
    "depth lags one and a half": ({}, {"lag": 3 * PERIOD // 2}, 0.98),
    "overtaking": ({"transport": 2 * PERIOD}, {"transport": 2 * PERIOD}, 0.9),
    "a third of the rate": ({}, {"period": 3 * PERIOD, "jitter": 0.05}, 0.98),
    "other rate": ({}, {"period": 40 * MS, "jitter": 0.02}, 0.98),
    "all at once": (
        {"jitter": 0.3, "drop": 0.2, "transport": 40 * MS},
        {"jitter": 0.3, "drop": 0.2, "transport": 2 * PERIOD},
        0.88,
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_online_pairing_is_close_to_the_offline_optimum(trouble):
    rgb, depth, least = TROUBLES[trouble]
    found = best = 0
    for seed in range(60):
        rng = random.Random(seed)
        schedule = stream(rng, "rgb", 60, **rgb)
        schedule += stream(
            rng, "depth", 60 * PERIOD // depth.get("period", PERIOD), phase=rng.randint(0, PERIOD), **depth
        )
        found += weight(Played(schedule).stamps())
        best += weight(optimum(schedule))
    assert found >= least * best


@pytest.mark.parametrize("lagging", ["rgb", "depth"])
@pytest.mark.parametrize("lag_ms", [0, 20, 40, 58, 66])
def test_a_lagging_stream_still_gets_its_nearest_partner(lagging, lag_ms):
    """Depth 20 ms after one image is 13 ms before the next: that one is its partner, even if it arrives much later."""
    rng = random.Random(0)
    schedule = stream(rng, "rgb", 60, lag=lag_ms * MS if lagging == "rgb" else 0)
    schedule += stream(rng, "depth", 60, phase=20 * MS, lag=lag_ms * MS if lagging == "depth" else 0)
    offsets = [abs(rgb - depth) for rgb, depth in Played(schedule).stamps()]
    assert len(offsets) >= 58
    assert max(offsets[1:]) < 14 * MS


def test_any_random_schedule_keeps_the_rules():
    """Stamps and arrivals without any order: what Played checks must hold, and most of what can pair does."""
    found = best = 0
    for seed in range(300):
        rng = random.Random(seed)
        schedule = []
        for name in ("rgb", "depth"):
            for _ in range(rng.randint(0, 30)):
                stamp = START + rng.randint(0, 1000) * MS
                schedule.append((stamp + rng.uniform(0, 50 * MS), name, stamp))
        found += len(Played(schedule, queue_size=rng.choice([1, 2, 10])).pairs)
        best += len(optimum(schedule))
    assert found > 0.75 * best
    for seed in range(100):
        rng = random.Random(seed)
        schedule = [(i, rng.choice(["rgb", "depth"]), rng.choice([0, 1, START, rng.randint(-S, S)])) for i in range(50)]
        Played(schedule, slop=rng.choice([0, 1, SLOP, 10 * S]), jumps=True)


# Clocks and recordings


def shifted(schedule, arrival, stamp):
    return [(when + arrival, name, at + stamp) for when, name, at in schedule]


@pytest.mark.parametrize("phase_ms", [0, 5, 12])
@pytest.mark.parametrize("length", [10, 60])
def test_each_loop_of_a_recording_loses_one_pair_at_most(length, phase_ms):
    rng = random.Random(0)
    once = stream(rng, "rgb", length) + stream(rng, "depth", length, phase=phase_ms * MS)
    loops = [shifted(once, loop * length * PERIOD, 0) for loop in range(10)]
    played = Played(list(itertools.chain(*loops)), jumps=True)
    assert len(played.pairs) >= 10 * (length - 1)


@pytest.mark.parametrize("jump", [3600 * S, 10 * S, -10 * S, -3600 * S])
def test_pairing_continues_after_a_clock_jump(jump):
    rng = random.Random(0)
    once = stream(rng, "rgb", 30) + stream(rng, "depth", 30, phase=5 * MS)
    again = shifted(once, 30 * PERIOD, 30 * PERIOD + jump)
    assert len(Played(once + again, jumps=True).pairs) >= 58


@pytest.mark.parametrize("jump", [-JUMP_BACK_NS // 2, -JUMP_BACK_NS, -JUMP_BACK_NS - 1])
def test_pairing_continues_after_a_clock_is_set_back_slightly(jump):
    """Too little to be told from messages overtaken: until the clock has caught up they are late, and no longer."""
    rng = random.Random(0)
    once = stream(rng, "rgb", 30) + stream(rng, "depth", 30, phase=5 * MS)
    again = shifted(once, 30 * PERIOD, 30 * PERIOD + jump)
    assert len(Played(once + again, jumps=True).pairs) >= 59 - JUMP_BACK_NS // PERIOD - 1


@pytest.mark.parametrize("glitch", [3 * 3600 * S, S, -S, -3 * 3600 * S])
@pytest.mark.parametrize("glitching", ["rgb", "depth"])
def test_one_wrong_stamp_costs_at_most_two_pairs(glitching, glitch):
    rng = random.Random(0)
    schedule = stream(rng, "rgb", 60) + stream(rng, "depth", 60, phase=5 * MS)
    broken = next(i for i, (_, name, at) in enumerate(schedule) if name == glitching and at > START + S)
    arrival, name, stamp = schedule[broken]
    schedule[broken] = (arrival, name, stamp + glitch)
    assert len(Played(schedule, jumps=True).pairs) >= 57


def test_streams_hours_apart_never_pair_and_do_not_pile_up():
    rng = random.Random(0)
    schedule = stream(rng, "rgb", 500) + shifted(stream(rng, "depth", 500), 0, 7200 * S)
    played = Played(schedule, queue_size=5)
    assert played.pairs == []
    assert played.waiting == 10
    assert set(played.dropped) == {"unpaired"}


def test_a_stream_that_stops_and_comes_back_pairs_again_at_once():
    rng = random.Random(0)
    rgb, depth = stream(rng, "rgb", 300), stream(rng, "depth", 300, phase=5 * MS)
    played = Played(rgb + depth[:100] + depth[200:])
    assert len(played.pairs) == 200
    assert set(played.delays[1:]) == {0}


def test_waiting_for_a_partner_ends():
    """The last image would rather have had a depth that was lost, the depth after it an image that never comes."""
    rng = random.Random(0)
    rgb, depth = stream(rng, "rgb", 20), stream(rng, "depth", 40, phase=20 * MS)
    played = Played(rgb + depth[:18] + depth[19:])
    assert played.stamps()[-1] == (rgb[19][2], depth[19][2])
    assert played.delays[-1] < 4 * PERIOD


def test_a_message_that_is_sent_twice_is_used_once():
    rng = random.Random(0)
    schedule = stream(rng, "rgb", 30) + stream(rng, "depth", 30, phase=5 * MS)
    played = Played(schedule + shifted(schedule, 1, 0))
    assert len(played.pairs) == 30
    assert played.dropped == {"duplicate_stamp": 60}


def test_messages_older_than_the_last_pair_are_dropped_as_late():
    synchronizer = Synchronizer(SLOP, 10)
    assert synchronizer.add("rgb", START + PERIOD, "b") == []
    assert len(synchronizer.add("depth", START + PERIOD, "b")) == 1
    assert synchronizer.add("rgb", START, "a") == []
    assert +synchronizer.dropped == {"late": 1}


def test_the_slop_may_change_between_messages():
    synchronizer = Synchronizer(SLOP, 10)
    synchronizer.slop_ns = MS
    for i in range(5):
        synchronizer.add("rgb", START + i * PERIOD, i)
        assert synchronizer.add("depth", START + i * PERIOD + 2 * MS, i) == []
    synchronizer.slop_ns = 3 * MS
    assert [pair.rgb for pair in synchronizer.add("rgb", START + 5 * PERIOD, 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("late", ["rgb", "depth"])
@pytest.mark.parametrize("lag_ms", [250, 500, 900])
def test_a_queue_sized_by_time_pairs_what_comes_up_to_a_second_late(late, lag_ms):
    """Rightly stamped, as of a stereo network or over WiFi; at any rate."""
    rng = random.Random(0)
    for period in (PERIOD, PERIOD // 3, 3 * PERIOD):
        both = {name: stream(rng, name, 60, period=period) for name in ("rgb", "depth")}
        both[late] = shifted(both[late], lag_ms * MS, 0)
        played = Played(both["rgb"] + both["depth"], queue_size=0)
        assert [rgb - depth for rgb, depth in played.stamps()] == [0] * 60


def test_a_queue_sized_by_time_keeps_no_more_than_a_second():
    rng = random.Random(0)
    played = Played(stream(rng, "rgb", 300) + shifted(stream(rng, "depth", 300), 0, 7200 * S), queue_size=0)
    assert played.pairs == [] and 2 * 30 <= played.waiting <= 2 * 32


def test_a_large_slop_does_not_pair_worse_partners_than_the_best():
    rng = random.Random(0)
    late = shifted(stream(rng, "depth", 60), 500 * MS, 0)
    played = Played(stream(rng, "rgb", 60) + late, queue_size=0, slop=600 * MS)
    assert [rgb - depth for rgb, depth in played.stamps()] == [0] * 60


# What is said where nothing pairs


def steady(count=60, period=PERIOD, phase=0):
    return [START + phase + i * period for i in range(count)]


@pytest.mark.parametrize("late", ["rgb", "depth"])
def test_delay_beyond_the_queue_is_reported_with_a_queue_size_that_works(late):
    """Half a second late: the queue is too short, and one of the length that is named pairs every message."""
    streams = {name: stream(random.Random(0), name, 60, lag=S // 2 if name == late else 0) for name in ("rgb", "depth")}
    schedule = sorted(streams["rgb"] + streams["depth"])
    arrived = [event for event in schedule if event[0] <= START + 60 * PERIOD]
    assert Played(arrived).pairs == []
    why = why_unpaired(*([at for _, name, at in arrived if name == role] for role in ("rgb", "depth")), SLOP, 10)
    assert f"{late} arrives 0.500 s after" in why and "slop" not in why
    assert f"sync.depth_offset to {'' if late == 'depth' else '-'}0.500" in why
    length = int(why.partition("sync.queue_size set to ")[2].split()[0])
    assert len(Played(schedule, queue_size=length).pairs) >= 59


@pytest.mark.parametrize(("queue_size", "period"), [(0, PERIOD), (0, PERIOD // 3), (10, PERIOD)])
def test_a_delay_shorter_than_the_queue_is_not_blamed_on_the_queue(queue_size, period):
    """One stream lost two seconds of messages, and is a little behind the other by then."""
    rgb, depth = steady(period=period), steady(period=period)
    lost = rgb[:10] + [stamp + 10 * MS for stamp in rgb[40:-2]]
    why = why_unpaired(lost, depth, 2 * MS, queue_size)
    assert "(lost, overrun)" in why and "queue_size" not in why and "clock" not in why


def test_stamps_between_each_other_are_reported_with_a_slop_that_works():
    rgb, depth = steady(period=100 * MS), steady(period=100 * MS, phase=45 * MS)
    why = why_unpaired(rgb, depth, SLOP, 0)
    assert "nearest stamps are 0.045 s apart, but sync.slop is 0.02 s" in why
    slop = int(float(why.rpartition("sync.slop to ")[2]) * S)
    assert best_matching(rgb, depth, slop)


@pytest.mark.parametrize(("offset_s", "offset"), [(-5, "5.000"), (5, "-5.000")])
def test_clocks_seconds_apart_are_said_to_differ(offset_s, offset):
    why = why_unpaired(steady(), steady(phase=offset_s * S), SLOP, 0)
    assert "5.000 s apart" in why and f"sync.depth_offset to {offset}" in why and "slop" not in why


@pytest.mark.parametrize("offset_s", [-7200, 7200])
def test_clocks_hours_apart_are_said_to_differ_without_an_offset_that_would_be_refused(offset_s):
    why = why_unpaired(steady(), steady(phase=offset_s * S), SLOP, 0)
    assert "7200.000 s apart" in why and why.endswith("their clocks differ: use one clock for both")


def test_one_message_of_each_stream_is_enough_for_an_explanation():
    assert "0.100 s apart" in why_unpaired([START], [START + 100 * MS], SLOP, 0)


# message_filters behind the same interface


@pytest.fixture
def message_filters():
    pytest.importorskip("message_filters", reason="message_filters comes with ROS; there is no wheel of it")
    from depth_completion_ros.node.message_filters_synchronizer import MessageFiltersSynchronizer

    return MessageFiltersSynchronizer


@pytest.mark.ros
def test_changed_slop_applies_with_message_filters(message_filters):
    synchronizer = message_filters(20 * MS, 10)
    assert synchronizer.add("rgb", 1000 * MS, "a") == [] and synchronizer.add("depth", 1030 * MS, "b") == []
    synchronizer.slop_ns = 40 * MS
    assert synchronizer.slop_ns == 40 * MS
    assert synchronizer.add("rgb", 1031 * MS, "c") == [Pair(1031 * MS, 1030 * MS, "c", "b")]


@pytest.mark.ros
def test_drops_of_message_filters_are_counted(message_filters):
    """Every message is paired, held, or dropped under a cause."""
    synchronizer = message_filters(20 * MS, 5)
    pairs = []
    stamps = [*range(0, 1000, 33), 990, 990, *range(100, 800, 33)]
    for number, stamp in enumerate(stamps):
        pairs += synchronizer.add("rgb", (10_000 + stamp) * MS, number)
        if number % 3 == 0:
            pairs += synchronizer.add("depth", (10_000 + stamp) * MS, number)
    given = len(stamps) + len(range(0, len(stamps), 3))
    dropped = synchronizer.dropped
    assert given == 2 * len(pairs) + sum(dropped.values()) + synchronizer._held()
    assert dropped["unpaired"] > 10 and dropped["duplicate_stamp"] >= 1 and synchronizer.jumps == 1
    assert pairs[-1].rgb_ns > 10_600 * MS, "pairing goes on after the jump"
