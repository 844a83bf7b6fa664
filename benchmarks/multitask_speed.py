"""How fast two legs train together, beside two literal networks (paper Sec. 4.2).

    python benchmarks/multitask_speed.py [--size 128] [--batch 40] [--steps 10] [--depth fc2]

All train MISLnet for two tasks on the same random patches, in turns, step by step. "Literal" is
`literal.py`: a network a task, gradients summed, normalisation averaged. It runs plainly (float32,
channels first, module by module), and again with all that makes ours fast (arithmetic, memory
order, fast stages, lanes), so that what the one network brings can be told from the rest.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from literal import Batch, LiteralNetworks, one_by_one
from phototrace.learning import training
from phototrace.learning.accelerator import (
    accelerator,
    computes_bfloat16,
    place,
    resolve,
    to_input,
)
from phototrace.learning.checkpoint import Progress
from phototrace.learning.fast import lanes_of, run
from phototrace.learning.network import Network, build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import Task

CLASSES = {"a": 6, "b": 20}
TASKS = {leg: Task(leg, tuple(map(str, range(count)))) for leg, count in CLASSES.items()}
RATE = 1e-3


def literal_networks(
    network: Network, way: Callable[[Sequence[nn.Module], Tensor], Tensor]
) -> LiteralNetworks:
    """Separate networks that start as ours does."""
    parts = {
        leg: {**dict(network.trunk.items()), **dict(head.items())}  # type: ignore[operator]
        for leg, head in network.heads.items()
    }
    weights = dict.fromkeys(CLASSES, 1.0)
    return LiteralNetworks(copy.deepcopy(parts), list(network.trunk), weights, run=way)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time and of wall time."""
    processor, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--depth", default="fc2")
    asked = parser.parse_args()
    machine = accelerator(resolve("auto"))
    ours = build_network(mislnet, CLASSES, patch_size=asked.size, share_depth=asked.depth)
    plain, alike = literal_networks(ours, one_by_one), literal_networks(ours, run)
    place(ours, machine.device)
    for network in alike.networks.values():
        place(network, machine.device)
    optimizer = make_optimizer(ours, TrainingChoice(learning_rate=RATE), "modern")
    generator = torch.Generator().manual_seed(0)
    shape = (asked.batch, 1, asked.size, asked.size)

    def drawn(classes: int) -> tuple[Tensor, Tensor]:
        patches = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return patches, torch.randint(classes, (asked.batch,), generator=generator)

    def our_step(batch: Batch) -> None:
        training.step(ours, optimizer, dict(batch), machine, Progress(), TASKS)

    def plain_step(batch: Batch) -> None:
        plain.step({leg: (x.float(), y) for leg, (x, y) in batch.items()}, RATE)

    def alike_step(batch: Batch) -> None:
        with lanes_of(ours):
            placed = {
                leg: (to_input(x, machine.device), y.to(machine.device))
                for leg, (x, y) in batch.items()
            }
            alike.step(placed, RATE, machine.autocast)

    steps = {"plain": plain_step, "alike": alike_step, "ours": our_step}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(asked.steps + 2):
        batch = {leg: drawn(classes) for leg, classes in CLASSES.items()}
        order = list(steps) if number % 2 else list(reversed(steps))
        for name in order:
            taken = timed(partial(steps[name], batch))
            if number >= 2:
                times[name].append(taken)
    patches = asked.batch * len(CLASSES)
    arithmetic = "bfloat16" if computes_bfloat16() else "float32"
    print(f"{asked.size} px, {' + '.join([str(asked.batch)] * 2)}, share depth {asked.depth}, "
          f"{torch.get_num_threads()} threads, {machine.device}")  # fmt: skip
    for name, words in (
        ("plain", "literal networks, float32, channels first"),
        ("alike", f"literal networks, {arithmetic}, fast stages"),
        ("ours", f"one network, {arithmetic}, fast stages"),
    ):
        processor, wall = (median(t) for t in zip(*times[name], strict=True))
        print(f"{words:45} {1e3 * processor:7.1f} ms processor {1e3 * wall:7.1f} ms wall "
              f"{patches / wall:8.1f} patches/s")  # fmt: skip
    for name in ("plain", "alike"):
        for k, kind in enumerate(("processor", "wall")):
            ratios = [a[k] / b[k] for a, b in zip(times[name], times["ours"], strict=True)]
            print(f"ours against {name}, step by step, {kind} time: {median(ratios):.2f} "
                  f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
