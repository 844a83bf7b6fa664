"""A table with one row a patch: what is true, whose patch it is, and the file it is kept in.

What a run said of each patch is added by the kinds of table in `predictions`. A table is saved as
Parquet, so that any other tool can read it, and carries a hash of all that it holds. A file is not
trusted: it is read only if it is whole, of sane size, and what was written.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phototrace.errors import DamagedError, PhototraceError, UsageError
from phototrace.files import written_whole
from phototrace.photos.manifest import UNKNOWN_DEVICE

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
FACTS = ("task", "run", "run_hash", "split_hash", "data_hash")
TEXTS = ("photo", "device", "scene", "camera", "editing")
PLACES = ("row", "column")
NUMBERS = ("label", *PLACES)
FLAGS = ("seen_device", "seen_scene")

TEXT_LIMIT = 1_000
"""Most characters of one id or name, so that a forged file cannot ask for all the memory."""
SIZE_LIMIT = 200_000_000
"""Most values (patches x columns besides the texts) in one table, for the same reason."""

Types = Mapping[str, type[np.generic]]

_KINDS: dict[type[np.generic], str] = {
    np.str_: "U", np.int64: "iu", np.uint16: "u", np.bool_: "b", np.float32: "f",
}  # fmt: skip
"""Kinds of numpy array that may be turned into each type without a change of meaning."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchTable(ABC):
    """One row a patch, `n` patches. Checked on construction; arrays are read-only.

    Raises:
        UsageError: if shapes or kinds of array differ from what stands here, or a text cannot be
            written or is too long.
    """

    LABEL: ClassVar[type[np.generic]]

    task: str
    run: str
    run_hash: str
    split_hash: str
    data_hash: str
    label: NDArray[Any]
    """(n,) what is true of the patch."""
    photo: NDArray[np.str_]
    """(n,) id of the photo, the first 16 hex digits of its SHA-256."""
    device: NDArray[np.str_]
    """(n,) which camera body, such as "Canon EOS 6D / 2"."""
    scene: NDArray[np.str_]
    """(n,) which scene or collection, "" where unknown."""
    camera: NDArray[np.str_]
    """(n,) camera model."""
    editing: NDArray[np.str_]
    """(n,) "block" where the patch alone was edited, "region" where its surroundings were too,
    "" where the task edits nothing."""
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    """(n,) the patch's upper left pixel in its photo."""
    seen_device: NDArray[np.bool_]
    seen_scene: NDArray[np.bool_]
    """(n,) whether training had photos of that device, of that scene."""
    told: bool = True
    """Whether a device or scene that is not `seen` was never seen; else nobody can say."""

    def __post_init__(self) -> None:
        """Check everything, and take read-only copies of the arrays."""
        for name in FACTS:
            check_texts(name, [getattr(self, name)])
        self._set("label", self.LABEL, (-1,))
        n = (len(self.label),)
        for name in PLACES:
            self._set(name, np.int64, n)
        for name in FLAGS:
            self._set(name, np.bool_, n)
        for name in TEXTS:
            self._set(name, np.str_, n)
            check_texts(name, np.unique(getattr(self, name)).tolist())
        if np.any(self.photo == ""):
            raise UsageError("Predictions: every patch needs the id of its photo.")
        self._check()

    def _set(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        """Take a copy of one array, of that type and shape (-1: any length)."""
        given: ArrayLike = getattr(self, name)
        array = np.asarray(given)
        if array.dtype.kind not in _KINDS[dtype] and array.size:
            raise UsageError(f"Predictions: {name} must be {dtype.__name__}, not {array.dtype}.")
        if array.ndim != len(shape) or any(
            want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)
        ):
            raise UsageError(f"Predictions: {name} has shape {array.shape}, wanted {shape}.")
        array = np.array(array, dtype=dtype)
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    @property
    @abstractmethod
    def format(self) -> str:
        """What a file calls this kind of table."""

    @abstractmethod
    def _check(self) -> None:
        """Check facts and arrays that this kind of table adds."""

    @abstractmethod
    def _own_facts(self) -> dict[str, Any]:
        """The facts that this kind of table adds, as JSON keeps them."""

    @abstractmethod
    def _own_arrays(self) -> tuple[str, ...]:
        """Names of the arrays that this kind of table adds, n rows each."""

    @abstractmethod
    def _own_columns(self) -> dict[str, NDArray[Any]]:
        """The same as columns of a file, (n,) each."""

    @classmethod
    @abstractmethod
    def _own_types(cls, facts: Mapping[str, Any]) -> Types:
        """Name and type of each column of `_own_columns`, given a file's facts."""

    @classmethod
    @abstractmethod
    def _of(
        cls, facts: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], **common: Any
    ) -> Self:
        """A table from a file's facts and own columns, and from what all tables have."""

    def __len__(self) -> int:
        """How many patches."""
        return len(self.label)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything in the table, rows in their order, as 64 hex digits."""
        digest = hashlib.sha256()
        facts = [*(getattr(self, name) for name in FACTS), *self._own_facts().values()]
        digest.update(json.dumps(facts if self.told else [*facts, "untold"]).encode())
        for name in TEXTS:
            digest.update(json.dumps(getattr(self, name).tolist()).encode())
        for name in (*NUMBERS, *FLAGS, *self._own_arrays()):
            array: NDArray[Any] = getattr(self, name)
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def known(self, what: str) -> NDArray[np.bool_]:
        """(n,) whether it is known if training had photos of that "device" or "scene"."""
        if what == "scene":
            named = self.scene != ""
        else:
            named = self.seen_device | ~np.char.endswith(self.device, f"/ {UNKNOWN_DEVICE}")
        known: NDArray[np.bool_] = named & self.told
        return known

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where `mask`, (n,) bool, is true."""
        if np.asarray(mask).dtype != np.bool_ or np.shape(mask) != (len(self),):
            raise UsageError(f"A selection of {len(self)} predictions needs as many true or false.")
        names = (*TEXTS, *NUMBERS, *FLAGS, *self._own_arrays())
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    def save(self, path: Path) -> None:
        """Write one Parquet file (about 0.6 MB for 30,000 patches of six classes)."""
        import pyarrow.parquet as pq

        table = self._to_arrow()
        # What takes few values goes into dictionaries; other floats compress best byte by byte.
        split = [
            field.name for field in table.schema if field.type == "float" and field.name != "label"
        ]
        with written_whole(path) as temporary:
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                compression_level=9,
                use_dictionary=[
                    name for name in table.column_names if name not in (*split, *FLAGS)
                ],
                use_byte_stream_split=split,
            )

    def _to_arrow(self) -> pa.Table:
        import pyarrow as pa

        facts: dict[str, object] = {"format": self.format, "version": VERSION}
        facts |= {name: getattr(self, name) for name in FACTS}
        facts |= {**self._own_facts(), "hash": self.hash, **({} if self.told else {"told": False})}
        columns: dict[str, Any] = {}
        for name in TEXTS:
            values, index = np.unique(getattr(self, name), return_inverse=True)
            texts = pa.array(values.tolist(), pa.string())
            columns[name] = pa.DictionaryArray.from_arrays(index.astype(np.int32), texts)
        columns |= {name: getattr(self, name) for name in (*NUMBERS, *FLAGS)}
        columns |= self._own_columns()
        schema = _schema(self._types(facts))
        return pa.table(columns, schema=schema.with_metadata({"phototrace": json.dumps(facts)}))

    @classmethod
    def _types(cls, facts: Mapping[str, Any]) -> Types:
        """Name and type of each column of a file besides the texts."""
        return {
            "label": cls.LABEL,
            **dict.fromkeys(PLACES, np.int64),
            **dict.fromkeys(FLAGS, np.bool_),
            **cls._own_types(facts),
        }


