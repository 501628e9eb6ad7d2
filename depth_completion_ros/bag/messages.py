"""Make, serialise and restamp ROS messages without ROS, using the message definitions of rosbags."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rosbags.typesys import Stores, get_typestore

from ..frame import Intrinsics

# The oldest supported distribution; the sensor messages of later ones are the same.
TYPESTORE = get_typestore(Stores.ROS2_HUMBLE)

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TF = "tf2_msgs/msg/TFMessage"

_HEADER = "std_msgs/msg/Header"
# Fields of a point in order: name, NumPy type, number of the type in PointField.
_POINT_FIELDS = (("x", "f4", 7), ("y", "f4", 7), ("z", "f4", 7), ("intensity", "f4", 7), ("ring", "u2", 4))
_STAMP_OFFSET = 4  # CDR starts with four bytes about its encoding; the stamp of the header is the first field


class BagMessage(NamedTuple):
    """One recorded message: topic, type, time of recording [ns] and serialised data (CDR)."""

    topic: str
    type: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class Topic:
    """One topic of a bag. latched: whether its durability was transient local, as for /tf_static."""

    name: str
    type: str
    count: int
    latched: bool


def header(stamp_ns: int, frame_id: str) -> Any:
    """Make a std_msgs/Header."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    time = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return TYPESTORE.types[_HEADER](stamp=time, frame_id=frame_id)


def image(head: Any, encoding: str, pixels: np.ndarray) -> Any:
    """Make a sensor_msgs/Image from pixels (H, W) or (H, W, channels) in native byte order."""
    pixels = np.ascontiguousarray(pixels)
    return TYPESTORE.types[IMAGE](
        header=head,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.strides[0],
        data=pixels.reshape(-1).view(np.uint8),
    )


def compressed_image(head: Any, image_format: str, data: bytes) -> Any:
    """Make a sensor_msgs/CompressedImage from an encoded image."""
    return TYPESTORE.types[COMPRESSED_IMAGE](header=head, format=image_format, data=np.frombuffer(data, np.uint8))


def camera_info(head: Any, intrinsics: Intrinsics) -> Any:
    """Make the sensor_msgs/CameraInfo of a rectified image, without distortion."""
    i = intrinsics
    return TYPESTORE.types[CAMERA_INFO](
        header=head,
        height=i.height,
        width=i.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([i.fx, 0, i.cx, 0, i.fy, i.cy, 0, 0, 1], np.float64),
        r=np.eye(3).ravel(),
        p=np.array([i.fx, 0, i.cx, 0, 0, i.fy, i.cy, 0, 0, 0, 1, 0], np.float64),
        binning_x=0,
        binning_y=0,
        roi=TYPESTORE.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def transform(head: Any, child_frame_id: str, pose: np.ndarray) -> Any:
    """Make a tf2_msgs/TFMessage from the pose (7,) of a frame in that of the header: x y z [m] qx qy qz qw."""
    types, numbers = TYPESTORE.types, [float(number) for number in pose]
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=head,
        child_frame_id=child_frame_id,
        transform=types["geometry_msgs/msg/Transform"](
            translation=types["geometry_msgs/msg/Vector3"](*numbers[:3]),
            rotation=types["geometry_msgs/msg/Quaternion"](*numbers[3:]),
        ),
    )
    return types[TF]([stamped])


def point_cloud(head: Any, points: np.ndarray) -> Any:
    """Make a sensor_msgs/PointCloud2 from points (N, 5) float32: x y z [m], intensity, ring (stored as uint16)."""
    packed = np.empty(len(points), [(name, dtype) for name, dtype, _ in _POINT_FIELDS])
    for column, (name, _, _) in enumerate(_POINT_FIELDS):
        packed[name] = points[:, column]
    field = TYPESTORE.types["sensor_msgs/msg/PointField"]
    return TYPESTORE.types[POINT_CLOUD](
        header=head,
        height=1,
        width=len(packed),
        fields=[
            field(name=name, offset=4 * column, datatype=number, count=1)
            for column, (name, _, number) in enumerate(_POINT_FIELDS)
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=packed.itemsize,
        row_step=packed.nbytes,
        data=packed.view(np.uint8),
        is_dense=bool(np.isfinite(points).all()),
    )


def serialize(message: Any) -> bytes:
    """Serialise a message that was made in this module to CDR."""
    return bytes(TYPESTORE.serialize_cdr(message, message.__msgtype__))


def deserialize(data: bytes, type_name: str) -> Any:
    """Deserialise a message from CDR."""
    return TYPESTORE.deserialize_cdr(data, type_name)


def has_header(type_name: str) -> bool:
    """Whether messages of this type begin with a std_msgs/Header."""
    if type_name not in TYPESTORE.fielddefs:
        return False
    _, fields = TYPESTORE.fielddefs[type_name]
    return bool(fields) and fields[0][1][1] == _HEADER


def stamp_of(data: bytes) -> int:
    """The stamp [ns] of a serialised message that begins with a header."""
    seconds, nanoseconds = struct.unpack_from(_stamp_format(data), data, _STAMP_OFFSET)
    return seconds * 1_000_000_000 + nanoseconds


def with_stamp(data: bytes, stamp_ns: int) -> bytes:
    """A copy of a serialised message that begins with a header, with another stamp [ns]."""
    restamped = bytearray(data)
    struct.pack_into(_stamp_format(data), restamped, _STAMP_OFFSET, *divmod(stamp_ns, 1_000_000_000))
    return bytes(restamped)


def shifted(data: bytes, type_name: str, shift_ns: int) -> bytes:
    """A copy of a serialised message whose stamps are later by a time [ns]: that of its header, or those of its poses.

    A message without a stamp is returned unchanged.
    """
    if has_header(type_name):
        return with_stamp(data, stamp_of(data) + shift_ns)
    if type_name != TF:
        return data
    message = deserialize(data, type_name)
    for stamped in message.transforms:
        stamp = stamped.header.stamp
        stamped.header = header(stamp.sec * 1_000_000_000 + stamp.nanosec + shift_ns, stamped.header.frame_id)
    return serialize(message)


def _stamp_format(data: bytes) -> str:
    """The struct format of a stamp: int32 seconds, uint32 nanoseconds, in the byte order of the message."""
    return "<iI" if data[1] & 1 else ">iI"
