"""Training (paper Sec. 4 and 5.1): from a recipe to a run, by the one loop there is.

Each step reads a batch a leg, sums the legs' losses, and takes one optimiser step, after which
the constraint (Eq. 4) is put back. There is no early stopping: the last epoch's weights stand.
Several processes may take each step together (`processes`); the first alone writes and says what
it does.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from phototrace.errors import UsageError
from phototrace.files import hash_of, is_complete, locked
from phototrace.learning.accelerator import (
    Accelerator,
    DeviceName,
    place,
    resolve,
    to_input,
)
from phototrace.learning.batches import Batch, Leg, batches, steps_per_epoch
from phototrace.learning.checkpoint import Progress, figures, load_checkpoint, save_checkpoint
from phototrace.learning.epochs import close_epoch
from phototrace.learning.fast import lanes_of
from phototrace.learning.leaks import check_leaks
from phototrace.learning.leg_data import LegData, leg_data
from phototrace.learning.model_files import ModelConfig
from phototrace.learning.network import Backbone, Network
from phototrace.learning.optim import learning_rate, make_optimizer, set_learning_rate
from phototrace.learning.preparing import (
    Experiment,
    passes_per_epoch,
    prepare,
    skipped_note,
    split_facts,
    trained_photos,
)
from phototrace.learning.processes import (
    average_,
    count,
    first_then_others,
    label_shares,
    rank,
    require_dealt,
    require_same,
    team,
    together,
    wait,
)
from phototrace.learning.recipe import Recipe, TrainingChoice
from phototrace.learning.run import STORES, Run, machine_facts, require_free, write_run
from phototrace.learning.tasks import Task
from phototrace.learning.transfer import (
    check_trunk,
    load_trunk,
    remember_trained,
    take_trunk,
    with_trained,
)
from phototrace.learning.trunk_output import TrunkOutput, store_trunk_output
from phototrace.learning.watch import Watch
from phototrace.patches.store import PatchStore
from phototrace.photos.audit import Leak
from phototrace.photos.completing import with_traces
from phototrace.photos.manifest import Manifest
from phototrace.progress import progress as show_progress
from phototrace.progress import say

CHECKPOINT_SECONDS = 60.0
FETCH_STEPS = 20
"""Losses are fetched from the device so often, and once more before a checkpoint or an epoch's end:
to look at each would be to wait for the device at each."""


def train_recipe(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    resume: bool = False,
    backbone: Backbone | None = None,
    allow_leaks: bool = False,
    trunk: Run | None = None,
    device: DeviceName = "auto",
    devices: int = 1,
    told: bool = False,
) -> Run:
    """Train what `recipe` says and leave the run in `out / recipe.name`.

    Patch stores go to `out / "stores"` and are shared by recipes that cut the same patches. A
    finished run of the same choices and data is returned as it is. An unfinished one goes on
    with `resume`; without, it is a `UsageError`. So are leaks between the parts of the split
    (`photos.audit`), unless `allow_leaks`: then the run's provenance lists them. `trunk` takes
    the place of the recipe's `trunk_from` (which starts from the working folder here): its stages
    up to `share_depth` are frozen, and the stages above are trained from the start. Notes on the
    photos are said, unless they were `told` before.

    `devices` processes train together, each on a CUDA device or core of its own and with its share
    of every batch. In a script that torchrun has started, these processes train together.
    """
    machine = team(resolve(recipe.training.precision), device, devices)
    sizes = {leg: recipe.cutting(leg).batch_size for leg in recipe.legs}
    require_dealt(sizes, machine.world_size)
    work = partial(_train_recipe, recipe, manifest, out, resume, backbone, allow_leaks, trunk, told)
    return together(machine, work) or Run.load(out / recipe.name)


def _train_recipe(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    resume: bool,
    backbone: Backbone | None,
    allow_leaks: bool,
    trunk: Run | None,
    told: bool,
    machine: Accelerator,
) -> Run:
    """`train_recipe` in one process."""
    folder = out / recipe.name
    trunk = trunk or load_trunk(recipe, Path())
    check_trunk(recipe, trunk)
    experiment = prepare(recipe, manifest)
    config = experiment.config(resolve(recipe.training.precision))
    network = config.network(backbone, seed=recipe.training_seed)
    if trunk is not None:
        take_trunk(network, trunk, backbone)
    with first_then_others():
        experiment = replace(experiment, manifest=with_traces(experiment.manifest, out / STORES))
        leaks = check_leaks(
            experiment.manifest, experiment.split, out / STORES,
            trunk=trunk, test_devices=recipe.split.test_devices, allowed=allow_leaks,
        )  # fmt: skip
    with locked(folder) if rank() == 0 else nullcontext():
        require_free(folder, recipe, experiment.split.hash, resume)
        work = _Work(folder, experiment, config, trunk, leaks, out / STORES, machine, told)
        return work.train(network)


@dataclass(frozen=True)
class _Work:
    """All that a training needs beside its network."""

    folder: Path
    experiment: Experiment
    config: ModelConfig
    trunk: Run | None
    leaks: Sequence[Leak]
    stores: Path
    machine: Accelerator
    told: bool = False

    def train(self, network: Network) -> Run:
        """The run, trained now, or returned as it is where it is there already."""
        recipe = self.experiment.recipe
        with first_then_others():
            data = leg_data(self.experiment, self.stores)
        legs = [one.leg for one in data.values()]
        plan = self._plan(data)
        if is_complete(self.folder):
            return self._finished(plan)
        provenance = self._provenance(data, legs, plan)
        for note in () if self.told else provenance["notes"]:
            say(note)
        trained, above = network, None
        if self.trunk is not None:
            with first_then_others():
                above = self._trunk_output(network, self.trunk, legs[0])
            provenance["trunk"] = {
                "run": self.trunk.name, "hash": self.trunk.hash,
                "stored": above.hash if above else None,
            }  # fmt: skip
            # The same plan in another way gives the same head only within rounding.
            plan = hash_of([plan, provenance["trunk"]["stored"]])
        if above is not None:
            legs = [replace(leg, store=above) for leg in legs]
            trained = network.above_trunk()
        require_same(plan)
        done = train(
            trained, legs, recipe.training, self.folder, self.machine,
            plan=plan, preset=recipe.network.preset, seed=recipe.training_seed,
        )  # fmt: skip
        with first_then_others():
            return self._kept(network, done, provenance) if rank() == 0 else Run.load(self.folder)

    def _kept(self, network: Network, done: Progress, provenance: dict[str, Any]) -> Run:
        """The run, written."""
        provenance["seconds"] = round(done.seconds, 1)
        facts = with_trained(split_facts(self.experiment), self.trunk)
        config = replace(self.config, trained_on=_trained_on(provenance, facts["hash"]))
        run = write_run(
            self.folder, self.experiment.recipe, config, network, done.metrics, provenance, facts,
            remember_trained(trained_photos(self.experiment), self.trunk),
        )  # fmt: skip
        shutil.rmtree(self.folder / "checkpoint")
        return run

    def _trunk_output(self, network: Network, trunk: Run, leg: Leg) -> TrunkOutput | None:
        store = leg.store
        if leg.fresh or not isinstance(store, PatchStore):
            return None  # other patches in every epoch: the trunk runs on each
        names = {
            "trunk": trunk.hash, "depth": self.config.share_depth,
            "precision": self.config.precision,
        }  # fmt: skip
        gigabytes = self.experiment.recipe.training.trunk_store_gb
        return store_trunk_output(network, store, names, self.stores, self.machine, gigabytes)

    def _plan(self, data: Mapping[str, LegData]) -> str:
        """Names all that the weights depend on: what is resumed must be the same."""
        return hash_of({
            **({"processes": count()} if count() > 1 else {}),
            "recipe": self.experiment.recipe.choices(),
            "trunk": self.trunk.hash if self.trunk else None,
            "data": {name: one.hash for name, one in data.items()},
            "split": self.experiment.split.hash,
            "threads": torch.get_num_threads(),
            "device": self.machine.device.type,
            "precision": self.config.precision,
            "torch": torch.__version__,
        })  # fmt: skip

    def _finished(self, plan: str) -> Run:
        run = Run.load(self.folder)
        if run.provenance.get("plan") != plan:
            raise UsageError(
                f"{self.folder} holds a run of other choices or data. Choose another name or "
                "folder."
            )
        return run

    def _provenance(
        self, data: Mapping[str, LegData], legs: Sequence[Leg], plan: str
    ) -> dict[str, Any]:
        """What the recipe does not say."""
        skipped = {name: list(one.skipped) for name, one in data.items()}
        lost = [
            n for name, photos in skipped.items() for n in skipped_note(f"Leg {name!r}", photos)
        ]
        return {
            "plan": plan,
            "data": {name: one.hash for name, one in data.items()},
            "stores": {name: one.stored for name, one in data.items() if one.stored},
            "manifest": self.experiment.manifest.hash,
            "leaks": [vars(leak) for leak in self.leaks],
            "patches": {name: one.count for name, one in data.items()},
            "passes": passes_per_epoch(
                {leg.name: len(leg.train) for leg in legs if not leg.patches_of},
                {leg.name: leg.batch_size for leg in legs if not leg.patches_of},
            ),
            "skipped": skipped,
            "notes": [*self.experiment.notes, *lost],
            "machine": {**machine_facts(), "processes": count()},
        }


def _trained_on(provenance: Mapping[str, Any], split: str) -> dict[str, Any]:
    """What a model may tell of its training data: counts, and hashes of it as a whole."""
    patches = {name: sum(count["train"]) for name, count in provenance["patches"].items()}
    return {"patches": patches, "data": dict(provenance["data"]), "split": split}


def train(
    network: Network,
    legs: Sequence[Leg],
    choice: TrainingChoice,
    folder: Path,
    machine: Accelerator,
    *,
    plan: str,
    preset: str = "modern",
    seed: int = 0,
) -> Progress:
    """Train `network` in place; return what happened, with one row of metrics an epoch.

    Checkpoints go to `folder/checkpoint`; where one is there, of the same `plan` (a hash of all
    choices and data), training goes on from it, with the same result as if it had never stopped.
    A TensorBoard log goes to `folder/tensorboard`. Raises `PhototraceError` where the loss is no
    longer finite; the last good checkpoint stays.
    """
    place(network, machine.device).train()
    optimizer = make_optimizer(network, choice, preset)
    state = load_checkpoint(folder / "checkpoint", plan, network, optimizer) or Progress()
    wait()  # until every process has read what the first is about to replace
    first = rank() == 0
    tasks = {leg.name: leg.task for leg in legs}
    weights = {leg.name: leg.weight for leg in legs}
    per_epoch = steps_per_epoch(legs)
    total = per_epoch * choice.epochs
    freeze_from = total * (1 - choice.freeze_batch_norm)
    patches = sum(leg.batch_size for leg in legs if not leg.patches_of)
    watch = Watch(folder, tasks, state, patches, logs=first)

    def checkpoint() -> None:
        if not first:
            return
        watch.fetch(state)
        state.seconds = watch.seconds()
        save_checkpoint(folder / "checkpoint", plan, network, optimizer, state)

    if state.step == 0:
        checkpoint()
    saved = time.monotonic()
    norms_frozen = False
    stream = batches(
        legs, state.step, total, seed,
        share=(rank(), count()), pinned=machine.device.type == "cuda",
    )  # fmt: skip
    for batch in show_progress(stream, total, "Training", done=state.step, status=watch.status):
        if state.step >= freeze_from and not norms_frozen:
            network.freeze_batch_norm_()
            norms_frozen = True
        rate = learning_rate(choice, state.step, per_epoch)
        set_learning_rate(optimizer, rate)
        step(network, optimizer, batch, machine, state, tasks, weights)
        if state.step % FETCH_STEPS == 0:
            watch.fetch(state, rate)
        if state.step % per_epoch == 0:
            watch.fetch(state)
            close_epoch(network, legs, machine, state, per_epoch, watch)
        if first and time.monotonic() - saved > CHECKPOINT_SECONDS and state.step < total:
            checkpoint()
            saved = time.monotonic()
    checkpoint()
    watch.close()
    return state


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    machine: Accelerator,
    state: Progress,
    tasks: Mapping[str, Task],
    weights: Mapping[str, float] | None = None,
) -> None:
    """One optimiser step on the sum of the legs' mean losses, then the projection.

    `weights` holds each leg's lambda_t (Eq. 6), which scales its gradient in the trunk alone.
    """
    with lanes_of(network):
        _step(network, optimizer, batch, machine, state, tasks, weights)
    state.step += 1


def _step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    machine: Accelerator,
    state: Progress,
    tasks: Mapping[str, Task],
    weights: Mapping[str, float] | None,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    once = {id(patches): to_input(patches, machine.device) for patches, _ in batch.values()}
    inputs = {leg: once[id(patches)] for leg, (patches, _) in batch.items()}
    labels = {leg: y.to(machine.device, non_blocking=True) for leg, (_, y) in batch.items()}
    counts = {leg: tasks[leg].count(y) for leg, y in labels.items()}
    shares = label_shares(counts)
    with machine.autocast():
        scores = network(inputs, weights)
    total, found = torch.zeros((), device=machine.device), {}
    for leg, y in labels.items():
        loss = tasks[leg].loss(scores[leg], y)
        total = total + loss * shares[leg]
        with torch.no_grad():
            found[leg] = figures(loss, tasks[leg].score(scores[leg], y), counts[leg])
    total.backward()  # type: ignore[no-untyped-call]
    average_(network, found)
    for leg, new in found.items():
        state.add(leg, new)
    optimizer.step()
    network.project_()
