import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from phototrace.errors import UsageError
from phototrace.photos.corpora import table1
from phototrace.photos.corpora.dresden import MODELS, SIZES, dresden, planned
from phototrace.photos.corpora.labels import Labels
from phototrace.photos.indexing import IndexResult
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.splits import BY, make_split

Index = Callable[[Path, str], IndexResult]
COLUMNS = "filename,brand,model,instance,shot,position_num,position_name,motive_num,motive_name,url"
DEVICES = (
    ("Canon_Ixus70", 0), ("Canon_Ixus70", 1), ("Nikon_D70", 0), ("Nikon_D70", 1),
    ("Nikon_D70s", 0), ("Olympus_mju_1050SW", 2), ("Olympus_mju_1050SW", 4),
)  # fmt: skip
PLACES = [(position, motive) for position in (1, 2, 3) for motive in (1, 2)]


def write_index(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    lines = [f"{name},A,B,0,1,{position},x,{motive},y,u" for name, position, motive in rows]
    path.write_text("\n".join([COLUMNS, *lines, ""]))


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [
        f"{s}_{d}_{100 * n + shot}.JPG" for n, (s, d) in enumerate(DEVICES) for shot in range(6)
    ]


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory,
    shoot: Callable[..., None],
    shoot_flat: Callable[..., None],
    spoil: Callable[[Path, Path], None],
    names: list[str],
) -> Path:
    """A mirror as they are: folders of its own, changed case, and some files not what they were."""
    root = tmp_path_factory.mktemp("mirror") / "Dresden DB (1)"
    for seed, name in enumerate(names):
        stem, device, _ = name.rsplit("_", 2)
        shoot(root / "natural" / f"{stem}-{device}" / name, seed)
    canon, nikon = root / "natural" / "Canon_Ixus70-0", root / "natural" / "Nikon_D70-1"
    (canon / "Canon_Ixus70_0_1.JPG").unlink()
    (canon / "Canon_Ixus70_0_2.JPG").rename(canon / "canon_ixus70_0_2.jpg")
    (canon / "Canon_Ixus70_0_3.JPG").rename(canon / "IMG_3.JPG")
    spoil(nikon / "Nikon_D70_1_300.JPG", nikon / "Nikon_D70_1_301.JPG")
    shoot_flat(root / "flatfield" / "Canon_Ixus70_0_9001.JPG", 1)
    shoot(root / "natural" / "JPEG" / "Canon_Ixus70_0_9002.JPG", 2000)
    (root / "natural" / "empty.JPG").touch()
    return root


@pytest.fixture(scope="module")
def with_index(mirror: Path, names: list[str], indexed: Index) -> IndexResult:
    places = {name: PLACES[int(name[:-4].rsplit("_")[-1]) % 6] for name in names}
    rows = [(name, str(position), str(motive)) for name, (position, motive) in places.items()]
    write_index(mirror / "dresden.csv", rows)
    result = indexed(mirror, "dresden")
    (mirror / "dresden.csv").unlink()
    return result


def test_labels_are_those_of_name_and_index(with_index: IndexResult) -> None:
    photos = {Path(p.path).name: p for p in with_index.manifest.photos}
    assert len(photos) == 42 - 4  # missing, renamed, error page, cut off
    olympus = photos["Olympus_mju_1050SW_4_601.JPG"]
    assert (olympus.camera, olympus.device) == ("Olympus mju-1050SW", "4")
    assert olympus.scene == "position 1, motive 2"
    assert {p.camera for p in photos.values()} == {
        "Canon Ixus70", "Nikon D70", "Nikon D70s", "Olympus mju-1050SW"
    }  # fmt: skip
    assert len({p.scene for p in photos.values()}) == 6
    assert photos["canon_ixus70_0_2.jpg"].device_id == "Canon Ixus70 / 0"


