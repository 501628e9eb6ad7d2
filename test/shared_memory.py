"""Shared memory that Fast DDS holds in /dev/shm, for tests that nothing of it stays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def present() -> set[str]:
    """The files that are there now, also of processes that were killed some time."""
    return {str(file) for file in Path("/dev/shm").glob("fast*")}


def held_by(processes: Iterable[int]) -> set[str]:
    """The files that these processes, by their ids, have mapped."""
    found = set()
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
        except OSError:  # it has ended
            continue
        found |= {line.split()[5] for line in lines if "/dev/shm/fast" in line and "(deleted)" not in line}
    return found


def left_behind(held: set[str], before: set[str]) -> set[str]:
    """Of the files that were held, those that are still there, were not ``before``, and that no process has mapped.

    Fast DDS shares its ports with whatever other participants run on this machine. If tests run in several processes,
    another test may kill such a participant, which leaves the port.
    """
    of_others = held_by(int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    left = held & present() - before - of_others
    return {file for file in left if "_port" not in file} if "PYTEST_XDIST_WORKER" in os.environ else left
