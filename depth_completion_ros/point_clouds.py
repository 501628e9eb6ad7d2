"""Convert sensor_msgs/PointCloud2 to NumPy: points, and when each of them was measured. No ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InputError

_FIELD_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
# Fields with the time of a point, as the drivers of Ouster (t), Velodyne (time), Hesai, Robosense and Livox (timestamp)
# and others name them.
_TIME_FIELDS = ("t", "time", "timestamp", "time_stamp", "offset_time")
_LONGEST_SWEEP_S = 1.0  # times that differ by more have another unit, or mean something else
# Absolute times count from 1970. A float64 of this size [s] lies between 2001 and 2286, whatever its unit.
_ABSOLUTE_S = (1e9, 1e10)
_ABSOLUTE_UNITS = (1.0, 1e-3, 1e-6, 1e-9)


def decode_points(message: Any, unit: float = 0.0) -> np.ndarray:
    """Decode a sensor_msgs/PointCloud2 to (N, 3) float32 x y z [m] in its own frame.

    Points at the origin are left out, because LiDARs use them for beams without an echo.

    Args:
        message: The message.
        unit: Length of one unit of x, y and z [m]; 0 = metres, as REP 103 demands.

    Raises:
        InputError: With the cause "points" or "truncated".
    """
    return _echoes(_xyz(message, unit))[0]


def decode_timed_points(message: Any, unit: float = 0.0) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Decode points as ``decode_points``, and when they were measured.

    Times are read from the first of the fields t, time, timestamp, time_stamp and offset_time. Integers count
    nanoseconds. Floats are seconds, or since 1970 any of s, ms, µs and ns. Times that are not since 1970 are relative
    to the stamp of the message.

    Args:
        message: The message.
        unit: See ``decode_points``.

    Returns:
        The points (N, 3) float32 [m]; their times (N,) float32 [s] since the stamp of the message, or None if there are
        none that can be used; and why they cannot be used, or "".

    Raises:
        InputError: As ``decode_points``.
    """
    points, kept = _echoes(_xyz(message, unit))
    field = next((field for name in _TIME_FIELDS for field in message.fields if field.name == name), None)
    if field is None or not len(points):
        return points, None, ""
    return points, *_seconds(message, field, kept)


def _seconds(message: Any, field: Any, kept: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Times of the points with the indices ``kept`` (None = all) after the stamp of the message [s], or why not."""
    kind = _FIELD_TYPES.get(field.datatype)
    wrong = f"the times of the points in the field {field.name!r} are ignored, because"
    if kind not in ("i4", "u4", "f4", "f8"):
        return None, (
            f"{wrong} they have the datatype {field.datatype}: publish uint32 nanoseconds, or float32 or float64 "
            "seconds"
        )
    try:
        (values,) = _columns(message, [field])
    except InputError as error:
        return None, f"{wrong} {error}"
    values = values.ravel() if kept is None else values.ravel()[kept]
    if kind in ("i4", "u4"):
        seconds = values.astype(np.float32) * np.float32(1e-9)
    else:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        if not np.isfinite(values).all():
            return None, f"{wrong} some are NaN or infinite: check the driver"
        unit = _unit_since_1970(float(values[0]))
        if unit and kind == "f4":
            return None, f"{wrong} float32 cannot hold times since 1970: publish float64"
        seconds = (values * unit - stamp if unit else values).astype(np.float32)
    first, last = float(seconds.min()), float(seconds.max())
    if last - first > _LONGEST_SWEEP_S or max(abs(first), abs(last)) > _LONGEST_SWEEP_S:
        return None, (
            f"{wrong} they lie between {first:.4g} and {last:.4g} s after the stamp of the cloud, but a sweep lasts "
            f"at most {_LONGEST_SWEEP_S:g} s: check the unit of the field and the clock of the driver"
        )
    return seconds, ""


def _unit_since_1970(value: float) -> float:
    """The unit [s] of a time since 1970; 0 if it is none."""
    return next((unit for unit in _ABSOLUTE_UNITS if _ABSOLUTE_S[0] < value * unit < _ABSOLUTE_S[1]), 0.0)


def _xyz(message: Any, unit: float) -> np.ndarray:
    """The coordinates (3, N) float32 [m] of all points."""
    fields = {field.name: field for field in message.fields}
    try:
        wanted = [fields[name] for name in "xyz"]
        for name in "xyz":
            _FIELD_TYPES[fields[name].datatype]
    except KeyError as error:
        raise InputError(
            "points",
            f"the point cloud has fields {sorted(fields)}, but {error} is missing or has an unknown type: publish the "
            "fields x, y and z",
        ) from error
    columns = _columns(message, wanted)
    xyz = np.empty((3, columns[0].size), np.float32)
    for row, column in zip(xyz, columns, strict=True):
        row.reshape(column.shape)[...] = column
    if unit not in (0.0, 1.0):
        xyz *= np.float32(unit)
    return xyz


def _columns(message: Any, wanted: list[Any]) -> list[np.ndarray]:
    """Views of fields with known types, each (rows, points in a row)."""
    order = ">" if message.is_bigendian else "<"
    data = np.frombuffer(message.data, np.uint8)
    count, rows, row_step = message.width * message.height, message.height, message.row_step
    if rows == 1:  # some drivers leave row_step at 0, and it says nothing about a single row
        row_step = message.point_step * message.width
    if data.size < row_step * rows or row_step < message.point_step * message.width:
        raise InputError(
            "truncated",
            f"the point cloud has {data.size} bytes for {rows} rows of {message.width} points: row_step, point_step "
            "and data do not match; check its driver",
        )
    if count == 0:
        return [np.empty((0, 0)) for _ in wanted]
    names = [field.name for field in wanted]
    try:
        layout = np.dtype(
            {
                "names": names,
                "formats": [order + _FIELD_TYPES[field.datatype] for field in wanted],
                "offsets": [field.offset for field in wanted],
                "itemsize": message.point_step,
            }
        )
    except ValueError as error:
        raise InputError(
            "points",
            f"the fields {', '.join(names)} do not fit into a point of {message.point_step} bytes: check its driver",
        ) from error
    points = np.ndarray((rows, message.width), layout, data, strides=(row_step, message.point_step))
    return [points[name] for name in names]


def _echoes(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (N, 3) without those at the origin, and the indices of the others; None = all."""
    echo = (xyz[0] != 0) | (xyz[1] != 0) | (xyz[2] != 0)
    if echo.all():
        return xyz.T, None
    kept = np.flatnonzero(echo)
    return np.take(xyz, kept, axis=1).T, kept
