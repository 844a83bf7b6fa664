"""The paper's ways of training compared, on one set of photos: docs/mechanisms.md.

    python results/mechanisms/mechanisms.py RECIPE --out FOLDER [--photos PHOTOS] [--write]

RECIPE has two legs and a share depth (`real.toml`, `simulated.toml`). The program trains each leg
alone, each leg on the other's frozen trunk, and both together, with equally many steps of each leg
(30 epochs of a head on a frozen trunk). Then it fits extremely randomised trees on the fc2 features
of the two single-task runs and of the hybrid, on 6,000 training patches of the target task. All
share one split. What is finished in FOLDER is not done again. The tables are printed; `--write`
puts them into the page, and the predictions they come from beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import patch_trials
from phototrace.evidence.formatting import wide
from phototrace.evidence.inference import detect_photos, predict_photos
from phototrace.evidence.kinds import with_classes
from phototrace.evidence.markdown import (
    fill_page,
    meanings,
    percent_and_interval,
    points_and_interval,
    table,
)
from phototrace.evidence.predictions import Predictions
from phototrace.files import write_json
from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor
from phototrace.learning.preparing import gather_photos, prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.patches.building import build_store
from phototrace.photos.manifest import Manifest
from phototrace.progress import on_stderr

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "mechanisms.md"
TRANSFER_EPOCHS = 30
TREE_ROWS = 6000
INDEX = "index.json"


@dataclass(frozen=True)
class Result:
    """One way of training, tested on one leg's task."""

    leg: str
    way: str
    predictions: Predictions
    seconds: float


def variant(
    base: Recipe, name: str, legs: list[str], *, depth: str | None, **training: object
) -> Recipe:
    """`base` with some of its legs, another share depth and other training choices."""
    data = base.model_dump(exclude_none=True)
    data["name"] = f"{base.name}-{name}"
    data["legs"] = {leg: data["legs"][leg] for leg in legs}
    data["network"]["share_depth"] = depth
    data["training"] |= training
    return Recipe.parse(data)


def single_epochs(base: Recipe, manifest: Manifest) -> dict[str, int]:
    """Epochs of each leg alone that give it about as many steps as the hybrid training."""
    plans = prepare(base, manifest).plans
    steps = {
        leg: -(-plan.total("train") // base.legs[leg].batch_size) for leg, plan in plans.items()
    }
    total = max(steps.values()) * base.training.epochs
    return {leg: max(1, round(total / count)) for leg, count in steps.items()}


def trainings(base: Recipe, manifest: Manifest, out: Path) -> dict[str, Run]:
    """All runs by name: each leg, each transfer, the hybrid."""
    depth = base.network.share_depth
    runs = out / "runs"
    made: dict[str, Run] = {}
    for leg, epochs in single_epochs(base, manifest).items():
        recipe = variant(base, leg, [leg], depth=None, epochs=epochs)
        made[leg] = train_recipe(recipe, manifest, runs, resume=True)
    for source, target in (tuple(base.legs), tuple(reversed(base.legs))):
        name = f"{target}-on-{source}-{depth}"
        recipe = variant(
            base, name, [target], depth=depth, epochs=TRANSFER_EPOCHS, weight_decay=0.0
        )
        made[name] = train_recipe(recipe, manifest, runs, resume=True, trunk=made[source])
    hybrid = variant(base, f"hybrid-{depth}", list(base.legs), depth=depth)
    made["hybrid"] = train_recipe(hybrid, manifest, runs, resume=True)
    return made


def results(base: Recipe, manifest: Manifest, out: Path) -> Iterator[Result]:
    """Every way of training on every leg's task."""
    runs = trainings(base, manifest, out)
    experiment = prepare(base, manifest)
    tests = out / "tests"
    for target in base.legs:
        (source,) = set(base.legs) - {target}
        networks = {
            "single task": runs[target],
            "transfer": runs[f"{target}-on-{source}-{base.network.share_depth}"],
            "multitask": runs["hybrid"],
        }
        for way, run in networks.items():
            one = predict_photos(run, manifest, tests, leg=target)
            yield Result(
                target, f"network, {way}", with_classes(one.predictions), run.provenance["seconds"]
            )
        plan = experiment.plans[target]
        store = build_store(plan, out / "runs/stores" / f"{target}-{plan.hash[:12]}")
        rows = np.random.default_rng(base.seed).permutation(store.rows("train"))[:TREE_ROWS]
        patches, labels = store.read(rows), store.label[rows]
        extractors = {
            f"{target} features": runs[target], f"{source} features": runs[source],
            "hybrid features": runs["hybrid"],
        }  # fmt: skip
        for way, run in extractors.items():
            started = time.monotonic()
            detector = Detector(FeatureExtractor(run.model()), random_state=base.seed)
            detector.fit(patches, labels)
            seconds = time.monotonic() - started
            one = detect_photos(detector, runs[target], target, manifest, tests, f"trees, {way}")
            yield Result(target, f"trees, {way}", with_classes(one.predictions), seconds)


def tables(setting: str) -> dict[str, str]:
    """The table of each leg, from the stored predictions and times."""
    folder = HERE / setting
    made = {}
    for leg, entries in json.loads((folder / INDEX).read_text(encoding="utf-8")).items():
        found = [Predictions.load(folder / entry["file"]) for entry in entries]
        rows, figures = [], []
        for entry, one in zip(entries, found, strict=True):
            trials, unseen = patch_trials(one), ~one.seen_device
            balanced = trials.figure(balanced=True)
            never_seen = trials.figure(unseen) if unseen.any() else None
            figures.append((entry["way"], balanced))
            if never_seen and wide(never_seen) != wide(balanced):
                figures.append((f"{entry['way']}, devices never seen", never_seen))
            rows.append((
                entry["way"],
                percent_and_interval(balanced),
                percent_and_interval(never_seen) if never_seen else "",
                points_and_interval(compare(one, found[0])) if one is not found[0] else "",
                f"{entry['minutes']:.1f}",
            ))  # fmt: skip
        head = (
            "", "accuracy, % (95 % interval)", "on devices never seen, %",
            "minus single task, points", "minutes",
        )  # fmt: skip
        made[f"{setting} {leg}"] = table(head, rows) + meanings(figures)
    return made


@on_stderr()
def main() -> None:
    """Train, test, print; write what the page needs where told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--photos", type=Path, default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    base = Recipe.load(asked.recipe)
    manifest = gather_photos(base.photos, asked.recipe.parent, asked.photos, asked.out)
    folder = HERE / base.name
    index: dict[str, list[dict[str, object]]] = {leg: [] for leg in base.legs}
    for one in results(base, manifest, asked.out):
        accuracy = percent_and_interval(patch_trials(one.predictions).figure(balanced=True))
        print(f"{one.leg}: {one.way}: {accuracy}", flush=True)
        file = f"{one.leg}-{one.way.replace(', ', '-').replace(' ', '-')}.parquet"
        minutes = round(one.seconds / 60, 2)
        index[one.leg].append({"way": one.way, "minutes": minutes, "file": file})
        if asked.write:
            one.predictions.compact().save(folder / file)
    if asked.write:
        write_json(folder / INDEX, index)
        fill_page(PAGE, tables(base.name))


if __name__ == "__main__":
    main()
