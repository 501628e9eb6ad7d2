"""A ROS process that ends cleanly: SIGINT and SIGTERM stop the executor, then every thread is joined."""

from __future__ import annotations

from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


def spin(make_node: Callable[[], Node], ros_arguments: list[str], close: Callable[[Node], None] | None = None) -> None:
    """Start rclpy, make one node, spin it until a signal or a shutdown from within, and put everything away.

    close: called with the node after spinning and before it is destroyed; it joins the node's threads. A thread that
    still used rclpy at shutdown would abort the process.
    """
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.ALL)
    node = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            executor.spin()
        finally:
            executor.shutdown()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            if close is not None:
                close(node)
            node.destroy_node()
        rclpy.try_shutdown()
