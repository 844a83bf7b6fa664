"""Recipes that come with phototrace: one TOML file a training."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from phototrace.errors import UsageError


def recipe_path(name: str | Path) -> Path:
    """The path of a recipe: a file of the user's, or the name of one that comes with phototrace."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    shipped = Path(str(files(__package__) / f"{name}.toml"))
    if not shipped.is_file() or path.name != str(path):
        raise UsageError(f"There is no recipe {name!r}. Give a file, or one of: {shipped_names()}.")
    return shipped


def shipped_names() -> str:
    """The names of the recipes that come with phototrace, separated by commas."""
    folder = Path(str(files(__package__)))
    return ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
