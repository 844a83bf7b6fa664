"""The tables of docs/results.md, worked out from the stored per-patch predictions.

    python results/real/tables.py            print the tables
    python results/real/tables.py --write    put them into docs/results.md

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.markdown import FIGURE_HEAD, figure_table, fill_page
from phototrace.evidence.predictions import Predictions

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
HEAD = ("", "accuracy, %", *FIGURE_HEAD)


def summary(result: Evaluation) -> str:
    """Accuracy over all, balanced, and by stratum."""
    figures = [
        ("all patches", result.accuracy),
        ("balanced over classes", result.balanced_accuracy),
        ("photo level", result.photo_accuracy),
    ]
    figures += [(f"{s.what}: {s.value}", s.accuracy) for s in result.strata]
    return figure_table(HEAD, figures)


def by_class(result: Evaluation) -> str:
    """Recall of each class."""
    figures = [(c.name, c.recall) for c in result.by_class if c.recall is not None]
    return figure_table(("class", "recall, %", *FIGURE_HEAD), figures)


def by_unseen_device(result: Evaluation) -> str:
    """Accuracy on each device that training never saw."""
    figures = [(d.name, d.accuracy) for d in result.by_device if not d.seen]
    return figure_table(("device", *HEAD[1:]), figures)


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
