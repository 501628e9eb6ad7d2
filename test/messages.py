"""What the tests of messages share: containers of bytes, and decoding that must not touch them."""

from __future__ import annotations

import struct
import zlib
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st

from depth_completion_ros.errors import InputError

CONTAINERS = {
    "bytes": bytes,
    "array": lambda data: array("B", data),
    "numpy": lambda data: np.frombuffer(data, np.uint8).copy(),
}
containers = st.sampled_from(sorted(CONTAINERS))
sizes = st.integers(1, 9)


def unchanged(decode, message, *arguments):
    """The decoded array, after making sure that decoding left the message's bytes alone."""
    before = bytes(message.data)
    decoded = decode(message, *arguments)
    assert bytes(message.data) == before
    return decoded


def refusal(cause, decode, message):
    """The text of the InputError, which must have this cause."""
    with pytest.raises(InputError) as caught:
        decode(message)
    assert caught.value.cause == cause
    return str(caught.value)


def compressed(message_format, data, container="bytes"):
    return SimpleNamespace(format=message_format, data=CONTAINERS[container](data))


def png16(counts):
    """A 16-bit grey PNG by ISO/IEC 15948: signature, IHDR, one IDAT with unfiltered big-endian rows, IEND."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(counts[0]), len(counts), 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + struct.pack(f">{len(row)}H", *row) for row in counts)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
