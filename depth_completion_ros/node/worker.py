"""The worker thread: takes the newest pair, decodes it, completes depth and publishes it, whatever errors occur."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import numpy as np

from ..completer import DepthCompleter
from ..engines import Engine, Progress, open_engine
from ..engines.classical import ClassicalEngine
from ..errors import ConfigurationError, EngineError, InputError
from ..frame import CompletedDepth, RgbdFrame
from ..memory import return_freed_memory
from ..profiles import Profile
from .engine_loader import EngineLoader
from .frames import FrameBuilder, MessagePair
from .mailbox import Mailbox
from .outputs import Outputs
from .parameters import NodeParameters
from .statistics import Statistics

# An engine that fails twice within this time is not opened again; the classical engine keeps serving.
_REOPEN_AFTER_S = 60.0
_POLL_PERIOD_S = 0.02  # while waiting for the first frame


class Worker:
    """Owns the completer and its thread, which starts on construction.

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
        self._completer = DepthCompleter(self._profile(), self._classical())
        self.loader = EngineLoader(self._load, lambda message: statistics.report("engine", message))
        self.request_engine()
        self._thread = threading.Thread(target=self._run, name="completion_worker")
        self._thread.start()

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._completer.engine

    def request_engine(self) -> None:
        """Load the engine and model that the parameters select. The current engine serves until they are ready."""
        self.loader.request(self._parameters["engine"], self._parameters["model"])

    def close(self) -> None:
        """Finish the current frame, join the thread and release the engines."""
        self.mailbox.close()
        self._thread.join()
        self.loader.close()
        self._completer.close()

    def _run(self) -> None:
        _warm_up(self._completer, self._outputs.buffers(480, 640))
        while not self.mailbox.closed:
            pair = self.mailbox.take()
            if pair is None:
                continue
            self._take_new_engine()
            try:
                self._process(pair)
            except InputError as error:
                self._statistics.drop(error.cause, str(error))
            except EngineError as error:  # the classical engine failed, and there is no engine behind it
                self._statistics.drop("engine", str(error))
            except Exception as error:  # one frame must never end the node
                self._statistics.drop("internal", f"an internal error of this node dropped a frame: {error!r}")

    def _process(self, pair: MessagePair) -> None:
        if not self._outputs.wanted():
            self._statistics.drop("no_listener")
            if not self._last_informed:
                self._inform_once("pairs arrive; depth is completed as soon as an output has a subscriber")
            return
        age = (self._now_ns() - pair.stamp_ns) * 1e-9
        if 0 < self._parameters["max_age"] < age:
            raise InputError(
                "too_old",
                f"a frame is {age:.3f} s old, which exceeds max_age: check whether this machine is overloaded or the "
                "clocks differ",
            )
        started = time.monotonic()
        frame = self._builder.build(pair)
        self._frame_size = frame.rgb.shape[:2]
        decoded = time.monotonic()
        completed = self._complete(frame)
        done = time.monotonic()
        self._outputs.publish(
            completed, frame.rgb, pair.rgb.header, pair.rgb_info, frame.intrinsics, self._parameters["output.encoding"]
        )
        published = time.monotonic()

        self._statistics.count("frames_out")
        self._inform_once(
            f"completing {_size(frame.rgb)} pixels from depth of {_size(frame.depth)} with {self.engine.model} "
            f"(engine {self.engine.engine})"
        )
        for stage, milliseconds in completed.timings_ms.items():
            self._statistics.time(stage, milliseconds)
        for stage, seconds in {
            "wait": started - pair.received,
            "decode": decoded - started,
            "publish": published - done,
            "latency": published - pair.received,
            "age": (self._now_ns() - pair.stamp_ns) * 1e-9,
        }.items():
            self._statistics.time(stage, seconds * 1e3)

    def _inform_once(self, line: str) -> None:
        """Log a line unless it is the one that was logged last."""
        if line != self._last_informed:
            self._last_informed = line
            self._inform(line)

    def _complete(self, frame: RgbdFrame) -> CompletedDepth:
        self._completer.profile = self._profile()
        self._completer.fill_only = self._parameters["fill_only"]
        self._completer.min_confidence = self._parameters["min_confidence"]
        buffers = self._outputs.buffers(*frame.rgb.shape[:2])
        try:
            return self._completer.complete(frame, buffers)
        except EngineError as error:
            self._replace_failed_engine(error)
            return self._completer.complete(frame, buffers)

    def _replace_failed_engine(self, error: EngineError) -> None:
        """Switch to the classical engine, and open the failed one again unless it failed recently."""
        again = time.monotonic() - self._last_failure > _REOPEN_AFTER_S
        self._last_failure = time.monotonic()
        self._statistics.report(
            "engine", f"{error}; the classical engine takes over" + (" while it is opened again" if again else "")
        )
        failed, self._completer.engine = self._completer.engine, self._classical()
        failed.close()
        if again:
            self.request_engine()

    def _take_new_engine(self) -> None:
        if (engine := self.loader.take()) is not None:
            previous, self._completer.engine = self._completer.engine, engine
            previous.close()
            del previous
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
                _warm_up(DepthCompleter(self._profile(), opened), CompletedDepth.empty(*self._frame_size))
        except Exception:
            opened.close()
            raise
        return opened

    def _classical(self) -> Engine:
        return open_engine("classical", profile=self._profile(), threads=self._parameters["threads"])

    def _profile(self) -> Profile:
        return Profile.from_parameters(self._parameters.as_dict())


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _warm_up(completer: DepthCompleter, out: CompletedDepth) -> None:
    """Complete artificial frames: the first calls take several times as long, which would delay the first real ones."""
    rgb = np.zeros((*out.depth.shape, 3), np.uint8)
    depth = np.full(out.depth.shape, completer.profile.max_range / 2, np.float32)
    depth[::8] = np.nan
    for _ in range(3):
        completer.complete(RgbdFrame(rgb, depth), out)
