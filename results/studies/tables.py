"""The studies' tables in docs/results.md, worked out from the predictions stored here.

    python results/studies/tables.py --take FOLDER     # keep a finished study's predictions here
    python results/studies/tables.py [--write]         # print the tables, or put them into the page

A study is `study.json`, `predictions/` and the files that `phototrace reproduce` made of them. No
photo and no weight is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from phototrace.evidence.formatting import lowest_to_highest, percent, points
from phototrace.evidence.intervals import Figure
from phototrace.evidence.markdown import fill_page, percent_and_interval, table
from phototrace.study.paper import Key
from phototrace.study.reproducing import Results, write_results
from phototrace.study.tables import figure_keys
from phototrace.study.tables import table as paper_table

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
STUDIES = ("corpus", "simulated-20-5")
KEPT = (
    "study.json", "results.json", "figure-3.svg", "figure-3.csv", "table-2.csv", "table-3.csv",
    "figure-3.png", "index.html",
)  # fmt: skip


def take(folder: Path) -> None:
    """Copy what a study's figures come from."""
    name = json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]
    there = HERE / name
    shutil.rmtree(there, ignore_errors=True)
    answers = json.loads((folder / "study.json").read_text(encoding="utf-8"))["answers"]
    for file in (*KEPT, *(answer["file"] for answer in answers)):
        (there / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, there / file)


def tables(name: str) -> dict[str, str]:
    """All tables of one study by the names of their places."""
    results = Results.of(HERE / name)
    return {
        f"{name} depths": _depths(results),
        f"{name} table 2": _paper_table(results, 2),
        f"{name} table 3": _paper_table(results, 3),
        f"{name} findings": _findings(results),
        f"{name} facts": _facts(results),
        f"{name} kept": _kept(results),
    }


def _cell(results: Results, key: Key) -> str:
    score = results.scores.get(key)
    if score is None:
        return ""
    paper = f" [{percent(score.paper)}]" if score.paper is not None else ""
    return percent_and_interval(score.accuracy) + paper


def _depths(results: Results) -> str:
    head = ("share depth", "manipulation: transfer", "multitask", "camera: transfer", "multitask")
    depths = results.facts["depths"]
    lines = [figure_keys(t, way, depths) for t in "AB" for way in ("transfer", "multitask")]
    rows = [
        (depth, *(_cell(results, key) for key in keys))
        for depth, *keys in zip(depths, *lines, strict=True)
    ]
    alone = [_cell(results, Key(target, "single", target)) for target in "AB"]
    return table(head, [("single task", alone[0], alone[0], alone[1], alone[1]), *rows])


def _paper_table(results: Results, number: int) -> str:
    """Table 2 or 3 in the paper's layout."""
    laid = paper_table(results.scores, number)
    rows = [
        (row.name, *(_cell(results, key) if key else "" for key in row.cells)) for row in laid.rows
    ]
    return table(("features", *laid.columns), rows)


def _kept(results: Results) -> str:
    """The share of the accuracy above guessing that transfer at fc2 keeps."""
    rows = []
    for target, source, what in (
        ("A", "B", "manipulation on camera features"),
        ("B", "A", "camera on manipulation features"),
    ):
        guess = 1 / len(results.facts["classes"][target])
        deepest = results.facts["depths"][-1]
        keys = (Key(target, "single", target), Key(target, "transfer", source, deepest))
        single, transfer = (results.scores[key].accuracy.value for key in keys)
        kept = (transfer - guess) / (single - guess)
        rows.append((what, *(percent(share) for share in (guess, single, transfer, kept))))
    return table(("", "guessing, %", "single task, %", "transfer at fc2, %", "kept, %"), rows)


def _points(figure: Figure) -> str:
    return f"{points(figure.value)} ({points(figure.low)} to {points(figure.high)})"


def _findings(results: Results) -> str:
    rows = [
        (
            finding.name if number == 0 else "",
            f"**{finding.verdict}**" if number == 0 else "",
            detail.what,
            _points(detail.figure),
            points(detail.paper) if detail.paper is not None else "",
        )
        for finding in results.findings
        for number, detail in enumerate(finding.details)
    ]
    head = ("finding", "verdict", "difference, points", "here (95 % interval)", "paper")
    return table(head, rows)


def _facts(results: Results) -> str:
    facts = results.facts
    photos = facts["photos"]
    rows = []
    for task in "ABC":
        counts = [photos[task][part].values() for part in ("train", "validation", "test")]
        spans = [lowest_to_highest(count) for count in counts]
        score = results.scores[Key(task, "single", task)]
        tested = score.accuracy.patches
        rows.append(
            (task, str(len(facts["classes"][task])), *spans, f"{score.patches:,}", f"{tested:,}")
        )
    head = (
        "task",
        "classes",
        "photos per class: train",
        "validation",
        "test",
        "patches: train",
        "test",
    )
    return table(head, rows)


def main() -> None:
    """Take a study, print the tables, or write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--take", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.take:
        take(asked.take)
    there = [name for name in STUDIES if (HERE / name).is_dir()]
    if asked.write:
        for name in there:
            write_results(HERE / name)
    made = {k: v for name in there for k, v in tables(name).items()}
    if asked.write:
        fill_page(PAGE, made)
    else:
        print("\n\n".join(f"{name}\n{text}" for name, text in made.items()))


if __name__ == "__main__":
    main()
