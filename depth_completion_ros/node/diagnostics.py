"""The node's status, published once a second on /diagnostics."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from .statistics import Statistics

# Drops in normal operation: they are counted, but do not raise the level to WARN.
_HARMLESS = {"no_listener", "unpaired"}


class Diagnostics:
    """Publishes one DiagnosticStatus; rates are averages since the last call.

    Its name and hardware_id contain the node's namespace, to distinguish several cameras.
    """

    def __init__(self, node: Node, statistics: Statistics, profile: str):
        self._node = node
        self._statistics = statistics
        self._profile = profile
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._counts: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._last = time.monotonic()

    def publish(self, engine: Any | None, engine_state: str, silent: list[str], holdout: float) -> None:
        """Publish the status.

        Args:
            engine: The engine in use; None while the node is not active.
            engine_state: The state of the engine loader, see ``EngineLoader.state``.
            silent: Lines that say what prevents pairs of messages.
            holdout: The share of the measurements that is hidden.
        """
        now, counts, drops = time.monotonic(), self._statistics.counts(), self._statistics.drops()
        problems = self._statistics.problems()
        seconds, new, new_drops = now - self._last, counts - self._counts, drops - self._drops
        warnings = (problems - self._problems).keys() - new_drops.keys()  # problems that did not drop a frame
        self._last, self._counts, self._drops, self._problems = now, counts, drops, problems

        values: dict[str, str] = {}
        for name in ("rgb", "depth", "pairs", "frames_out", "recalled"):
            values[f"{name}.rate_hz"] = f"{new[name] / seconds:.1f}"
            values[f"{name}.count"] = str(counts[name])
        values |= {f"dropped.{cause}": str(number) for cause, number in sorted(drops.items())}
        values |= {f"problem.{cause}": str(number) for cause, number in sorted(problems.items())}
        for stage, (p50, p95) in self._statistics.percentiles().items():
            values[f"{stage}.p50_ms"] = f"{p50:.2f}"
            values[f"{stage}.p95_ms"] = f"{p95:.2f}"
        values["profile"] = self._profile
        values["engine"] = engine.engine if engine is not None else "none"
        values["model"] = engine.model if engine is not None else "none"
        values["engine.state"] = engine_state
        values["holdout"] = f"{holdout:g}"
        values |= _memory(engine)

        worrying = {cause: number for cause, number in new_drops.items() if cause not in _HARMLESS}
        level, text = DiagnosticStatus.OK, f"{values['frames_out.rate_hz']} frames/s"
        if engine is None:
            text = "not active"
        elif silent:
            level, text = DiagnosticStatus.ERROR, "; ".join(silent)
        else:
            if worrying or warnings or engine_state.startswith("failed"):
                level = DiagnosticStatus.WARN
            causes = ", ".join(f"{number} {cause}" for cause, number in sorted(worrying.items()))
            text += f", dropped {causes}" if causes else ""
            text += f", warnings: {', '.join(sorted(warnings))}" if warnings else ""
            text += "" if engine_state == "ready" else f", {engine_state}"
            text += f", holdout {holdout:g}" if holdout else ""
        self._send(level, text, values)

    def _send(self, level: bytes, text: str, values: dict[str, str]) -> None:
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name()
        status = DiagnosticStatus(level=level, name=f"{name}: completion", message=text, hardware_id=name)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message.status = [status]
        self._publisher.publish(message)


def _memory(engine: Any | None) -> dict[str, str]:
    values = {}
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(("VmRSS", "VmHWM")):
                name, kilobytes = line.split()[:2]
                key = "memory.cpu_mb" if name == "VmRSS:" else "memory.cpu_peak_mb"
                values[key] = str(int(kilobytes) // 1024)
    device = engine.device_memory_bytes() if engine is not None else None
    values["memory.gpu_mb"] = "none" if device is None else str(device >> 20)
    return values
