"""Do trainings in bfloat16 go the same way on the fast path as module by module?

    python benchmarks/curves.py [--size 64] [--steps 200] [--seeds 3]

MISLnet learns edits of simulated photos, from the same weights and batches each time: module by
module (`earlier.py`) on one thread and on two, and as it goes today on one lane and on two.
Rounding alone makes such trainings part. Printed is by how much: the root mean square, over the
steps, of the difference between two trainings' losses, smoothed over ten steps. What the fast path
brings should be no more than what another number of threads brings to the plain one.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earlier import earlier
from phototrace.learning import training
from phototrace.learning.accelerator import accelerator, place
from phototrace.learning.batches import Leg, batches
from phototrace.learning.checkpoint import Progress
from phototrace.learning.network import build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from training_speed import TASK, make_leg

WAYS = {
    "plain, 1 thread": (True, 1), "plain, 2 threads": (True, 2),
    "fast, 1 lane": (False, 1), "fast, 2 lanes": (False, 2),
}  # fmt: skip
SMOOTHED = 10
Curve = NDArray[np.float64]


def curve(leg: Leg, size: int, steps: int, seed: int, plain: bool, threads: int) -> Curve:
    """The loss of each step, smoothed."""
    torch.set_num_threads(threads)
    machine = accelerator("bfloat16", "cpu")
    network = build_network(mislnet, {leg.name: 6}, patch_size=size, seed=seed)
    place(network, machine.device).train()
    choice = TrainingChoice(optimizer="adamw", learning_rate=1e-3)
    optimizer, losses = make_optimizer(network, choice, "modern"), []
    with earlier() if plain else nullcontext():
        for batch in batches([leg], 0, steps, seed):
            progress = Progress()
            training.step(network, optimizer, batch, machine, progress, {leg.name: TASK})
            losses.append(progress.means()[leg.name][0])
    return np.convolve(losses, np.full(SMOOTHED, 1 / SMOOTHED), "valid")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        leg = make_leg(Path(name), asked.size, 40)
        curves = {
            way: [curve(leg, asked.size, asked.steps, s, *form) for s in range(asked.seeds)]
            for way, form in WAYS.items()
        }
    print(f"{asked.size} px, {asked.steps} steps of 40 patches in bfloat16, {asked.seeds} seeds")
    for way, found in curves.items():
        ends = [f"{c[0]:.3f} to {c[-1]:.3f}" for c in found]
        print(f"{way:18} loss from {', '.join(ends)}")
    for one, other in combinations(curves, 2):
        pairs = zip(curves[one], curves[other], strict=True)
        apart = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in pairs]
        print(f"{one:18} and {other:18} {np.mean(apart):.4f} apart "
              f"({min(apart):.4f} to {max(apart):.4f})")  # fmt: skip


if __name__ == "__main__":
    main()
