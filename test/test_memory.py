"""Images must not be fetched from the kernel anew for every frame: that would cost more than most of the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys, threading
import numpy as np
from depth_completion_ros.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def frames():
    for _ in range(200):
        images = [np.full((480, 640), 1.0, np.float32) for _ in range(4)]

frames()  # the worker is not the main thread, so both are tried
thread = threading.Thread(target=frames)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(mode: str) -> int:
    run = [sys.executable, "-c", PROGRAM, mode]
    return int(
        subprocess.run(run, cwd=Path(__file__).parent.parent, capture_output=True, check=True, encoding="utf-8").stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_images_are_kept_for_the_next_frame():
    assert page_faults("keep") < page_faults("default") / 4
