"""The tables of docs/results.md, worked out from the stored per-patch predictions.

    python results/real/tables.py            print the tables
    python results/real/tables.py --write    put them into docs/results.md

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.markdown import FIGURE_HEAD, figure_row, fill_page, table
from phototrace.evidence.predictions import Predictions

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
HEAD = ("", "patches right, %", *FIGURE_HEAD)


def summary(result: Evaluation) -> str:
    """Accuracy over all, balanced, and by stratum."""
    rows = [
        figure_row("all patches", result.accuracy),
        figure_row("balanced over classes", result.balanced_accuracy),
        figure_row("photo decisions", result.photo_accuracy),
    ]
    rows += [figure_row(f"{s.what}: {s.value}", s.accuracy) for s in result.strata]
    return table(HEAD, rows)


def by_class(result: Evaluation) -> str:
    """Share of each class that was found."""
    rows = [figure_row(c.name, c.recall) for c in result.by_class if c.recall is not None]
    return table(("class", *HEAD[1:]), rows)


def by_unseen_device(result: Evaluation) -> str:
    """Accuracy on each device that training never saw."""
    rows = [figure_row(d.name, d.accuracy) for d in result.by_device if not d.seen]
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


def main() -> None:
    """Print the tables, or write them into the page."""
    if sys.argv[1:] == ["--write"]:
        fill_page(PAGE, tables())
        return
    for name, text in tables().items():
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()
