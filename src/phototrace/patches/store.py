"""PatchStore: a task's patches on disk, read at random in constant memory.

A store is a folder: `patches-00000.npy` and on (uint8, `(n, size, size[, 3])`, about 64 MiB each),
`index.parquet` (one row a patch), `store.json` (settings, counts, what was skipped) and
`contents.json`, whose presence says that the store is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from phototrace.errors import DamagedError
from phototrace.files import CONTENTS, check_contents, hash_of, is_complete
from phototrace.photos.dealing import PARTS

STORE_VERSION = 1
INDEX = "index.parquet"
FACTS = "store.json"


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"patches-{number:05d}.npy"


@dataclass(frozen=True)
class PatchStore:
    """The patches of one task; `PatchStore.load(folder)` reads a finished one.

    Attributes:
        folder: Where it lies.
        facts: What `store.json` says: plan hash, settings, counts, skipped photos.
    """

    folder: Path
    facts: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> PatchStore:
        """Open a finished store; sizes are checked here, hashes by `verify`.

        Raises `DamagedError` where a file is missing, or of another version or size.
        """
        check_contents(folder, sizes_only=True)
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            version = facts["version"]
        except (OSError, ValueError, TypeError, KeyError):
            raise DamagedError(f"{folder / FACTS} cannot be read. Build the store again.") from None
        if version != STORE_VERSION:
            raise DamagedError(
                f"{folder} is a store of version {version}; this phototrace reads version "
                f"{STORE_VERSION}. Build the store again."
            )
        return cls(folder, facts)

    def verify(self) -> None:
        """Read every file again; raise `DamagedError` where its SHA-256 has changed."""
        check_contents(self.folder)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Ordered class names, `label` is an index into them; none where labels are numbers."""
        return tuple(self.facts["settings"]["classes"])

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.facts["settings"]["size"])

    @property
    def channels(self) -> str:
        """`"green"` or `"rgb"`."""
        return str(self.facts["settings"]["channels"])

    @property
    def hash(self) -> str:
        """SHA-256 over the plan and the hashes of all shards: the data that a network saw."""
        contents = json.loads((self.folder / CONTENTS).read_text(encoding="utf-8"))
        shards = {n: e["sha256"] for n, e in contents["files"].items() if n.endswith(".npy")}
        return hash_of({"plan": self.facts["plan"], "shards": shards})

    @cached_property
    def label(self) -> NDArray[np.int64] | NDArray[np.float32]:
        """Of each patch, `(n,)`: the index of its class, or its number where there are none."""
        labels = self.column("label")
        return labels.astype(np.int64) if self.classes else labels.astype(np.float32)

    @cached_property
    def _place(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.column("shard").astype(np.int64), self.column("offset").astype(np.int64)

    def column(self, name: str) -> NDArray[Any]:
        """One column of the index, `(n,)`: numbers, or str for text columns.

        The columns: photo, camera, device, scene, part, editing (text), row, column, grid_row,
        grid_column, label, shard, offset (numbers).
        """
        table = pyarrow.parquet.read_table(self.folder / INDEX, columns=[name])
        column = table.column(name)
        if pyarrow.types.is_dictionary(column.type):
            column = column.cast(pyarrow.string())
            return np.asarray(column.to_pylist(), dtype=np.str_)
        return np.asarray(column.to_numpy())

    def rows(self, part: str) -> NDArray[np.int64]:
        """Row numbers of the patches of one part (`train`, `validation`, `test`)."""
        if part not in PARTS:
            raise ValueError(f"{part} is no part: {PARTS}")
        return np.flatnonzero(self.column("part") == part)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The patches of the given rows, in their order: `(n, size, size[, 3])` uint8.

        Files are read, not mapped: a process's memory stays flat however large the store is.
        """
        depth = (3,) if self.channels == "rgb" else ()
        shape = (self.size, self.size, *depth)
        patches = np.empty((len(rows), *shape), dtype=np.uint8)
        names = [shard_name(number) for number in self._place[0][rows]]
        read_rows(self.folder, names, self._place[1][rows], patches)
        return patches


def read_rows(
    folder: Path, names: Sequence[str], offsets: NDArray[np.int64], into: NDArray[Any]
) -> None:
    """Fill `into`, `(n, ...)` in C order, with rows of .npy shards: file and row number of each.

    Raises `DamagedError` where a shard is too short, or of another type than `into`.
    """
    flat = into.reshape(len(into), int(np.prod(into.shape[1:])))
    length = flat.shape[1] * flat.itemsize
    wanted: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        wanted.setdefault(name, []).append(i)
    for name, numbers in wanted.items():
        with (folder / name).open("rb", buffering=0) as file:
            start = _data_start(file, into.dtype)
            for i in numbers:
                file.seek(start + int(offsets[i]) * length)
                if file.readinto(memoryview(flat[i]).cast("B")) != length:
                    raise DamagedError(f"{file.name} is too short. Build it again.")


def find_store(folder: Path, plan_hash: str) -> PatchStore | None:
    """The finished store of this plan in `folder`, or None."""
    if not is_complete(folder):
        return None
    store = PatchStore.load(folder)
    return store if store.facts.get("plan") == plan_hash else None


def _data_start(file: Any, wanted: np.dtype[Any]) -> int:
    """Position of the first element in an .npy file (its header is never trusted further)."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise DamagedError(f"{file.name} is not of the form phototrace writes. Build it again.")
    _, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran or dtype != wanted:
        raise DamagedError(f"{file.name} does not hold {wanted} values. Build it again.")
    return int(file.tell())
