"""The whole of phototrace on simulated cameras, in minutes: an illustration, not evidence."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from phototrace.progress import say
from phototrace.recipes import study_path
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import PAGE, reproduce
from phototrace.study.running import study_photos

ACTIVATE = r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"
NEXT_STEPS = (
    ("Put phototrace on the path", ACTIVATE),
    ("List your own photos", "phototrace index PHOTOS -o photos.parquet"),
    ("Look for leaks in them", "phototrace audit photos.parquet"),
    ("Train on them", "phototrace train manipulation --photos photos.parquet"),
    ("Test the run", "phototrace evaluate runs/manipulation photos.parquet"),
    ("Do the study on them", "phototrace reproduce RECIPE.toml --photos PHOTOS --plan"),
)


def run_demo(out: Path, tell: Callable[[str], None] = say) -> Path:
    """Simulate photos, do the paper's study on them, small; return the page's path.

    `tell` is given what comes out and where to go next; by default it goes to the log. What is
    finished in `out` is not done again, and what was interrupted goes on.
    """
    started = time.monotonic()
    recipe = StudyRecipe.load(study_path("demo"))
    tell("1. Photos of simulated cameras")
    manifest = study_photos(recipe, Path(), None, out)
    cameras = {r.camera for r in manifest.photos}
    devices = {r.device_id for r in manifest.photos}
    scenes = {r.scene for r in manifest.photos}
    tell(
        f"   {len(manifest.photos)} photos: {len(cameras)} camera models, {len(devices)} devices, "
        f"{len(scenes)} scenes that all of them photographed."
    )
    tell(
        "2. The paper's study, small: the manipulation of a patch (A), one of five camera models\n"
        "   (B), and one of three other models with few photos (C): each task alone, on features\n"
        "   of another task, and together"
    )
    results = reproduce(recipe, manifest, out)
    tell("3. The paper's findings on these photos")
    for finding in results.findings:
        tell(f"   {finding.name + ':':32} {finding.verdict}")
    page = out / PAGE
    tell(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. Simulated photos and short "
         "trainings: an illustration, not evidence.")  # fmt: skip
    tell(f"Fig. 3 and Tables 2 and 3, on a page: {page.resolve().as_uri()}")
    tell("\nWhere to go next:")
    for text, command in NEXT_STEPS:
        tell(f"   {text + ':':28} {command}")
    return page