def test_what_is_wrong_with_the_mirror_is_said(with_index: IndexResult) -> None:
    assert {(Path(p.path).name, p.kind) for p in with_index.broken} == {
        ("Nikon_D70_1_300.JPG", "unreadable"),
        ("Nikon_D70_1_301.JPG", "unreadable"),
        ("empty.JPG", "unreadable"),
    }
    assert [(Path(p.path).name, p.kind) for p in with_index.collection] == [
        ("Canon_Ixus70_0_1.JPG", "missing"),
        ("Canon_Ixus70_0_3.JPG", "missing"),
        ("canon_ixus70_0_2.jpg", "misnamed"),
    ]
    reasons = {Path(p.path).name: p.text for p in with_index.skipped}
    assert reasons.keys() == {
        "IMG_3.JPG", "Canon_Ixus70_0_9001.JPG", "Canon_Ixus70_0_9002.JPG", "dresden.csv"
    }  # fmt: skip
    assert "not named as Canon_Ixus70_1_3867.JPG" in reasons["IMG_3.JPG"]
    assert "not one of the natural photos" in reasons["Canon_Ixus70_0_9002.JPG"]
    assert "16,961 natural photos of 74 devices of 27 models" in with_index.notes[0]


def test_without_an_index_devices_are_counted(mirror: Path, indexed: Index) -> None:
    result = indexed(mirror, "dresden")
    photos = {Path(p.path).name: p for p in result.manifest.photos}
    assert len(photos) == 42 - 4 + 1  # the picture of the JPEG series cannot be told
    assert {p.scene for p in photos.values()} == {""}
    problems = {p.path: p for p in result.collection}
    assert "5 photos, where a whole copy has 187" in problems["Canon_Ixus70_0"].text
    assert "0 photos, where a whole copy has 464" in problems["Kodak_M1063_0"].text
    assert len(problems) == 74 + 1
    assert any("scenes are unknown" in note for note in result.notes)
    assert "flat-field" in next(p.text for p in result.skipped if "9001" in p.path)


def test_surplus_and_unknown_devices_are_said() -> None:
    paths = [f"a/Canon_PowerShotA640_0_{n}.JPG" for n in range(190)]
    paths += ["a/Canon_Ixus70_7_1.JPG", "b/Canon_Ixus70_7_1.jpg"]
    reading = dresden(Path("nowhere"), paths)
    found = {p.path: (p.kind, p.text) for p in reading.problems if p.kind != "missing"}
    assert found["Canon_PowerShotA640_0"][0] == "surplus"
    assert "1 photos, where a whole copy has 0" in found["Canon_Ixus70_7"][1]
    assert found["b/Canon_Ixus70_7_1.jpg"][0] == "repeated"


@pytest.mark.parametrize("by", BY)
def test_every_split_works(
    with_index: IndexResult, parts_of: Callable[[Manifest, str], dict[str, set[str]]], by: str
) -> None:
    parts = parts_of(with_index.manifest, by)
    assert all(len(part) == 1 for part in parts.values())


def test_the_index_may_lie_beside_and_may_be_wrong(tmp_path: Path) -> None:
    rows = [("Canon_Ixus70_0_1.JPG", "1", "2"), ("Canon_Ixus70_0_1.JPG", "1", "2")]
    rows += [("canon_ixus70_0_2.jpg", "", "2"), ("holiday.JPG", "1", "1"), ("../../x", "1", "1")]
    write_index(tmp_path / "natural.csv", rows)
    (tmp_path / "other.csv").write_text("filename,brand\n")
    (tmp_path / "photos").mkdir()
    reading = dresden(tmp_path / "photos", ["Canon_Ixus70_0_1.JPG", "Canon_Ixus70_0_2.JPG"])
    assert [label.scene for label in reading.labels if isinstance(label, Labels)] == [
        "position 1, motive 2", ""
    ]  # fmt: skip
    assert [p.kind for p in reading.problems] == ["index"] * 4
    assert "Row 3 of" in reading.problems[0].text
    inside = tmp_path / "photos" / "list.csv"
    write_index(inside, [("Canon_Ixus70_0_1.JPG", "7", "1")])
    labels = dresden(tmp_path / "photos", ["Canon_Ixus70_0_1.JPG"]).labels
    assert isinstance(labels[0], Labels)
    assert labels[0].scene == "position 7, motive 1"


