"""What a study will take: seconds from measured steps, bytes from the plan's patches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch

from phototrace.learning.accelerator import Accelerator, accelerator, place, resolve, to_input
from phototrace.learning.model import BATCH
from phototrace.learning.network import BACKBONES, CHANNELS, Network, build_network
from phototrace.learning.tasks import Task
from phototrace.patches.plan import PatchPlan
from phototrace.progress import progress
from phototrace.study.plan import StudyPlan, Training

STEPS = 3
"""Steps timed of each kind; the fastest counts, for the first also reserves memory."""
FEATURES = 200
SECONDS_PER_NODE = 4e-8
"""Of growing trees: a node's share of sorting `sqrt(features)` columns, on one core."""


@dataclass(frozen=True)
class Estimate:
    """What a plan takes from its start.

    Attributes:
        seconds: Name of a training or forest -> seconds, its tests included.
        bytes: What the disk must hold at most at one time.
    """

    seconds: Mapping[str, float]
    bytes: int

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())


def estimate(plan: StudyPlan) -> Estimate:
    """Time by steps measured on this machine, a few of each kind, and disk by the plan's patches.

    A training's own reading, checkpoints and tests on the validation part are not measured:
    they add some percent. Simulating and cutting the photos is left out.
    """
    speed = _measure(plan)
    seconds: dict[str, float] = {}
    for one in plan.trainings:
        tested = sum(len(plan.tests[target]) for target in one.targets)
        seconds[one.name] = _training_seconds(plan, one, speed) + tested * speed.forward
    for forest in plan.forests:
        rows = _rows(plan, forest.target)
        nodes = plan.recipe.trees.number * 2.0 * rows
        features = plan.experiment.plans[forest.target].total("train")
        grow = nodes * SECONDS_PER_NODE * 14 / (torch.get_num_threads() or 1)
        seconds[forest.name] = (features + len(plan.tests[forest.target])) * speed.forward + grow
    return Estimate(seconds, _bytes(plan, speed.trunk_floats))


@dataclass(frozen=True)
class _Speed:
    """Seconds a patch: of a whole training step, of a forward pass, of a head's step by depth."""

    step: float
    forward: float
    head: Mapping[str, float]
    trunk_floats: Mapping[str, int]


def _training_seconds(plan: StudyPlan, one: Training, speed: _Speed) -> float:
    passes = one.steps * sum(leg.batch_size for leg in one.recipe.legs.values())
    if one.way != "transfer":
        return passes * speed.step
    assert one.depth is not None
    (target,) = one.targets
    rows = int(
        (plan.experiment.plans[target].part < 2).sum()
    )  # what trains and validates is stored
    stored = 4 * speed.trunk_floats[one.depth] * rows <= one.recipe.training.trunk_store_gb * 1e9
    trunk = rows if stored else passes
    return passes * speed.head[one.depth] + trunk * speed.forward


def _measure(plan: StudyPlan) -> _Speed:
    recipe = plan.recipe
    machine = accelerator(resolve(recipe.training.precision))
    size, channels = recipe.network.patch_size, CHANNELS[recipe.network.channels]
    task = plan.experiment.tasks["A"]
    legs = {"A": task.outputs}

    def network(depth: str | None) -> Network:
        made = build_network(
            BACKBONES[recipe.network.backbone], legs, patch_size=size,
            channels=recipe.network.channels, preset=recipe.network.preset, share_depth=depth,
        )  # fmt: skip
        return place(made, machine.device)

    batch = recipe.tasks.A.batch_size
    patches = torch.randint(0, 256, (max(batch, BATCH), channels, size, size))
    given = to_input(patches.to(torch.uint8), machine.device)
    whole = network(None)
    step = _fastest(lambda: _step(whole, given[:batch], task, _rate(plan), machine)) / batch
    forward = _fastest(lambda: _forward(whole, given, machine)) / len(given)
    heads: dict[str, float] = {}
    floats: dict[str, int] = {}
    for depth in progress(plan.depths, len(plan.depths), "Measuring steps"):
        cut = network(depth)
        with torch.inference_mode(), machine.autocast():
            below = cut.eval().shared(given[:1]).float()
        floats[depth] = prod(below.shape[1:])
        rows = below.clone().expand(recipe.transfer.batch_size, *below.shape[1:]).contiguous()
        head = cut.above_trunk()
        heads[depth] = _fastest(lambda: _step(head, rows, task, _rate(plan), machine)) / len(rows)  # noqa: B023
    return _Speed(step, forward, heads, floats)


def _rate(plan: StudyPlan) -> float:
    """A learning rate so small that measured steps stay finite."""
    return plan.recipe.training.learning_rate * 1e-3


def _step(
    network: Network, rows: torch.Tensor, task: Task, rate: float, machine: Accelerator
) -> None:
    network.train()
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=rate)
    with machine.autocast():
        scores = network({"A": rows})["A"]
    labels = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    task.loss(scores, labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    network.project_()


@torch.inference_mode()
def _forward(network: Network, rows: torch.Tensor, machine: Accelerator) -> None:
    network.eval()
    with machine.autocast():
        network({"A": rows})["A"].float().cpu()


def _fastest(work: Callable[[], None]) -> float:
    found = []
    for _ in range(STEPS):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found)


def _rows(plan: StudyPlan, target: str) -> int:
    rows = plan.experiment.plans[target].total("train")
    return min(rows, plan.recipe.trees.patches or rows)


def _bytes(plan: StudyPlan, floats: Mapping[str, int]) -> int:
    """Patches, features, runs, and the largest trunk output stored: one lies there at a time."""
    network = plan.recipe.network
    patch = network.patch_size**2 * (3 if network.channels == "rgb" else 1)
    plans: list[PatchPlan] = [*plan.experiment.plans.values(), *plan.tests.values()]
    patches = sum(map(len, plans)) * patch
    by_target = {task: len(plan.experiment.plans[task]) + len(plan.tests[task]) for task in "ABC"}
    features = sum(by_target[forest.target] * FEATURES * 4 for forest in plan.forests)
    runs = sum(8 * max(one.retrained.values()) + 4_000_000 for one in plan.trainings)
    # Weights, their optimiser's memory in the checkpoint, and each test's predictions.
    most = max(int((plan.experiment.plans[task].part < 2).sum()) for task in "AB")
    outputs = [4 * count * most for count in floats.values()]
    budget = plan.recipe.transfer.trunk_store_gb * 1e9
    return patches + features + runs + max((o for o in outputs if o <= budget), default=0)
