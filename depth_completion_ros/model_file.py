"""Network files: ONNX files with metadata that describes the network. Finds them by name and reads the metadata.

No library is needed to read the metadata. ``depth-completion export`` writes the files as
``NAME-SIZE-PRECISION-HEIGHTxWIDTH.onnx`` or ``…-dynamic.onnx`` from weights, which are stored in the same folder as
``NAME-SIZE.safetensors`` or ``NAME-SIZE-PROFILE.safetensors``.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .contract import CONTRACT_VERSION, INPUTS, MULTIPLE, OUTPUTS, PRECISIONS
from .errors import ConfigurationError
from .resources import PACKAGE, share_directory

SUFFIX = ".onnx"
WEIGHTS_SUFFIX = ".safetensors"
DIRECTORY_VARIABLE = "DEPTH_COMPLETION_MODELS"

# Field numbers of ModelProto and StringStringEntryProto in onnx.proto, and wire types of protobuf.
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14
_KEY, _VALUE = 1, 2
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_LENGTHS = {1: 8, 5: 4}  # bytes, by wire type


@dataclass(frozen=True)
class ModelFile:
    """A network file and its metadata.

    Attributes:
        path: The ONNX file.
        name: Name of the method, for example "lite".
        size: "small" or "full".
        precision: One of ``PRECISIONS``.
        height: Height of the images [pixels]; None if it can be any multiple of 32.
        width: Width of the images [pixels]; None if it can be any multiple of 32.
        profile: Profile of the sensor whose frames the network was trained or calibrated with.
        trained: False if the weights are random.
        weights: Hash of the weights.
        bfloat16: Whether bfloat16 is accurate enough for layers that are float16 in the file.
        weights_files: Files beside it that hold weights of it and its base network; empty if it contains all weights.
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
    bfloat16: bool
    weights_files: tuple[Path, ...]

    inputs = INPUTS
    outputs = OUTPUTS

    @property
    def paths(self) -> list[Path]:
        """All files of the network."""
        return [self.path, *self.weights_files]

    @property
    def label(self) -> str:
        """The file name without suffix, for tables and log lines; says if the weights are random."""
        return self.path.stem + ("" if self.trained else " (untrained)")

    def check_size(self, height: int, width: int) -> None:
        """Check that the network accepts images of this size.

        Raises:
            ConfigurationError: If it does not. The message says how to export a network that does.
        """
        if height % MULTIPLE or width % MULTIPLE:
            raise ConfigurationError(f"images of {width}x{height} must be padded to multiples of {MULTIPLE} first")
        if self.height is not None and (height, width) != (self.height, self.width):
            raise ConfigurationError(
                f"{self.path.name} takes images of {self.width}x{self.height} pixels, not {width}x{height}: export the "
                f"network for this size with depth-completion export {self.name} --size {height}x{width}"
            )


def model_directories() -> list[Path]:
    """The directories that are searched for network files: first the user's, then that of the package.

    The user's directory is ``~/.cache/depth_completion_ros/models``; the environment variable DEPTH_COMPLETION_MODELS
    overrides it.
    """
    user = os.environ.get(DIRECTORY_VARIABLE) or Path.home() / ".cache" / PACKAGE / "models"
    return [Path(user).expanduser(), share_directory() / "models"]


def find_model_file(name: str = "auto", *precisions: str) -> ModelFile:
    """Find the network file for a ``model`` setting.

    If several files match, trained networks come before untrained ones, then precisions in the given order, then files
    for images of any size, then the order of the directories and file names.

    Args:
        name: A path, or a file name without suffix, or its beginning up to a dash ("lite", "lite-small-int8"), or
            "auto" for any trained network whose file has the name of its method. A network that was adapted to one
            place has a name of its own, and is used only by that name.
        precisions: Accepted precisions, best first; by default all.

    Raises:
        ConfigurationError: If there is no such file, or the file is not a network file or in another precision.
    """
    wanted = precisions or PRECISIONS
    if name.endswith(SUFFIX) or os.sep in name:
        file = read_model_file(Path(name).expanduser())
        if file.precision not in wanted:
            raise ConfigurationError(
                f"{file.path} is a network in {file.precision}, but {' or '.join(wanted)} is needed: export it again "
                f"with depth-completion export {file.name} --precision {wanted[0]}"
            )
        return file
    files, unreadable = model_files(name)
    found = [file for file in files if file.precision in wanted and (name != "auto" or _is_automatic(file))]
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
    """The weights file of a trained network, preferably the one for a sensor profile; None if there is none.

    Args:
        name: Network with or without size ("lite", "nlspn-full"); without a size, "small" is used.
        profile: Name of the sensor profile; empty = any.
    """
    stem = name if "-" in name else f"{name}-small"
    stems = [f"{stem}-{profile}", stem] if profile else [stem]
    paths = (directory / f"{each}{WEIGHTS_SUFFIX}" for each in stems for directory in model_directories())
    return next((path for path in paths if path.is_file()), None)


def model_files(name: str = "auto") -> tuple[list[ModelFile], list[ConfigurationError]]:
    """All network files that match ``name``, and an error for each file that cannot be read."""
    files, unreadable = [], []
    for path in _files(name):
        try:
            files.append(read_model_file(path))
        except ConfigurationError as error:
            unreadable.append(error)
    return files, unreadable


def network_names() -> list[str]:
    """The names, without suffix, of all network files that were found."""
    return list(dict.fromkeys(path.stem for path in _files("auto")))


def read_model_file(path: Path) -> ModelFile:
    """Read the metadata of a network file, without the network itself.

    Raises:
        ConfigurationError: If the file does not exist, is truncated, is not an ONNX file, or was not made by this
            package for this version of the network contract. The message says how to fix it.
    """
    metadata = _read_metadata(path)
    if metadata.get("producer") != PACKAGE:
        raise ConfigurationError(
            f"{path} is an ONNX file, but not a network of {PACKAGE}: make one with depth-completion export"
        )
    if metadata.get("contract") != str(CONTRACT_VERSION):
        raise ConfigurationError(
            f"{path} was made for version {metadata.get('contract')} of the network contract, but this is version "
            f"{CONTRACT_VERSION}: export it again with depth-completion export {metadata.get('name', 'NAME')} "
            f"--precision {metadata.get('precision', 'PRECISION')}"
        )
    named = (metadata.get("weights_file"), metadata.get("base_file"))
    weights_files = tuple(path.with_name(name) for name in named if name)
    for file in weights_files:
        if not file.is_file():
            raise ConfigurationError(
                f"{path} needs {file.name}, which holds a part of its weights, in the same folder: copy it there "
                "too, or export the network again with depth-completion export"
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
            bfloat16=metadata.get("bfloat16") != "false",
            weights_files=weights_files,
        )
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{path} lacks a part of its metadata ({error!r}): export it again with depth-completion export"
        ) from error


def _is_automatic(file: ModelFile) -> bool:
    return file.trained and f"{file.path.stem}-".startswith(f"{file.name}-")


def _files(name: str) -> Iterator[Path]:
    for directory in model_directories():
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            if name == "auto" or f"{path.stem}-".startswith(f"{name}-"):
                yield path


def _read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file; the graph is skipped."""
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
    except (ValueError, KeyError) as error:  # mmap raises ValueError for an empty file
        raise ConfigurationError(
            f"{path} is damaged or not an ONNX file ({error}): copy it again, or make one with depth-completion export"
        ) from error


def _fields(message: mmap.mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a protobuf message. Raises ValueError if it is not one."""
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
