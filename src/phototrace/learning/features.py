"""FeatureExtractor: patches to deep features (the paper's f, Sec. 2), in scikit-learn's manner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from phototrace.errors import DamagedError, UsageError
from phototrace.files import (
    check_contents,
    hash_of,
    is_complete,
    locked,
    write_contents,
    write_json,
    written_whole,
)
from phototrace.learning.accelerator import DeviceName, Precision
from phototrace.learning.model import BATCH, Model
from phototrace.learning.network import Backbone
from phototrace.patches.store import PatchStore

FEATURES_VERSION = 1
VALUES, FACTS = "features.npy", "features.json"


@dataclass(frozen=True)
class Origin:
    """What made some features: a model (by its hash), a stage, the leg above the share depth.

    And the precision: rounded otherwise, the same features are others, and trees tell.
    """

    model: str
    stage: str
    leg: str | None
    precision: Precision

    def __str__(self) -> str:
        leg = f", leg {self.leg}" if self.leg is not None else ""
        return f"{self.stage}{leg} of model {self.model[:12]} in {self.precision}"


class Features(np.ndarray[tuple[int, int], np.dtype[np.float32]]):
    """Features `(n, d)` float32 that know their `origin`, and so do rows taken from them.

    What is computed with them is another thing: the result of any numpy function is a plain array,
    and features that are changed in place forget where they came from.
    """

    origin: Origin | None
    __array_priority__ = -1.0

    def __array_finalize__(self, given: object) -> None:
        rows = self.ndim == 2 and self.shape[1:] == getattr(given, "shape", ())[1:]
        known = rows and self.dtype == np.float32
        self.origin = getattr(given, "origin", None) if known else None

    def __setitem__(self, key: Any, value: Any) -> None:
        self.origin = None
        super().__setitem__(key, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        _forget(options.get("out", ()), inputs[:1] if method == "at" else ())
        options = {key: _plain(value) for key, value in options.items()}
        return getattr(ufunc, method)(*_plain(inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _forget([kwargs.get("out")], args[:1] if function in _CHANGING_FUNCTIONS else ())
        return function(*_plain(args), **{key: _plain(value) for key, value in kwargs.items()})


_CHANGING_FUNCTIONS = (
    np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask,
)  # fmt: skip


def _changing(method: Any) -> Any:
    """A method of arrays that changes them in place, as features have it."""

    @wraps(method)
    def changed(self: Features, *given: Any, **options: Any) -> Any:
        self.origin = None
        return method(self, *given, **options)

    return changed


for _method in ("byteswap", "fill", "partition", "put", "sort"):
    setattr(Features, _method, _changing(getattr(np.ndarray, _method)))


def _forget(*arrays: Iterable[Any]) -> None:
    for array in chain(*arrays):
        if isinstance(array, Features):
            array.origin = None


def _plain(value: Any) -> Any:
    """`value` with plain arrays in place of features, also within tuples and lists."""
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, Features) else value


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What a trained network sees in patches, `(n, d)` float32: after tanh at fc2 unless told.

    Nothing is fitted: the features are those of the model.

    Args:
        model: A model, or the folder of one or of a run.
        stage: The stage whose output is taken, flattened.
        leg: The leg, for a stage above the share depth.
    """

    def __init__(
        self, model: Model | Path | str, *, stage: str = "fc2", leg: str | None = None
    ) -> None:
        self.model = model
        self.stage = stage
        self.leg = leg

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        stage: str = "fc2",
        leg: str | None = None,
        device: DeviceName = "auto",
        backbone: Backbone | None = None,
    ) -> FeatureExtractor:
        """The extractor of the model or run in the folder `path`, read and checked now.

        Raises `UsageError` where there is no model, stage or leg of the name, `DamagedError` where
        a file has changed.
        """
        model = Model.load(path, device=device, backbone=backbone)
        return cls(model, stage=stage, leg=leg).fit()

    def fit(self, X: object = None, y: object = None) -> FeatureExtractor:  # noqa: N803
        """Load and check the model; the patches are not looked at."""
        _ = self.width
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def origin(self) -> Origin:
        """What these features are known by."""
        model = self.loaded()
        leg = None if self.stage in model.network.trunk else self.leg
        return Origin(model.hash, self.stage, leg, model.config.precision)

    @property
    def width(self) -> int:
        """Number of features, 200 at fc2."""
        return self.loaded().width(self.stage, self.leg)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the features, `(d,)`: fc2_0, fc2_1 and on."""
        return np.array([f"{self.stage}_{k}" for k in range(self.width)], dtype=object)

    def transform(self, X: ArrayLike) -> Features:  # noqa: N803
        """Features `(n, d)` float32 of patches `(n, h, w[, 3])` uint8, values 0..255.

        Raises `UsageError` where the patches are not of the size and form that the model takes.
        """
        patches = self.loaded().checked(X)
        values = np.empty((len(patches), self.width), dtype=np.float32)
        starts = range(0, len(patches), BATCH)
        pieces = (patches[i : i + BATCH] for i in starts)
        for start, batch in zip(starts, self._batches(pieces, len(starts)), strict=True):
            values[start : start + len(batch)] = batch
        return self._marked(values)

    def transform_store(self, store: PatchStore, folder: Path | None = None) -> Features:
        """Features `(n, d)` float32 of all patches of a store, in its order, mapped from disk.

        They are kept in `folder` (by default beside the store) and taken from there, verified,
        while model, stage, precision and store are the same by hash. Memory does not grow with n.
        Raises `UsageError` where the store's patches do not fit the model or the disk is too small,
        `DamagedError` where the store or the kept features have changed.
        """
        self._check_store(store)
        facts = {
            "version": FEATURES_VERSION,
            "origin": asdict(self.origin),
            "store": store.hash,
            "shape": [len(store), self.width],
        }
        kept = folder or store.folder.parent / f"features-{self.stage}-{hash_of(facts)[:12]}"
        if not is_complete(kept):
            with locked(kept):
                store.verify()
                self._write(kept, store, facts)
        return self._marked(_read(kept, facts))

    def _write(self, folder: Path, store: PatchStore, facts: dict[str, Any]) -> None:
        n, width = facts["shape"]
        if 4 * n * width > shutil.disk_usage(folder).free:
            raise UsageError(
                f"The features take {4 * n * width / 1e9:.1f} GB, more than {folder} has room for. "
                "Give another folder, or a deeper stage."
            )
        rows = np.arange(n)
        starts = range(0, n, BATCH)
        pieces = (store.read(rows[i : i + BATCH]) for i in starts)
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, width)}
        with written_whole(folder / VALUES) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for batch in self._batches(pieces, len(starts)):
                file.write(batch.astype("<f4").tobytes())
        write_json(folder / FACTS, facts)
        write_contents(folder, [VALUES, FACTS])

    def _batches(
        self, pieces: Iterator[NDArray[np.uint8]], total: int
    ) -> Iterator[NDArray[np.float32]]:
        model = self.loaded()
        label = f"Features of {model.name}"
        return model.features_of(pieces, self.stage, self.leg, label=label, total=total)

    def loaded(self) -> Model:
        """The model, loaded once, and again when `model` is set again."""
        if isinstance(self.model, Model):
            return self.model
        loaded: tuple[object, Model] | None = getattr(self, "_loaded", None)
        if loaded is None or loaded[0] is not self.model:
            loaded = self._loaded = (self.model, Model.load(self.model))
        return loaded[1]

    def _check_store(self, store: PatchStore) -> None:
        model = self.loaded()
        wanted = (model.config.patch_size, model.config.channels)
        if (store.size, store.channels) != wanted:
            raise UsageError(
                f"The store {store.folder} has {store.channels} patches of {store.size} px, but "
                f"{model.name} takes {wanted[1]} patches of {wanted[0]} px."
            )

    def _marked(self, values: NDArray[np.float32]) -> Features:
        features = values.view(Features)
        features.origin = self.origin
        return features


def _read(folder: Path, facts: dict[str, Any]) -> NDArray[np.float32]:
    """The kept features, mapped; `DamagedError` where they are not those that `facts` describe."""
    again = f"Remove {folder}, and they are computed again."
    try:
        check_contents(folder)
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
    except (DamagedError, OSError, ValueError) as error:
        raise DamagedError(f"The features kept in {folder} are damaged: {error} {again}") from None
    if found != facts:
        raise UsageError(f"{folder} holds features of another model, stage or store. {again}")
    if values.dtype != np.float32 or list(values.shape) != facts["shape"]:
        raise DamagedError(f"The features kept in {folder} have another form. {again}")
    return values  # type: ignore[no-any-return]
