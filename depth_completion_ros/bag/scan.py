"""Read incomplete recordings: truncated ones, and those without metadata.yaml, an index or some of their files.

Each storage file is read from its start, without an index or lengths stored at its end, so that every complete message
in it is found. ``problems`` says what is missing.
"""

from __future__ import annotations

import itertools
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import yaml
from rosbags.rosbag2.reader import zstd
from rosbags.rosbag2.storage_mcap import decompress

from .messages import BagMessage, Topic

STORAGE_SUFFIXES = (".mcap", ".db3")
_COMPRESSED_SUFFIX = ".zstd"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # differs from CDR, which starts with a zero byte
_ENCODING = "cdr"  # of the messages of ROS 2
_TRANSIENT_LOCAL = (1, "transient_local")


class Channel(NamedTuple):
    """One topic in one storage file. qos: the offered QoS profiles as YAML."""

    topic: str
    type: str
    qos: str


class Place(NamedTuple):
    """The location of a message: time of recording [ns], channel, and position in the storage file."""

    log_ns: int
    channel: int
    where: Any


class StorageScan(Protocol):
    """The contents of one storage file.

    Attributes:
        channels: Topics with messages of ROS 2, by number.
        places: Messages.
        problem: What is missing; "" if it is complete.
        other_encodings: Encodings of messages that are not those of ROS 2, which are left out.
    """

    channels: dict[int, Channel]
    places: list[Place]
    problem: str
    other_encodings: set[str]

    def data(self, place: Place) -> bytes:
        """The stored bytes of a message."""


