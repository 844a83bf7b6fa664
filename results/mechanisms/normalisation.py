"""Why a short multitask training is less accurate in test: whose batch-norm statistics?

    python results/mechanisms/normalisation.py RECIPE --out FOLDER [--photos PHOTOS] [--write]

In training every leg is normalised by its own batch's statistics; at test all legs by one average
over the legs (paper, Sec. 4.2). Here the hybrid of `mechanisms.py`, which must have been run with
the same RECIPE and FOLDER, is tested both ways: as it is, and with each leg's own statistics, taken
over 2,000 of its training patches. The weights are the same.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
from phototrace.learning.accelerator import place, to_input
from phototrace.learning.batches import as_tensor
from phototrace.learning.model import Model
from phototrace.learning.preparing import gather_photos, prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.patches.building import build_store
from phototrace.patches.store import PatchStore
from phototrace.progress import on_stderr

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "mechanisms.md"
PATCHES, BATCH = 2000, 100
OWN = "-own-statistics.parquet"


@torch.no_grad()
def with_own_statistics(
    model: Model, store: PatchStore, rows: NDArray[np.int64], leg: str
) -> Model:
    """The model with batch-norm statistics over a leg's patches; weights stay as they are."""
    machine = model.machine
    place(model.network, machine.device).eval()
    for layer in model.network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over all batches
            layer.train()
    for start in range(0, len(rows), BATCH):
        patches = as_tensor(store.read(rows[start : start + BATCH]))
        with machine.autocast():
            model.network({leg: to_input(patches, machine.device)})
    model.network.eval()
    return model


def stored(setting: str) -> dict[str, tuple[Predictions, Predictions]]:
    """Leg -> predictions with averaged and with own statistics, as they lie beside this file."""
    found = {}
    for path in sorted((HERE / setting).glob(f"*{OWN}")):
        leg = path.name.removesuffix(OWN)
        averaged = HERE / setting / f"{leg}-network-multitask.parquet"
        found[leg] = (Predictions.load(averaged), Predictions.load(path))
    return found


def tables(setting: str) -> dict[str, str]:
    """One table: each leg both ways."""
    rows = [
        (
            leg,
            percent_and_interval(patch_trials(averaged).figure(balanced=True)),
            percent_and_interval(patch_trials(own).figure(balanced=True)),
            points_and_interval(compare(own, averaged)),
        )
        for leg, (averaged, own) in stored(setting).items()
    ]
    head = ("leg", "averaged statistics, %", "the leg's own, %", "difference, points")
    return {f"{setting} normalisation": table(head, rows)}


@on_stderr()
def main() -> None:
    """Test the hybrid both ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--photos", type=Path, default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    base = Recipe.load(asked.recipe)
    manifest = gather_photos(base.photos, asked.recipe.parent, asked.photos, asked.out)
    run = Run.load(asked.out / "runs" / f"{base.name}-hybrid-{base.network.share_depth}")
    for leg, plan in prepare(base, manifest).plans.items():
        store = build_store(plan, asked.out / "runs/stores" / f"{leg}-{plan.hash[:12]}")
        rows = np.random.default_rng(base.seed).permutation(store.rows("train"))[:PATCHES]
        model = with_own_statistics(run.model(), store, rows, leg)
        said_of_all = predict_photos(run, manifest, asked.out / "tests", leg=leg)
        averaged = with_classes(said_of_all.predictions)
        (folder,) = (
            path
            for path in (asked.out / "tests").glob(f"{leg}-test-*")
            if PatchStore.load(path).hash == averaged.data_hash
        )
        tested = PatchStore.load(folder)
        pieces = np.array_split(np.arange(len(tested)), -(-len(tested) // BATCH))
        said = model.answers_of(
            map(tested.read, pieces), leg, label=f"Testing {leg}", total=len(pieces)
        )
        probabilities = np.concatenate(list(said))
        own = replace(averaged, run=f"{averaged.run}, own statistics", probabilities=probabilities)
        print(f"{leg}: {points_and_interval(compare(own, averaged))} points", flush=True)
        if asked.write:
            own.compact().save(HERE / base.name / f"{leg}{OWN}")
    if asked.write:
        fill_page(PAGE, tables(base.name))


if __name__ == "__main__":
    main()
