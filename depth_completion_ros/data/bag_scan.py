"""Recordings that are not whole, read as far as they are: cut off, without metadata.yaml or index, with a file gone.

Each storage file is read from its start, without trusting an index or a length written at its end; every message that
lies in it whole is found. What is missing is told in ``problems``.
"""

from __future__ import annotations

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
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # CDR begins with a zero byte
_TRANSIENT_LOCAL = (1, "transient_local")


class Channel(NamedTuple):
    """One topic of one storage file. qos: the offered QoS profiles as YAML."""

    topic: str
    type: str
    qos: str


class Place(NamedTuple):
    """Where a message lies: when it was recorded [ns], of which channel, and what the file needs to find it."""

    log_ns: int
    channel: int
    where: Any


class StorageScan(Protocol):
    """What was found in one storage file. problem: what is missing of it, or ""."""

    channels: dict[int, Channel]
    places: list[Place]
    problem: str

    def data(self, place: Place) -> bytes:
        """The message's bytes as they are stored."""


class ScannedBag:
    """Every whole message of a recording, in the order of time. path: a folder or one storage file.

    topics: by name, their counts those of the messages found. start_ns, end_ns: of the first and the last of them.
    problems: what is missing, in words; empty for a recording that is whole.
    """

    def __init__(self, path: Path):
        self._stack = ExitStack()
        files, self.problems, announced = _storage_files(path) if path.is_dir() else ([path], [], None)
        scans = []
        try:
            for file in files:
                try:
                    scans.append(self._scan(file))
                except (OSError, ValueError) as error:
                    self.problems.append(f"{file.name} cannot be read ({error})")
        except BaseException:
            self.close()
            raise
        self.problems += [scan.problem for scan in scans if scan.problem]
        self._found = [(place, scan) for scan in scans for place in scan.places if place.channel in scan.channels]
        self._found.sort(key=lambda found: found[0].log_ns)
        if announced not in (None, len(self._found)):
            self.problems.append(f"metadata.yaml counts {announced} messages")
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
        """The messages of these topics (None: of all) in recorded order."""
        for place, scan in self._found:
            channel = scan.channels[place.channel]
            if topics is None or channel.topic in topics:
                data = scan.data(place)
                # A recorder can compress each message; only metadata.yaml would say so.
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
            raise ValueError("it is no .mcap or .db3 file")
        return (McapScan if file.suffix == ".mcap" else SqliteScan)(file, self._stack)

    def _decompressed(self, file: Path) -> Path:
        """A copy of a compressed storage file, as far as it can be decompressed."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        copy = folder / file.stem
        with file.open("rb") as compressed, zstd.open(compressed, "rb") as source, copy.open("wb") as target:
            try:
                shutil.copyfileobj(source, target)
            except (EOFError, zstd.ZstdError):
                self.problems.append(f"{file.name} cannot be decompressed to its end")
        return copy


class McapScan:
    """An MCAP file without regard to its index (mcap.dev/spec). The place of a message: (its chunk's, begin, end)."""

    _MAGIC = b"\x89MCAP0\r\n"
    _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 3, 4, 5, 6, 15

    def __init__(self, path: Path, stack: ExitStack):
        self.channels: dict[int, Channel] = {}
        self.places: list[Place] = []
        self.problem = ""
        self._types: dict[int, str] = {}
        self._file = _mapped(path, stack)
        if self._file[:8] != self._MAGIC:
            raise ValueError("it does not begin as an MCAP file does")
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
            except Exception:  # whatever the decompressors throw
                damaged += 1
        if damaged:
            self.problem = f"{damaged} chunks of {path.name} are damaged or cut off"
        if not whole:
            self.problem = f"{path.name} has no end: its recorder was killed, or it was cut off"

    def data(self, place: Place) -> bytes:
        chunk, begin, end = place.where
        return (self._file if chunk is None else self._chunk(chunk))[begin:end]

    def _records(self, data: Any, position: int, size: int) -> Iterator[tuple[int, int, int]]:
        """(opcode, begin, end) of every whole record; of a chunk that is cut off, what there is."""
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
            _, position = _string(data, position)
            position, metadata = position + 4, {}
            while position < end:
                key, position = _string(data, position)
                metadata[key], position = _string(data, position)
            self.channels[number] = Channel(
                topic, self._types.get(schema, ""), metadata.get("offered_qos_profiles", "")
            )

    def _decompressed(self, begin: int) -> bytes:
        """The records of the chunk that begins there; of an uncompressed one that is cut off, those that there are."""
        size, crc = struct.unpack_from("<QI", self._file, begin + 16)
        kind, position = _string(self._file, begin + 28)
        (length,) = struct.unpack_from("<Q", self._file, position)
        data = self._file[position + 8 : min(position + 8 + length, self._length)]
        return data if not kind and len(data) < size else decompress(data, kind, size, crc)


class SqliteScan:
    """The tables of rosbag2 in an SQLite file, page by page (sqlite.org/fileformat2.html), with its write-ahead log.

    The tree above the pages is not needed, of which a cut file lacks a part. The place of a message: (page, offset).
    """

    MAGIC = b"SQLite format 3\0"
    _LEAF = 13
    _INTEGERS: ClassVar = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # serial type: bytes

    def __init__(self, path: Path, stack: ExitStack):
        self.channels: dict[int, Channel] = {}
        self.problem = ""
        self._file, log = _mapped(path, stack), _mapped(_beside(path, "-wal"), stack)
        if self._file and self._file[:16] != self.MAGIC:
            raise ValueError("it does not begin as an SQLite file does")
        self._size = _page_size(log[8:12] if log else self._file[16:18])
        if self._size < 512:
            raise ValueError("it is no SQLite file")
        self._logged = dict(self._logged_pages(log))  # where later versions of pages begin in the log
        self._log = log
        self._count = len(self._file) // self._size
        if self._count != int.from_bytes(self._file[28:32], "big"):
            self._count = _without_zeros(self._file) // self._size
        if not self._count and 1 not in self._logged:
            raise ValueError("it is cut off within its first page")
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
            self.problem = f"{path.name} is cut off: {self._count} of its {expected} pages are there"
        elif lost:
            self.problem = f"{lost} rows of {path.name} are damaged"
        elif log or _beside(path, "-journal").exists():
            self.problem = f"{path.name} was not closed: its recorder was killed"

    def data(self, place: Place) -> bytes:
        payload, _ = self._payload(*place.where)
        return payload[self._columns(payload)[3][1] :]

    def _page(self, number: int) -> bytes:
        """A page by its number, from 1. Raises IndexError where it is not there."""
        if number in self._logged:
            begin = self._logged[number]
            return self._log[begin : begin + self._size]
        if not 1 <= number <= self._count:
            raise IndexError(f"there is no page {number}")
        return self._file[(number - 1) * self._size : number * self._size]

    def _logged_pages(self, log: Any) -> Iterator[tuple[int, int]]:
        """The pages that a write-ahead log holds and where they begin in it; later ones replace earlier ones."""
        for begin in range(32, len(log) - self._size - 23, self._size + 24):
            if log[begin + 8 : begin + 16] != log[16:24]:
                return  # what follows is left from before
            yield int.from_bytes(log[begin : begin + 4], "big"), begin + 24

    def _leaves(self) -> list[int]:
        """The pages that may hold rows. Those that only continue a row begin with a page number, so with a zero."""
        kinds = np.frombuffer(self._file, np.uint8, self._count * self._size)[:: self._size]
        numbers = {1, *self._logged, *(np.flatnonzero(kinds == self._LEAF) + 1).tolist()}
        return [number for number in sorted(numbers) if self._cells(self._page(number))]

    def _cells(self, page: bytes) -> list[int]:
        """Where the rows of a page begin; none where it is no leaf of a table. The first page has the file's header."""
        header = 100 if page.startswith(self.MAGIC) else 0
        if page[header] != self._LEAF:
            return []
        count = int.from_bytes(page[header + 3 : header + 5], "big")
        pointers = page[header + 8 : header + 8 + 2 * count]
        return [int.from_bytes(pointers[i : i + 2], "big") for i in range(0, len(pointers), 2)]

    def _row(self, number: int, offset: int) -> tuple[int, Place | None]:
        """A row of the table of topics is taken in; the place of one of the messages is given back, with its number.

        Raises IndexError where a part of it is not there.
        """
        payload, row = self._payload(number, offset)
        columns = self._columns(payload)
        kinds = [kind for kind, _, _ in columns]
        if len(kinds) == 4 and kinds[1] in self._INTEGERS and kinds[2] in self._INTEGERS and _is_blob(kinds[3]):
            topic, log_ns = (self._integer(payload, *column) for column in columns[1:3])
            return row, Place(log_ns, topic, (number, offset))
        if len(kinds) >= 4 and all(_is_text(kind) for kind in kinds[1:]):
            texts = [payload[begin:end].decode() for _, begin, end in columns[1:]]
            if texts[2] == "cdr":
                self.channels[row] = Channel(texts[0], texts[1], texts[3] if len(texts) > 3 else "")
        return row, None

    def _payload(self, number: int, offset: int) -> tuple[bytes, int]:
        """The bytes of a row, from its page and those that it overflows into, and the row's number."""
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


def is_finished(path: Path) -> bool:
    """Whether an SQLite file has all its pages and no log or journal beside it; any other file is taken to be finished.

    rosbags opens those that are not, and looks neither into the log nor at the pages that are missing.
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
    """Whether one of these QoS profiles (YAML, as bags hold them) is transient local."""
    try:
        return any(profile.get("durability") in _TRANSIENT_LOCAL for profile in yaml.safe_load(qos) or [])
    except (yaml.YAMLError, AttributeError, TypeError):
        return False


def _storage_files(folder: Path) -> tuple[list[Path], list[str], int | None]:
    """The storage files of a recording's folder, those in its metadata.yaml where there is one; what is amiss; and how
    many messages its metadata.yaml counts."""
    there = [
        file
        for file in folder.iterdir()
        if file.suffix in STORAGE_SUFFIXES
        or (file.suffix == _COMPRESSED_SUFFIX and Path(file.stem).suffix in STORAGE_SUFFIXES)
    ]
    there.sort(key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)])
    metadata = folder / "metadata.yaml"
    if not metadata.exists():
        return there, ["metadata.yaml is missing"], None
    try:
        information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
        listed = [folder / Path(name).name for name in information["relative_file_paths"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return there, ["metadata.yaml cannot be read"], None
    problems = [f"{file.name} is missing" for file in listed if not file.exists()]
    if not information.get("storage_identifier"):
        problems.append("storage_identifier in metadata.yaml is empty")
    return [file for file in listed if file.exists()], problems, information.get("message_count")


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _mapped(path: Path, stack: ExitStack) -> Any:
    """The file's bytes, read from disk where they are looked at; slices are copies. Empty where there is none."""
    if not path.exists() or not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return stack.enter_context(mmap(file.fileno(), 0, access=ACCESS_READ))


def _without_zeros(data: Any) -> int:
    """The length of a file without the zeros at its end: a power cut can leave them in place of what was written."""
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
    """SQLite's: seven bits a byte, the highest bit says that more follow, the ninth byte counts whole."""
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
