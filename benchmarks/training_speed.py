"""How fast the training loop is, beside the plain loop it replaces, in one run.

    python benchmarks/training_speed.py [--size 128] [--batch 40] [--steps 20]

Both loops train MISLnet on the same random patches, in turns. "Plain" is float32 with channels
first; "ours" is what `phototrace train` does on this machine. Also printed: achieved FLOP/s as a
share of the measured rate of a large matrix product in the same arithmetic, and the share of a
step that is spent waiting for patches from a store.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from earlier import earlier
from phototrace.learning import training
from phototrace.learning.accelerator import accelerator, computes_bfloat16, place, resolve
from phototrace.learning.batches import Leg, batches
from phototrace.learning.checkpoint import Progress
from phototrace.learning.network import Network, build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import TASKS
from phototrace.patches.building import build_store
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchSettings, plan_patches
from phototrace.photos.splits import make_split
from phototrace.simulation.collection import model_names, simulate

TASK = TASKS["manipulation"]


def forward_flops(network: Network, size: int) -> int:
    """Floating-point operations of one patch's forward pass (a multiply-add counts two)."""
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        places = output[0, 0].numel() if output.ndim == 4 else 1
        total += 2 * weight.numel() * places

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network.eval()({"leg": torch.zeros(1, 1, size, size)})
    for hook in hooks:
        hook.remove()
    return total


def matrix_rate(dtype: torch.dtype, side: int = 2048) -> float:
    """FLOP/s of a square matrix product, the best of twenty."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    best = min(_seconds(lambda: torch.mm(a, b)) for _ in range(20))
    return float(2 * side**3 / best)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def make_leg(folder: Path, size: int, batch: int) -> Leg:
    """A small store of simulated patches."""
    manifest = simulate(
        folder / "photos", scenes=3, size=(3 * size, 3 * size), seed=0, models=model_names()[:8]
    )
    edits = NamedEdits(MANIPULATIONS)
    settings = PatchSettings(tuple(MANIPULATIONS), "manipulation", size, edits=edits)
    plan = plan_patches(manifest, make_split(manifest, "photo", 0), settings)
    store = build_store(plan, folder / "store")
    return Leg("leg", TASK, store, np.arange(len(store)), np.arange(0), batch)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    choice = TrainingChoice()

    def fresh() -> tuple[Network, torch.optim.Optimizer]:
        network = build_network(mislnet, {"leg": 6}, patch_size=asked.size)
        return network, make_optimizer(network, choice, "modern")

    plain, plain_optimizer = fresh()
    ours, our_optimizer = fresh()
    machine = accelerator(resolve("auto"))
    place(ours, machine.device)
    with tempfile.TemporaryDirectory() as name:
        leg = make_leg(Path(name), asked.size, asked.batch)
        stream = batches([leg], 0, asked.steps + 2, 0)
        waits, plain_times, our_times = [], [], []
        for step in range(asked.steps + 2):
            started = time.perf_counter()
            batch = next(stream)
            waited = time.perf_counter() - started
            patches, labels = batch["leg"]

            def plain_step(patches: torch.Tensor = patches, labels: torch.Tensor = labels) -> None:
                plain.train()
                plain_optimizer.zero_grad()
                with earlier():
                    loss = F.cross_entropy(plain({"leg": patches.float()})["leg"], labels)
                loss.backward()  # type: ignore[no-untyped-call]
                plain_optimizer.step()
                plain.project_()

            def our_step(batch: dict[str, tuple[torch.Tensor, torch.Tensor]] = batch) -> None:
                training.step(ours, our_optimizer, batch, machine, Progress(), {"leg": TASK})

            if step < 2:
                plain_step()
                our_step()
                continue
            waits.append(waited)
            plain_times.append(_seconds(plain_step))
            our_times.append(_seconds(our_step))
    bfloat16 = computes_bfloat16()
    rate = matrix_rate(torch.bfloat16 if bfloat16 else torch.float32)
    per_patch = 3 * forward_flops(fresh()[0], asked.size)  # backward costs twice the forward
    ratios = [a / b for a, b in zip(plain_times, our_times, strict=True)]
    speed = asked.batch / median(our_times)
    print(f"{asked.size} px, batch {asked.batch}, {torch.get_num_threads()} threads, "
          f"{'bfloat16' if bfloat16 else 'float32'} on {machine.device}")  # fmt: skip
    print(f"plain float32 loop: {asked.batch / median(plain_times):8.1f} patches/s")
    print(f"phototrace's loop:  {speed:8.1f} patches/s")
    print(f"ratio, step by step: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"achieved: {speed * per_patch / 1e9:.0f} of {rate / 1e9:.0f} GFLOP/s, "
          f"{speed * per_patch / rate:.0%} of the matrix product's rate")  # fmt: skip
    print(f"waiting for patches: {sum(waits) / (sum(waits) + sum(our_times)):.2%} of a step")


if __name__ == "__main__":
    main()
