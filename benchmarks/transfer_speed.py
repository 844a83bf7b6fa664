"""What storing a frozen trunk's output saves, beside running the trunk in every epoch.

    python benchmarks/transfer_speed.py [--size 128] [--scenes 3] [--epochs 30]

Trains a head above MISLnet's fc1 and fc2 on simulated patches with the paper's batches of 100, once
in each way, in one process. Of the way that runs the trunk every epoch only two epochs are run, and
the second's time is counted `--epochs` times; the stored way is run whole, the one pass through the
trunk and every write to disk included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from phototrace.learning import training
from phototrace.learning.accelerator import accelerator, computes_bfloat16, resolve
from phototrace.learning.batches import Leg
from phototrace.learning.network import Network, build_network, mislnet
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import TASKS
from phototrace.learning.trunk_output import store_trunk_output
from phototrace.patches.building import build_store
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchSettings, plan_patches
from phototrace.patches.store import PatchStore
from phototrace.photos.splits import make_split
from phototrace.simulation.collection import simulate

BATCH = 100


def make_store(folder: Path, size: int, scenes: int) -> PatchStore:
    """A store of simulated patches."""
    manifest = simulate(folder / "photos", scenes=scenes, size=(4 * size, 4 * size), seed=0)
    edits = NamedEdits(MANIPULATIONS)
    settings = PatchSettings(tuple(MANIPULATIONS), "manipulation", size, edits=edits)
    plan = plan_patches(manifest, make_split(manifest, "photo", 0), settings)
    return build_store(plan, folder / "store")


def fresh(size: int, depth: str) -> Network:
    """A network with its trunk frozen."""
    made = build_network(mislnet, {"leg": len(MANIPULATIONS)}, patch_size=size, share_depth=depth)
    return made.freeze_trunk_()


def seconds(network: Network, leg: Leg, epochs: int, folder: Path) -> list[float]:
    """Seconds of training up to the end of each epoch."""
    machine = accelerator(resolve("auto"))
    started, taken = time.perf_counter(), []
    for epoch in range(1, epochs + 1):  # each goes on from the one before
        choice = TrainingChoice(learning_rate=5e-3, epochs=epoch)
        training.train(network, [leg], choice, folder, machine, plan="same")
        taken.append(time.perf_counter() - started)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    asked = parser.parse_args()
    machine = accelerator(resolve("auto"))
    arithmetic = "bfloat16" if computes_bfloat16() else "float32"
    print(f"{asked.size} px, {asked.epochs} epochs, {torch.get_num_threads()} threads, "
          f"{arithmetic} on {machine.device}")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        store = make_store(Path(name), asked.size, asked.scenes)
        leg = Leg("leg", TASKS["manipulation"], store, np.arange(len(store)), np.arange(0), BATCH)
        for depth in ("fc1", "fc2"):
            work = Path(name) / depth
            repeated = seconds(fresh(asked.size, depth), leg, 2, work / "repeated")
            epoch = repeated[1] - repeated[0]
            network = fresh(asked.size, depth)
            started = time.perf_counter()
            output = store_trunk_output(network, store, {"depth": depth}, work, machine, 8)
            once = time.perf_counter() - started
            assert output is not None
            choice = TrainingChoice(learning_rate=5e-3, epochs=asked.epochs)
            stored = replace(leg, store=output)
            training.train(
                network.above_trunk(), [stored], choice, work / "stored", machine, plan="same"
            )
            whole = time.perf_counter() - started
            print(f"{depth}: {len(store)} patches. Trunk in every epoch: {epoch:.1f} s an epoch, "
                  f"{asked.epochs * epoch:.0f} s in all. Stored: {once:.1f} s to store, "
                  f"{whole:.1f} s in all. Ratio {asked.epochs * epoch / whole:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
