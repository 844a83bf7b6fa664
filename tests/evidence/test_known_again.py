"""What trained a run is not tested, in whatever form it comes back; what is not known is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from phototrace.evidence.assessing import Assessment, assess
from phototrace.evidence.evaluation import Stratum
from phototrace.evidence.inference import predict_photos
from phototrace.evidence.predictions import Predictions
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import BACKBONES, Stages
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import KEY, Run
from phototrace.learning.training import train_recipe
from phototrace.photos.indexing import index


def plain(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((240, 200), Image.Resampling.BICUBIC))
    return Image.fromarray(
        np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)
    )


def shot(path: Path, seed: int, taken: str = "", serial: str = "") -> Path:
    tags = Image.Exif()
    tags[271], tags[272] = "Canon", "Canon EOS 6D"
    inner = tags.get_ifd(0x8769)
    if taken:
        inner[0x9003] = taken
    if serial:
        inner[0xA431] = serial
    path.parent.mkdir(exist_ok=True)
    picture(seed).save(path, quality=93, exif=tags.tobytes())
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("known")
    for number in range(12):
        when = f"2020:01:{number + 1:02d} 10:00:00"
        shot(root / "photos" / f"{number:02d}.jpg", number, when, f"5550{number % 3}1234")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "plain", plain)
        choice = Recipe.parse({
            "name": "known",
            "split": {"validation": 0.1, "test": 0.3},
            "network": {"backbone": "plain", "patch_size": 64},
            "legs": {"how": {"task": "manipulation", "blocks": "random", "batch_size": 12}},
            "training": {"epochs": 1, "precision": "float32"},
        })  # fmt: skip
        return train_recipe(choice, index(root / "photos").manifest, root / "runs")


def trained(run: Run, photos: Path) -> list[Path]:
    names = {p.sha256: p.path for p in index(photos).manifest.photos}
    return [photos / names[s] for s, part in run.split["part"].items() if part == "train"]


@pytest.fixture
def tested(run: Run, tmp_path: Path) -> Callable[[], Assessment]:
    """All that lies in the folder "new" tested."""

    def test() -> Assessment:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, "plain", plain)
            return assess([run], index(tmp_path / "new").manifest, tmp_path / "out")

    return test


def test_training_photos_are_known_in_every_form(
    run: Run, tested: Callable[[], Assessment], tmp_path: Path
) -> None:
    new, old = tmp_path / "new", trained(run, run.folder.parent.parent / "photos")
    new.mkdir()
    (new / "longer.jpg").write_bytes(old[0].read_bytes() + b"\0")
    with Image.open(old[1]) as image:
        image.save(new / "stripped.jpg", quality="keep")
        image.save(new / "again.jpg", quality=75)
        image.resize((180, 150)).save(new / "smaller.jpg", quality=90)
        image.save(new / "as.png")
    with Image.open(old[2]) as image:
        when = image.getexif().get_ifd(0x8769)[0x9003].replace("10:00:00", "10:00:08")
        serial = image.getexif().get_ifd(0x8769)[0xA431]
    shot(new / "third.jpg", 100, when, serial)
    shot(new / "same-body.jpg", 101, "2021:01:01 10:00:00", serial)
    shot(new / "other-body.jpg", 102, "2021:01:01 10:00:00", "99912345")
    shot(new / "bodiless.jpg", 103, "2021:02:01 10:00:00")
    result = tested()
    (one,) = result.tested
    assert one.left_out == {
        "that look the same as one used in training": 5,
        "in a burst with a photo used in training": 1,
    }
    table = one.predictions
    assert dict(zip(table.device, table.seen_device, strict=True)) == {
        f"Canon EOS 6D / {serial}": True,
        "Canon EOS 6D / 99912345": False,
        "Canon EOS 6D / unknown device": False,
    }
    groups = {g.name.split(" / ")[1]: g.seen for g in result.evaluations[0].by_device}
    assert groups == {serial: True, "99912345": False, "unknown device": None}
    never = [s for s in result.evaluations[0].strata if s.value == "never seen"]
    photos = [s.accuracy.photos for s in never if isinstance(s, Stratum) and s.what == "device"]
    assert photos == [1]
    assert any("The device of 1 photo is unknown" in n for n in result.evaluations[0].notes)
    assert ">unknown</td>" in (tmp_path / "out/index.html").read_text()


def test_a_run_names_neither_photos_nor_devices(run: Run) -> None:
    files = [p for p in run.folder.iterdir() if p.is_file()]
    for path in files:
        data = path.read_bytes()
        for name in (b"55501234", b"555011234", b"00.jpg", b"Canon"):
            assert name not in data, path
    assert (run.folder / KEY).is_file()


def test_without_its_key_a_run_says_that_devices_are_not_known(run: Run, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in run.folder.iterdir():
        if path.is_file() and path.name != KEY:
            (bare / path.name).write_bytes(path.read_bytes())
    new = tmp_path / "new"
    new.mkdir()
    old = trained(run, run.folder.parent.parent / "photos")
    with Image.open(old[0]) as image:
        image.save(new / "again.jpg", quality=80)
    shot(new / "new.jpg", 100, "2021:01:01 10:00:00", "555001234")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "plain", plain)
        one = predict_photos(Run.load(bare), index(new).manifest, tmp_path / "s")
    assert one.left_out == {"that look the same as one used in training": 1}
    assert "without the key" in one.cautions[0]
    assert not one.predictions.told
    assert not one.predictions.known("device").any()


def test_a_model_alone_says_that_training_photos_are_not_recognised(
    run: Run, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "plain", plain)
        run.model().save(tmp_path / "model")
        shot(tmp_path / "new/a.jpg", 1, "2020:01:02 10:00:00", "555011234")
        alone = Run.open(tmp_path / "model")
        result = assess([alone], index(tmp_path / "new").manifest, tmp_path / "out")
    assert "may be among those tested" in result.tested[0].cautions[0]
    assert any("may be among those tested" in line for line in result.sentences())
    page = (tmp_path / "out/index.html").read_text()
    assert "may be among those tested" in page
    assert "never seen</span>" not in page
    told = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert "may be among those tested" in told["cautions"][0][0]
    assert not [s for s in result.evaluations[0].strata if s.what in ("device", "scene")]
    assert result.evaluations[0].by_device[0].seen is None


def test_a_list_of_predictions_keeps_that_nobody_can_say(run: Run, tmp_path: Path) -> None:
    shot(tmp_path / "new/a.jpg", 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "plain", plain)
        table = predict_photos(run, index(tmp_path / "new").manifest, tmp_path / "s").predictions
    untold = replace(table, told=False)
    assert untold.hash != table.hash
    for one in (table, untold):
        one.save(tmp_path / "p.parquet")
        assert Predictions.load(tmp_path / "p.parquet").told is one.told


def test_an_old_run_without_a_list_is_read() -> None:
    old = Path(__file__).parents[1] / "learning/data/run-1"
    assert Run.load(old).trained is None
