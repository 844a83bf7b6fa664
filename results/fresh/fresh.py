"""Fixed and fresh patches, as many passes of each: the table "fresh" of docs/results.md.

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
from phototrace.evidence.evaluation import patch_trials
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


def train(recipe: Recipe, photos: Manifest | None, out: Path) -> None:
    """Train and test a recipe; its predictions are kept beside this program."""
    manifest = photos or gather_photos(recipe.photos, HERE, None, out)
    run = train_recipe(recipe, manifest, out / "runs", resume=True)
    said = with_classes(predict_photos(run, manifest, out / "tests").predictions)
    said.compact().save(stored(recipe))


def stored(recipe: Recipe) -> Path:
    """Where a recipe's predictions are kept."""
    return HERE / f"predictions-{recipe.name}.parquet"


def compared(what: str, recipes: dict[str, Recipe]) -> tuple[str, ...]:
    """A row: accuracy of either way, and their difference, from the stored predictions."""
    both = {way: Predictions.load(stored(recipe)) for way, recipe in recipes.items()}
    figures = [percent_and_interval(patch_trials(both[way]).figure()) for way in WAYS]
    return what, *figures, points_and_interval(compare(both["fresh"], both["fixed"]))


def tables() -> dict[str, str]:
    """The tables of what is stored."""
    rows = {
        f"20 simulated models, {scenes} scenes, 64 px": {
            way: simulated_recipe(scenes, way) for way in WAYS
        }
        for scenes in SCENES
    }
    rows["15 real models, 128 px"] = {way: real_recipe(way) for way in WAYS}
    there = {
        what: recipes for what, recipes in rows.items()
        if all(stored(recipe).is_file() for recipe in recipes.values())
    }  # fmt: skip
    head = ("cameras", "fixed patches, %", "fresh patches, %", "difference, points")
    return {"fresh": table(head, (compared(*row) for row in there.items()))}


@on_stderr()
def main() -> None:
    """Train what is not trained yet, print the table, and write it into the page if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("simulated", "real"))
    parser.add_argument("photos", type=Path, nargs="?", help="a manifest of real photos")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.what == "real":
        if asked.photos is None:
            parser.error("real needs photos: a manifest")
        photos = read_photos(asked.photos)
        recipes = [real_recipe(way) for way in WAYS]
    else:
        photos = None
        recipes = [simulated_recipe(scenes, way) for scenes in SCENES for way in WAYS]
    for recipe in recipes:
        train(recipe, photos, asked.out)
    print(tables()["fresh"])
    if asked.write:
        fill_page(PAGE, tables())


if __name__ == "__main__":
    main()
