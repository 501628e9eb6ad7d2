"""The charts of the HTML report: Vega-Lite descriptions, drawn once as SVG by vl-convert.

The page needs no chart library: Plotly's would add 4.8 MB to each report and Vega's 0.9 MB, while a chart as SVG has
6 to 25 kB. Colours are CSS variables of the page, so that charts follow its dark mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Rows = list[dict[str, Any]]
_WIDTH, _HEIGHT = 250, 180  # of the plots, without axes [pixels]
_INK, _MUTED, _LINE = "var(--ink)", "var(--muted)", "var(--line)"
# Names in Vega, and the same shapes as SVG within -5 to 5 for the legend of the page.
_SHAPES = {
    "circle": '<circle r="5"/>',
    "square": '<path d="M-4.5,-4.5h9v9h-9z"/>',
    "triangle-up": '<path d="M0,-5L5,5H-5z"/>',
    "diamond": '<path d="M0,-6L5,0L0,6L-5,0z"/>',
    "cross": '<path d="M-2,-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z"/>',
    "triangle-down": '<path d="M0,5L5,-5H-5z"/>',
    "triangle-right": '<path d="M5,0L-5,5V-5z"/>',
}
MOST_SERIES = len(_SHAPES)
_RATIOS = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 7, 10, 20, 50, 100]


@dataclass(frozen=True)
class Series:
    """A model in the charts. Its number determines colour and shape: 1 is the first."""

    name: str
    number: int

    @property
    def colour(self) -> str:
        return f"var(--series-{self.number})"

    @property
    def shape(self) -> str:
        return list(_SHAPES)[self.number - 1]

    @property
    def outline(self) -> str:
        """The shape as an element of SVG."""
        return _SHAPES[self.shape]


def errors_by_class(series: list[Series], rows: Rows, classes: list[str], title: str, unit: str) -> str:
    """Error of each model by class of pixels.

    Args:
        series: The models.
        rows: With model, class, error and text.
        classes: The classes in their order.
        title: Of the classes, with unit.
        unit: Of the error.
    """
    return _draw(
        {
            "data": {"values": rows},
            "encoding": {
                "x": {
                    "field": "class",
                    "type": "ordinal",
                    "scale": {"domain": classes},
                    "title": title,
                    "axis": {"labelAngle": 0, "grid": False},
                },
                "y": {
                    "field": "error",
                    "type": "quantitative",
                    "scale": {"type": "log", "nice": False},
                    "title": f"mean absolute error [{unit}]",
                    "axis": {"values": _round_values([row["error"] for row in rows]), "format": "~r"},
                },
                **_by_model(series),
            },
            "layer": [{"mark": {"type": "line", "aria": False}}, _points(series)],
        }
    )


def by_level(series: list[Series], rows: Rows, levels: list[str], x: str, y: str, ratio: bool) -> str:
    """Two figures of each model over the levels of a degradation: a solid and a dashed line.

    Args:
        series: The models.
        rows: With model, level, value, dashed (whether it is the second figure) and text.
        levels: The levels in their order.
        x: Title of the levels.
        y: Title of the values.
        ratio: Whether values are ratios on a logarithmic scale, or else shares from 0 to 1.
    """
    scale: dict[str, Any] = {"type": "log", "nice": False} if ratio else {"domain": [0, 1]}
    axis = {"values": _RATIOS, "format": "~r", "labelOverlap": True} if ratio else {"tickCount": 5}
    return _draw(
        {
            "data": {"values": rows},
            "encoding": {
                "x": {
                    "field": "level",
                    "type": "ordinal",
                    "scale": {"domain": levels},
                    "title": x,
                    "axis": {"labelAngle": 0, "grid": False},
                },
                "y": {"field": "value", "type": "quantitative", "scale": scale, "title": y, "axis": axis},
                "detail": {"field": "dashed"},
                **_by_model(series),
            },
            "layer": [
                {
                    "mark": {"type": "line", "aria": False},
                    "encoding": {
                        "strokeDash": {
                            "field": "dashed",
                            "scale": {"domain": [False, True], "range": [[1, 0], [4, 3]]},
                            "legend": None,
                        }
                    },
                },
                {**_points(series), "transform": [{"filter": "!datum.dashed"}]},
            ],
        }
    )


def reliability(series: list[Series], rows: Rows) -> str:
    """Share of pixels within the tolerance over confidence. rows: with model, confidence, within and text."""
    share = {"domain": [0, 1]}
    return _draw(
        {
            "layer": [
                _diagonal(0, 0, 1, 1),
                {
                    "data": {"values": rows},
                    "encoding": {
                        "x": {"field": "confidence", **_percent("confidence [%]"), "scale": share},
                        "y": {"field": "within", **_percent("pixels within max(5 cm, 2 %) [%]"), "scale": share},
                        **_by_model(series),
                    },
                    "layer": [{"mark": {"type": "line", "aria": False}}, _points(series)],
                },
            ]
        }
    )


def sparsification(series: list[Series], rows: Rows, distance: Rows, perfect: Rows) -> str:
    """Error of the remaining pixels over the removed share.

    Args:
        series: The models.
        rows: With model, removed, remaining and text, by sigma.
        distance: With removed, remaining and text, by the distance to the nearest measurement.
        perfect: The same by the error itself.
    """
    at = {
        "x": {"field": "removed", **_percent("removed pixels [%]"), "scale": {"domain": [0, 1]}},
        "y": {
            "field": "remaining",
            "type": "quantitative",
            "title": "error of the others / mean error",
            "scale": {"domainMin": 0},
        },
        "description": {"field": "text"},
    }
    dashes = ((distance, [6, 4]), (perfect, [1.5, 3]))
    return _draw(
        {
            "layer": [
                *(
                    {
                        "data": {"values": values},
                        "mark": {"type": "line", "stroke": _MUTED, "strokeDash": dash, "strokeWidth": 2},
                        "encoding": at,
                    }
                    for values, dash in dashes
                ),
                {"data": {"values": rows}, "mark": "line", "encoding": {**at, **_by_model(series)}},
            ]
        }
    )


def latencies(series: list[Series], rows: Rows, limits: tuple[float, float]) -> str:
    """A histogram of durations for each model. rows: with model, from, to [ms], count and text."""
    colours = _by_model(series)
    return _draw(
        {
            "data": {"values": rows},
            "facet": {
                "row": {
                    "field": "model",
                    "sort": [one.name for one in series],
                    "title": None,
                    "header": {
                        "labelAngle": 0,
                        "labelAlign": "left",
                        "labelAnchor": "start",
                        "labelOrient": "top",
                        "labelPadding": 1,
                        "labelColor": _INK,
                        "labelFontSize": 12,
                    },
                }
            },
            "spacing": 4,
            "spec": {
                "width": _WIDTH + 40,
                "height": 22,
                "mark": {"type": "bar", "stroke": None},
                "encoding": {
                    "x": {
                        "field": "from",
                        "type": "quantitative",
                        "scale": {"type": "log", "domain": list(limits), "nice": False},
                        "title": "time of a frame [ms]",
                        "axis": {"values": _round_values(list(limits)), "format": "~r"},
                    },
                    "x2": {"field": "to"},
                    "y": {"field": "count", "type": "quantitative", "axis": None, "stack": None},
                    **colours,
                },
            },
        },
        own_size=True,
    )


def changes(rows: Rows) -> str:
    """Change of the errors of all models from the best classical one, with intervals.

    Args:
        rows: With model, error ("RMSE" or "MAE"), ratio, low, high and text, in the order of the models; low and high
            are None without an interval.
    """
    ratios = [row[name] for row in rows for name in ("ratio", "low", "high") if row[name] is not None]
    domain = [min(0.8, *ratios) * 0.95, max(1.25, *ratios) * 1.05]
    names = list(dict.fromkeys(row["model"] for row in rows))
    y = {
        "field": "model",
        "type": "nominal",
        "sort": names,
        "title": None,
        "axis": {"labelColor": _INK, "labelFontSize": 12, "labelLimit": 130, "grid": True, "ticks": False},
    }
    axis = {
        "labelExpr": "datum.value == 1 ? '0' : replace(format(datum.value * 100 - 100, '+.0f'), '-', '\u2212')",
        "values": [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10, 20],
        "labelOverlap": True,
    }
    x = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": domain, "nice": False},
        "title": "change from the best classical method [%]",
        "axis": axis,
    }
    offset = {"field": "error", "sort": ["RMSE", "MAE"]}
    colour = {"field": "error", "scale": {"domain": ["RMSE", "MAE"], "range": ["var(--series-1)", "var(--series-2)"]}}
    both = {"y": y, "yOffset": offset, "color": {**colour, "legend": None}, "description": {"field": "text"}}
    return _draw(
        {
            "width": 290,
            "height": {"step": 15},
            "padding": {"left": 20, "right": 5, "top": 5, "bottom": 5},  # the font of the page may be wider
            "layer": [
                {
                    "data": {"values": [{"one": 1}]},
                    "mark": {"type": "rule", "stroke": _MUTED, "strokeWidth": 1.5, "aria": False},
                    "encoding": {"x": {"field": "one", **x}},
                },
                {
                    "data": {"values": rows},
                    "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                    "transform": [{"filter": "datum.low != null"}],
                    "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, **both},
                },
                {
                    "data": {"values": rows},
                    "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                    "encoding": {
                        "x": {"field": "ratio", **x},
                        "shape": {
                            "field": "error",
                            "scale": {"domain": ["RMSE", "MAE"], "range": ["circle", "square"]},
                            "legend": None,
                        },
                        **both,
                    },
                },
            ],
        },
        own_size=True,
    )


def _by_model(series: list[Series]) -> dict[str, Any]:
    colours = {"domain": [one.name for one in series], "range": [one.colour for one in series]}
    return {
        "color": {"field": "model", "scale": colours, "legend": None},
        "description": {"field": "text"},
    }


def _points(series: list[Series]) -> dict[str, Any]:
    shapes = {"domain": [one.name for one in series], "range": [one.shape for one in series]}
    return {
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
        "encoding": {"shape": {"field": "model", "scale": shapes, "legend": None}},
    }


def _round_values(values: list[float]) -> list[float]:
    """1, 2, 5, 10, ... within the range of values above 0, for a logarithmic axis."""
    low, high = min(values), max(values)
    rungs = [rung * 10.0**decade for decade in range(-6, 9) for rung in (1, 2, 5)]
    return [float(f"{rung:.0e}") for rung in rungs if low * 0.999 <= rung <= high * 1.001]


def _percent(title: str) -> dict[str, Any]:
    return {
        "type": "quantitative",
        "title": title,
        "axis": {"labelExpr": "format(datum.value * 100, '.0f')", "tickCount": 5},
    }


def _diagonal(x: float, y: float, x2: float, y2: float) -> dict[str, Any]:
    """A line from (x, y) to (x2, y2)."""
    return {
        "data": {"values": [{"x": x, "y": y}, {"x": x2, "y": y2}]},
        "mark": {"type": "line", "stroke": _MUTED, "strokeDash": [6, 4], "strokeWidth": 1.5, "aria": False},
        "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
    }


def _draw(specification: dict[str, Any], own_size: bool = False) -> str:
    import vl_convert

    size = {} if own_size else {"width": _WIDTH, "height": _HEIGHT}
    axis = {
        "labelColor": _MUTED,
        "titleColor": _MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
    }
    config = {"font": "sans-serif", "background": None, "view": {"stroke": None}, "axis": axis}
    svg: str = vl_convert.vegalite_to_svg({**size, **specification, "config": config})
    # The font is that of the page, and the size that of its container.
    svg = re.sub(r' (?:font-family="[^"]*"|opacity="1"|pointer-events="none"|xmlns:xlink="[^"]*")', "", svg)
    return re.sub(r'^(<svg [^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg, count=1)
