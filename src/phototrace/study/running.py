"""Running a study: every training and forest of its plan, once, and its test predictions.

The folder `out` holds the patch stores and runs (named by choices and data, so that nothing is
done twice), `photos.parquet` (the photos the study began with), one file of predictions for each
answer in `predictions/`, and `study.json`, which lists them: results are worked out from these two
alone. Killed at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.inference import detect_store, predict_store
from phototrace.evidence.predictions import Predictions
from phototrace.files import free_bytes, is_complete, locked, write_json
from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor
from phototrace.learning.leaks import check_leaks
from phototrace.learning.preparing import gather_photos
from phototrace.learning.run import Run, machine_facts
from phototrace.learning.training import train_recipe
from phototrace.learning.trees import ExtraTrees
from phototrace.patches.building import build_store
from phototrace.patches.plan import PatchPlan
from phototrace.patches.store import PatchStore
from phototrace.photos.completing import with_traces
from phototrace.photos.corpora.dresden import planned
from phototrace.photos.manifest import Manifest
from phototrace.photos.photo import legible
from phototrace.progress import say
from phototrace.study.counts import plan_facts
from phototrace.study.estimating import Estimate, estimate
from phototrace.study.photos import same_photos
from phototrace.study.plan import (
    Forest,
    StudyPlan,
    Training,
    plan_study,
)
from phototrace.study.recipe import StudyRecipe
from phototrace.study.results import LEDGER, VERSION, is_listed

PREDICTIONS, PHOTOS, LEAKS = "predictions", "photos.parquet", "leaks.json"
STORES = Path("runs/stores")


def study_photos(recipe: StudyRecipe, beside: Path, photos: Path | None, out: Path) -> Manifest:
    """The photos of a study: `photos` if given, else what the recipe names or simulates.

    Raises:
        UsageError: There are none, `out` is a file, or `photos` is Dresden's index without photos.
    """
    require_folder(out)
    if photos is not None and planned(photos) is not None:
        raise UsageError(
            f"{legible(photos)} is the index of the Dresden database, without photos. It serves "
            "--plan; to train, give the folder of the photos."
        )
    return gather_photos(recipe.photos, beside, photos, out)


def require_folder(out: Path) -> None:
    """Raise `UsageError` where `out` is something else than a folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{legible(out)} is a file. Give a folder with --out.")


def run_study(
    recipe: StudyRecipe,
    manifest: Manifest,
    out: Path,
    *,
    seeds: int = 1,
    allow_leaks: bool = False,
) -> StudyPlan:
    """Do all of a study that is not done yet; the answers lie in `out` afterwards.

    Args:
        recipe: Its choices.
        manifest: The photos (`study_photos`).
        out: Folder of everything.
        seeds: Repetitions with other initial weights and order, on the same split and patches.
        allow_leaks: Go on though the split leaks; runs and results list it.

    Raises:
        UsageError: Before anything is trained, where photos do not serve the recipe, have changed
            since the study began in `out`, the split leaks, the disk is too small, or another
            study is at work in `out`.
    """
    require_folder(out)
    with locked(out):
        manifest, left_out = same_photos(manifest, out / PHOTOS)
        manifest = with_traces(manifest, out / STORES)
        plan = plan_study(recipe, manifest, seeds)
        for note in plan.experiment.notes:
            say(note)
        taken = estimate(plan)
        _require_disk(taken, out)
        leaks = _leaks(plan, out, allow_leaks)
        answers = _Work(plan, manifest, out, taken, allow_leaks).do()
        write_json(out / LEDGER, {
            "version": VERSION,
            **_facts(plan, left_out, leaks),
            "answers": answers,
        })  # fmt: skip
    return plan


