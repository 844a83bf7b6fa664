"""How fast a step and an inference are, beside the way they went before, in one run.

    python benchmarks/engine.py [--sizes 64 128] [--rounds 9] [--threads 1]

Every way has a process of its own (how memory is kept is a process's choice), and they take turns
of some steps each. "earlier" is the loop as it was, module by module (`earlier.py`); "earlier,
memory kept" tells what keeping memory brings from what the rest does, and "now, without lanes" what
threads inside operations would do. Printed are medians of processor time and of wall time, how
often a way's time fits into the earlier one's, turn by turn, and the shares of what the machine
does at best in that processor time: of multiplying bfloat16 matrices, and of copying, which counts
what operations read and write, from caches too. `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16` in the
environment shows a machine without AMX on one that has it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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

TRAINED, STEPS, PIECES = 40, 5, 4
TASK = TASKS["manipulation"]
WAYS = ("earlier", "earlier, memory kept", "now, without lanes", "now")


@dataclass(frozen=True)
class Time:
    """Milliseconds of one turn."""

    processor: float
    wall: float


def worker(connection: Connection, way: str, what: str, size: int, threads: int) -> None:
    """Take turns: each time that we are told to, do it once and say how long it took."""
    torch.set_num_threads(threads)
    if way == "earlier, memory kept":
        keep_memory()
    with earlier() if way.startswith("earlier") else nullcontext(), ExitStack() as changes:
        if "lanes" in way:
            for module in ("training", "model"):
                changes.enter_context(patch(f"phototrace.learning.{module}.lanes_of", no_lanes))
        work = {"step": a_step, "inference": an_inference}[what](size)
        for _ in range(3):
            work()
        connection.send(traffic(work))
        while connection.recv():
            processor, wall = time.process_time(), time.perf_counter()
            work()
            processor, wall = time.process_time() - processor, time.perf_counter() - wall
            connection.send(Time(1e3 * processor, 1e3 * wall))


def no_lanes(_: object) -> AbstractContextManager[None]:
    """Operations keep their threads."""
    return nullcontext()


def a_step(size: int) -> Callable[[], None]:
    """Training steps of MISLnet, as `phototrace train` does them on this machine."""
    machine = accelerator(resolve("auto"), "cpu")
    network = place(build_network(mislnet, {"leg": 6}, patch_size=size), machine.device).train()
    optimizer = make_optimizer(network, TrainingChoice(optimizer="adamw"), "modern")
    generator = torch.Generator().manual_seed(0)
    shape = (TRAINED, 1, size, size)
    patches = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    batch = {"leg": (patches, torch.randint(6, (TRAINED,), generator=generator))}

    def work() -> None:
        for _ in range(STEPS):
            training.step(network, optimizer, batch, machine, Progress(), {"leg": TASK})

    return work


def an_inference(size: int) -> Callable[[], None]:
    """Features of some batches of patches."""
    machine = accelerator(resolve("auto"), "cpu")
    network = build_network(mislnet, {"leg": 6}, patch_size=size)
    patches = torch.randint(256, (BATCH, size, size), dtype=torch.uint8).numpy()

    def work() -> None:
        for _ in infer(network, [patches] * PIECES, machine, lambda n, x: n.features(x, "fc2")):
            pass

    return work


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, operation: Any, _: Any, args: Any = (), options: Any = None
    ) -> Any:
        found = operation(*args, **(options or {}))
        if not any(r.alias_info and not r.alias_info.is_write for r in operation._schema.returns):
            leaves = tree_leaves((args, options, found))
            self.bytes += sum(x.nbytes for x in leaves if isinstance(x, torch.Tensor))
        return found


def traffic(work: Callable[[], None]) -> int:
    """Bytes that the operations of `work` read and write."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a lane's operations would not be counted
    counted = _Traffic()
    with counted:
        work()
    torch.set_num_threads(threads)
    return counted.bytes


@dataclass(frozen=True)
class Turns:
    """What one way took, turn by turn, and the bytes that one turn moves."""

    times: list[Time]
    bytes: int

    def median(self, kind: str) -> float:
        """Milliseconds of "processor" or "wall" time."""
        return float(median(getattr(t, kind) for t in self.times))

    def ratios(self, other: Turns, kind: str) -> str:
        """How often our time fits into the other's."""
        pairs = zip(other.times, self.times, strict=True)
        found = sorted(getattr(a, kind) / getattr(b, kind) for a, b in pairs)
        return f"{median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def take_turns(what: str, size: int, threads: int, rounds: int) -> dict[str, Turns]:
    """The turns of every way."""
    context = get_context("spawn")
    connections, processes, found = {}, [], {}
    for way in WAYS if threads > 1 else [way for way in WAYS if "lanes" not in way]:
        connections[way], theirs = context.Pipe()
        process = context.Process(target=worker, args=(theirs, way, what, size, threads))
        process.start()
        processes.append(process)
        found[way] = Turns([], connections[way].recv())
    for number in range(rounds):
        for way in list(connections)[:: 1 if number % 2 else -1]:
            connections[way].send(True)
            found[way].times.append(connections[way].recv())
    for connection, process in zip(connections.values(), processes, strict=True):
        connection.send(False)
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
    rate = matrix_rate(torch.bfloat16 if resolve("auto") == "bfloat16" else torch.float32)
    copied = copy_rate()
    print(f"{asked.threads} threads, {resolve('auto')}: matrix product {rate / 1e9:.0f} GFLOP/s, "
          f"copy {copied / 1e9:.0f} GB/s")  # fmt: skip
    for size in asked.sizes:
        with earlier():
            forward = forward_flops(build_network(mislnet, {"leg": 6}, patch_size=size), size)
        for what, count, flops in (
            ("step", STEPS * TRAINED, 3 * forward),
            ("inference", PIECES * BATCH, forward),
        ):
            print(f"\n{size} px, {what}: {count} patches a turn")
            ways = take_turns(what, size, asked.threads, asked.rounds)
            for way, turns in ways.items():
                seconds = turns.median("wall") / 1e3
                busy = turns.median("processor") / 1e3 / asked.threads
                print(
                    f"{way:21}{turns.median('processor'):7.1f} ms processor"
                    f"{1e3 * seconds:8.1f} ms wall{count / seconds:7.0f} patches/s"
                    f"{flops * count / busy / rate:5.0%} of the matrix rate"
                    f"{turns.bytes / busy / copied:5.0%} of the copy rate; earlier / this: "
                    f"processor {turns.ratios(ways['earlier'], 'processor')}, "
                    f"wall {turns.ratios(ways['earlier'], 'wall')}"
                )


if __name__ == "__main__":
    main()
