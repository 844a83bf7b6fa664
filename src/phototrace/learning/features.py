"""FeatureExtractor: patches to deep features (the paper's f, Sec. 2), in scikit-learn's manner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
from phototrace.learning.batches import as_tensor
from phototrace.learning.network import CHANNELS, Backbone, Network
from phototrace.learning.run import Run
from phototrace.learning.training import (
    PREDICT_BATCH,
    Accelerator,
    accelerator,
    place,
    takes_bfloat16,
    to_input,
)
from phototrace.patches.store import PatchStore
from phototrace.progress import progress

FEATURES_VERSION = 1
VALUES, FACTS = "features.npy", "features.json"


@dataclass(frozen=True)
class Origin:
    """What made some features: a run (by its hash), a stage, and the leg above the share depth."""

    run: str
    stage: str
    leg: str | None

    def __str__(self) -> str:
        leg = f", leg {self.leg}" if self.leg is not None else ""
        return f"{self.stage}{leg} of run {self.run[:12]}"


class Features(np.ndarray[tuple[int, int], np.dtype[np.float32]]):
    """Features `(n, d)` float32 that know their `origin`, and so do rows taken from them."""

    origin: Origin | None

    def __array_finalize__(self, given: object) -> None:
        self.origin = getattr(given, "origin", None)


@dataclass(frozen=True)
class _Loaded:
    """A run as it was read: its recipe, its hash and its network belong together."""

    given: tuple[object, object]
    run: Run
    hash: str
    network: Network


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What a trained network sees in patches, `(n, d)` float32: after tanh at fc2 unless told.

    Nothing is fitted: the features are those of the run. A run trained in bfloat16 (or `auto`, on
    a machine that computes in it) is evaluated in bfloat16, on CUDA where it is present.

    Args:
        run: A finished run, or its folder.
        stage: The stage whose output is taken, flattened.
        leg: The leg, for a stage above the share depth.
        backbone: The function that the run was trained with, where it is your own.
    """

    def __init__(
        self,
        run: Run | Path | str,
        *,
        stage: str = "fc2",
        leg: str | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        self.run = run
        self.stage = stage
        self.leg = leg
        self.backbone = backbone

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        stage: str = "fc2",
        leg: str | None = None,
        backbone: Backbone | None = None,
    ) -> FeatureExtractor:
        """The extractor of the run in the folder `path`, read and checked now.

        Raises `UsageError` where there is no run, stage or leg of the name, `DamagedError` where a
        file has changed.
        """
        return cls(path, stage=stage, leg=leg, backbone=backbone).fit()

    def fit(self, X: object = None, y: object = None) -> FeatureExtractor:  # noqa: N803
        """Read and check the run; the patches are not looked at."""
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
        loaded = self._load()
        in_trunk = self.stage in loaded.network.trunk
        return Origin(loaded.hash, self.stage, None if in_trunk else self.leg)

    @property
    def width(self) -> int:
        """Number of features, 200 at fc2."""
        network = self._load().network
        device = next(network.parameters()).device
        size, channels = self._patch_shape[0], CHANNELS[self._load().run.recipe.network.channels]
        with torch.inference_mode():
            one = network.features(
                torch.zeros(1, channels, size, size, device=device), self.stage, self.leg
            )
        return one.numel()

    def transform(self, X: ArrayLike) -> Features:  # noqa: N803
        """Features `(n, d)` float32 of patches `(n, h, w[, 3])` uint8, values 0..255.

        Raises `UsageError` where the patches are not of the size and form that the run takes.
        """
        patches = self._checked(np.asarray(X))
        values = np.empty((len(patches), self.width), dtype=np.float32)
        starts = _starts(len(patches))
        pieces = (patches[i : i + PREDICT_BATCH] for i in starts)
        for start, batch in zip(starts, self._batches(pieces, len(patches)), strict=True):
            values[start : start + len(batch)] = batch
        return self._marked(values)

    def transform_store(self, store: PatchStore, folder: Path | None = None) -> Features:
        """Features `(n, d)` float32 of all patches of a store, in its order, mapped from disk.

        They are kept in `folder` (by default beside the store) and taken from there, verified,
        while run, stage, precision and store are the same by hash. Memory does not grow with n.
        Raises `UsageError` where the store's patches do not fit the run or the disk is too small,
        `DamagedError` where the store or the kept features have changed.
        """
        self._check_store(store)
        facts = {
            "version": FEATURES_VERSION,
            "origin": asdict(self.origin),
            "store": store.hash,
            "precision": self._precision,
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
        pieces = (store.read(rows[i : i + PREDICT_BATCH]) for i in _starts(n))
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, width)}
        with written_whole(folder / VALUES) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for batch in self._batches(pieces, n):
                file.write(batch.astype("<f4").tobytes())
        write_json(folder / FACTS, facts)
        write_contents(folder, [VALUES, FACTS])

    @torch.inference_mode()
    def _batches(
        self, pieces: Iterator[NDArray[np.uint8]], total: int
    ) -> Iterator[NDArray[np.float32]]:
        """Features of pieces of patches, with progress."""
        loaded = self._load()
        machine: Accelerator = accelerator(loaded.run.recipe.training.precision)
        network = place(loaded.network, machine.device).eval()
        batches = len(_starts(total))
        for piece in progress(pieces, batches, f"Features of {loaded.run.name}"):
            with machine.autocast():
                found = network.features(
                    to_input(as_tensor(piece), machine.device), self.stage, self.leg
                )
            yield found.float().flatten(1).cpu().numpy()

    def _load(self) -> _Loaded:
        """The run and its network, read once and again when `run` or `backbone` is set anew."""
        loaded: _Loaded | None = getattr(self, "_loaded", None)
        if loaded is None or loaded.given[0] is not self.run or loaded.given[1] != self.backbone:
            run = Run.load(self.run.folder if isinstance(self.run, Run) else Path(self.run))
            network = run.network(self.backbone)
            loaded = _Loaded((self.run, self.backbone), run, run.hash, network)
            self._loaded = loaded
        return loaded

    @property
    def _patch_shape(self) -> tuple[int, ...]:
        choice = self._load().run.recipe.network
        return (choice.patch_size,) * 2 + ((3,) if choice.channels == "rgb" else ())

    @property
    def _precision(self) -> str:
        asked = self._load().run.recipe.training.precision
        return "bfloat16" if takes_bfloat16(asked) else "float32"

    def _checked(self, patches: NDArray[Any]) -> NDArray[np.uint8]:
        if patches.dtype != np.uint8 or patches.shape[1:] != self._patch_shape:
            wanted = ", ".join(map(str, ("n", *self._patch_shape)))
            raise UsageError(
                f"The run {self._load().run.name} takes patches ({wanted}) uint8; these are "
                f"{patches.shape} {patches.dtype}. Cut them to that size, values 0 to 255."
            )
        return patches

    def _check_store(self, store: PatchStore) -> None:
        run = self._load().run
        wanted = (run.recipe.network.patch_size, run.recipe.network.channels)
        if (store.size, store.channels) != wanted:
            raise UsageError(
                f"The store {store.folder} has {store.channels} patches of {store.size} px, but "
                f"the run {run.name} takes {wanted[1]} patches of {wanted[0]} px."
            )

    def _marked(self, values: NDArray[np.float32]) -> Features:
        features = values.view(Features)
        features.origin = self.origin
        return features


def _starts(n: int) -> range:
    return range(0, n, PREDICT_BATCH)


def _read(folder: Path, facts: dict[str, Any]) -> NDArray[np.float32]:
    """The kept features, mapped; `DamagedError` where they are not those that `facts` describe."""
    again = f"Remove {folder}, and they are computed anew."
    try:
        check_contents(folder)
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
    except (DamagedError, OSError, ValueError) as error:
        raise DamagedError(f"The features kept in {folder} are damaged: {error} {again}") from None
    if found != facts:
        raise UsageError(f"{folder} holds features of another run, stage or store. {again}")
    if values.dtype != np.float32 or list(values.shape) != facts["shape"]:
        raise DamagedError(f"The features kept in {folder} have another form. {again}")
    return values  # type: ignore[no-any-return]
