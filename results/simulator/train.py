"""Training on simulated photos: the tables of docs/simulator.md that need trainings.

    python results/simulator/train.py real REAL --out FOLDER [--write]
    python results/simulator/train.py steps REAL --out FOLDER [--write]
    python results/simulator/train.py cameras --out FOLDER [--write]

`real`: the manipulation task trained on simulated photos alone (`manipulation.toml`) and tested on
REAL, a folder or manifest of real photos. `steps`: the same, smaller and shorter, with all steps of
the simulated cameras and with each step left out once. `cameras`: which simulated camera model
took a photo, on devices and scenes never seen, with the models' own quantisation tables and with
one table for all. What is finished in FOLDER is not done again; `--write` puts the tables into the
page.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import conditions, evaluate, patch_trials
from phototrace.evidence.inference import predict_photos
from phototrace.evidence.kinds import with_classes
from phototrace.evidence.markdown import (
    FIGURE_HEAD,
    figure_row,
    figure_table,
    fill_page,
    percent_and_interval,
    points_and_interval,
    table,
)
from phototrace.evidence.predictions import Predictions
from phototrace.learning.preparing import gather_photos
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import train_recipe
from phototrace.photos.indexing import read_photos
from phototrace.photos.manifest import Manifest
from phototrace.progress import on_stderr
from phototrace.simulation.collection import step_names

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "simulator.md"
REAL_TRAINED = HERE.parent / "real/predictions-manipulation-128.parquet"
STORED = HERE / "predictions-simulated-manipulation-128.parquet"
ONE_QUALITY = 90
TEN = (
    "Alder A10", "Birch Pro 5", "Cedar S3", "Dogwood X1", "Elm 700", "Fir One", "Hazel H40",
    "Juniper J2", "Larch Tab 10", "Maple M3",
)  # fmt: skip

SHORT: dict[str, Any] = {
    "optimizer": "adamw", "schedule": "one-cycle", "learning_rate": 1e-3, "weight_decay": 0.01,
}  # fmt: skip


def trained(recipe: Recipe, tested: Manifest | None, out: Path) -> Predictions:
    """Train a recipe on its simulated photos; predictions on `tested` (None: on its test part)."""
    photos = gather_photos(recipe.photos, HERE, None, out)
    run = train_recipe(recipe, photos, out / "runs", resume=True)
    return with_classes(predict_photos(run, tested or photos, out / "tests").predictions)


def real(photos: Manifest, out: Path) -> dict[str, str]:
    """Train on simulated photos alone, test on real ones; compare with training on real photos."""
    predictions = trained(Recipe.load(HERE / "manipulation.toml"), photos, out)
    predictions.compact().save(STORED)
    return real_tables()


def real_tables() -> dict[str, str]:
    """The tables of `real`, from the stored predictions."""
    predictions = Predictions.load(STORED)
    trials = patch_trials(predictions)
    figures = [("all patches", trials.figure())]
    figures += [
        (f"{what}: {value}", trials.figure(chosen))
        for what, value, chosen in conditions(predictions)
        if what == "editing"
    ]
    figures += [
        (name, trials.figure(predictions.label == index))
        for index, name in enumerate(predictions.classes)
        if np.any(predictions.label == index)
    ]
    beside = compare(predictions, Predictions.load(REAL_TRAINED))
    pair = table(
        ("patches that both were tested on", "trained on simulated photos, %",
         "trained on real photos, %", "difference, points (95 % interval)"),
        [(str(beside.matched), f"{100 * beside.accuracy_a:.1f}",
          f"{100 * beside.accuracy_b:.1f}", points_and_interval(beside))],
    )  # fmt: skip
    return {"real": figure_table(("", "accuracy, %", *FIGURE_HEAD), figures), "real beside": pair}


def short_recipe(leave_out: tuple[str, ...]) -> Recipe:
    """The manipulation task at 64 px on a few simulated photos, in minutes."""
    name = "without-" + leave_out[0].replace(" ", "-") if leave_out else "all-steps"
    simulated = {
        "scenes": 8, "devices": 1, "height": 512, "width": 640, "seed": 5,
        "leave_out": list(leave_out),
    }  # fmt: skip
    leg = {
        "task": "manipulation", "blocks": "random", "blocks_per_photo": 12,
        "per_class": {"train": 3000, "validation": 200, "test": 1500},
        "editing": ["block", "region"], "batch_size": 64,
    }  # fmt: skip
    return Recipe.parse({
        "name": name,
        "seed": 5,
        "photos": {"simulated": simulated},
        "split": {"by": "scene", "validation": 0.1, "test": 0.1},
        "network": {"patch_size": 64},
        "legs": {"manipulation": leg},
        "training": {**SHORT, "epochs": 1},
    })  # fmt: skip


def steps(photos: Manifest, out: Path) -> dict[str, str]:
    """Accuracy on real photos with every step, and with each step left out."""
    whole = trained(short_recipe(()), photos, out)
    accuracy = percent_and_interval(evaluate(whole).balanced_accuracy)
    rows = [("none", accuracy, "")]
    for step in step_names():
        without = trained(short_recipe((step,)), photos, out)
        accuracy = percent_and_interval(evaluate(without).balanced_accuracy)
        rows.append((step, accuracy, points_and_interval(compare(without, whole))))
        print(rows[-1], flush=True)
    return {"steps": table(("left out", "accuracy on real photos, %", "difference, points"), rows)}


def camera_recipe(models: tuple[str, ...], recompress: int | None) -> Recipe:
    """Simulated camera models (none named: all) at 64 px, split by device and scene."""
    simulated = {
        "scenes": 18 if models else 12, "height": 512, "width": 640, "seed": 1,
        "models": list(models),
    }  # fmt: skip
    photos: dict[str, Any] = {"simulated": simulated}
    if recompress is not None:
        photos["recompress"] = recompress
    leg = {
        "task": "camera", "blocks": "random", "blocks_per_photo": 40 if models else 24,
        "balance": "cut", "batch_size": 64,
    }  # fmt: skip
    tables = "own-tables" if recompress is None else "one-table"
    return Recipe.parse({
        "name": f"{'ten-' if models else ''}cameras-{tables}",
        "seed": 1,
        "photos": photos,
        "split": {"by": "device and scene", "validation": 0.1, "test": 0.25},
        "network": {"patch_size": 64},
        "legs": {"camera": leg},
        "training": {**SHORT, "epochs": 7 if models else 4},
    })  # fmt: skip


def cameras(out: Path) -> dict[str, str]:
    """Camera models on devices and scenes never seen, with own tables and with one."""
    rows = []
    for which, models in (("ten models, one of each make", TEN), ("all 34 models", ())):
        for tables, quality in (("own tables", None), ("one table", ONE_QUALITY)):
            result = evaluate(trained(camera_recipe(models, quality), None, out))
            rows.append(figure_row(f"{which}, {tables}", result.accuracy))
            print(rows[-1], flush=True)
    return {"cameras": table(("", "accuracy, %", *FIGURE_HEAD), rows)}


@on_stderr()
def main() -> None:
    """Make a table, print it, and write it into the page if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("real", "steps", "cameras"))
    parser.add_argument("photos", type=Path, nargs="?", help="real photos: a folder or manifest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.what == "cameras":
        made = cameras(asked.out)
    elif asked.photos is None:
        parser.error(f"{asked.what} needs real photos: a folder or a manifest")
    else:
        work: Callable[[Manifest, Path], dict[str, str]] = real if asked.what == "real" else steps
        made = work(read_photos(asked.photos), asked.out)
    for name, text in made.items():
        print(f"{name}\n{text}\n")
    if asked.write:
        fill_page(PAGE, made)


if __name__ == "__main__":
    main()
