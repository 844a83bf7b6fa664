"""The tables of docs/results.md and README.md, from the stored per-patch predictions.

    python results/real/tables.py            print the tables
    python results/real/tables.py --write    put them into the pages

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.markdown import (
    FIGURE_HEAD,
    figure_row,
    figure_table,
    fill_page,
    meanings,
    table,
)
from phototrace.evidence.predictions import Predictions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = (ROOT / "docs" / "results.md", ROOT / "README.md")
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


def in_short(manipulation: Evaluation, camera: Evaluation) -> str:
    """The few figures of the first page."""
    of_devices = {s.value: s.accuracy for s in camera.strata if s.what == "device"}
    what, which = (f"{x.task} ({len(x.classes)} classes)" for x in (manipulation, camera))
    figures = [
        (f"{what}, patches from other collections", manipulation.accuracy),
        (f"{what}, photo level", manipulation.photo_accuracy),
        (f"{which}, patches from devices seen in training", of_devices["seen in training"]),
        (f"{which}, patches from devices never seen", of_devices["never seen"]),
    ]
    rows = (figure_row(*one)[:4] for one in figures)
    return table(("task and test", "accuracy, %", *FIGURE_HEAD[:2]), rows) + meanings(figures)


def tables() -> dict[str, str]:
    """All tables by name."""
    made, results = {}, {}
    for path in sorted(HERE.glob("predictions-*.parquet")):
        name = path.stem.removeprefix("predictions-")
        result = results[name] = evaluate(Predictions.load(path))
        made[f"{name} summary"] = summary(result)
        made[f"{name} classes"] = by_class(result)
        if result.task == "camera":
            made[f"{name} unseen devices"] = by_unseen_device(result)
    made["in short"] = in_short(results["manipulation-128"], results["corpus-cameras"])
    return made


def main() -> None:
    """Print the tables, or write them into the pages."""
    made = tables()
    if sys.argv[1:] == ["--write"]:
        for page in PAGES:
            fill_page(page, made)
        return
    for name, text in made.items():
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()
