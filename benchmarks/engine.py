"""How fast a step and an inference are, beside the way they went before, in one run.

    python benchmarks/engine.py [--sizes 64 128] [--rounds 9] [--threads 1]

Every way has a process of its own (how memory is kept is a process's choice), and they take turns,
a step each. "earlier" is the loop as it was, module by module (`earlier.py`); "earlier, memory
kept" tells what keeping memory brings from what the rest does. Printed are milliseconds of
processor time and of wall time (medians), the ratio turn by turn, and how much of what the machine
multiplies in bfloat16 matrices, and copies, that is. `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16` in the
environment shows a machine without AMX on one that has it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

import torch

from earlier import earlier
from phototrace.learning import training
from phototrace.learning.accelerator import accelerator, keep_memory, place, resolve
from phototrace.learning.checkpoint import Progress
from phototrace.learning.model import BATCH, infer
from phototrace.learning.network import build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import TASKS
from training_speed import forward_flops, matrix_rate

TRAINED, PIECES = 40, 4
TASK = TASKS["manipulation"]
WAYS = ("earlier", "earlier, memory kept", "now")


@dataclass(frozen=True)
class Time:
    """Milliseconds of one turn."""

    processor: float
    wall: float


def worker(connection: Connection, way: str, size: int, threads: int) -> None:
    """Take turns: told "step" or "inference", do it once and say how long it took."""
    torch.set_num_threads(threads)
    if way == WAYS[1]:
        keep_memory()
    with nullcontext() if way == WAYS[2] else earlier():
        works = {"step": a_step(size), "inference": an_inference(size)}
        for work in works.values():
            work()
            work()
        connection.send("ready")
        while (told := connection.recv()) != "end":
            processor, wall = time.process_time(), time.perf_counter()
            works[told]()
            processor, wall = time.process_time() - processor, time.perf_counter() - wall
            connection.send(Time(1e3 * processor, 1e3 * wall))


def a_step(size: int) -> Callable[[], None]:
    """A training step of MISLnet, as `phototrace train` does it on this machine."""
    machine = accelerator(resolve("auto"), "cpu")
    network = place(build_network(mislnet, {"leg": 6}, patch_size=size), machine.device).train()
    optimizer = make_optimizer(network, TrainingChoice(optimizer="adamw"), "modern")
    generator = torch.Generator().manual_seed(0)
    shape = (TRAINED, 1, size, size)
    patches = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    batch = {"leg": (patches, torch.randint(6, (TRAINED,), generator=generator))}
    return lambda: training.step(network, optimizer, batch, machine, Progress(), {"leg": TASK})


def an_inference(size: int) -> Callable[[], None]:
    """Features of some batches of patches."""
    machine = accelerator(resolve("auto"), "cpu")
    network = build_network(mislnet, {"leg": 6}, patch_size=size)
    patches = torch.randint(256, (BATCH, size, size), dtype=torch.uint8).numpy()

    def work() -> None:
        for _ in infer(network, [patches] * PIECES, machine, lambda n, x: n.features(x, "fc2")):
            pass

    return work


def take_turns(size: int, threads: int, rounds: int) -> dict[str, dict[str, list[Time]]]:
    """What -> way -> time of every round."""
    context = get_context("spawn")
    connections, processes = {}, []
    for way in WAYS:
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(theirs, way, size, threads))
        process.start()
        processes.append(process)
        connections[way] = ours
        ours.recv()
    found: dict[str, dict[str, list[Time]]] = {}
    for what in ("step", "inference"):
        found[what] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way in WAYS if number % 2 else WAYS[::-1]:
                connections[way].send(what)
                found[what][way].append(connections[way].recv())
    for connection, process in zip(connections.values(), processes, strict=True):
        connection.send("end")
        process.join()
    return found


def copy_rate() -> float:
    """Bytes a second that a copy of 256 MB reads and writes, the best of five."""
    a = torch.zeros(2**26)
    b = torch.zeros_like(a)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        b.copy_(a)
        best = min(best, time.perf_counter() - started)
    return 8 * 2**26 / best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    precision = resolve("auto")
    rate = matrix_rate(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    print(f"{asked.threads} threads, {precision}: matrix product {rate / 1e9:.0f} GFLOP/s, "
          f"copy {copy_rate() / 1e9:.0f} GB/s")  # fmt: skip
    for size in asked.sizes:
        with earlier():
            forward = forward_flops(build_network(mislnet, {"leg": 6}, patch_size=size), size)
        for what, ways in take_turns(size, asked.threads, asked.rounds).items():
            count, passes = (TRAINED, 3) if what == "step" else (PIECES * BATCH, 1)
            print(f"\n{size} px, {what} of {count} patches")
            for way, times in ways.items():
                report(way, times, ways["now"], count, passes * forward, rate)


def report(
    way: str, times: list[Time], now: list[Time], count: int, flops: int, rate: float
) -> None:
    """Print a line on one way."""
    processor, wall = median(t.processor for t in times), median(t.wall for t in times)
    line = f"{way:22}{processor:8.1f} ms processor{wall:8.1f} ms wall{1e3 * count / wall:8.0f} p/s"
    line += f"{1e3 * flops * count / wall / rate:6.0%} of the matrix rate"
    for name in ("processor", "wall"):
        pairs = zip(times, now, strict=True)
        ratios = sorted(getattr(a, name) / getattr(b, name) for a, b in pairs)
        line += f"   now is {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) {name}"
    print(line)


if __name__ == "__main__":
    main()
