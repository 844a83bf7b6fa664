"""What the two presets of a network (initialisation, batch-norm averages) do to its accuracy.

    python benchmarks/presets.py --out FOLDER [--epochs 2]

Trains MISLnet on the same simulated patches with each preset, with the paper's SGD and with
AdamW, and prints the accuracy on scenes never seen, and the paired difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from phototrace.evidence.assessing import assess
from phototrace.evidence.formatting import headline, verdict
from phototrace.learning.preparing import gather_photos
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import train_recipe
from phototrace.progress import on_stderr

PRESETS = ("modern", "caffe")
PHOTOS = {
    "scenes": 12,
    "height": 512,
    "width": 640,
    "seed": 1,
    "models": [
        "Alder A10", "Alder A20", "Birch Pro 5", "Birch Pro 6",
        "Cedar S3", "Cedar S4", "Dogwood X1", "Elm 700",
    ],
}  # fmt: skip


def recipe(preset: str, optimizer: str, epochs: int) -> Recipe:
    """The manipulation task on simulated photos with one preset and optimiser."""
    return Recipe.parse({
        "name": f"{optimizer}-{preset}",
        "seed": 1,
        "photos": {"simulated": PHOTOS},
        "split": {"by": "scene", "validation": 0.15, "test": 0.25},
        "network": {"patch_size": 64, "preset": preset},
        "legs": {"manipulation": {"task": "manipulation", "editing": ["block", "region"]}},
        "training": {
            "optimizer": optimizer,
            "schedule": "halving" if optimizer == "sgd" else "one-cycle",
            "epochs": epochs,
        },
    })  # fmt: skip


@on_stderr()
def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    for optimizer in ("sgd", "adamw"):
        recipes = [recipe(preset, optimizer, asked.epochs) for preset in PRESETS]
        photos = gather_photos(recipes[0].photos, Path(), None, asked.out)
        runs = [train_recipe(one, photos, asked.out, resume=True) for one in recipes]
        result = assess(runs, photos, asked.out / f"evaluation-{optimizer}")
        for evaluation in result.evaluations:
            print(f"{evaluation.run}: {headline(evaluation)}")
        print(verdict(result.comparisons[0]))


if __name__ == "__main__":
    main()
