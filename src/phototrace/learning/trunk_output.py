"""What a frozen trunk gives, computed once and stored: the head then trains on that alone.

A folder of float32 shards, row for row as in the patch store, named by the hash of trunk, store,
share depth and precision. A build that was interrupted goes on with the shards it lacks.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import DamagedError
from phototrace.files import (
    CONTENTS,
    check_contents,
    hash_of,
    is_complete,
    write_contents,
    write_json,
    written_whole,
)
from phototrace.learning.accelerator import Accelerator
from phototrace.learning.model import BATCH, infer
from phototrace.learning.network import CHANNELS, Network
from phototrace.patches.store import PatchStore, read_rows
from phototrace.progress import say

VERSION = 1
FACTS = "trunk.json"
SHARD_BYTES, SHARD_ROWS = 64 * 2**20, 2**14
"""The most in one shard: what an interruption costs at most."""
SPARE_BYTES = 10**9
"""Disk left free beside what is stored."""


@dataclass(frozen=True)
class TrunkOutput:
    """The trunk's output for every patch of a store: a source for the head's training.

    Attributes:
        folder: Where it lies.
        shape: Of one patch's output, such as `(200,)` at fc2.
        per_shard: Rows in each shard but the last.
        label: Of each row, `(n,)`, as in the store.
    """

    folder: Path
    shape: tuple[int, ...]
    per_shard: int
    label: NDArray[np.int64] | NDArray[np.float32]

    @property
    def hash(self) -> str:
        """SHA-256 over all its files' hashes."""
        contents = json.loads((self.folder / CONTENTS).read_text(encoding="utf-8"))
        return hash_of({name: entry["sha256"] for name, entry in contents["files"].items()})

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The given rows in their order, `(n, *shape)` float32; memory stays flat."""
        out = np.empty((len(rows), *self.shape), dtype=np.float32)
        names = [_shard_name(number) for number in rows // self.per_shard]
        read_rows(self.folder, names, rows % self.per_shard, out)
        return out


def store_trunk_output(
    network: Network,
    store: PatchStore,
    names: dict[str, Any],
    stores: Path,
    machine: Accelerator,
    gigabytes: float,
) -> TrunkOutput | None:
    """The trunk's output for all patches of `store`, or None where it would be too large.

    Args:
        network: Its trunk is run in eval mode.
        store: The patches.
        names: What tells this output from others: hash of the trunk's run, share depth, precision.
        stores: Folder that the output's own folder lies in.
        machine: Device and precision.
        gigabytes: The most it may take, in 10^9 bytes.

    Raises `DamagedError` where a finished one has changed.
    """
    key = hash_of({"version": VERSION, "data": store.hash, **names})
    folder = stores / f"trunk-{key[:12]}"
    shape = _output_shape(network, store, machine)
    size = 4 * prod(shape) * len(store)
    taken = f"The trunk's output at {names['depth']} takes {size / 1e9:.2g} GB"
    if size > gigabytes * 1e9:
        say(f"{taken}, more than trunk_store_gb = {gigabytes:g}: the trunk runs every epoch.")
        return None
    output = TrunkOutput(
        folder, shape, max(1, min(SHARD_ROWS, SHARD_BYTES // (4 * prod(shape)))), store.label
    )
    facts = {"version": VERSION, "key": key, "shape": list(shape), "rows": len(store), **names}
    if is_complete(folder):
        check_contents(folder)
        if json.loads((folder / FACTS).read_text(encoding="utf-8")) != facts:
            raise DamagedError(f"{folder} holds another trunk's output. Remove it.")
        say(f"{taken}; it is stored already, and only the head is trained.")
        return output
    folder.mkdir(parents=True, exist_ok=True)
    if size + SPARE_BYTES > shutil.disk_usage(folder).free:
        say(f"{taken}, more than the disk has room for: the trunk runs every epoch.")
        return None
    say(f"{taken}: it is stored once, and only the head is trained.")
    _write(network, store, output, machine, facts)
    return output


def _output_shape(network: Network, store: PatchStore, machine: Accelerator) -> tuple[int, ...]:
    depth = (CHANNELS["rgb"],) if store.channels == "rgb" else ()
    blank = np.zeros((1, store.size, store.size, *depth), dtype=np.uint8)
    (given,) = infer(network, [blank], machine, Network.shared)
    return tuple(given.shape[1:])


def _write(
    network: Network,
    store: PatchStore,
    output: TrunkOutput,
    machine: Accelerator,
    facts: dict[str, Any],
) -> None:
    rows = np.arange(len(store))
    shards = np.split(rows, range(output.per_shard, len(rows), output.per_shard))
    # What stands there was written whole before an interruption.
    lacking = {n: s for n, s in enumerate(shards) if not (output.folder / _shard_name(n)).is_file()}
    pieces = {n: np.split(shard, range(BATCH, len(shard), BATCH)) for n, shard in lacking.items()}
    patches = (store.read(piece) for of_shard in pieces.values() for piece in of_shard)
    given = infer(
        network, patches, machine, Network.shared,
        label=f"Running the trunk up to {facts['depth']}", total=sum(map(len, pieces.values())),
    )  # fmt: skip
    for number, of_shard in pieces.items():
        shape = (len(shards[number]), *output.shape)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        path = output.folder / _shard_name(number)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for found in islice(given, len(of_shard)):
                file.write(found.float().cpu().contiguous().numpy().astype("<f4").tobytes())
    write_json(output.folder / FACTS, facts)
    write_contents(output.folder, [*map(_shard_name, range(len(shards))), FACTS])


def _shard_name(number: int) -> str:
    return f"trunk-{number:05d}.npy"
