"""``depth-completion evaluate --report``: the HTML report, as a file and in a browser."""

from __future__ import annotations

import csv
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")
pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
pytest.importorskip("vl_convert", reason="needs the extra report: pip install -e '.[report]'")

from browser import browser, page
from frame_sets import write_set

from depth_completion_ros.cli import main
from depth_completion_ros.evaluation.details import hole_sides
from depth_completion_ros.evaluation.evaluate import Evaluation, evaluate
from depth_completion_ros.evaluation.html.page import Results, write_report
from depth_completion_ros.evaluation.html.tables import LOW, Cell, Column, Table, Unit, significant
from depth_completion_ros.evaluation.metrics import FIGURES
from depth_completion_ros.evaluation.samples import SampleSet, open_folder
from depth_completion_ros.evaluation.summary import summarise
from depth_completion_ros.resources import share_directory

FRAMES = 3
LARGEST = 5_000_000  # bytes


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report on frames of two bundled recordings."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    samples = share_directory() / "samples"
    arguments = ["evaluate", str(samples / "kinect"), str(samples / "tof"), "--protocol", "raw,sparse5"]
    assert main([*arguments, "--models", "guided,nearest", "--frames", str(FRAMES), "--report", str(file)]) == 0
    return file


class Parts(HTMLParser):
    """Everything in a page that could load something, and its tables as lists of rows of texts."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.tables: dict[str, list[list[str]]] = {}
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.add(tag)
        self.loaded += [str(given[name]) for name in ("src", "srcset", "data", "xlink:href") if name in given]
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "table":
            self._rows: list[list[str]] = []
            self.tables.setdefault(str(given["aria-label"]), self._rows)
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._cell is not None:
            self._rows[-1].append("".join(self._cell).strip())
            self._cell = None


@pytest.fixture(scope="module")
def parts(report) -> Parts:
    return Parts(report.read_text(encoding="utf-8"))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_everything_is_inside_one_file_of_moderate_size(report, parts):
    assert report.stat().st_size < LARGEST
    assert parts.loaded and all(source.startswith("data:image/webp;base64,") for source in parts.loaded)
    assert not parts.tags & {"link", "iframe", "object", "embed", "video", "audio"}
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest", report.read_text(encoding="utf-8"))


def test_links_lead_to_sections_and_to_the_files_beside_the_report(report, parts):
    text = report.read_text(encoding="utf-8")
    assert {"evaluation.csv", "totals.csv", "evaluation.json"} <= set(parts.links)
    for link in parts.links:
        target = f'id="{link[1:]}"' in text if link.startswith("#") else (report.parent / link).is_file()
        assert target, link


def test_the_tables_contain_the_figures_of_the_files(report, parts):
    head, *rows = parts.tables["Errors"]
    assert head[:3] == ["Method", "RMSE [mm]", "MAE [mm]"]
    found = {row[0]: row for row in rows}
    expected = [row for row in rows_of(report.parent / "evaluation.csv") if row["stratum"] == "all"]
    first = [row for row in expected if (row["set"], row["protocol"]) == ("kinect", "raw")]
    assert len(first) == len(rows) == 2
    for row in first:
        for column, name in ((1, "rmse"), (2, "mae")):
            shown = float(found[row["model"]][column].partition(" [")[0])
            assert shown == pytest.approx(1e3 * float(row[name]), rel=0.005)
    calibration = {row[0]: row for row in parts.tables["Calibration of confidence and sigma"]}
    at = calibration["Method"].index("90 % interval [%]")
    for row in first:
        assert float(calibration[row["model"]][at]) == pytest.approx(100 * float(row["coverage"]), abs=0.06)


def test_licences_and_versions_are_stated(report, parts):
    head, *rows = parts.tables["Recordings"]
    licences = {row[0]: row[head.index("Licence")] for row in rows}
    assert licences == {"kinect": "CC-BY-4.0", "tof": "Apache-2.0"}
    assert "Sturm et al." in rows[0][head.index("Source")]
    text = report.read_text(encoding="utf-8")
    assert f"<dd>{np.__version__}</dd>" in text and "depth-completion" in text


def test_the_numbers_behind_the_charts_agree_with_the_metrics(report):
    content = json.loads((report.parent / "evaluation.json").read_text(encoding="utf-8"))
    scores = {(row["set"], row["protocol"], row["model"]): row for row in content["scores"] if row["stratum"] == "all"}
    assert len(content["details"]) == len(scores) == 6
    for details in content["details"]:
        row = scores[details["set"], details["protocol"], details["model"]]
        reliability, distances = details["reliability"], details["distances"]
        assert sum(reliability["pixels"]) == sum(distances["pixels"]) == row["pixels"]
        gaps = [
            count * abs(confidence - within)
            for count, confidence, within in zip(
                *(reliability[name] for name in ("pixels", "confidence", "within")), strict=True
            )
            if count
        ]
        assert sum(gaps) / row["pixels"] == pytest.approx(row["ece"])
        errors = [count * (mae or 0) for count, mae in zip(distances["pixels"], distances["mae"], strict=True)]
        assert sum(errors) / row["pixels"] == pytest.approx(row["mae"])
        frames = details["frames"]
        assert sum(frame["pixels"] for frame in frames) == row["pixels"]
        assert sum(frame["pixels"] * frame["mae"] for frame in frames) / row["pixels"] == pytest.approx(row["mae"])
        assert all(frame["ms"] > 0 for frame in frames)
        curve = details["sparsification"]
        assert curve["sigma"][0] == curve["distance"][0] == curve["error"][0] == pytest.approx(1)
        assert all(best <= other + 1e-9 for best, other in zip(curve["error"], curve["sigma"], strict=True))
        # The area between two curves at 20 points is close to that at all pixels.
        area = np.mean(np.array(curve["sigma"]) - curve["error"])
        assert area == pytest.approx(row["ause"], abs=0.03)


def test_hole_sides_are_the_roots_of_the_areas_of_connected_holes():
    measured = np.ones((8, 10), bool)
    measured[1:3, 1:3] = False  # 4 pixels
    measured[3, 3] = False  # touches it only at a corner
    measured[5:8, 6:9] = False  # 9 pixels
    sides = hole_sides(measured)
    assert (sides[1, 1], sides[3, 3], sides[6, 7], sides[0, 0]) == (2, 1, 3, 0)
    assert np.count_nonzero(sides) == 14
    assert np.all(hole_sides(np.zeros((3, 12), bool)) == 6)
    assert not hole_sides(np.ones((3, 3), bool)).any()


def test_nothing_is_collected_without_a_report(tmp_path):
    write_set(tmp_path / "set", name="set")
    assert evaluate([open_folder(tmp_path / "set")], ["rows"], ["nearest"], 1).details == {}


@pytest.mark.parametrize("module", ["jinja2", "vl_convert"])
def test_a_missing_library_is_reported_before_anything_is_evaluated(tmp_path, monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["evaluate", str(tmp_path / "absent"), "--report", str(tmp_path / "report.html")]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "pip install 'depth_completion_ros[report]'" in message


def test_a_report_that_cannot_be_written_is_rejected_before_anything_is_evaluated(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "absent"), "--report", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["evaluate", str(tmp_path / "absent"), "--report", str(tmp_path / "file" / "report.html")]) == 1
    assert "choose another folder" in capsys.readouterr().err


def results_of(sets: list[SampleSet], baselines: tuple[str, ...], **changes: Any) -> Results:
    evaluation: Evaluation = evaluate(sets, ["sr8"], ["nearest", "guided"], 2, with_details=True)
    for name, value in changes.items():
        setattr(evaluation, name, value)
    scores = {key: metric.compute() for key, metric in evaluation.metrics.items()}
    by_set, totals = summarise(evaluation.metrics, baselines)
    return Results(evaluation, scores, by_set, totals, sets, 0, "depth-completion evaluate")


def test_the_report_works_without_a_classical_method_and_shows_names_as_text(tmp_path):
    write_set(tmp_path / "set", name="set")
    samples = replace(open_folder(tmp_path / "set"), name="<b>set</b> & 'more'")
    failures = {("other", "frame 3"): "rgb/3.png <broken>"}
    write_report(results_of([samples], (), failures=failures), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>set</b>" not in text and "&lt;b&gt;set&lt;/b&gt;" in text
    assert "rgb/3.png &lt;broken&gt;" in text
    assert "No classical method was evaluated" in text and "change from the best classical" not in text
    assert all(name in text for name in FIGURES)


def test_the_best_cell_of_each_column_is_marked_within_its_group_and_empty_columns_are_left_out():
    columns = [Column("Method"), Column("Protocol"), Column("Error", best=LOW), Column("Nothing", best=LOW)]
    rows = [
        [Cell(name, name), Cell(group, group), Cell(f"{error:.1f}", error), Cell("-", float("nan"))]
        for name, group, error in (
            ("a", "x", 1.01),
            ("b", "x", 1.04),
            ("c", "x", 2.0),
            ("d", "y", 9.0),
            ("e", "y", 8.0),
        )
    ]
    table = Table.of("caption", columns, rows, group=1)
    assert [column.title for column in table.columns] == ["Method", "Protocol", "Error"]
    assert [row[2].best for row in table.rows] == [True, True, False, False, True]  # a and b read the same


def test_numbers_have_three_digits_and_a_unit_that_suits_them():
    assert [significant(value) for value in (1234.5, 56.78, 0.01234, 0.0, float("nan"))] == [
        "1234",
        "56.8",
        "0.0123",
        "0",
        "-",
    ]
    assert Unit.of([0.05, 3.0]).text(0.0567) == "56.7 mm"
    assert Unit.of([2.0, 3.0]).text(2.3456) == "2.35 m"


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_report_without_errors_or_requests(report, chromium, width, scheme):
    with page(chromium, report, viewport={"width": width, "height": 900}, color_scheme=scheme) as (shown, faults):
        shown.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        pictures = shown.evaluate(
            "Promise.all([...document.images].map(one => one.decode().then(() => one.naturalWidth, () => 0)))"
        )
        assert len(pictures) > 20 and min(pictures) > 0
        assert shown.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
        charts = shown.locator(".chart svg")
        assert charts.count() > 10
        assert all(charts.nth(at).bounding_box()["height"] > 50 for at in range(charts.count()))
        paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = np.mean([int(value) for value in re.findall(r"\d+", paper)[:3]])
        assert brightness < 60 if scheme == "dark" else brightness > 200
        assert faults == []


def test_tables_are_sorted_by_a_click_on_a_heading(report, chromium):
    with page(chromium, report) as (shown, faults):
        table = shown.locator("table[aria-label='All methods over all recordings']")

        def column(title: str) -> list[str]:
            heads = [text.split("[")[0].strip() for text in table.locator("thead th").all_inner_texts()]
            return table.locator(f"tbody tr > :nth-child({heads.index(title) + 1})").all_inner_texts()

        before = column("RMSE")
        assert len(before) == 6
        for order, reverse in (("ascending", False), ("descending", True)):
            table.get_by_role("button", name="RMSE [").click()
            numbers = [float(text) for text in column("RMSE")]
            assert numbers == sorted(numbers, reverse=reverse)
            assert table.locator(f"th[aria-sort={order}]").inner_text().startswith("RMSE")
        table.get_by_role("button", name="Method").click()
        assert column("Method") == ["guided"] * 3 + ["nearest"] * 3
        assert sorted(column("RMSE")) == sorted(before)
        assert faults == []


def test_the_slider_and_the_buttons_change_what_is_seen_of_a_frame(report, chromium):
    with page(chromium, report) as (shown, faults):
        frames = shown.locator("[data-frames]").first
        slider = frames.locator("input[type=range]").first
        seen = "[...document.querySelectorAll('[data-frames]')[0].querySelectorAll('.layer:not([hidden])')]"
        assert shown.evaluate(f"{seen}.map(one => one.alt.split(',')[0])") == ["Error"] * FRAMES
        edge = f"getComputedStyle({seen}[0]).clipPath"
        for value in ("0", "80"):
            slider.fill(value)
            assert f"{value}" in shown.evaluate(edge)
        frames.get_by_text("Input depth").click()
        assert shown.evaluate(f"{seen}.map(one => one.alt.split('.')[0])") == ["Input depth"] * FRAMES
        assert re.search(r"Colours: [\d.]+ to [\d.]+ m", frames.locator(".depth-scale").first.inner_text())
        assert not frames.locator(".scale").is_visible()
        assert faults == []


def test_a_pointer_on_a_mark_of_a_chart_shows_its_figures(report, chromium):
    with page(chromium, report, viewport={"width": 1280, "height": 900}) as (shown, faults):
        mark = shown.locator(".charts .chart [aria-roledescription=point]").first
        mark.scroll_into_view_if_needed()
        mark.hover()
        tip = shown.locator("#tip")
        assert tip.is_visible() and re.search(r"\d mm over [\d,]+ px", tip.inner_text())
        assert faults == []


def test_a_link_in_the_contents_opens_its_section(report, chromium):
    with page(chromium, report) as (shown, _):
        section = shown.locator("section#tof-sparse5 > details")
        assert section.get_attribute("open") is None
        shown.locator("nav a", has_text="tof, sparse5").click()
        shown.wait_for_function("document.querySelector('#tof-sparse5 > details').open")