def test_an_index_that_cannot_be_read_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index(tmp_path / "i.csv", [("Canon_Ixus70_0_1.JPG", "7", "1" * 200_000)])
    with pytest.raises(UsageError, match=r"i\.csv cannot be read"):
        dresden(tmp_path, ["Canon_Ixus70_0_1.JPG"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["i.csv", "i.tsv"])
def test_the_index_is_read_as_programs_save_it(
    tmp_path: Path, delimiter: str, encoding: str, name: str
) -> None:
    write_index(tmp_path / "plain", [("Canon_Ixus70_0_1.JPG", "7", "1"), ("x", "1", "1")])
    text = (tmp_path / "plain").read_text().replace(",", delimiter).replace("\n", "\r\n")
    (tmp_path / name).write_bytes(text.encode(encoding))
    reading = dresden(tmp_path, ["Canon_Ixus70_0_1.JPG"])
    (label,) = reading.labels
    assert isinstance(label, Labels)
    assert label.scene == "position 7, motive 1"
    assert [p.kind for p in reading.problems] == ["index"]  # the row that names no photo
    plan = planned(tmp_path / name)
    assert plan is not None
    assert [p.scene for p in plan.photos] == ["position 7, motive 1"]


def test_what_looks_like_an_index_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_index(tmp_path / "plain", DEVICE_ROWS)
    text = (tmp_path / "plain").read_text().replace(",", "|")
    (tmp_path / "i.csv").write_text(text)
    with pytest.raises(UsageError, match=r"i\.csv cannot be read.*commas, semicolons or tabs.*CSV"):
        dresden(tmp_path, ["Canon_Ixus70_0_1.JPG"])


def test_the_table_is_the_real_index(dresden_index: Path) -> None:
    with dresden_index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paths = [row["filename"] for row in rows]
    reading = dresden(dresden_index.parent, paths)
    assert reading.problems == []
    labels = [label for label in reading.labels if isinstance(label, Labels)]
    assert len(labels) == 16_961
    for row, label in zip(rows, labels, strict=True):
        assert (label.make, label.model, label.device) == (
            row["brand"], row["model"], row["instance"]
        )  # fmt: skip
    assert len({label.scene for label in labels}) == 83
    counts = Counter((f"{x['brand']}_{x['model']}", x["instance"]) for x in rows)
    table = {
        (stem, str(device)): count
        for stem, devices in MODELS.items()
        for device, count in enumerate(devices)
    }
    assert table == counts
    # Without the index, the same names agree with the table.
    assert dresden(Path("nowhere"), paths).problems == []


def test_a_whole_copy_serves_fifteen_and_two_and_splits(dresden_index: Path) -> None:
    with dresden_index.open(newline="", encoding="utf-8") as file:
        paths = [row["filename"] for row in csv.DictReader(file)]
    photos = tuple(
        PhotoRecord(
            f"{n:016x}", path, f"{n:016x}".ljust(64, "0"),
            label.make, label.model, label.device, label.scene,
        )
        for n, (path, label) in enumerate(
            zip(paths, dresden(dresden_index.parent, paths).labels, strict=True)
        )
        if isinstance(label, Labels)
    )  # fmt: skip
    classes = table1.served({p.camera for p in photos})
    assert (len(classes["T_A"]), len(classes["T_B"]), len(classes["T_C"])) == (6, 15, 2)
    manifest = Manifest(photos, Path())
    split = make_split(manifest, "device and scene", 1)
    wanted = {*classes["T_B"].values(), *classes["T_C"].values()}
    for part in ("train", "validation", "test"):
        assert wanted <= {p.camera for p in split.photos(manifest, part).photos}


def test_a_plan_has_the_labels_that_indexing_gives(
    with_index: IndexResult, names: list[str], tmp_path: Path
) -> None:
    places = {name: PLACES[int(name[:-4].rsplit("_")[-1]) % 6] for name in names}
    write_index(tmp_path / "i.csv", [(name, str(p), str(m)) for name, (p, m) in places.items()])
    plan = planned(tmp_path)
    assert plan is not None
    assert len(plan.photos) == len(names)
    by_original = {p.extra["original"]: p for p in plan.photos}
    for real in with_index.manifest.photos:
        made = by_original[real.extra["original"]]
        for column in ("camera", "make", "model", "device", "scene", "burst", "corpus"):
            assert getattr(made, column) == getattr(real, column)


def test_a_plans_hashes_follow_from_the_names_alone(tmp_path: Path) -> None:
    rows = [("Olympus_mju_1050SW_2_24750.JPG", "1", "2"), ("Nikon_D70s_0_9.JPG", "1", "1")]
    write_index(tmp_path / "a.csv", rows)
    write_index(tmp_path / "b.csv", [("nikon_d70s_0_9.jpg", "7", "7"), rows[0], *DEVICE_ROWS])
    first, second = planned(tmp_path / "a.csv"), planned(tmp_path / "b.csv")
    assert first is not None
    assert second is not None
    olympus, nikon = first.photos
    assert (olympus.path, olympus.width, olympus.height) == (
        "Olympus_mju-1050SW_2_24750.JPG", 3648, 2736
    )  # fmt: skip
    assert len(olympus.sha256) == 64
    assert int(olympus.sha256, 16) != int(nikon.sha256, 16)
    assert olympus.id == olympus.sha256[:16]
    again = {p.path: p.sha256 for p in second.photos}
    assert len(set(again.values())) == len(again) == 2 + len(DEVICE_ROWS)
    assert [again[p.path] for p in first.photos] == [olympus.sha256, nikon.sha256]
    written = first.save(tmp_path / "plan" / "m.csv")
    assert Manifest.load(tmp_path / "plan" / "m.csv") == written


DEVICE_ROWS = [(f"{stem}_{device}_1.JPG", "1", "1") for stem, device in DEVICES]


def test_what_is_no_index_alone_is_not_planned(tmp_path: Path, shoot: Callable[..., None]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    assert planned(folder) is None
    assert planned(tmp_path / "nowhere") is None
    (tmp_path / "manifest.csv").write_text("path,sha256\n")
    assert planned(tmp_path / "manifest.csv") is None
    write_index(tmp_path / "i.csv", DEVICE_ROWS)
    assert planned(folder) is None  # the folder itself does not hold it
    write_index(folder / "i.csv", DEVICE_ROWS)
    assert planned(folder) is not None
    shoot(folder / "own" / "holiday.jpg", 1)
    assert planned(folder) is None
    assert planned(folder / "i.csv") is not None


def test_a_poor_index_is_planned_with_a_word_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_index(tmp_path / "i.csv", [*DEVICE_ROWS, ("holiday.JPG", "1", "1"), DEVICE_ROWS[0]])
    plan = planned(tmp_path / "i.csv")
    assert plan is not None
    assert len(plan.photos) == len(DEVICE_ROWS)
    assert "Row 9 of" in caplog.text
    assert "Such rows: 2." in caplog.text
    write_index(tmp_path / "i.csv", [])
    with pytest.raises(UsageError, match=r"i\.csv lists no photo"):
        planned(tmp_path / "i.csv")


def test_the_real_index_is_planned_whole(dresden_index: Path) -> None:
    assert SIZES.keys() == MODELS.keys()
    plan = planned(dresden_index)
    assert plan is not None
    assert len(plan.photos) == len({p.id for p in plan.photos}) == 16_961
    assert len({p.scene for p in plan.photos}) == 83
    assert len({p.device_id for p in plan.photos}) == 74
    assert all(min(p.width, p.height) >= 3 * 256 for p in plan.photos)
    assert planned(dresden_index.parent) == plan
