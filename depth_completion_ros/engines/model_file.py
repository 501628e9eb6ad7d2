"""Network files: ONNX with metadata that says what is inside. Read here without any library, and found by name.

``depth-completion export`` writes them as ``NAME-SIZE-PRECISION-HEIGHTxWIDTH.onnx``, or ``…-dynamic.onnx``, from
weights, which lie beside them as ``NAME-SIZE.safetensors``, or ``NAME-SIZE-PROFILE.safetensors``.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..contract import CONTRACT_VERSION, INPUTS, MULTIPLE, OUTPUTS, PRECISIONS
from ..errors import ConfigurationError
from ..resources import PACKAGE, share_directory

SUFFIX = ".onnx"
WEIGHTS_SUFFIX = ".safetensors"
DIRECTORY_VARIABLE = "DEPTH_COMPLETION_MODELS"

# Field numbers of ONNX's ModelProto and StringStringEntryProto (onnx.proto) and the wire types of protobuf.
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14
_KEY, _VALUE = 1, 2
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_LENGTHS = {1: 8, 5: 4}  # bytes, by wire type


@dataclass(frozen=True)
class ModelFile:
    """A network in a file.

    name: of the method ("lite", …). size: "small" or "full". precision: "fp32", "fp16" or "int8". height, width: of the
    images it takes; both None where it takes any multiple of 32. profile: of the sensor whose frames it was trained or
    calibrated with. trained: False where its weights are random. weights: their hash.
    """

    path: Path
    name: str
    size: str
    precision: str
    height: int | None
    width: int | None
    profile: str
    trained: bool
    weights: str

    inputs = INPUTS
    outputs = OUTPUTS

    @property
    def label(self) -> str:
        """For tables and log lines: the file's name, and plainly so where the weights are random."""
        return self.path.stem + ("" if self.trained else " (untrained)")

    def check_size(self, height: int, width: int) -> None:
        """Raises ConfigurationError, naming the mend, where the network does not take images of this size."""
        if height % MULTIPLE or width % MULTIPLE:
            raise ConfigurationError(f"images of {width}x{height} must be padded to multiples of {MULTIPLE} first")
        if self.height is not None and (height, width) != (self.height, self.width):
            raise ConfigurationError(
                f"{self.path.name} takes images of {self.width}x{self.height} pixels, not {width}x{height}: export the "
                f"network for them: depth-completion export {self.name} --size {height}x{width}"
            )


def model_directories() -> list[Path]:
    """Where network files are looked for: the user's directory, then the package's own.

    The user's is ``~/.cache/depth_completion_ros/models``, or what DEPTH_COMPLETION_MODELS names.
    """
    user = os.environ.get(DIRECTORY_VARIABLE) or Path.home() / ".cache" / PACKAGE / "models"
    return [Path(user).expanduser(), share_directory() / "models"]


def find_model_file(name: str = "auto", *precisions: str) -> ModelFile:
    """The network file that a ``model`` setting names.

    name: a path; or a file's name without suffix, or its beginning up to a dash ("lite", "lite-small-int8"); or "auto",
    any that is trained. precisions: those that will do, best first; all by default.
    Of several: trained before untrained, then by precision, then those for images of any size, then as the directories
    and file names are ordered.
    Raises ConfigurationError where there is none, or where the path holds none.
    """
    if name.endswith(SUFFIX) or os.sep in name:
        return read_model_file(Path(name).expanduser())
    wanted = precisions or PRECISIONS
    files, unreadable = model_files(name)
    found = [file for file in files if file.precision in wanted and (file.trained or name != "auto")]
    if not found and unreadable:
        raise unreadable[-1]
    if not found:
        directories = " or ".join(map(str, model_directories()))
        raise ConfigurationError(
            f"no {'trained network' if name == 'auto' else f'network file {name!r}'} in {' or '.join(wanted)} in "
            f"{directories}: make one with depth-completion export, or give the path of an {SUFFIX} file"
        )
    return min(found, key=lambda file: (not file.trained, wanted.index(file.precision), file.height is not None))


