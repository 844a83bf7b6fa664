"""What index, audit, train and evaluate say of a folder of photos, and of a manifest of it."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from phototrace.photos.manifest import Manifest

from .commands import phototrace

RECIPE = """
name = "small"
[photos]
corpus = "{corpus}"
[split]
validation = 0.15
test = 0.25
[network]
patch_size = 64
[legs.camera]
task = "camera"
batch_size = 8
blocks = "random"
blocks_per_photo = 2
[training]
epochs = 1
"""


@pytest.fixture
def folder(photos: Manifest, tmp_path: Path) -> Path:
    """Twenty photos of two cameras in their folders; by EXIF they are all of a third one."""
    root = tmp_path / "photos"
    exif = Image.Exif()
    exif[271], exif[272] = "Canon", "Canon EOS 40D"
    for record in photos.photos:
        model = {"A": "Nikon_D70", "B": "Nikon_D200"}[record.model]
        place = root / model / record.device / record.path
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(photos.path_of(record)) as image:
            image.save(place, quality=90, exif=exif)
    return root


@pytest.fixture
def messy(photos: Manifest, tmp_path: Path) -> Path:
    """The photos without EXIF, with a copy, a broken one, and one under two cameras."""
    root = tmp_path / "photos"
    for record in photos.photos:
        model = {"A": "Nikon_D70", "B": "Nikon_D200"}[record.model]
        place = root / model / record.device / record.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos.path_of(record), place)
    shutil.copy(root / "Nikon_D70/0/00.jpg", root / "Nikon_D70/0/copy.jpg")
    shutil.copy(root / "Nikon_D70/0/04.jpg", root / "Nikon_D200/0/same.jpg")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    return root


def manifest_of(folder: Path, beside: Path) -> Path:
    """A manifest that lists every file of a folder as its folders say, the broken one too."""
    from phototrace.files import sha256_of

    rows = ["path,sha256,make,model,device,width,height"]
    for path in sorted(folder.rglob("*.jpg")):
        parts = path.relative_to(folder).parts
        model = parts[0].removeprefix("Nikon_") if len(parts) > 1 else ""
        device = parts[1] if len(parts) > 1 else ""
        make = "Nikon" if model else ""
        rows.append(f"photos/{'/'.join(parts)},{sha256_of(path)},{make},{model},{device},216,200")
    beside.write_text("\n".join(rows) + "\n")
    return beside


def names_of(facts: dict[str, Any], kind: str) -> set[str]:
    return {Path(p["path"]).name for p in facts["broken"] if p["kind"] == kind}


def test_audit_says_the_same_of_a_folder_as_of_its_manifest(
    capsys: pytest.CaptureFixture[str], messy: Path, tmp_path: Path
) -> None:
    by_hand = manifest_of(messy, tmp_path / "m.csv")
    status, out, _ = phototrace(capsys, "audit", messy, "--json")
    facts = json.loads(out)
    assert (status, facts["photos"]) == (1, 23)
    assert names_of(facts, "unreadable") == {"broken.jpg"}
    assert names_of(facts, "duplicate") == {"copy.jpg"}
    assert names_of(facts, "conflict") == {"04.jpg", "same.jpg"}
    assert {leak["kind"] for leak in facts["leaks"]} == {"same file"}
    assert len(facts["leaks"]) == 2
    status, out, _ = phototrace(capsys, "audit", by_hand, "--json")
    other = json.loads(out)
    assert (status, other["photos"], len(other["leaks"])) == (1, 23, 2)
    for kind in ("unreadable", "duplicate", "conflict"):
        assert names_of(other, kind) == names_of(facts, kind)
    status, out, err = phototrace(capsys, "audit", messy)
    assert "23 photos: 4 broken or duplicate, 2 leaks." in out
    assert "as of Nikon D200 / 0 and as of Nikon D70 / 0" in err


@pytest.mark.parametrize(
    ("name", "words", "status", "said"),
    [
        ("part", ["tr", "te"], 2, "test of no photo, but 'tr' of"),
        ("part", ["train", "holdout"], 2, "'holdout'"),
        ("Part", ["train", "test"], 1, "1 leaks."),
        ("part", ["train", "test", "nan"], 1, "photo(s) excluded: part is empty."),
    ],
)
def test_no_column_part_is_passed_over(
    capsys: pytest.CaptureFixture[str], photos: Manifest, tmp_path: Path,
    name: str, words: list[str], status: int, said: str,
) -> None:  # fmt: skip
    parts = itertools.cycle(words)
    lines = [f"path,sha256,burst,{name}"]
    lines += [f"{photos.path_of(p)},{p.sha256},b,{next(parts)}" for p in photos.photos]
    table = tmp_path / "m.csv"
    table.write_text("\n".join(lines))
    got, out, err = phototrace(capsys, "audit", table)
    assert got == status
    assert said in out + err


def test_training_and_evaluation_name_copies_conflicts_and_broken_files(
    capsys: pytest.CaptureFixture[str], messy: Path, tmp_path: Path
) -> None:
    recipe, runs = tmp_path / "small.toml", tmp_path / "runs"
    recipe.write_text(RECIPE.format(corpus="auto"))
    status, out, err = phototrace(
        capsys, "train", recipe, "--photos", messy, "--out", runs, "--json"
    )
    assert status == 1
    facts = json.loads(out)
    assert names_of(facts, "unreadable") == {"broken.jpg"}
    assert [Path(p["path"]).name for p in facts["duplicates"]] == ["copy.jpg"]
    assert {Path(p["path"]).name for p in facts["conflicts"]} == {"04.jpg", "same.jpg"}
    assert "2 stand under two cameras or devices and are left out" in err
    assert "1 are copies of others and left out" in err
    status, out, err = phototrace(capsys, "evaluate", runs / "small", messy, "--json")
    assert status == 1
    facts = json.loads(out)
    assert {Path(p["path"]).name for p in facts["conflicts"]} == {"04.jpg", "same.jpg"}
    assert [Path(p["path"]).name for p in facts["duplicates"]] == ["copy.jpg"]
    by_hand = manifest_of(messy, tmp_path / "m.csv")
    status, out, err = phototrace(capsys, "evaluate", runs / "small", by_hand, "--json")
    assert status == 1, err
    assert {Path(p["path"]).name for p in json.loads(out)["conflicts"]} == {"04.jpg", "same.jpg"}


def test_a_folder_is_read_as_the_runs_recipe_says_unless_one_is_chosen(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    recipe, runs = tmp_path / "small.toml", tmp_path / "runs"
    recipe.write_text(RECIPE.format(corpus="folder"))
    status, _, err = phototrace(capsys, "train", recipe, "--photos", folder, "--out", runs)
    assert status == 0, err
    assert "20 of 20 photos with a camera in EXIF lie in a folder that names another one" in err
    status, out, err = phototrace(capsys, "evaluate", runs / "small", folder, "--json")
    assert status == 0, err
    assert json.loads(out)["contradictions"] == []
    status, _, err = phototrace(capsys, "evaluate", runs / "small", folder, "--corpus", "exif")
    assert status == 2  # all are of a camera that it was not trained on
    assert "of a camera that the run was not trained on" in err
    status, out, _ = phototrace(capsys, "audit", recipe, "--photos", folder, "--json")
    assert status == 0
    assert "20 of 20 photos" in json.loads(out)["notes"][0]
    status, out, _ = phototrace(capsys, "audit", folder, "--json")
    assert len(json.loads(out)["contradictions"]) == 20
    status, out, _ = phototrace(capsys, "audit", folder, "--corpus", "exif", "--json")
    assert json.loads(out)["contradictions"] == []
    made = tmp_path / "m.csv"
    status, _, err = phototrace(capsys, "index", folder, "-o", made)
    assert (status, "20 are by their EXIF of another camera" in err) == (0, True)
    assert {row.camera for row in Manifest.load(made).photos} == {"Canon EOS 40D"}
    status, _, err = phototrace(capsys, "audit", made, "--corpus", "exif")
    assert (status, "--corpus goes with a folder" in err) == (2, True)


def test_runs_that_read_folders_differently_need_a_choice(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for name, corpus in (("a", "folder"), ("b", "auto")):
        text = RECIPE.format(corpus=corpus).replace("small", name).replace("camera", "manipulation")
        (tmp_path / f"{name}.toml").write_text(text)
        recipe = tmp_path / f"{name}.toml"
        assert phototrace(capsys, "train", recipe, "--photos", folder, "--out", runs)[0] == 0
    status, _, err = phototrace(capsys, "evaluate", runs / "a", runs / "b", folder)
    assert status == 2
    assert "(auto, folder)" in err
    assert "--corpus" in err


def test_manifests_are_joined(
    tmp_path: Path, photos: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, start in (("one", 0), ("two", 10)):
        folder = tmp_path / name
        folder.mkdir()
        rows = ["path,make,model,device,scene"]
        for record in photos.photos[start : start + 10]:
            shutil.copy(photos.path_of(record), folder / record.path)
            rows.append(f"{record.path},{record.make},{record.model},{record.device},{name}")
        (folder / "table.csv").write_text("\n".join(rows))
    out = tmp_path / "deep" / "all.parquet"
    tables = tmp_path / "one/table.csv", tmp_path / "two/table.csv"
    status, said, _ = phototrace(capsys, "index", *tables, "-o", out)
    assert status == 0
    assert said.startswith("20 photos of 2 camera models")
    joined = Manifest.load(out)
    assert {p.path.split("/")[1] for p in joined.photos} == {"one", "two"}
    assert {p.corpus for p in joined.photos} == {"one", "two"}
    assert all(joined.path_of(p).is_file() for p in joined.photos)
    assert joined.hash == Manifest.load(out).hash
    status, _, told = phototrace(capsys, "index", tables[0], tmp_path / "two", "-o", out)
    assert status == 2
    assert "Only manifests can be joined" in told
