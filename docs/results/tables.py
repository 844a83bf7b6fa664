"""The tables of docs/results.md, worked out from the stored per-patch predictions.

    python docs/results/tables.py            print the tables
    python docs/results/tables.py --write    put them into docs/results.md

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.intervals import Figure
from phototrace.evidence.predictions import Predictions
from phototrace.evidence.wording import percent

HERE = Path(__file__).parent
PAGE = HERE.parent / "results.md"
Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(what: str, figure: Figure) -> Row:
    """A row of one figure with its interval and what is behind it."""
    interval = figure.interval
    return (
        what, percent(figure.value), f"{percent(interval.low)} to {percent(interval.high)}",
        f"{interval.clusters} {interval.by}s", str(figure.patches), str(figure.photos),
        str(figure.devices), str(figure.scenes),
    )  # fmt: skip


HEAD = ("", "patches right, %", "95 % interval", "over", "patches", "photos", "devices", "scenes")


def summary(result: Evaluation) -> str:
    """Accuracy over all, balanced, and by stratum."""
    rows = [
        figures("all patches", result.accuracy),
        figures("balanced over classes", result.balanced_accuracy),
        figures("photo decisions", result.photo_accuracy),
    ]
    rows += [figures(f"{s.what}: {s.value}", s.accuracy) for s in result.strata]
    return table(HEAD, rows)


def by_class(result: Evaluation) -> str:
    """Share of each class that was found."""
    rows = [figures(c.name, c.recall) for c in result.by_class if c.recall is not None]
    return table(("class", *HEAD[1:]), rows)


def by_unseen_device(result: Evaluation) -> str:
    """Accuracy on each device that training never saw."""
    rows = [figures(d.name, d.accuracy) for d in result.by_device if not d.seen]
    return table(("device", *HEAD[1:]), rows)


def tables() -> dict[str, str]:
    """All tables by name."""
    made = {}
    for path in sorted(HERE.glob("predictions-*.parquet")):
        name = path.stem.removeprefix("predictions-")
        result = evaluate(Predictions.load(path))
        made[f"{name} summary"] = summary(result)
        made[f"{name} classes"] = by_class(result)
        if result.task == "camera":
            made[f"{name} unseen devices"] = by_unseen_device(result)
    return made


def filled(page: str, made: dict[str, str]) -> str:
    """The page with every table in its place."""

    def put(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{made[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table: (.*?) -->\n.*?<!-- end -->", put, page, flags=re.DOTALL)


def main() -> None:
    """Print the tables, or write them into the page."""
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
        return
    for name, text in tables().items():
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()
