"""The effect of frozen batch norms on the hybrid network's own output: a table in docs/results.md.

    # train, about ten minutes
    python results/studies/frozen_batch_norm.py --study FOLDER [--photos PHOTOS]
    # the table, or into the page
    python results/studies/frozen_batch_norm.py [--write]

FOLDER is a finished study `corpus`. Its training A+B at fc2 is repeated with
`freeze_batch_norm = 0` (the paper's way: each task is normalised by its own batch in training and
by the average in test) and tested on the study's own test patches. The
predictions are kept beside this file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import patch_trials
from phototrace.evidence.inference import predict_store
from phototrace.evidence.kinds import with_classes
from phototrace.evidence.markdown import (
    fill_page,
    percent_and_interval,
    points_and_interval,
    table,
)
from phototrace.evidence.predictions import Predictions
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import train_recipe
from phototrace.patches.store import PatchStore
from phototrace.photos.manifest import Manifest
from phototrace.progress import on_stderr
from phototrace.study.paper import Key
from phototrace.study.results import Answers

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
STORED = HERE / "frozen-batch-norm"
NAMES = {"A": "manipulation", "B": "camera"}


def train(study: Path, photos: Path) -> None:
    """Train A+B at fc2 without freezing, and store its predictions for the study's test patches."""
    (given,) = study.glob("runs/AB-fc2-*/recipe.toml")
    data = Recipe.load(given).model_dump(exclude_none=True)
    data["name"] = "AB-fc2-moving"
    data["training"]["freeze_batch_norm"] = 0.0
    run = train_recipe(Recipe.parse(data), Manifest.load(photos), study / "runs", resume=True)
    for task in NAMES:
        (folder,) = study.glob(f"runs/stores/{task}-test-*")
        said = predict_store(run, task, PatchStore.load(folder), "A+B, not frozen")
        with_classes(said).compact().save(STORED / f"{task}.parquet")


def tables() -> dict[str, str]:
    """The table, from stored predictions."""
    answers = Answers.load(HERE / "corpus")
    rows = []
    for task, name in NAMES.items():
        (single,) = answers.predictions[Key(task, "single", task)]
        (frozen,) = answers.predictions[Key(task, "multitask", "A+B", "fc2")]
        moving = Predictions.load(STORED / f"{task}.parquet")
        for what, one in (
            ("single task", single),
            ("A+B, frozen", frozen),
            ("A+B, not frozen (the paper's way)", moving),
        ):
            less = "" if one is single else points_and_interval(compare(one, single))
            rows.append((name, what, percent_and_interval(patch_trials(one).figure()), less))
    head = ("task", "network", "accuracy, % (95 % interval)", "minus single task, points")
    return {"freezing": table(head, rows)}


@on_stderr()
def main() -> None:
    """Train, or show and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.study:
        train(asked.study, asked.photos or asked.study / "photos.parquet")
    if asked.write:
        fill_page(PAGE, tables())
    else:
        print(tables()["freezing"])


if __name__ == "__main__":
    main()
