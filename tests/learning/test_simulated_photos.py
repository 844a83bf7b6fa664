"""A recipe's simulated photos."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phototrace.errors import UsageError
from phototrace.learning.preparing import gather_photos
from phototrace.learning.recipe import Recipe


def recipe(**simulated: object) -> Recipe:
    photos = {"simulated": {"scenes": 3, "width": 96, "height": 64, **simulated}}
    return Recipe.parse({"name": "r", "photos": photos, "legs": {"camera": {"task": "camera"}}})


def test_a_recipe_chooses_models_and_leaves_steps_out(tmp_path: Path) -> None:
    chosen = recipe(models=["Elm 700"], leave_out=["prnu", "noise"])
    manifest = gather_photos(chosen.photos, tmp_path, None, tmp_path / "work")
    assert {photo.camera for photo in manifest.photos} == {"Elm 700"}
    settings = json.loads((manifest.root / "settings.json").read_text())["settings"]
    assert settings["leave_out"] == ["noise", "prnu"]
    assert settings["size"] == [64, 96]
    other = gather_photos(recipe(models=["Elm 700"]).photos, tmp_path, None, tmp_path / "work")
    assert other.root != manifest.root


def test_a_recipes_pictures_lie_beside_it(tmp_path: Path) -> None:
    beside = tmp_path / "recipes"
    (beside / "own").mkdir(parents=True)
    for level in (60, 120, 180):
        pixels = np.full((220, 330, 3), level, np.uint8)
        Image.fromarray(pixels).save(beside / "own" / f"{level}.png")
    chosen = recipe(models=["Elm 700"], pictures="own")
    manifest = gather_photos(chosen.photos, beside, None, tmp_path / "work")
    settings = json.loads((manifest.root / "settings.json").read_text())["settings"]
    assert len(settings["pictures"]) == 3
    with pytest.raises(UsageError, match="cannot be opened"):
        gather_photos(chosen.photos, tmp_path, None, tmp_path / "other")