def _leaks(plan: StudyPlan, out: Path, allowed: bool) -> list[str]:
    """The leaks of the split in sentences; a `UsageError` where they are not allowed."""
    found = check_leaks(
        plan.experiment.manifest, plan.experiment.split, out / STORES,
        test_devices=plan.recipe.split.test_devices, allowed=True,
    )  # fmt: skip
    texts = [leak.text for leak in found]
    if texts:
        write_json(out / LEAKS, {"version": VERSION, "leaks": texts})
    else:
        (out / LEAKS).unlink(missing_ok=True)
    if texts and not allowed:
        raise UsageError(
            f"The split leaks in {len(texts)} places, all listed in {out / LEAKS}. {texts[0]} "
            "Leave photos out, split in another way, or go on anyway with --allow-leaks."
        )
    return texts


def _require_disk(taken: Estimate, out: Path) -> None:
    own = [path for part in ("runs", PREDICTIONS) for path in (out / part).rglob("*")]
    there = sum(path.stat().st_size for path in own if path.is_file())
    free = free_bytes(out)
    if taken.bytes > free + there:
        raise UsageError(
            f"The study takes up to {taken.bytes / 1e9:.1f} GB, and {out} has room for "
            f"{(free + there) / 1e9:.1f} GB. Choose another --out, or fewer patches (per_class)."
        )


def _facts(
    plan: StudyPlan, left_out: Sequence[Mapping[str, str]], leaks: Sequence[str]
) -> dict[str, Any]:
    """What results need to know of a plan, as plain values."""
    return {
        **plan_facts(plan),
        "recipe": plan.recipe.model_dump(mode="json", exclude_none=True),
        "depths": list(plan.depths),
        "photos_left_out": [dict(one) for one in left_out],
        "leaks": list(leaks),
        "machine": machine_facts(),
    }


