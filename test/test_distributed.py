"""``evaluate --workers`` and ``--scheduler``, and evaluations that go on where they were interrupted."""

from __future__ import annotations

import functools
import json
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs Dask: pip install 'depth_completion_ros[cluster]'")

import distributed
from frame_sets import write_set

from depth_completion_ros.cli import main
from depth_completion_ros.commands.evaluate import UNFINISHED
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.evaluation import evaluate as evaluate_module
from depth_completion_ros.evaluation.distributed import RECORDING, evaluate_on_workers
from depth_completion_ros.evaluation.evaluate import Evaluation

FILES = ("evaluation.csv", "totals.csv")


@pytest.fixture
def sets(tmp_path):
    names = ("one", "two", "three")
    for name in names:
        write_set(tmp_path / name, name=name)
    return [str(tmp_path / name) for name in names]


def arguments(sets, out, *more):
    return ["evaluate", *sets, "--models", "nearest,guided", "--protocol", "sparse5,blocks", "--out", str(out), *more]


def results_in(folder):
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}


def test_workers_give_the_results_of_one_process(sets, tmp_path, capsys):
    assert main(arguments(sets, tmp_path / "here")) == 0
    here = capsys.readouterr().out
    assert main(arguments(sets, tmp_path / "workers", "--workers", "2")) == 0
    assert results_in(tmp_path / "workers") == results_in(tmp_path / "here")
    assert capsys.readouterr().out.replace("workers", "here") == here
    assert not (tmp_path / "workers" / UNFINISHED).exists()


def interrupt_in(name, monkeypatch):
    """Interrupt evaluations when they come to a set; returns the names of all sets that are scored."""
    scored, score = [], evaluate_module._score

    def interrupted(evaluation, completers, samples, *rest):
        scored.append(samples.name)
        if samples.name == name:
            raise KeyboardInterrupt
        score(evaluation, completers, samples, *rest)

    monkeypatch.setattr(evaluate_module, "_score", interrupted)
    return scored


def test_an_interrupted_evaluation_goes_on_where_it_stopped(sets, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_in("three", patch)
        assert main(arguments(sets, tmp_path / "out")) == 130
    with monkeypatch.context() as patch:
        scored = interrupt_in("", patch)
        assert main(arguments(sets, tmp_path / "out")) == 0
        assert set(scored) == {"three"}
    assert "2 of 3 recordings were evaluated before" in capsys.readouterr().err
    assert main(arguments(sets, tmp_path / "at once")) == 0
    assert results_in(tmp_path / "out") == results_in(tmp_path / "at once")
    assert not (tmp_path / "out" / UNFINISHED).exists()


@pytest.mark.parametrize("change", ["recording", "option"])
def test_results_are_not_used_again_after_a_change(sets, tmp_path, monkeypatch, change):
    with monkeypatch.context() as patch:
        interrupt_in("three", patch)
        assert main(arguments(sets, tmp_path / "out")) == 130
    if change == "recording":
        os.utime(Path(sets[0]) / "meta.json", (1, 1))
    scored = interrupt_in("", monkeypatch)
    assert main(arguments(sets, tmp_path / "out", *(["--seed", "1"] if change == "option" else []))) == 0
    assert set(scored) == ({"one", "three"} if change == "recording" else {"one", "two", "three"})


def test_a_recording_that_fails_is_listed_and_the_others_are_evaluated():
    good = functools.partial(Evaluation, notes={"good": "fine"})
    finished = []
    result = evaluate_on_workers(
        {"bad": functools.partial(operator.truediv, 1, 0), "good": good},
        workers=1,
        finished=lambda name, one: finished.append(name),
    )
    assert result.failures == {("bad", RECORDING): "division by zero"} and result.notes == {"good": "fine"}
    assert finished == ["good"] and result.complete


def test_a_scheduler_that_cannot_be_reached_is_reported_with_a_fix(monkeypatch):
    monkeypatch.setattr("depth_completion_ros.evaluation.distributed._CONNECT_S", "1s")
    with pytest.raises(ConfigurationError, match="dask scheduler"):
        evaluate_on_workers({"one": Evaluation}, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="has no port"):
        evaluate_on_workers({"one": Evaluation}, scheduler="10.0.0.5")


@pytest.mark.parametrize("options", [("--workers", "-1"), ("--workers", "2", "--scheduler", "tcp://127.0.0.1:9")])
def test_options_without_a_meaning_are_rejected(sets, tmp_path, options, capsys):
    assert main(arguments(sets, tmp_path / "out", *options)) == 1
    assert "--workers" in capsys.readouterr().err


def slow(name: str, folder: str) -> Evaluation:
    """A task that leaves a file with the number of its process."""
    (Path(folder) / f"{name}.{os.getpid()}").touch()
    time.sleep(0.5)
    return Evaluation(notes={name: "done"})


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler with two workers, which are processes of their own."""
    file, processes = tmp_path / "scheduler.json", []
    # The workers import this file, for its tasks.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}

    def start(kind: str, *options: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        )

    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    for _ in range(2):
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path / "scratch"))
        start("worker", "--scheduler-file", str(file), "--host", "127.0.0.1", *options)
    try:
        end = time.monotonic() + 60
        while not file.is_file() and time.monotonic() < end:
            time.sleep(0.05)
        address = json.loads(file.read_text(encoding="utf-8"))["address"]
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_tasks_of_a_worker_that_dies_run_on_another_one(scheduler, tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    killed = []

    def kill_one() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
            if len({file.suffix for file in files}) == 2:
                killed.append(int(files[-1].suffix[1:]))  # has just begun with a task
                os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        names = [str(number) for number in range(8)]
        result = evaluate_on_workers(
            {name: functools.partial(slow, name, str(folder)) for name in names}, scheduler=scheduler
        )
    finally:
        thread.join()
    assert killed, "both workers had tasks"
    assert result.notes == dict.fromkeys(names, "done") and not result.failures and list(result.notes) == names
    assert len(list(folder.iterdir())) > len(names)  # a task was run again


CTRL_C = """
import os, signal
import depth_completion_ros.evaluation.distributed as distributed
from depth_completion_ros.cli import main

def interrupt(*arguments, **options):
    os.killpg(0, signal.SIGINT)  # a terminal sends it to all processes

distributed.Progress = interrupt
raise SystemExit(main({arguments}))
"""


def test_ctrl_c_in_a_terminal_ends_the_workers_without_a_traceback(sets, tmp_path):
    program = CTRL_C.format(arguments=arguments(sets, tmp_path / "out", "--workers", "2"))
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, start_new_session=True)
    assert process.returncode == 130
    assert "Traceback" not in process.stderr
