"""A ROS process that ends cleanly: SIGINT and SIGTERM end the spinning, then every thread is joined."""

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
_LOOK_UP_S = 0.1


def spin(make_node: Callable[[], Any], ros_arguments: list[str], exit_with: int | None = None) -> None:
    """Start rclpy, make one node, spin it until a signal or a shutdown from within, and put everything away.

    exit_with: end as by a signal once the process of this number has ended, however it did.

    The node's ``close`` joins its threads: one that still used rclpy at shutdown would abort the process.

    Raises ConfigurationError where the ROS arguments or a parameter file cannot be read.
    """
    # rclpy's own handlers would end its context while threads still use it, and a second Ctrl-C (ros2 launch sends one
    # more than the terminal) would break off the putting away.
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    except (RuntimeError, ValueError) as error:  # rcl names the file and the line
        raise ConfigurationError(f"the ROS arguments cannot be used: {error}") from error
    node = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            # Not executor.spin(): a shutdown just before it begins to wait would never wake it.
            while rclpy.ok() and not stop.is_set() and not (exit_with is not None and has_ended(exit_with)):
                executor.spin_once(timeout_sec=_LOOK_UP_S)
        finally:
            executor.shutdown()
    except ExternalShutdownException:
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        for number in _SIGNALS:  # as it ends, Python would put back the default, which kills
            signal.signal(number, signal.SIG_IGN)
