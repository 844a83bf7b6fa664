"""Results as Markdown tables, and their places in a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from phototrace.evidence.comparison import Comparison
from phototrace.evidence.formatting import percent, points, wide
from phototrace.evidence.intervals import Figure
from phototrace.files import write_text

Row = tuple[str, ...]

FIGURE_HEAD: Row = ("95 % interval", "over", "patches", "photos", "devices", "scenes")
"""The columns that `figure_row` fills after the value."""


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure_row(what: str, figure: Figure) -> Row:
    """One figure in percent, its interval, and what is behind it."""
    interval = figure.interval
    return (
        what, percent(figure.value), f"{percent(interval.low)} to {percent(interval.high)}",
        f"{interval.clusters} {interval.by}s", str(figure.patches), str(figure.photos),
        str(figure.devices), str(figure.scenes),
    )  # fmt: skip


def figure_table(head: Row, figures: Sequence[tuple[str, Figure]]) -> str:
    """Figures by name, one a row, and below what their wide intervals mean."""
    return table(head, (figure_row(*one) for one in figures)) + meanings(figures)


def meanings(figures: Iterable[tuple[str, Figure]]) -> str:
    """A list to stand below a table: what the wide intervals among these mean; "" if none is."""
    found = "\n".join(f"- {name}: {wide(figure)}" for name, figure in figures if wide(figure))
    return f"\n\n{found}" if found else ""


def percent_and_interval(figure: Figure) -> str:
    """A figure in percent with its interval: "98.1 (96.9 to 99.1)"."""
    interval = figure.interval
    return f"{percent(figure.value)} ({percent(interval.low)} to {percent(interval.high)})"


def points_and_interval(comparison: Comparison) -> str:
    """A paired difference in points with its interval: "+1.2 (+0.3 to +2.0)"."""
    figure = comparison.difference
    low, high = figure.interval.low, figure.interval.high
    return f"{points(figure.value)} ({points(low)} to {points(high)})"


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks, `<!-- table: NAME -->` and `<!-- end -->`.

    Marks whose table is not given keep what stands between them.
    """

    def put(match: re.Match[str]) -> str:
        made = tables.get(match[1])
        return match[0] if made is None else f"<!-- table: {match[1]} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- table: (.*?) -->\n.*?<!-- end -->", put, page, flags=re.DOTALL)


def fill_page(path: Path, tables: Mapping[str, str]) -> None:
    """Put tables into a page that has marks for them."""
    write_text(path, filled(path.read_text(encoding="utf-8"), tables))
