"""What a step found out, on disk after each addition: a step that is cut off leaves all that it had."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def write_json(path: Path, content: Any) -> None:
    """Replace the file at one stroke."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=1, default=str))
    unfinished.replace(path)


def read_json(path: Path, without: Any) -> Any:
    """What is in the file, or ``without`` where there is none."""
    return json.loads(path.read_text()) if path.is_file() else without


class Records:
    """The records of one step, with those that an earlier run left."""

    def __init__(self, path: Path):
        self._path = path
        self._records = read_json(path, [])

    def add(self, about: Record, found: Record) -> None:
        """Add one of what is found about something, in the place of an earlier error, and write all."""
        self._records = [r for r in self._records if not ("error" in r and about.items() <= r.items())]
        self._records.append(about | found)
        write_json(self._path, self._records)

    def has(self, **fields: Any) -> bool:
        """Whether there is one without an error that says this: then it need not be found out again."""
        return any(fields.items() <= record.items() for record in self._records if "error" not in record)

    @contextmanager
    def case(self, **about: Any) -> Iterator[Record]:
        """A record to be filled in, added in the end. What goes wrong becomes its error, and the step goes on."""
        record: Record = {}
        started = time.perf_counter()
        try:
            yield record
        except Exception as error:
            traceback.print_exc()
            record["error"] = f"{type(error).__name__}: {error}"
        record["took_s"] = round(time.perf_counter() - started, 2)
        self.add(about, record)
