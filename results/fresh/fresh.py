"""Fixed and fresh patches, as many passes of each: the tables "fresh" of docs/results.md.

    python results/fresh/fresh.py simulated --out FOLDER [--write]
    python results/fresh/fresh.py real PHOTOS --out FOLDER [--write]

`simulated`: which of 20 simulated camera models took a photo, at 64 px, with 16 and with 64 scenes;
all that fit of fixed patches are cut. `real`: the recipe devices-cameras, shorter, on PHOTOS, a
manifest with its camera models. Both are tested on devices and scenes that training never had. What
is finished in FOLDER is not done again; `--write` puts the table into the page.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import evaluate
from phototrace.evidence.inference import predict_photos
from phototrace.evidence.kinds import with_classes
from phototrace.evidence.markdown import (
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
from phototrace.recipes import recipe_path, study_path
from phototrace.study.recipe import StudyRecipe

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
WAYS = ("fixed", "fresh")
SCENES = {16: 8, 64: 2}  # epochs of each, so that all have as many passes
REAL_EPOCHS = 60
TRAINING: dict[str, Any] = {
    "optimizer": "adamw", "schedule": "one-cycle", "learning_rate": 3e-3, "weight_decay": 0.01,
    "freeze_batch_norm": 0.3,
}  # fmt: skip


def simulated_recipe(scenes: int, patches: str) -> Recipe:
    """Task B of the study simulated-20-5 alone, with more scenes and all patches that fit."""
    study = StudyRecipe.load(study_path("simulated-20-5"))
    assert study.photos.simulated is not None
    choice = {**study.photos.simulated.model_dump(exclude_none=True), "scenes": scenes}
    few = study.tasks.C.classes
    choice["models"] = [name for name in choice["models"] if name not in few]
    return Recipe.parse({
        "name": f"{patches}-{scenes}-scenes",
        "seed": 1,
        "photos": {"simulated": choice},
        "split": study.split.model_dump(),
        "network": {"patch_size": 64},
        "legs": {"camera": {"task": "camera", "blocks": "random", "balance": "cut"}},
        "training": {**TRAINING, "epochs": SCENES[scenes], "patches": patches},
    })  # fmt: skip


def real_recipe(patches: str) -> Recipe:
    """The recipe devices-cameras, shorter."""
    long = Recipe.load(recipe_path("devices-cameras")).model_dump(exclude_none=True)
    training = {**long["training"], "epochs": REAL_EPOCHS, "patches": patches}
    return Recipe.parse({**long, "name": f"{patches}-devices", "training": training})


def tested(recipe: Recipe, photos: Manifest | None, out: Path) -> Predictions:
    """Predictions of what a recipe trains, kept beside this program as well."""
    manifest = photos or gather_photos(recipe.photos, HERE, None, out)
    run = train_recipe(recipe, manifest, out / "runs", resume=True)
    said = with_classes(predict_photos(run, manifest, out / "tests").predictions)
    said.compact().save(HERE / f"predictions-{recipe.name}.parquet")
    return said


def compared(what: str, both: dict[str, Predictions]) -> tuple[str, ...]:
    """A row: accuracy of either way, and their difference."""
    figures = [percent_and_interval(evaluate(both[way]).accuracy) for way in WAYS]
    return what, *figures, points_and_interval(compare(both["fresh"], both["fixed"]))


HEAD = ("trained on", "fixed patches, %", "fresh patches, %", "difference, points")


def simulated(out: Path) -> str:
    """The table of simulated cameras."""
    rows = []
    for scenes in SCENES:
        both = {way: tested(simulated_recipe(scenes, way), None, out) for way in WAYS}
        rows.append(compared(f"20 simulated models, {scenes} scenes, 64 px", both))
        print(rows[-1], flush=True)
    return table(HEAD, rows)


def real(photos: Manifest, out: Path) -> str:
    """The table of real ones."""
    both = {way: tested(real_recipe(way), photos, out) for way in WAYS}
    return table(HEAD, [compared("15 real models of three devices or more, 128 px", both)])


@on_stderr()
def main() -> None:
    """Make a table, print it, and write it into the page if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("simulated", "real"))
    parser.add_argument("photos", type=Path, nargs="?", help="a manifest of real photos")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.what == "real" and asked.photos is None:
        parser.error("real needs photos: a manifest")
    made = (
        simulated(asked.out)
        if asked.what == "simulated"
        else real(read_photos(asked.photos), asked.out)
    )
    print(made)
    if asked.write:
        fill_page(PAGE, {f"fresh {asked.what}": made})


if __name__ == "__main__":
    main()
