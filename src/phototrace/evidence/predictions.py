"""What a run predicted for each patch, with the ids of photo, device and scene that go with it.

Everything about a run's accuracy is worked out from this one table. It is saved as Parquet, so
that any other tool can read it. Probabilities are kept as the float32 they were computed in, so
the named class of a loaded table is bit for bit that of the saved one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phototrace.errors import DamagedError, PhototraceError, UsageError
from phototrace.files import written_whole

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
FACTS = ("task", "run", "run_hash", "split_hash", "data_hash")
TEXTS = ("photo", "device", "scene", "camera", "editing")
NUMBERS = ("label", "row", "column")
FLAGS = ("seen_device", "seen_scene")

TEXT_LIMIT = 1_000
"""Most characters of one id or name, so that a forged file cannot ask for all the memory."""
SIZE_LIMIT = 200_000_000
"""Most probabilities (patches x classes) in one table, for the same reason."""


_KINDS: dict[type[np.generic], str] = {
    np.str_: "U", np.int64: "iu", np.bool_: "b", np.float32: "f",
}  # fmt: skip
"""Kinds of numpy array that may be turned into each type without a change of meaning."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row a patch; `n` patches, `k` classes. Checked on construction; arrays are read-only.

    Raises:
        UsageError: if shapes differ, a label is not in 0..k-1, a probability is not in [0, 1],
            or a row of probabilities does not sum to 1 within 1e-3.
    """

    task: str
    classes: tuple[str, ...]
    run: str
    run_hash: str
    split_hash: str
    data_hash: str
    label: NDArray[np.int64]
    """(n,) index of the true class."""
    probabilities: NDArray[np.float32]
    """(n, k), each row sums to 1."""
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

    def __post_init__(self) -> None:
        """Check everything, and take read-only copies of the arrays."""
        for name in FACTS:
            _check_texts(name, [getattr(self, name)])
        object.__setattr__(self, "classes", tuple(self.classes))
        _check_texts("classes", list(self.classes))
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UsageError("Predictions need at least one class, each named once.")
        self._set("probabilities", self.probabilities, np.float32, (-1, len(self.classes)))
        n = (len(self.probabilities),)
        for name in NUMBERS:
            self._set(name, getattr(self, name), np.int64, n)
        for name in FLAGS:
            self._set(name, getattr(self, name), np.bool_, n)
        for name in TEXTS:
            self._set(name, getattr(self, name), np.str_, n)
            _check_texts(name, np.unique(getattr(self, name)).tolist())
        _check_values(self)

    def _set(
        self, name: str, values: ArrayLike, dtype: type[np.generic], shape: tuple[int, ...]
    ) -> None:
        array = np.asarray(values)
        if array.dtype.kind not in _KINDS[dtype] and array.size:
            raise UsageError(f"Predictions: {name} must be {dtype.__name__}, not {array.dtype}.")
        if array.ndim != len(shape) or any(
            want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)
        ):
            raise UsageError(f"Predictions: {name} has shape {array.shape}, wanted {shape}.")
        array = np.array(array, dtype=dtype)
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """How many patches."""
        return len(self.label)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) index of the likeliest class; the first of them where several are equal."""
        likeliest: NDArray[np.int64] = np.argmax(self.probabilities, axis=1).astype(np.int64)
        return likeliest

    @cached_property
    def hash(self) -> str:
        """SHA-256 over everything in the table, rows in their order, as 64 hex digits."""
        digest = hashlib.sha256()
        digest.update(json.dumps([*(getattr(self, n) for n in FACTS), self.classes]).encode())
        for name in TEXTS:
            digest.update(json.dumps(getattr(self, name).tolist()).encode())
        for name in (*NUMBERS, *FLAGS, "probabilities"):
            array: NDArray[Any] = getattr(self, name)
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def select(self, mask: NDArray[np.bool_]) -> Predictions:
        """The rows where `mask`, (n,) bool, is true."""
        if np.asarray(mask).dtype != np.bool_ or np.shape(mask) != (len(self),):
            raise UsageError(f"A selection of {len(self)} predictions needs as many true or false.")
        names = (*TEXTS, *NUMBERS, *FLAGS, "probabilities")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})

    def save(self, path: Path) -> None:
        """Write one Parquet file (about 0.6 MB for 30,000 patches of six classes)."""
        import pyarrow.parquet as pq

        chances = _chance_names(len(self.classes))
        with written_whole(path) as temporary:
            pq.write_table(
                _to_arrow(self),
                temporary,
                compression="zstd",
                compression_level=9,
                use_dictionary=[*TEXTS, *NUMBERS],
                use_byte_stream_split=chances,
            )

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            DamagedError: if the file is missing, cut short, changed, or not such a table.
        """
        import pyarrow as pa

        path = Path(path)
        if not path.is_file():
            raise DamagedError(f"{path} is missing. Evaluate the run again to make it.")
        try:
            return _read(path)
        except UsageError as error:
            raise DamagedError(f"{path} cannot be used: {error}") from error
        except PhototraceError:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, RecursionError):
            raise DamagedError(
                f"{path} is not a whole table of predictions. Evaluate the run again to make it."
            ) from None


def _check_texts(name: str, values: list[Any]) -> None:
    """Everything that names something is text that can be written, and of sane length."""
    for value in values:
        if not isinstance(value, str):
            raise UsageError(f"Predictions: {name} must be text, not {type(value).__name__}.")
        if len(value) > TEXT_LIMIT:
            raise UsageError(f"Predictions: {name} holds a text of {len(value)} characters.")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UsageError(f"Predictions: {name} holds {value!r}, which is not valid Unicode.")


def _check_values(table: Predictions) -> None:
    if len(table) == 0:
        return
    if table.label.min() < 0 or table.label.max() >= len(table.classes):
        raise UsageError(f"Predictions: labels must be in 0..{len(table.classes) - 1}.")
    chances = table.probabilities
    # Written so that NaN fails it too.
    if not (chances.min() >= 0 and chances.max() <= 1 + 1e-3):
        raise UsageError("Predictions: probabilities must be finite and in [0, 1].")
    if np.abs(chances.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3:
        raise UsageError("Predictions: each patch's probabilities must sum to 1.")
    if np.any(table.photo == ""):
        raise UsageError("Predictions: every patch needs the id of its photo.")


def _chance_names(k: int) -> list[str]:
    return [f"probability_{index}" for index in range(k)]


def _schema(k: int) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [(name, pa.dictionary(pa.int32(), pa.string())) for name in TEXTS]
        + [(name, pa.int64()) for name in NUMBERS]
        + [(name, pa.bool_()) for name in FLAGS]
        + [(name, pa.float32()) for name in _chance_names(k)]
    )


def _to_arrow(table: Predictions) -> pa.Table:
    import pyarrow as pa

    facts: dict[str, object] = {"format": "predictions", "version": VERSION}
    facts |= {name: getattr(table, name) for name in FACTS}
    facts |= {"classes": table.classes, "hash": table.hash}
    columns: dict[str, Any] = {}
    for name in TEXTS:
        values, index = np.unique(getattr(table, name), return_inverse=True)
        texts = pa.array(values.tolist(), pa.string())
        columns[name] = pa.DictionaryArray.from_arrays(index.astype(np.int32), texts)
    columns |= {name: getattr(table, name) for name in (*NUMBERS, *FLAGS)}
    names = _chance_names(len(table.classes))
    columns |= {name: table.probabilities[:, index] for index, name in enumerate(names)}
    schema = _schema(len(table.classes)).with_metadata({"phototrace": json.dumps(facts)})
    return pa.table(columns, schema=schema)


def _read(path: Path) -> Predictions:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        facts = json.loads(file.schema_arrow.metadata[b"phototrace"])
        if facts["format"] != "predictions":
            raise ValueError
        if facts["version"] != VERSION:
            raise DamagedError(
                f"{path} is of version {facts['version']}, this phototrace reads version {VERSION}."
                " Install the version of phototrace that wrote it, or evaluate the run again."
            )
        k = len(facts["classes"])
        if not file.schema_arrow.remove_metadata().equals(_schema(k)):
            raise ValueError
        if file.metadata.num_rows * k > SIZE_LIMIT:
            raise UsageError(f"it holds {file.metadata.num_rows} rows of {k} classes, too many.")
        arrow = file.read()
    # A forged file may point outside its own lists of texts.
    arrow.validate(full=True)
    if any(column.null_count for column in arrow.columns):
        raise ValueError
    columns: dict[str, Any] = {name: facts[name] for name in FACTS}
    columns |= {name: _texts(arrow[name]) for name in TEXTS}
    columns |= {name: arrow[name].to_numpy() for name in (*NUMBERS, *FLAGS)}
    chances = np.stack([arrow[name].to_numpy() for name in _chance_names(k)], axis=1)
    table = Predictions(**columns, classes=tuple(facts["classes"]), probabilities=chances)
    if table.hash != facts["hash"]:
        raise DamagedError(f"{path} has changed since it was written. Evaluate the run again.")
    return table


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Text column to numpy, its lengths checked before numpy makes every row as long as any."""
    encoded = column.unify_dictionaries().combine_chunks()
    if len(encoded) == 0:
        return np.array([], dtype=np.str_)
    values = encoded.dictionary.to_pylist()
    _check_texts("a column", values)
    chosen: NDArray[np.str_] = np.array(values, dtype=np.str_)[encoded.indices.to_numpy()]
    return chosen
