"""The credits that the licences of assets require."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .assets import catalogue_entries, files

_COLUMNS = ("copyright line", "licence", "upstream")


def credits(folders: Sequence[Path], chosen: Callable[[str], bool]) -> list[str]:
    """Return lines with the content, the authors and the licence of each source of assets.

    Furniture catalogues contain this information. Other folders have a table in ``LICENCES.md`` with the columns
    "what", "copyright line", "licence" and "upstream", and can have ``models/SET/AUTHORS.csv`` with the column "authors
    upstream".

    Args:
        folders: Folders of assets.
        chosen: Returns whether the set of a name is used.
    """
    found = files(folders, chosen)
    lines = [_of_catalogue(path) for path in found["catalogues"]]
    for folder in folders:
        lines += _of_table(folder / "LICENCES.md")
    for folder in sorted({path.parent for path in found["models"]}):
        lines += _of_authors(folder / "AUTHORS.csv")
    return lines


def _of_catalogue(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        text = archive.read("PluginFurnitureCatalog.properties").decode("latin1")
        cells = [entry.get("creator", "") for entry in catalogue_entries(archive)]
    values = dict(re.findall(r"^(name|license)[ \t]*=[ \t]*(.*?)[ \t]*\r?$", text, re.MULTILINE))
    licence = re.sub(r"\s+", " ", values.get("license", "no licence stated"))
    creators = _names(name for cell in cells for name in re.split(r" & |, ", cell))
    return f"{values.get('name', path.stem)} (Sweet Home 3D): {licence}; by {creators}"


def _of_table(page: Path) -> list[str]:
    """Return the credits from a Markdown table."""
    if not page.is_file():
        return []
    rows = [line.strip().strip("|").split("|") for line in page.read_text(encoding="utf-8").splitlines() if "|" in line]
    heading, *others = [[cell.strip() for cell in row] for row in rows]
    found = [dict(zip(heading, row, strict=False)) for row in others if not set("".join(row)) <= set("-: ")]
    return [f"{row['what']}: " + "; ".join(row[c] for c in _COLUMNS if row.get(c)) for row in found if row.get("what")]


def _of_authors(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row["authors upstream"] for row in csv.DictReader(file)]
    return [f"models/{path.parent.name} by {_names(n for cell in cells if '(' not in cell for n in cell.split(';'))}"]


def _names(names: Iterable[str]) -> str:
    """Return the unique names, sorted and separated by commas."""
    unique = {name.strip().lower(): name.strip() for name in names if name.strip()}
    return ", ".join(unique[key] for key in sorted(unique))
