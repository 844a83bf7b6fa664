import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from phototrace.errors import DamagedError, UsageError
from phototrace.files import CONTENTS
from phototrace.photos.corpora import simulated
from phototrace.photos.corpora.simulated import model_names, simulate
from phototrace.photos.manifest import Manifest, verify
from phototrace.photos.photo import read_photo, read_pixels
from phototrace.photos.simulation.cameras import CAMERAS

SIZE = (80, 96)
SETTINGS: dict[str, Any] = {"scenes": 2, "size": SIZE, "models": ["Alder A10", "Dogwood X1"]}


def photos_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two scenes by two models of three devices, on all cores."""
    return simulate(tmp_path_factory.mktemp("made") / "corpus", **SETTINGS)


def test_every_device_takes_every_scene(made: Manifest) -> None:
    rows = {(p.camera, p.device, p.scene) for p in made.photos}
    assert rows == {
        (camera, device, scene)
        for camera in ("Alder A10", "Dogwood X1")
        for device in "123"
        for scene in ("scene-0000", "scene-0001")
    }
    assert len(made.photos) == len(rows) == len({p.sha256 for p in made.photos})
    assert {p.corpus for p in made.photos} == {"simulated"}
    assert made.photos[0].path == "Alder_A10/1/scene-0000.jpg"
    assert verify(made) == []


def test_the_files_say_what_the_manifest_says(made: Manifest) -> None:
    taken: dict[str, list[str]] = {}
    for record in made.photos:
        photo = read_photo(made.path_of(record))
        assert (photo.make, photo.model) == (record.make, record.model)
        assert (photo.width, photo.height) == (record.width, record.height) == (96, 80)
        assert photo.sha256 == record.sha256
        assert photo.qtables == record.qtables != ""
        assert photo.software
        taken.setdefault(record.device_id, []).append(photo.taken[:10])
        assert read_pixels(made.path_of(record)).std() > 5
    assert all(len(set(days)) == 2 for days in taken.values())  # no bursts


def test_the_bytes_do_not_depend_on_the_workers(made: Manifest, tmp_path: Path) -> None:
    with joblib.parallel_config("sequential"):
        again = simulate(tmp_path / "again", **SETTINGS)
    assert photos_of(again.root) == photos_of(made.root)
    assert again.hash == made.hash


def test_a_photo_does_not_depend_on_what_else_is_simulated(made: Manifest, tmp_path: Path) -> None:
    few = simulate(tmp_path / "few", scenes=1, size=SIZE, models=["Dogwood X1"])
    assert photos_of(few.root).items() <= photos_of(made.root).items()


def test_another_seed_gives_other_photos(made: Manifest, tmp_path: Path) -> None:
    other = simulate(tmp_path / "other", scenes=1, size=SIZE, models=["Alder A10"], seed=1)
    assert not {p.sha256 for p in other.photos} & {p.sha256 for p in made.photos}


def test_an_interrupted_simulation_goes_on(
    made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    take = simulated._take
    calls: list[object] = []

    def interrupted(*args: Any) -> bytes:
        calls.append(args)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return take(*args)

    with joblib.parallel_config("sequential"):
        monkeypatch.setattr(simulated, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(folder, **SETTINGS)
        monkeypatch.setattr(simulated, "_take", take)
        assert not (folder / CONTENTS).exists()
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
        assert len(before) == 4
        simulate(folder, **SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert photos_of(folder) == photos_of(made.root)


def test_a_finished_simulation_is_reused(made: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("took a photo again")

    monkeypatch.setattr(simulated, "_photograph", refuse)
    assert simulate(made.root, **SETTINGS).hash == made.hash


def test_a_changed_photo_of_a_finished_simulation_is_found(tmp_path: Path) -> None:
    settings = {**SETTINGS, "scenes": 1, "models": ["Alder A10"]}
    manifest = simulate(tmp_path / "corpus", **settings)
    path = manifest.path_of(manifest.photos[0])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=r"scene-0000\.jpg"):
        simulate(tmp_path / "corpus", **settings)


@pytest.mark.parametrize("change", [{"seed": 5}, {"scenes": 3}, {"models": ["Elm 700"]}])
def test_other_settings_are_refused(made: Manifest, change: dict[str, object]) -> None:
    before = photos_of(made.root)
    with pytest.raises(UsageError, match="other settings"):
        simulate(made.root, **{**SETTINGS, **change})
    assert photos_of(made.root) == before


def test_work_begun_with_other_libraries_is_not_gone_on_with(tmp_path: Path) -> None:
    settings = {**SETTINGS, "scenes": 1, "models": ["Alder A10"]}
    simulate(tmp_path, **settings)
    (tmp_path / CONTENTS).unlink()
    begun = json.loads((tmp_path / "settings.json").read_text())
    begun["libraries"]["numpy"] = "1.0"
    (tmp_path / "settings.json").write_text(json.dumps(begun))
    with pytest.raises(UsageError, match="other versions of cv2, numpy, PIL"):
        simulate(tmp_path, **settings)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        simulate(tmp_path, **SETTINGS)
    with pytest.raises(UsageError, match="is a file"):
        simulate(tmp_path / "letter.txt", **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": ["Canon EOS 6D"]}, "Canon EOS 6D.*There are: Alder A10"),
        ({"models": []}, "There are"),
        ({"scenes": 0}, "at least one scene"),
        ({"size": (32, 96)}, "64 pixels"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(tmp_path / "corpus", **{**SETTINGS, **wrong})
    assert not (tmp_path / "corpus").exists()


def test_model_names_are_the_manifests_cameras(made: Manifest) -> None:
    assert len(model_names()) == len(CAMERAS)
    assert {p.camera for p in made.photos} <= set(model_names())
    assert np.all([name.split()[0] not in ("Canon", "Nikon", "Apple") for name in model_names()])