def read_table(path: Path, kinds: Mapping[str, type[PatchTable]]) -> PatchTable:
    """Read what `PatchTable.save` wrote, as the kind of table that goes with the file's format.

    Raises:
        DamagedError: if the file is missing, cut short, changed, or of none of these kinds.
    """
    import pyarrow as pa

    path = Path(path)
    if not path.is_file():
        raise DamagedError(f"{path} is missing. Evaluate the run again to make it.")
    try:
        return _read(path, kinds)
    except UsageError as error:
        raise DamagedError(f"{path} cannot be used: {error}") from error
    except PhototraceError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, RecursionError):
        raise DamagedError(
            f"{path} is not a whole table of predictions. Evaluate the run again to make it."
        ) from None


def _read(path: Path, kinds: Mapping[str, type[PatchTable]]) -> PatchTable:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        facts = json.loads(file.schema_arrow.metadata[b"phototrace"])
        kind = kinds[facts["format"]]
        if facts["version"] != VERSION:
            raise DamagedError(
                f"{path} is of version {facts['version']}, this phototrace reads version {VERSION}."
                " Install the version of phototrace that wrote it, or evaluate the run again."
            )
        types = kind._types(facts)
        if not file.schema_arrow.remove_metadata().equals(_schema(types)):
            raise ValueError
        if file.metadata.num_rows * len(types) > SIZE_LIMIT:
            raise UsageError(
                f"it holds {file.metadata.num_rows} rows of {len(types)} columns, too many."
            )
        arrow = file.read()
    # A forged file may point outside its own lists of texts.
    arrow.validate(full=True)
    if any(column.null_count for column in arrow.columns):
        raise ValueError
    common: dict[str, Any] = {name: facts[name] for name in FACTS}
    common["told"] = facts.get("told", True) is True
    common |= {name: _texts(arrow[name]) for name in TEXTS}
    common |= {name: arrow[name].to_numpy() for name in (*NUMBERS, *FLAGS)}
    own = {name: arrow[name].to_numpy() for name in types if name not in common}
    table = kind._of(facts, own, **common)
    if table.hash != facts["hash"]:
        raise DamagedError(f"{path} has changed since it was written. Evaluate the run again.")
    return table


def _schema(types: Types) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [(name, pa.dictionary(pa.int32(), pa.string())) for name in TEXTS]
        + [(name, pa.from_numpy_dtype(dtype)) for name, dtype in types.items()]
    )


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Text column to numpy, its lengths checked before numpy makes every row as long as any."""
    encoded = column.unify_dictionaries().combine_chunks()
    if len(encoded) == 0:
        return np.array([], dtype=np.str_)
    values = encoded.dictionary.to_pylist()
    check_texts("a column", values)
    chosen: NDArray[np.str_] = np.array(values, dtype=np.str_)[encoded.indices.to_numpy()]
    return chosen


def check_texts(name: str, values: list[Any]) -> None:
    """Everything that names something is text that can be written, and of sane length."""
    for value in values:
        if not isinstance(value, str):
            raise UsageError(f"Predictions: {name} must be text, not {type(value).__name__}.")
        if len(value) > TEXT_LIMIT:
            raise UsageError(f"Predictions: {name} holds a text of {len(value)} characters.")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UsageError(f"Predictions: {name} holds {value!r}, which is not valid Unicode.")
