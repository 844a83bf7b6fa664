import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from PIL import Image

from phototrace.errors import DamagedError, UsageError
from phototrace.files import CONTENTS
from phototrace.photos.manifest import Manifest, verify
from phototrace.photos.photo import read_photo, read_pixels
from phototrace.simulation import collection
from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.collection import model_names, simulate, step_names

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
    first = simulate(tmp_path / "first", scenes=1, size=SIZE, models=["Dogwood X1"], devices=1)
    assert [p.device for p in first.photos] == ["1"]
    assert photos_of(first.root).items() <= photos_of(made.root).items()


def test_another_seed_gives_other_photos(made: Manifest, tmp_path: Path) -> None:
    other = simulate(tmp_path / "other", scenes=1, size=SIZE, models=["Alder A10"], seed=1)
    assert not {p.sha256 for p in other.photos} & {p.sha256 for p in made.photos}


def test_an_interrupted_simulation_goes_on(
    made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    take = collection._take
    calls: list[object] = []

    def interrupted(*args: Any) -> bytes:
        calls.append(args)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return take(*args)

    with joblib.parallel_config("sequential"):
        monkeypatch.setattr(collection, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(folder, **SETTINGS)
        monkeypatch.setattr(collection, "_take", take)
        assert not (folder / CONTENTS).exists()
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
        assert len(before) == 4
        simulate(folder, **SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert photos_of(folder) == photos_of(made.root)


def test_a_finished_simulation_is_reused(made: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("took a photo again")

    monkeypatch.setattr(collection, "_photograph", refuse)
    assert simulate(made.root, **SETTINGS).hash == made.hash


def test_a_changed_photo_of_a_finished_simulation_is_found(tmp_path: Path) -> None:
    settings = {**SETTINGS, "scenes": 1, "models": ["Alder A10"]}
    manifest = simulate(tmp_path / "corpus", **settings)
    path = manifest.path_of(manifest.photos[0])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=r"scene-0000\.jpg"):
        simulate(tmp_path / "corpus", **settings)


@pytest.mark.parametrize(
    "change",
    [{"seed": 5}, {"scenes": 3}, {"models": ["Elm 700"]}, {"devices": 1}, {"leave_out": ["prnu"]}],
)
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
        ({"devices": 0}, "at least one scene and device"),
        ({"size": (32, 96)}, "64 pixels"),
        ({"leave_out": ["lens"]}, "no step lens.*There are: optics"),
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


def test_a_step_left_out_changes_the_photos_and_stands_in_the_settings(
    made: Manifest, tmp_path: Path
) -> None:
    without = simulate(tmp_path / "without", **SETTINGS, leave_out={"sharpening", "denoising"})
    assert photos_of(without.root).keys() == photos_of(made.root).keys()
    assert not set(photos_of(without.root).values()) & set(photos_of(made.root).values())
    settings = json.loads((without.root / "settings.json").read_text())["settings"]
    assert settings["leave_out"] == ["denoising", "sharpening"]
    assert {"optics", "noise", "prnu", "denoising", "sharpening", "jpeg"} <= set(step_names())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures that are large enough for photos of SIZE, and five files that are no use."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, side in (("a.jpg", 330), ("b.png", 400), ("c.jpg", 500), ("small.jpg", 200)):
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(folder / name)
    (folder / "d copy.jpg").write_bytes((folder / "a.jpg").read_bytes())
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>Not found</html>")
    (folder / "cut.jpg").write_bytes((folder / "c.jpg").read_bytes()[:40])
    return folder


def test_own_pictures_are_the_scenes(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**SETTINGS, "scenes": 3}
    manifest = simulate(tmp_path / "corpus", pictures=pictures, **settings)
    assert len(manifest.photos) == 2 * 3 * 3
    left_out = json.loads((tmp_path / "corpus/settings.json").read_text())["pictures_left_out"]
    assert len(left_out) == 5
    for name in ("small.jpg", "d copy.jpg", "empty.jpg", "page.jpg", "cut.jpg"):
        assert [text for text in left_out if name in text], name
        assert name in caplog.text
    assert "200 x 200 pixels. For photos of 96 x 80 a scene needs 316 x 264" in caplog.text
    for record in manifest.photos:  # each scene looks like its picture, mirrored or not
        number = int(record.scene[-1])
        seen = _small(read_pixels(manifest.path_of(record), channels="rgb"))
        own, *others = (
            _small(read_pixels(pictures / name, channels="rgb"))
            for name in np.roll(["a.jpg", "b.png", "c.jpg"], -number)
        )
        assert _alike(seen, own) > 0.7
        assert max(_alike(seen, other) for other in others) < _alike(seen, own)
    with pytest.raises(UsageError, match="other settings"):
        simulate(tmp_path / "corpus", **settings)


def _small(pixels: np.ndarray) -> np.ndarray:
    """Grey values of the middle in the photos' shape."""
    step = min(pixels.shape[0] / SIZE[0], pixels.shape[1] / SIZE[1])
    tall, wide = int(step * SIZE[0]), int(step * SIZE[1])
    top, left = (pixels.shape[0] - tall) // 2, (pixels.shape[1] - wide) // 2
    middle = Image.fromarray(pixels[top : top + tall, left : left + wide])
    return np.asarray(middle.convert("L").resize((12, 10), Image.Resampling.BOX), float)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    return max(
        float(np.corrcoef(one.ravel(), side.ravel())[0, 1]) for side in (other, other[:, ::-1])
    )


def test_too_few_or_no_usable_pictures_are_refused_before_any_work(
    pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"holds 3 pictures.* 4 scenes.*5 others cannot be used"):
        simulate(tmp_path / "corpus", pictures=pictures, **{**SETTINGS, "scenes": 4})
    with pytest.raises(UsageError, match=r"no picture that can be a scene.*a scene needs 6758"):
        simulate(tmp_path / "corpus", pictures=pictures, **{**SETTINGS, "size": (1536, 2048)})
    with pytest.raises(UsageError, match="cannot be opened"):
        simulate(tmp_path / "corpus", pictures=pictures / "nowhere", **SETTINGS)
    assert not (tmp_path / "corpus").exists()
