"""Files that are complete or absent, even if the process is killed or several processes write the same file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yields a path to write to, beside ``path``; at the end of the block that file replaces ``path``.

    If the block fails, the file is removed. Raises OSError.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
