"""The whole of phototrace on simulated cameras, in minutes: an illustration, not evidence."""

from __future__ import annotations

import time
from pathlib import Path

from phototrace.evidence.assessing import PAGE, assess
from phototrace.evidence.report import NextStep
from phototrace.evidence.wording import headline
from phototrace.learning.experiment import find_photos, train_recipe
from phototrace.learning.recipe import Recipe
from phototrace.recipes import recipe_path

RECIPES = ("demo-manipulation", "demo-cameras")

NEXT_STEPS = (
    NextStep("Put phototrace on the path", ". .venv/bin/activate"),
    NextStep("List your own photos", "phototrace index PHOTOS -o photos.parquet"),
    NextStep("Look for leaks in them", "phototrace audit photos.parquet"),
    NextStep(
        "Train on them", "phototrace train manipulation --photos photos.parquet"
    ),
    NextStep("Test the run", "phototrace evaluate runs/manipulation photos.parquet"),
)  # fmt: skip


def run_demo(out: Path) -> Path:
    """Simulate, train both single-task networks, evaluate; return the page's path.

    What is finished in `out` is not done again, and what was interrupted goes on.
    """
    started = time.monotonic()
    recipes = [Recipe.read(recipe_path(name)) for name in RECIPES]
    print("1. Photos of simulated cameras", flush=True)
    manifest = find_photos(recipes[0], Path(), None, out)
    cameras = {r.camera for r in manifest.photos}
    devices = {r.device_id for r in manifest.photos}
    scenes = {r.scene for r in manifest.photos}
    print(
        f"   {len(manifest.photos)} photos: {len(cameras)} camera models, {len(devices)} devices, "
        f"{len(scenes)} scenes that all of them photographed."
    )
    runs = []
    for number, recipe in enumerate(recipes, start=2):
        task = ", ".join(leg.task for leg in recipe.legs.values())
        print(f"{number}. Train: {task}, {recipe.network.patch_size} px patches", flush=True)
        runs.append(train_recipe(recipe, manifest, out / "runs", resume=True))
        print(f"   {runs[-1].folder}, {runs[-1].provenance['seconds']:.0f} s of training.")
    print("4. Test on photos that taught neither", flush=True)
    result = assess(runs, manifest, out / "evaluation", next_steps=NEXT_STEPS)
    for evaluation in result.evaluations:
        print(f"   {evaluation.run}: {headline(evaluation)}")
    page = out / "evaluation" / PAGE
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. Simulated photos: an "
          "illustration, not evidence.")  # fmt: skip
    print(f"The page to read: {page.resolve().as_uri()}")
    print("\nWhere to go next:")
    for step in NEXT_STEPS:
        print(f"   {step.text + ':':28} {step.command}")
    return page