@dataclass
class _Work:
    """Everything that a study's steps share."""

    plan: StudyPlan
    manifest: Manifest
    out: Path
    estimate: Estimate
    allow_leaks: bool

    def do(self) -> list[dict[str, Any]]:
        """Every training and forest in turn; one record an answer."""
        self._require_whole_stores()
        steps: list[Training | Forest] = [*self.plan.trainings, *self.plan.forests]
        left = {one.name: self.estimate.seconds[one.name] for one in steps}
        answers = []
        spent = guessed = 0.0
        for number, one in enumerate(steps, start=1):
            known = all(self._record(one.name, target).is_file() for target in _targets(one))
            if not known:
                pace = spent / guessed if guessed > 0 else 1.0
                say(f"{number} of {len(steps)}: {one.label}, seed {one.seed} "
                    f"(about {clock(left[one.name] * pace)}; all that is left: "
                    f"{clock(sum(left.values()) * pace)})")  # fmt: skip
            started = time.monotonic()
            answers += self._train(one) if isinstance(one, Training) else self._grow(one)
            if not known:
                spent += time.monotonic() - started
                guessed += left[one.name]
            del left[one.name]
        return answers

    def _train(self, one: Training) -> list[dict[str, Any]]:
        run = self._trained(one)
        facts = {
            "way": one.way, "features": one.features, "depth": one.depth, "seed": one.seed,
            "steps": one.steps, "seconds": run.provenance["seconds"], "run": run.name,
            "run_hash": run.hash,
        }  # fmt: skip
        return [
            self._answer(
                one.name, target,
                lambda target=target: predict_store(
                    run, target, self._test_store(target), one.label
                ),
                {**facts, "retrained": one.retrained[target], "patches": one.patches[target]},
            )
            for target in one.targets
        ]  # fmt: skip

    def _require_whole_stores(self) -> None:
        """Cut all patches first: where a photo gives none, what was planned would not be true."""
        plans = self.plan.experiment.plans
        stores = [self._store(task, plan) for task, plan in plans.items()]
        for store in (*stores, *map(self._test_store, self.plan.tests)):
            skipped = store.facts["skipped"]
            if skipped:
                raise UsageError(
                    f"{len(skipped)} photos cannot be cut as the manifest describes them. "
                    f"{skipped[0]['reason']} Index the photos again, and start in another --out."
                )

    def _trained(self, one: Training) -> Run:
        """The run of a training, finished before or now."""
        trunk = self._run(one.trunk) if one.trunk else None
        folder = self._folder(one.name)
        if is_complete(folder):  # its name tells choices and data; machines may differ
            run = Run.load(folder)
            if trunk is None or run.provenance["trunk"]["hash"] == trunk.hash:
                return run
            shutil.rmtree(folder)  # stands on a trunk that is not there any more
        try:
            run = self._train_now(one, trunk)
        except DamagedError as error:
            if not (folder / "checkpoint").is_dir():
                raise
            say(f"{one.label} cannot go on where it was and starts again: {error}")
            shutil.rmtree(folder)
            run = self._train_now(one, trunk)
        for stored in (self.out / STORES).glob("trunk-*"):
            shutil.rmtree(stored)  # of use to this training alone
        return run

    def _train_now(self, one: Training, trunk: Run | None) -> Run:
        return train_recipe(
            one.recipe, self.manifest, self.out / "runs", resume=True, trunk=trunk,
            allow_leaks=self.allow_leaks, told=True,
        )  # fmt: skip

    def _grow(self, one: Forest) -> list[dict[str, Any]]:
        source = self._run(one.source)
        alone = next(
            t for t in self.plan.trainings
            if t.way == "single" and t.targets == (one.target,) and t.seed == one.seed
        )  # fmt: skip
        target = self._run(alone.name)
        store = self._store(one.target, self.plan.experiment.plans[one.target])
        trees = self.plan.recipe.trees
        rows = np.random.default_rng(one.seed).permutation(store.rows("train"))
        rows = np.sort(rows[: trees.patches or None])

        def say_all() -> Predictions:
            extractor = FeatureExtractor(source.model())
            features = extractor.transform_store(store)[rows]
            forest = ExtraTrees(trees.number, random_state=one.seed)
            detector = Detector(extractor, forest).fit(features, store.label[rows])
            test = self._test_store(one.target)
            return detect_store(detector, target, one.target, test, one.label)

        facts = {
            "way": "trees", "features": one.features, "depth": None, "seed": one.seed,
            "steps": 0, "run": source.name, "run_hash": source.hash, "retrained": 0,
            "patches": len(rows),
        }  # fmt: skip
        return [self._answer(one.name, one.target, say_all, facts)]

    def _answer(
        self, name: str, target: str, say_all: Any, facts: dict[str, Any]
    ) -> dict[str, Any]:
        """The record of one answer, from its file where it was given before."""
        path = self._record(name, target)
        found = _given(path)
        told = {"target": target, **facts, "seconds": None}
        if found and {**found, "seconds": None}.items() >= told.items():
            return found
        started = time.monotonic()
        predictions = say_all()
        file = path.with_suffix(".parquet")
        predictions.save(file)
        record = {
            "target": target,
            **facts,
            "file": f"{PREDICTIONS}/{file.name}",
            "predictions_hash": predictions.hash,
        }
        record.setdefault("seconds", round(time.monotonic() - started, 1))
        write_json(path, record)
        return record

    def _run(self, name: str) -> Run:
        return Run.load(self._folder(name))

    def _folder(self, name: str) -> Path:
        return self.out / "runs" / name

    def _record(self, name: str, target: str) -> Path:
        return self.out / PREDICTIONS / f"{name}.{target}.json"

    def _test_store(self, task: str) -> PatchStore:
        return self._store(f"{task}-test", self.plan.tests[task])

    def _store(self, name: str, plan: PatchPlan) -> PatchStore:
        return build_store(plan, self.out / STORES / f"{name}-{plan.hash[:12]}")


def _given(path: Path) -> dict[str, Any] | None:
    """A record whose predictions are whole; None where they are to be made (again)."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = is_listed(Predictions.load(path.with_suffix(".parquet")), found)
    except (OSError, ValueError, KeyError, TypeError, DamagedError):
        return None
    return found if whole else None


def _targets(one: Training | Forest) -> tuple[str, ...]:
    return one.targets if isinstance(one, Training) else (one.target,)


def clock(seconds: float) -> str:
    """Such as "40 s", "12 min", "3 h 20 min" and "5 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours / 24:.0f} days"
