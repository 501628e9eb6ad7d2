"""The tests run on their own checkout, and their ROS nodes communicate only on this machine, in their own domain."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Not the option `pythonpath`: the pytest of ROS 2 Humble does not know it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from depth_completion_ros.node.environment import prepare_ros_environment

prepare_ros_environment()
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)

# Commands that a shell starts in the background ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each of the processes that share the tests has one core
else:
    # Exported networks, once for all of these processes.
    network_files = tempfile.TemporaryDirectory(prefix="network_files_")
    os.environ["NETWORK_FILES"] = network_files.name

# The same examples in every run and on every machine, however slow.
slow = [HealthCheck.too_slow]
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=60, suppress_health_check=slow)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary home directory: your own networks do not change the tests, and your home stays unchanged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in (
            "XDG_CACHE_HOME",
            "ROS_HOME",
            "ROS_LOG_DIR",
            "DEPTH_COMPLETION_MODELS",
            "DEPTH_COMPLETION_ENGINES",
        ):
            patch.delenv(name, raising=False)
        yield