class ScannedBag:
    """All complete messages of a recording in order of time.

    Args:
        path: A folder, or one storage file.

    Attributes:
        topics: Topics by name, with the number of complete messages.
        start_ns: Recorded time of the first complete message [ns].
        end_ns: Recorded time of the last complete message [ns].
        problems: What is missing, in words; empty if the recording is complete.
        other_encodings: Encodings of messages that are not those of ROS 2, which are left out.
    """

    def __init__(self, path: Path):
        self._stack = ExitStack()
        files, self.problems, announced = _storage_files(path) if path.is_dir() else ([path], [], None)
        scans, names = [], []
        try:
            for file in files:
                try:
                    scans.append(self._scan(file))
                    names.append(file.name)
                except (OSError, ValueError) as error:
                    self.problems.append(f"{file.name} cannot be read ({error})")
        except BaseException:
            self.close()
            raise
        self.problems += [scan.problem for scan in scans if scan.problem]
        self.other_encodings = sorted({encoding for scan in scans for encoding in scan.other_encodings})
        if self.other_encodings:
            self.problems.append(f"messages encoded as {', '.join(self.other_encodings)} are left out")
        self._found = [(place, scan) for scan in scans for place in scan.places if place.channel in scan.channels]
        self._found.sort(key=lambda found: found[0].log_ns)
        self.problems += _overlaps(names, scans) if announced is None else []
        if announced not in (None, len(self._found)):
            self.problems.append(f"metadata.yaml lists {announced} messages")
        self.topics: dict[str, Topic] = {}
        for scan in scans:
            for number, channel in scan.channels.items():
                count = sum(place.channel == number for place in scan.places)
                known = self.topics.get(channel.topic)
                self.topics[channel.topic] = Topic(
                    channel.topic, channel.type, count + (known.count if known else 0), is_latched(channel.qos)
                )
        self.start_ns = self._found[0][0].log_ns if self._found else 0
        self.end_ns = self._found[-1][0].log_ns if self._found else 0

    def __len__(self) -> int:
        return len(self._found)

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        """The messages of these topics (None = all topics) in recorded order."""
        for place, scan in self._found:
            channel = scan.channels[place.channel]
            if topics is None or channel.topic in topics:
                data = scan.data(place)
                # Recorders can compress each message, which only metadata.yaml would say.
                data = zstd.decompress(data) if data.startswith(_ZSTD_MAGIC) else data
                yield BagMessage(channel.topic, channel.type, place.log_ns, data)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _scan(self, file: Path) -> StorageScan:
        if file.suffix == _COMPRESSED_SUFFIX:
            file = self._decompressed(file)
        if not file.stat().st_size and not _beside(file, "-wal").exists():
            raise ValueError("it is empty")
        if file.suffix not in STORAGE_SUFFIXES:
            raise ValueError("it is not a .mcap or .db3 file")
        return (McapScan if file.suffix == ".mcap" else SqliteScan)(file, self._stack)

    def _decompressed(self, file: Path) -> Path:
        """A decompressed copy of a storage file, up to where it can be decompressed."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        copy = folder / file.stem
        with file.open("rb") as compressed, zstd.open(compressed, "rb") as source, copy.open("wb") as target:
            try:
                shutil.copyfileobj(source, target)
            except (EOFError, zstd.ZstdError):
                self.problems.append(f"{file.name} can only be decompressed in part")
        return copy


class McapScan:
    """Reads an MCAP file (mcap.dev/spec) without its index. The place of a message is (chunk, begin, end)."""

    _MAGIC = b"\x89MCAP0\r\n"
    _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 3, 4, 5, 6, 15

    def __init__(self, path: Path, stack: ExitStack):
        self.channels: dict[int, Channel] = {}
        self.places: list[Place] = []
        self.problem = ""
        self.other_encodings: set[str] = set()
        self._types: dict[int, str] = {}
        self._file = _mapped(path, stack)
        if self._file[:8] != self._MAGIC:
            raise ValueError("it does not start like an MCAP file")
        self._chunk = lru_cache(maxsize=8)(self._decompressed)  # messages of neighbouring chunks can be interleaved
        damaged, whole = 0, False
        self._length = len(self._file) if self._file[-8:] == self._MAGIC else _without_zeros(self._file)
        for opcode, begin, end in self._records(self._file, 8, self._length):
            if opcode == self._DATA_END:
                whole = True
                break
            if opcode != self._CHUNK:
                self._take(opcode, self._file, begin, end, None)
                continue
            try:
                chunk = self._chunk(begin)
                for inner_opcode, inner_begin, inner_end in self._records(chunk, 0, len(chunk)):
                    self._take(inner_opcode, chunk, inner_begin, inner_end, begin)
            except Exception:  # each decompressor raises its own types
                damaged += 1
        if damaged:
            self.problem = f"{damaged} chunks of {path.name} are damaged or truncated"
        if not whole:
            self.problem = f"{path.name} has no end: its recorder was killed, or it was truncated"
        elif not self.problem and self._file[-8:] != self._MAGIC:
            self.problem = f"the index at the end of {path.name} is missing or damaged"

    def data(self, place: Place) -> bytes:
        chunk, begin, end = place.where
        return (self._file if chunk is None else self._chunk(chunk))[begin:end]

    def _records(self, data: Any, position: int, size: int) -> Iterator[tuple[int, int, int]]:
        """(opcode, begin, end) of every complete record, and of the existing part of a truncated chunk."""
        while position + 9 <= size:
            opcode, length = data[position], int.from_bytes(data[position + 1 : position + 9], "little")
            position += 9
            if opcode == 0 or (position + length > size and opcode != self._CHUNK):
                return
            yield opcode, position, min(position + length, size)
            position += length

    def _take(self, opcode: int, data: Any, begin: int, end: int, chunk: int | None) -> None:
        if opcode == self._MESSAGE:
            channel, log_ns = struct.unpack_from("<H4xQ", data, begin)
            self.places.append(Place(log_ns, channel, (chunk, begin + 22, end)))
        elif opcode == self._SCHEMA:
            (number,) = struct.unpack_from("<H", data, begin)
            self._types[number], _ = _string(data, begin + 2)
        elif opcode == self._CHANNEL:
            number, schema = struct.unpack_from("<HH", data, begin)
            topic, position = _string(data, begin + 4)
            encoding, position = _string(data, position)
            if encoding != _ENCODING:
                self.other_encodings.add(encoding)
                return
            position, metadata = position + 4, {}
            while position < end:
                key, position = _string(data, position)
                metadata[key], position = _string(data, position)
            self.channels[number] = Channel(
                topic, self._types.get(schema, ""), metadata.get("offered_qos_profiles", "")
            )

    def _decompressed(self, begin: int) -> bytes:
        """The records of the chunk at ``begin``; those that exist if it is truncated and not compressed."""
        size, crc = struct.unpack_from("<QI", self._file, begin + 16)
        kind, position = _string(self._file, begin + 28)
        (length,) = struct.unpack_from("<Q", self._file, position)
        data = self._file[position + 8 : min(position + 8 + length, self._length)]
        return data if not kind and len(data) < size else decompress(data, kind, size, crc)


class SqliteScan:
    """Reads the rosbag2 tables in an SQLite file (sqlite.org/fileformat2.html) and its write-ahead log page by page.

    The tree above the pages is not used, because a truncated file lacks a part of it. The place of a message is
    (page, offset).
    """

    MAGIC = b"SQLite format 3\0"
    _LEAF = 13
    _INTEGERS: ClassVar = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # serial type: bytes

    def __init__(self, path: Path, stack: ExitStack):
        self.channels: dict[int, Channel] = {}
        self.problem = ""
        self.other_encodings: set[str] = set()  # SQLite files are only written by ROS 2
        self._file, log = _mapped(path, stack), _mapped(_beside(path, "-wal"), stack)
        if self._file and self._file[:16] != self.MAGIC:
            raise ValueError("it does not start like an SQLite file")
        self._size = _page_size(log[8:12] if log else self._file[16:18])
        if self._size < 512:
            raise ValueError("it is not an SQLite file")
        self._logged = dict(self._logged_pages(log))  # positions in the log of newer versions of pages
        self._log = log
        self._count = len(self._file) // self._size
        if self._count != int.from_bytes(self._file[28:32], "big"):
            self._count = _without_zeros(self._file) // self._size
        if not self._count and 1 not in self._logged:
            raise ValueError("it is truncated within its first page")
        self._usable = self._size - self._page(1)[20]
        found: dict[int, Place] = {}
        lost = 0
        for number in self._leaves():
            for offset in self._cells(self._page(number)):
                try:
                    row, place = self._row(number, offset)
                except (IndexError, UnicodeDecodeError):
                    lost += 1
                    continue
                if place is not None:
                    found[row] = place
        self.places = sorted(found.values(), key=lambda place: place.log_ns)
        expected = int.from_bytes(self._page(1)[28:32], "big")
        if self._count < expected and not log:
            self.problem = f"{path.name} is truncated: it has {self._count} of {expected} pages"
        elif lost:
            self.problem = f"{lost} rows of {path.name} are damaged"
        elif log or _beside(path, "-journal").exists():
            self.problem = f"{path.name} was not closed: its recorder was killed"

    def data(self, place: Place) -> bytes:
        payload, _ = self._payload(*place.where)
        return payload[self._columns(payload)[3][1] :]

    def _page(self, number: int) -> bytes:
        """A page by its number, starting at 1. Raises IndexError if it does not exist."""
        if number in self._logged:
            begin = self._logged[number]
            return self._log[begin : begin + self._size]
        if not 1 <= number <= self._count:
            raise IndexError(f"there is no page {number}")
        return self._file[(number - 1) * self._size : number * self._size]

    def _logged_pages(self, log: Any) -> Iterator[tuple[int, int]]:
        """Numbers and positions of the pages in a write-ahead log; later ones replace earlier ones."""
        for begin in range(32, len(log) - self._size - 23, self._size + 24):
            if log[begin + 8 : begin + 16] != log[16:24]:
                return  # the rest is from an earlier use of the log
            yield int.from_bytes(log[begin : begin + 4], "big"), begin + 24

    def _leaves(self) -> list[int]:
        """The pages that may contain rows. Pages that continue a row begin with a page number, and thus with a zero."""
        kinds = np.frombuffer(self._file, np.uint8, self._count * self._size)[:: self._size]
        numbers = {1, *self._logged, *(np.flatnonzero(kinds == self._LEAF) + 1).tolist()}
        return [number for number in sorted(numbers) if self._cells(self._page(number))]

    def _cells(self, page: bytes) -> list[int]:
        """Offsets of the rows in a page; empty if it is not a table leaf. The first page has the file header too."""
        header = 100 if page.startswith(self.MAGIC) else 0
        if page[header] != self._LEAF:
            return []
        count = int.from_bytes(page[header + 3 : header + 5], "big")
        pointers = page[header + 8 : header + 8 + 2 * count]
        return [int.from_bytes(pointers[i : i + 2], "big") for i in range(0, len(pointers), 2)]

    def _row(self, number: int, offset: int) -> tuple[int, Place | None]:
        """Read one row. A row of the topics table is added to ``channels``.

        Returns:
            The number of the row, and its place if it is a message (else None).

        Raises:
            IndexError: If a part of the row is missing.
        """
        payload, row = self._payload(number, offset)
        columns = self._columns(payload)
        kinds = [kind for kind, _, _ in columns]
        if len(kinds) == 4 and kinds[1] in self._INTEGERS and kinds[2] in self._INTEGERS and _is_blob(kinds[3]):
            topic, log_ns = (self._integer(payload, *column) for column in columns[1:3])
            return row, Place(log_ns, topic, (number, offset))
        if len(kinds) >= 4 and all(_is_text(kind) for kind in kinds[1:]):
            texts = [payload[begin:end].decode() for _, begin, end in columns[1:]]
            if texts[2] == _ENCODING:
                self.channels[row] = Channel(texts[0], texts[1], texts[3] if len(texts) > 3 else "")
        return row, None

    def _payload(self, number: int, offset: int) -> tuple[bytes, int]:
        """The bytes of a row from its page and overflow pages, and the number of the row."""
        page, usable = self._page(number), self._usable
        length, offset = _varint(page, offset)
        row, offset = _varint(page, offset)
        most, least = usable - 35, (usable - 12) * 32 // 255 - 23
        local = length
        if length > most:
            local = least + (length - least) % (usable - 4)
            local = local if local <= most else least
        parts, left = [page[offset : offset + local]], length - local
        following = int.from_bytes(page[offset + local : offset + local + 4], "big")
        while left > 0:
            page = self._page(following)
            parts.append(page[4 : 4 + min(left, usable - 4)])
            left -= usable - 4
            following = int.from_bytes(page[:4], "big")
        return b"".join(parts), row

    def _columns(self, payload: bytes) -> list[tuple[int, int, int]]:
        """(serial type, begin, end) of each column."""
        position, columns = 0, []
        begin, position = _varint(payload, position)
        end_of_header = begin
        while position < end_of_header:
            kind, position = _varint(payload, position)
            length = self._INTEGERS.get(kind, 8 if kind == 7 else max(0, kind - 12) // 2)
            columns.append((kind, begin, begin + length))
            begin += length
        if begin != len(payload):
            raise IndexError
        return columns

    def _integer(self, payload: bytes, kind: int, begin: int, end: int) -> int:
        return kind - 8 if kind in (8, 9) else int.from_bytes(payload[begin:end], "big", signed=True)


def is_storage(file: Path) -> bool:
    """Whether a file is named like a storage file of a recording, which may be compressed."""
    return (file.with_suffix("") if file.suffix == _COMPRESSED_SUFFIX else file).suffix in STORAGE_SUFFIXES


def is_finished(path: Path) -> bool:
    """Whether an SQLite file has all its pages and neither a log nor a journal. Other files count as finished.

    rosbags would open an unfinished file without reading the log or noticing missing pages.
    """
    logs = [_beside(path, suffix) for suffix in ("-wal", "-journal")]
    if any(log.exists() and log.stat().st_size for log in logs):
        return False
    with path.open("rb") as file:
        head = file.read(32)
    if not head.startswith(SqliteScan.MAGIC):
        return True
    return path.stat().st_size >= _page_size(head[16:18]) * int.from_bytes(head[28:32], "big")


def is_latched(qos: str) -> bool:
    """Whether one of these QoS profiles (YAML, as stored in bags) is transient local."""
    try:
        return any(profile.get("durability") in _TRANSIENT_LOCAL for profile in yaml.safe_load(qos) or [])
    except (yaml.YAMLError, AttributeError, TypeError):
        return False


def _storage_files(folder: Path) -> tuple[list[Path], list[str], int | None]:
    """Find the storage files in the folder of a recording, by its metadata.yaml if there is one.

    Returns:
        The files, the problems in words, and the number of messages in metadata.yaml (None if it cannot be read).
    """
    there = [file for file in folder.iterdir() if is_storage(file)]
    there.sort(key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)])
    metadata = folder / "metadata.yaml"
    if not metadata.exists():
        return there, ["metadata.yaml is missing"], None
    try:
        information = yaml.safe_load(metadata.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        listed = [folder / Path(name).name for name in information["relative_file_paths"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return there, ["metadata.yaml cannot be read"], None
    problems = [f"{file.name} is missing" for file in listed if not file.exists()]
    if not information.get("storage_identifier"):
        problems.append("storage_identifier in metadata.yaml is empty")
    existing = [file for file in listed if file.exists()]
    return existing or there, problems, information.get("message_count")  # a file may have been renamed


def _overlaps(names: list[str], scans: list[StorageScan]) -> list[str]:
    """A problem in words for each two files that overlap in time, which the files of one recording do not."""
    spans = sorted(
        (min(times), max(times), name)
        for name, scan in zip(names, scans, strict=True)
        if (times := [place.log_ns for place in scan.places])
    )
    return [
        f"{first[2]} and {second[2]} were recorded at the same time, so they may be different recordings: give one of "
        "the files"
        for first, second in itertools.pairwise(spans)
        if first[1] - second[0] > min(first[1] - first[0], second[1] - second[0]) / 2
    ]


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _mapped(path: Path, stack: ExitStack) -> Any:
    """The bytes of a file, memory-mapped; slices are copies. Empty if the file does not exist or is empty."""
    if not path.exists() or not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return stack.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))


def _without_zeros(data: Any) -> int:
    """The length of a file without zeros at its end, which a power cut can leave instead of the written data."""
    end = len(data)
    while end:
        block = data[max(0, end - 65536) : end]
        if kept := len(block.rstrip(b"\0")):
            return end - len(block) + kept
        end -= len(block)
    return 0


def _string(data: Any, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", data, position)
    end = position + 4 + length
    return data[position + 4 : end].decode(), end


def _page_size(field: bytes) -> int:
    size = int.from_bytes(field, "big")
    return 65536 if size == 1 else size


def _varint(data: Any, position: int) -> tuple[int, int]:
    """A variable-length integer of SQLite and the position after it.

    Each byte has seven bits, and its highest bit says whether more bytes follow; the ninth byte has eight bits.
    """
    value = 0
    for index in range(9):
        byte = data[position + index]
        if index == 8:
            return value << 8 | byte, position + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + index + 1
    raise AssertionError


def _is_text(kind: int) -> bool:
    return kind >= 13 and kind % 2 == 1


def _is_blob(kind: int) -> bool:
    return kind >= 12 and kind % 2 == 0
