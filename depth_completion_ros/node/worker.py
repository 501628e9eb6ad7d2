"""The thread that completes: takes the newest pair, decodes, completes and publishes, and survives whatever comes."""

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

# An engine that fails twice within this time stays replaced by the classical one.
_REOPEN_AFTER_S = 60.0
_WAIT_S = 0.02  # between looks for the first frame


class Worker:
    """Owns the completer and its thread.

    now_ns: the node's clock, for the age of frames [ns]. inform: called with a line at the first frame, and whenever
    the size of the frames or what completes them changes.
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
        self._told = ""
        self._last_failure = -_REOPEN_AFTER_S
        self._frame_size: tuple[int, int] | None = None  # height, width of the last one
        self._completer = DepthCompleter(self._profile(), self._classical())
        self.loader = EngineLoader(self._load, lambda message: statistics.report("engine", message))
        self.request_engine()
        self._thread = threading.Thread(target=self._run, name="completion_worker")
        self._thread.start()

    @property
    def engine(self) -> Engine:
        """The engine that serves now."""
        return self._completer.engine

    def request_engine(self) -> None:
        """Load the engine and model that the parameters name; the present one serves until it is ready."""
        self.loader.request(self._parameters["engine"], self._parameters["model"])

    def close(self) -> None:
        """End the thread, after the frame in hand, and let the engines go."""
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
            except EngineError as error:  # of the classical engine, after which there is none
                self._statistics.drop("engine", str(error))
            except Exception as error:  # one frame must never end the node
                self._statistics.drop("internal", f"a frame was lost to an error in the node itself: {error!r}")

    def _process(self, pair: MessagePair) -> None:
        if not self._outputs.wanted():
            self._statistics.drop("no_listener")
            if not self._told:
                self._tell("pairs arrive; depth is completed once somebody subscribes to an output")
            return
        age = (self._now_ns() - pair.stamp_ns) * 1e-9
        if 0 < self._parameters["max_age"] < age:
            raise InputError(
                "too_old",
                f"a frame is {age:.3f} s old, over max_age: is this machine overloaded, or are the clocks apart?",
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
        self._tell(
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

    def _tell(self, line: str) -> None:
        """Once, until there is something else to tell."""
        if line != self._told:
            self._told = line
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
        """The classical engine takes over; the failed one is opened again, but not over and over."""
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
        """An engine that may serve, warm for frames like the last one; with a network it waits for the first."""
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
                    f"the weights of {opened.model} are random, so its depth is not published: name a trained model, "
                    "or set allow_untrained true to try this one all the same"
                )
            # Only a frame tells the size, and a network may take seconds to be compiled for it.
            while self._frame_size is None and opened.engine != ClassicalEngine.engine:
                progress("waiting for the first frame", 1.0)
                time.sleep(_WAIT_S)
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
    """Complete made-up frames: the first ones take several times as long, which would cost the first real ones."""
    rgb = np.zeros((*out.depth.shape, 3), np.uint8)
    depth = np.full(out.depth.shape, completer.profile.max_range / 2, np.float32)
    depth[::8] = np.nan
    for _ in range(3):
        completer.complete(RgbdFrame(rgb, depth), out)
