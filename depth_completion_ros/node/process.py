"""Run a ROS node in a process that ends cleanly: SIGINT and SIGTERM stop spinning, then all threads are joined."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from ..errors import ConfigurationError
from .environment import has_ended

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_PERIOD_S = 0.1


def spin(make_node: Callable[[], Any], ros_arguments: list[str], exit_with: int | None = None) -> None:
    """Initialise rclpy, spin one node until a signal or a shutdown, then close the node and shut rclpy down.

    Args:
        make_node: Makes the node. Its method ``close`` must join all its threads, because a thread that uses rclpy
            after the shutdown aborts the process.
        ros_arguments: Arguments for rclpy.
        exit_with: Process ID; when that process has ended, stop as after a signal.

    Raises:
        ConfigurationError: If the ROS arguments or a parameter file cannot be read.
    """
    # The signal handlers of rclpy would shut down its context while threads still use it, and a second Ctrl-C (on
    # Ctrl-C in a terminal, ros2 launch sends another SIGINT) would interrupt the cleanup.
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    except (RuntimeError, ValueError) as error:  # the message of rcl contains the file and the line
        raise ConfigurationError(f"the ROS arguments cannot be used: {error}") from error
    node = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            # Not executor.spin(): a shutdown just before it starts waiting would never wake it.
            while rclpy.ok() and not stop.is_set() and not (exit_with is not None and has_ended(exit_with)):
                executor.spin_once(timeout_sec=_POLL_PERIOD_S)
        finally:
            executor.shutdown()
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        for number in _SIGNALS:  # Python restores the default handlers at exit, and those would kill the process
            signal.signal(number, signal.SIG_IGN)
