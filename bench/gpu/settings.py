"""What all steps are told, and where they put things."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """out: folder for the results. state: for what a later run goes on with. data: of recorded sets to train on too,
    None without. networks: to measure, in the order of their worth; trained: to train. sizes: of networks. images:
    sizes (height, width) to be timed at. minutes: of training for each network. changes: to the recipes, as
    ``depth-completion train --set`` takes them. rounds: of each timing. seconds: that the node's path runs for.
    deadline: on the clock of ``time.time``. dry: tiny, on the CPU.
    """

    out: Path
    state: Path
    data: Path | None
    networks: tuple[str, ...]
    trained: tuple[str, ...]
    sizes: tuple[str, ...]
    images: tuple[tuple[int, int], ...]
    minutes: float
    changes: tuple[str, ...]
    rounds: int
    seconds: float
    deadline: float
    dry: bool

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    def left_s(self) -> float:
        """Until the deadline."""
        return self.deadline - time.time()

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        values |= {name: Path(values[name]) for name in ("out", "state")}
        values["data"] = values["data"] and Path(values["data"])
        values["images"] = tuple((height, width) for height, width in values["images"])
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
