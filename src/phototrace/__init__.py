"""phototrace: which camera model took a photo, and what was done to it."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from phototrace.errors import PhototraceError
    from phototrace.evidence.assessing import assess
    from phototrace.learning.detector import Detector
    from phototrace.learning.features import FeatureExtractor
    from phototrace.learning.model import Model
    from phototrace.learning.recipe import Recipe
    from phototrace.learning.run import Run
    from phototrace.learning.training import train_recipe
    from phototrace.patches.building import build_store
    from phototrace.patches.plan import PatchSettings, plan_patches
    from phototrace.patches.store import PatchStore
    from phototrace.photos.indexing import index
    from phototrace.photos.manifest import Manifest
    from phototrace.photos.photo import read_photo
    from phototrace.photos.splits import make_split
    from phototrace.progress import on_stderr
    from phototrace.simulation.collection import simulate
    from phototrace.study.recipe import StudyRecipe
    from phototrace.study.reproducing import reproduce

_PLACES = {
    "Detector": "learning.detector",
    "FeatureExtractor": "learning.features",
    "Manifest": "photos.manifest",
    "Model": "learning.model",
    "PatchSettings": "patches.plan",
    "PatchStore": "patches.store",
    "PhototraceError": "errors",
    "Recipe": "learning.recipe",
    "Run": "learning.run",
    "StudyRecipe": "study.recipe",
    "assess": "evidence.assessing",
    "build_store": "patches.building",
    "index": "photos.indexing",
    "make_split": "photos.splits",
    "on_stderr": "progress",
    "plan_patches": "patches.plan",
    "read_photo": "photos.photo",
    "reproduce": "study.reproducing",
    "simulate": "simulation.collection",
    "train_recipe": "learning.training",
}

__all__ = [
    "Detector",
    "FeatureExtractor",
    "Manifest",
    "Model",
    "PatchSettings",
    "PatchStore",
    "PhototraceError",
    "Recipe",
    "Run",
    "StudyRecipe",
    "__version__",
    "assess",
    "build_store",
    "index",
    "make_split",
    "on_stderr",
    "plan_patches",
    "read_photo",
    "reproduce",
    "simulate",
    "train_recipe",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, help must not."""
    if name == "__version__":
        return version("phototrace")
    if name not in _PLACES:
        raise AttributeError(f"phototrace has no {name!r}")
    return getattr(import_module(f"phototrace.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
