"""The worker threads: take the newest pair, decode it, complete depth and publish it, whatever errors occur."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..completer import DepthCompleter
from ..engines import Engine, Progress, open_engine
from ..engines.classical import ClassicalEngine
from ..errors import ConfigurationError, EngineError, InputError
from ..frame import CompletedDepth, RgbdFrame
from ..frame_builder import FrameBuilder, FrameSettings, MessagePair
from ..holdout import period_of, without_hidden
from ..memory import return_freed_memory
from ..profiles import Profile
from ..smoothing import DepthSmoother
from ..temporal import TemporalMemory, TemporalSettings
from .engine_loader import EngineLoader
from .in_flight import InFlight
from .mailbox import Mailbox
from .outputs import Outputs, ResultMessages
from .parameters import NodeParameters
from .statistics import Statistics

# An engine that fails twice within this time is not opened again; the classical engine keeps serving.
_REOPEN_AFTER_S = 60.0
# Two frames with one thread each take less time than one after the other with two threads, but each takes longer. This
# is worth it for an engine that would otherwise not complete 30 frames per second beside the other work for a frame.
_FAST_ENOUGH_S = 0.02
_MOST_CONCURRENT_FRAMES = 2
_POLL_PERIOD_S = 0.02  # while waiting for the first frame


class _Job(NamedTuple):
    """A frame that is being completed.

    held: the measurements that are hidden from it, None = none; number: its place in the order; started, decoded,
    recalled: times [s].
    """

    pair: MessagePair
    frame: RgbdFrame
    held: np.ndarray | None
    engine: Engine
    number: int
    started: float
    decoded: float
    recalled: float


class Worker:
    """Owns the engine and the threads that complete frames, which start on construction.

    Each thread takes a pair, decodes it and completes it. Only one thread takes at a time, so the frames are numbered
    in the order of their pairs, and they are published in that order. The engine decides how many frames are completed
    at the same time.

    Args:
        parameters: The node's parameters.
        statistics: Counts frames, drops, problems and timings.
        builder: Builds frames from messages.
        outputs: Publishes the results.
        now_ns: Returns the time of the node's clock [ns], for the age of frames.
        inform: Called with a log line at the first frame, and whenever the frame size, model or engine changes.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        statistics: Statistics,
        builder: FrameBuilder,
        outputs: Outputs,
        now_ns: Callable[[], int],
        inform: Callable[[str], object],
    ):
        self.mailbox: Mailbox[MessagePair] = Mailbox()
        self._parameters = parameters
        self._statistics = statistics
        self._builder = builder
        self._outputs = outputs
        self._now_ns = now_ns
        self._inform = inform
        self._last_informed = ""
        self._last_failure = -_REOPEN_AFTER_S
        self._frame_size: tuple[int, int] | None = None  # height and width of the last frame
        self._engine = self._classical()
        self._failed_engines: list[Engine] = []  # to be closed when no thread uses them any more
        self._in_flight = InFlight()
        self._hidden: tuple[float, int] | None = None  # the holdout of the last frame, and the period of its blocks
        self._memory = TemporalMemory(report=functools.partial(statistics.report, "temporal"))
        self._smoother = DepthSmoother()
        self._taking = threading.Lock()
        self._recovering = threading.Lock()
        self.loader = EngineLoader(self._load, lambda message: statistics.report("engine", message))
        self.request_engine()
        self._threads = [
            threading.Thread(target=self._run, name="completion_worker")
            for _ in range(parameters["concurrent_frames"] or _MOST_CONCURRENT_FRAMES)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._engine

    def request_engine(self) -> None:
        """Load the engine and model that the parameters select. The current engine serves until they are ready."""
        self.loader.request(self._parameters["engine"], self._parameters["model"])

    def close(self) -> None:
        """Finish the current frames, join the threads and release the engines."""
        self.mailbox.close()
        for thread in self._threads:
            thread.join()
        self.loader.close()
        for engine in (*self._failed_engines, self._engine):
            engine.close()

    def _run(self) -> None:
        completer = DepthCompleter(self._profile(), self._engine)
        messages = ResultMessages(480, 640)
        with self._taking:
            _warm_up(completer, messages.completed)
        while not self.mailbox.closed:
            job = None
            with self._taking, self._errors_counted():
                job = self._take()
            if job is None:
                continue
            try:
                with self._errors_counted():
                    size = job.frame.rgb.shape[:2]
                    if messages.size != size:
                        messages = ResultMessages(*size)
                    completed = self._complete(job, completer, messages.completed)
                    done = time.monotonic()
                    self._in_flight.wait_for_turn(job.number)
                    self._smoother.smooth(completed, job.frame, self._smoothing())
                    self._publish(job, messages)
                    self._count(job, completed, done)
            finally:
                self._in_flight.leave(job.number)

    @contextmanager
    def _errors_counted(self) -> Iterator[None]:
        """Count a frame that raises as dropped: one frame must never end the node."""
        try:
            yield
        except InputError as error:
            self._statistics.drop(error.cause, str(error))
        except EngineError as error:  # the classical engine failed, and there is no engine behind it
            self._statistics.drop("engine", str(error))
        except Exception as error:
            self._statistics.drop("internal", f"an internal error of this node dropped a frame: {error!r}")

    def _take(self) -> _Job | None:
        """Wait for the next pair and decode it; None if it is not wanted, or at the end."""
        self._in_flight.wait_until_fewer_than(self._engine.concurrency)
        pair = self.mailbox.take()
        if pair is None:
            return None
        self._take_new_engine()
        if not self._outputs.wanted():
            self._statistics.drop("no_listener")
            if not self._last_informed:
                self._inform_once("pairs arrive; depth is completed as soon as an output has a subscriber")
            return None
        age = (self._now_ns() - pair.stamp_ns) * 1e-9
        if 0 < self._parameters["max_age"] < age:
            raise InputError(
                "too_old",
                f"a frame is {age:.3f} s old, which exceeds max_age: check whether this machine is overloaded or the "
                "clocks differ",
            )
        started = time.monotonic()
        self._builder.settings = FrameSettings.from_parameters(self._parameters.as_dict())
        frame = self._builder.build(pair)
        self._frame_size = frame.rgb.shape[:2]
        decoded = time.monotonic()
        frame, held = self._without_hidden(frame)
        frame = self._with_recalled(frame)
        return _Job(pair, frame, held, self._engine, self._in_flight.enter(), started, decoded, time.monotonic())

    def _without_hidden(self, frame: RgbdFrame) -> tuple[RgbdFrame, np.ndarray | None]:
        """The frame without the measurements that ``holdout`` hides, and these; None if it is 0."""
        share = self._parameters["holdout"]
        hidden = (share, period_of(frame.stamp_ns)) if share else None
        if hidden != self._hidden:
            self._memory.clear()  # it knows what is measured where the blocks are now
            if hidden is not None and (self._hidden is None or self._hidden[0] != share):
                self._statistics.report(
                    "holdout",
                    f"holdout is {share:g}: this share of the measurements is hidden from completion and published on "
                    "~/holdout, so depth is worse than it could be. Set holdout to 0 unless you evaluate",
                    throttled=False,
                )
            self._hidden = hidden
        return without_hidden(frame, self._profile(), share) if share else (frame, None)

    def _with_recalled(self, frame: RgbdFrame) -> RgbdFrame:
        """The frame with the depth that earlier frames measured."""
        self._memory.settings = TemporalSettings(
            self._parameters["temporal.motion"], self._parameters["temporal.max_age"]
        )
        try:
            return self._memory.recall(frame, self._profile())
        except InputError:
            raise
        except Exception as error:  # a frame without memory is better than no frame
            self._memory.clear()
            self._statistics.report("temporal", f"an internal error of this node ended the memory: {error!r}")
            return frame

    def _complete(self, job: _Job, completer: DepthCompleter, out: CompletedDepth) -> CompletedDepth:
        completer.engine = job.engine
        completer.profile = self._profile()
        completer.fill_only = self._parameters["fill_only"]
        completer.min_confidence = self._parameters["min_confidence"]
        completer.working_pixels = self._parameters["working_pixels"]
        try:
            return completer.complete(job.frame, out)
        except EngineError as error:
            with self._recovering:  # the classical engine completes one frame at a time
                if job.engine is self._engine:
                    self._replace_failed_engine(error)
                completer.engine = self._engine
                return completer.complete(job.frame, out)

    def _smoothing(self) -> str:
        smoothing = self._parameters["temporal.smoothing"]
        return "filled" if smoothing == "all" and self._parameters["fill_only"] else smoothing

    def _publish(self, job: _Job, messages: ResultMessages) -> None:
        header, info = job.pair.rgb.header, job.pair.rgb_info
        self._outputs.publish(messages, job.frame, job.held, header, info, self._parameters["output.encoding"])

    def _count(self, job: _Job, completed: CompletedDepth, done: float) -> None:
        """Count a published frame and its timings; done is the time when it was completed [s]."""
        published = time.monotonic()
        self._statistics.count("frames_out")
        if completed.recalled is not None:
            self._statistics.count("recalled")
        self._inform_once(
            f"completing {_size(job.frame.rgb)} pixels from depth of {_size(job.frame.depth)} with {self.engine.model} "
            f"(engine {self.engine.engine})"
        )
        for stage, milliseconds in completed.timings_ms.items():
            self._statistics.time(stage, milliseconds)
        for stage, seconds in {
            "wait": job.started - job.pair.received,
            "decode": job.decoded - job.started,
            "recall": job.recalled - job.decoded,
            "publish": published - done,
            "latency": published - job.pair.received,
            "age": (self._now_ns() - job.pair.stamp_ns) * 1e-9,
        }.items():
            self._statistics.time(stage, seconds * 1e3)

    def _inform_once(self, line: str) -> None:
        """Log a line unless it is the one that was logged last."""
        if line != self._last_informed:
            self._last_informed = line
            self._inform(line)

    def _replace_failed_engine(self, error: EngineError) -> None:
        """Switch to the classical engine, and open the failed one again unless it failed recently."""
        again = time.monotonic() - self._last_failure > _REOPEN_AFTER_S
        self._last_failure = time.monotonic()
        self._statistics.report(
            "engine", f"{error}; the classical engine takes over" + (" while it is opened again" if again else "")
        )
        self._failed_engines.append(self._engine)
        self._engine = self._classical()
        if again:
            self.request_engine()

    def _take_new_engine(self) -> None:
        """Change to an engine that has become ready, and close engines that are not used any more."""
        engine = self.loader.take()
        if engine is None and not self._failed_engines:
            return
        self._in_flight.wait_until_fewer_than(1)
        unused, self._failed_engines = self._failed_engines, []
        if engine is not None:
            unused.append(self._engine)
            self._engine = engine
        for old in unused:
            old.close()
        del unused, old
        return_freed_memory()

    def _load(self, engine: str, model: str, progress: Progress) -> Engine:
        """Open an engine and warm it up for the frame size; with a network, wait for the first frame to know it.

        Raises:
            ConfigurationError: If the weights are random and ``allow_untrained`` is false.
        """
        opened = open_engine(
            engine,
            model,
            profile=self._profile(),
            threads=self._parameters["threads"],
            progress=progress,
            warn=functools.partial(self._statistics.report, "engine", throttled=False),
        )
        try:
            if not (opened.trained or self._parameters["allow_untrained"]):
                raise ConfigurationError(
                    f"the weights of {opened.model} are random, so its depth is not published: set model to a trained "
                    "one, or set allow_untrained true to try this one anyway"
                )
            # Compiling a network for an image size can take seconds, and only a frame tells the size.
            while self._frame_size is None and opened.engine != ClassicalEngine.engine:
                progress("waiting for the first frame", 1.0)
                time.sleep(_POLL_PERIOD_S)
            if self._frame_size is not None:
                self._prepare(opened, *self._frame_size)
        except Exception:
            opened.close()
            raise
        return opened

    def _prepare(self, engine: Engine, height: int, width: int) -> None:
        """Warm an engine up for a frame size, and let it complete several frames at the same time if that is needed."""
        completer = DepthCompleter(self._profile(), engine, working_pixels=self._parameters["working_pixels"])
        out = CompletedDepth.empty(height, width)
        frames = self._parameters["concurrent_frames"]
        fastest = _warm_up(completer, out)
        if frames == 0 and fastest > _FAST_ENOUGH_S:
            frames = min(_MOST_CONCURRENT_FRAMES, self._parameters["threads"] or len(os.sched_getaffinity(0)))
        if frames > 1:
            engine.allow_concurrency(frames)
            _warm_up(completer, out)

    def _classical(self) -> Engine:
        return open_engine("classical", profile=self._profile(), threads=self._parameters["threads"])

    def _profile(self) -> Profile:
        return Profile.from_parameters(self._parameters.as_dict())


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _warm_up(completer: DepthCompleter, out: CompletedDepth) -> float:
    """Complete artificial frames: the first calls take several times as long, which would delay the first real ones.

    Returns:
        The shortest time that a frame took [s].
    """
    rgb = np.zeros((*out.depth.shape, 3), np.uint8)
    depth = np.full(out.depth.shape, completer.profile.max_range / 2, np.float32)
    depth[::8] = np.nan
    times = [time.perf_counter()]
    while len(times) <= 3 or (len(times) <= 10 and times[-1] - times[0] < 0.1):
        completer.complete(RgbdFrame(rgb, depth), out)
        times.append(time.perf_counter())
    return float(np.diff(times).min())
