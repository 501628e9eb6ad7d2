"""Measures and trains on a GPU, unattended, most valuable first; README.md beside this says how to call it.

Each step is a process with a time limit of its own. ``results.json`` in --out is rewritten whenever one of them adds to
it, and whole or absent at any time.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import read_json, write_json
from settings import ROOT, Settings

_HERE = Path(__file__).resolve().parent
_GRACE_S = 12.0  # to end in after SIGTERM: a training saves itself
_POLL_S = 0.5
_TAIL = 4000  # characters of a failed step's log


@dataclass(frozen=True)
class Step:
    """limit_s: None as long as there is time. beside: runs beside the others, without a GPU. after: waits for this."""

    name: str
    limit_s: float | None
    beside: bool = False
    after: str = ""


STEPS = (
    Step("card", 90),
    Step("builds", 480, beside=True),
    Step("propagation", 120),
    Step("train", None),
    Step("portable", 180, after="builds"),
    Step("latency", 420, after="builds"),
    Step("floors", 120),
    Step("node30", 180, after="builds"),
)


class Runner:
    """Starts steps, ends those that are over their limit, and keeps the results."""

    def __init__(self, settings: Settings):
        self._settings = settings
        (settings.state / "steps").mkdir(parents=True, exist_ok=True)
        settings.out.mkdir(parents=True, exist_ok=True)
        self._status: dict[str, dict[str, Any]] = {}
        self._running: dict[str, tuple[subprocess.Popen[bytes], float, float]] = {}
        self._stopped = False

    def stop(self) -> None:
        """End what runs and begin nothing more."""
        self._stopped = True

    def run(self, steps: list[Step]) -> bool:
        """Run them in order, those that run beside the others from the start. Whether all came to their end."""
        for step in steps:
            self._status[step.name] = {"status": "not begun"}
        for step in steps:
            if step.beside:
                self._start(step)
        for step in steps:
            if not step.beside:
                self._wait(step.after)
                self._start(step)
                self._wait(step.name)
        for step in steps:
            self._wait(step.name)
        self._write()
        return all(status["status"] == "done" for status in self._status.values())

    def _start(self, step: Step) -> None:
        left = self._settings.left_s() - _GRACE_S
        if self._stopped or left <= 0:
            return
        limit = min(left, step.limit_s or left)
        command = [sys.executable, str(_HERE / "step.py"), step.name, self._settings.to_json()]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment["DEPTH_COMPLETION_ENGINES"] = str(self._settings.state / "engines")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        if step.beside:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        with self._log(step.name).open("wb") as log:
            # A session of its own, so that whatever it starts ends with it.
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self._running[step.name] = (process, time.monotonic(), limit)
        self._status[step.name] = {"status": "running", "limit_s": round(limit)}
        print(f"{step.name}: begun, at most {limit:.0f} s", flush=True)
        self._write()

    def _wait(self, name: str) -> None:
        """Until this one is not running, if it ever was; looks after all that run."""
        while name in self._running:
            for running in list(self._running):
                self._look_after(running)
            self._write()
            time.sleep(_POLL_S)

    def _look_after(self, name: str) -> None:
        process, started, limit = self._running[name]
        seconds = time.monotonic() - started
        over = seconds > limit or self._stopped
        if over and process.poll() is None:
            _end(process)
        if process.poll() is None:
            return
        del self._running[name]
        status = "cut off" if over else "failed" if process.returncode else "done"
        self._status[name] |= {"status": status, "seconds": round(seconds, 1)}
        if status != "done":
            self._status[name]["log"] = self._log(name).read_text(errors="replace")[-_TAIL:]
        print(f"{name}: {status} after {seconds:.0f} s", flush=True)

    def _log(self, name: str) -> Path:
        return self._settings.state / "steps" / f"{name}.log"

    def _write(self) -> None:
        steps = {
            name: {**status, "records": read_json(self._settings.state / "steps" / f"{name}.json", [])}
            for name, status in self._status.items()
        }
        write_json(self._settings.out / "results.json", {"settings": vars(self._settings), "steps": steps})


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a step and all that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> int:
    """Returns 0 when every step that was asked for is done, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [step.name for step in STEPS]
    add("--out", type=Path, required=True, help="folder for results.json and weights.tar")
    add("--state", type=Path, help="folder that a later run goes on from (default OUT/state)")
    add("--steps", default=",".join(names), help="with commas (default all)")
    add("--minutes", type=float, default=60.0, help="that all may take (default 60)")
    add("--networks", default="lite,nlspn,unet,s2ml,magaconv,fast_interpolation,srgan", help="best first")
    add("--train", default="lite,nlspn", help="networks to train, best first (default lite,nlspn)")
    add("--train-minutes", type=float, default=8.0, help="of each network (default 8)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all recipes; repeatable")
    add("--data", type=Path, help="recorded sets to train on too, as pack.sh carries them")
    add("--dry-run", action="store_true", help="all steps on the CPU with tiny sizes, to see that they run")
    args = parser.parse_args()
    chosen = args.steps.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no step {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    dry = args.dry_run
    settings = Settings(
        out=args.out.resolve(),
        state=(args.state or args.out / "state").resolve(),
        data=args.data and args.data.resolve(),
        networks=tuple(args.networks.split(",")[: 2 if dry else None]),
        trained=tuple(args.train.split(",")),
        sizes=("small",) if dry else ("small", "full"),
        images=((64, 96),) if dry else ((480, 640), (352, 1216)),
        minutes=args.train_minutes,
        changes=tuple(args.set),
        rounds=2 if dry else 200,
        seconds=1.0 if dry else 60.0,
        deadline=time.time() + 60 * args.minutes,
        dry=dry,
    )
    runner = Runner(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop())
    return 0 if runner.run([step for step in STEPS if step.name in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
