"""Recipes that come with phototrace: one TOML file a training, and one a study in `studies`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from phototrace.errors import UsageError


def recipe_path(name: str | Path) -> Path:
    """The path of a recipe: a file of the user's, or the name of one that comes with phototrace."""
    return _path(name, Path(str(files(__package__))))


def study_path(name: str | Path) -> Path:
    """The same of a study's recipe."""
    return _path(name, Path(str(files(__package__))) / "studies")


def shipped_names() -> str:
    """The names of the recipes that come with phototrace, separated by commas."""
    return _names(Path(str(files(__package__))))


def _path(name: str | Path, folder: Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml":
        return path
    shipped = folder / f"{name}.toml"
    if not shipped.is_file() or path.name != str(path):
        raise UsageError(
            f"There is no recipe {str(name)!r}. Give a file ending in .toml, or one of: "
            f"{_names(folder)}."
        )
    return shipped


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