def find_weights_file(name: str, profile: str = "") -> Path | None:
    """The trained weights of a network ("lite", "nlspn-full"; "small" where no size is said), those for the profile of
    a sensor before those for any; None where there are none.
    """
    stem = name if "-" in name else f"{name}-small"
    stems = [f"{stem}-{profile}", stem] if profile else [stem]
    paths = (directory / f"{each}{WEIGHTS_SUFFIX}" for each in stems for directory in model_directories())
    return next((path for path in paths if path.is_file()), None)


def model_files(name: str = "auto") -> tuple[list[ModelFile], list[ConfigurationError]]:
    """All network files that ``name`` may mean, and what is wrong with each that cannot be read."""
    files, unreadable = [], []
    for path in _files(name):
        try:
            files.append(read_model_file(path))
        except ConfigurationError as error:
            unreadable.append(error)
    return files, unreadable


def network_names() -> list[str]:
    """The names, without suffix, of all network files there are, as ``find_model_file`` takes them."""
    return list(dict.fromkeys(path.stem for path in _files("auto")))


def read_model_file(path: Path) -> ModelFile:
    """What a network file says of itself; the network is not read.

    Raises ConfigurationError, naming the mend, for a file that is not there, cut short, no ONNX, or not of this package
    and contract version.
    """
    metadata = _read_metadata(path)
    if metadata.get("producer") != PACKAGE:
        raise ConfigurationError(
            f"{path} is an ONNX file but no network of {PACKAGE}: make one with depth-completion export"
        )
    if metadata.get("contract") != str(CONTRACT_VERSION):
        raise ConfigurationError(
            f"{path} was made for version {metadata.get('contract')} of the network contract, this is version "
            f"{CONTRACT_VERSION}: make it again with depth-completion export"
        )
    try:
        height, width = int(metadata["height"]), int(metadata["width"])
        return ModelFile(
            path=path,
            name=metadata["name"],
            size=metadata["size"],
            precision=metadata["precision"],
            height=height or None,
            width=width or None,
            profile=metadata["profile"],
            trained=metadata["trained"] == "true",
            weights=metadata["weights"],
        )
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{path} lacks a part of its metadata ({error!r}): make it again with depth-completion export"
        ) from error


def _files(name: str) -> Iterator[Path]:
    for directory in model_directories():
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            if name == "auto" or f"{path.stem}-".startswith(f"{name}-"):
                yield path


def _read_metadata(path: Path) -> dict[str, str]:
    """Keys and values that an ONNX file holds beside its graph, which is stepped over."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            places = list(_fields(content))
            entries = [content[start:end] for number, start, end in places if number == _METADATA]
        if not {_IR_VERSION, _GRAPH} <= {number for number, _, _ in places}:
            raise ValueError("it has no graph")
        metadata = {}
        for entry in entries:
            parts = {number: entry[start:end].decode() for number, start, end in _fields(entry)}
            metadata[parts[_KEY]] = parts[_VALUE]
        return metadata
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): give the path of a network file, or make one with "
            "depth-completion export"
        ) from error
    except (ValueError, KeyError) as error:  # of mmap for an empty file, too
        raise ConfigurationError(
            f"{path} is damaged, or no ONNX file ({error}): copy it again, or make one with depth-completion export"
        ) from error


def _fields(message: mmap.mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a protobuf message. Raises ValueError where it is none."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        start, length = position, _FIXED_LENGTHS.get(key & 7)
        if key & 7 == _VARINT:
            _, position = _varint(message, position)
        elif key & 7 == _LENGTH_DELIMITED:
            length, start = _varint(message, position)
            position = start + length
        elif length is not None:
            position += length
        else:
            raise ValueError(f"unknown wire type {key & 7}")
        if position > len(message):
            raise ValueError("it ends too early")
        yield key >> 3, start, position


def _varint(message: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    """A variable-length number and the position after it."""
    number = shift = 0
    while position < len(message) and shift < 64:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
    raise ValueError("it ends too early")
