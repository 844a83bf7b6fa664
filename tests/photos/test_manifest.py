import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from phototrace.errors import DamagedError, UsageError
from phototrace.photos.manifest import Manifest, PhotoRecord, verify

SHA = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


def record(path: str, sha256: str = SHA, **values: object) -> PhotoRecord:
    extra = {"part": "main", "note": ""}
    given = PhotoRecord(sha256[:16], path, sha256, corpus="c", extra=extra)
    return replace(given, **values)  # type: ignore[arg-type]


ODD_NAMES = [
    "a,b.jpg", 'a"b".jpg', "a\nb.jpg", "a\r\nb.jpg", "a\rb.jpg", "Käthe ß.jpg", " a .jpg",
    "=1+1.jpg", "日本.jpg", "a;b\t.jpg", "'.jpg", "../above.jpg", "/absolute.jpg",
]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_round_trip_is_exact(tmp_path: Path, ending: str) -> None:
    photos = tuple(
        record(
            name, f"{number:064x}", make="Mäker", model='M "1", x', device="d\n1", scene="s",
            burst="b", width=4000, height=3000, qtables="0011223344",
            extra={"part": "main", "note": "two\nlines, \"quoted\"", "empty": ""},
        )
        for number, name in enumerate(ODD_NAMES)
    )  # fmt: skip
    manifest = Manifest(photos, tmp_path)
    manifest.save(tmp_path / f"m.{ending}")
    read = Manifest.load(tmp_path / f"m.{ending}")
    assert read == manifest
    assert read.hash == manifest.hash


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_empty_manifest_round_trips(tmp_path: Path, ending: str) -> None:
    Manifest((), tmp_path).save(tmp_path / f"m.{ending}")
    assert Manifest.load(tmp_path / f"m.{ending}").photos == ()


def test_paths_start_from_the_manifests_folder(tmp_path: Path) -> None:
    photos, lists = tmp_path / "photos", tmp_path / "lists"
    manifest = Manifest((record("a/1.jpg"), record("/x/2.jpg", OTHER)), photos)
    written = manifest.save(lists / "deep" / "m.csv")
    assert [p.path for p in written.photos] == ["../../photos/a/1.jpg", "/x/2.jpg"]
    read = Manifest.load(lists / "deep" / "m.csv")
    assert read.path_of(read.photos[0]).resolve() == (photos / "a/1.jpg").resolve()
    assert read == written
    assert read.hash == manifest.hash


def test_unknown_columns_are_kept_and_missing_ones_have_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "Mine"
    folder.mkdir()
    (folder / "m.csv").write_text(f"\ufeffcolour,path,sha256\nred,a.jpg,{SHA.upper()}\n\n")
    (photo,) = Manifest.load(folder / "m.csv").photos
    assert photo == PhotoRecord(SHA[:16], "a.jpg", SHA, corpus="Mine", extra={"colour": "red"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,make\na.jpg,x\n", r"m\.csv has no sha256.*phototrace index .*m\.csv -o photos"),
        ("path,sha256\na.jpg,\n", r"Row 2 of .*m\.csv has no sha256.*phototrace index"),
        ("sha256\n" + SHA, "no column 'path'"),
        ("", "no column 'path'"),
        ("name|sha256\na.jpg|x\n", "no column 'path'.*separated by commas, semicolons or tabs"),
        (f"path,sha256\na.jpg,{SHA}\nb.jpg,12\n", "Row 3 of .*: sha256"),
        (f"path,sha256,width\na.jpg,{SHA},-3\n", "Row 2 of .*: width"),
        (f"path,sha256,width\na.jpg,{SHA},3.5\n", "Row 2 of .*: width"),
        (f"path,sha256\n,{SHA}\n", "Row 2 of .*: the path"),
        (f"path,sha256\na\0.jpg,{SHA}\n", "Row 2 of .*: the path|CSV"),
        (f"path,sha256,x\na.jpg,{SHA}\n", "Row 2 of .* has 2 fields"),
        (f"path,sha256,x,x\na.jpg,{SHA},1,2\n", "column 'x' twice"),
        (f'path,sha256\n"a.jpg,{SHA}\n', "not a CSV table"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        Manifest.load(tmp_path / "m.csv")


def test_what_cannot_be_opened_or_decoded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv cannot be opened"):
        Manifest.load(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        Manifest.load(tmp_path / "m.xlsx")
    (tmp_path / "m.csv").write_bytes(b"path,sha256\n\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        Manifest.load(tmp_path / "m.csv")
    (tmp_path / "m.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DamagedError, match="cannot be read as Parquet"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_newer_parquet_is_refused_and_a_foreign_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    table = pyarrow.table({"path": ["a.jpg"], "sha256": [SHA], "width": [7], "iso": [None]})
    pyarrow.parquet.write_table(table, path)
    (photo,) = Manifest.load(path).photos
    assert (photo.width, photo.extra) == (7, {"iso": ""})
    newer = table.replace_schema_metadata({b"phototrace.manifest": b"2"})
    pyarrow.parquet.write_table(newer, path)
    with pytest.raises(DamagedError, match=r"newer phototrace .*2.*Update phototrace"):
        Manifest.load(path)


def test_written_parquet_carries_its_version(tmp_path: Path) -> None:
    Manifest((record("a.jpg"),), tmp_path).save(tmp_path / "m.parquet")
    metadata = pyarrow.parquet.read_schema(tmp_path / "m.parquet").metadata
    assert metadata[b"phototrace.manifest"] == b"1"


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        with pytest.raises(UsageError, match=r"a\\xff\.jpg is not valid UTF-8.*Rename"):
            Manifest((record("a\udcff.jpg"),), tmp_path).save(tmp_path / f"m.{ending}")
        assert not (tmp_path / f"m.{ending}").exists()


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 6D", "Canon EOS 6D"),
        ("Apple", "iPhone 6", "Apple iPhone 6"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("LG Electronics", "LG-H815", "LG Electronics LG-H815"),
        ("Canon", "", ""), ("", "D90", "D90"), ("", "", ""), (" ", "D90", "D90"),
        ("Canon", "  ", ""),
    ],
)  # fmt: skip
def test_camera_names_the_make_once(make: str, model: str, camera: str) -> None:
    assert record("a", make=make, model=model).camera == camera


def test_device_id() -> None:
    assert record("a", make="Apple", model="iPad", device="2").device_id == "Apple iPad / 2"
    assert record("a").device_id == "unknown camera / unknown device"


def test_hash_ignores_paths_and_order_and_sees_every_label(tmp_path: Path) -> None:
    a, b = record("a.jpg"), record("b.jpg", OTHER)
    manifest = Manifest((a, b), tmp_path)
    assert Manifest((replace(b, path="z"), a), tmp_path / "x").hash == manifest.hash
    for name in ("make", "model", "device", "scene", "burst"):
        assert Manifest((record("a.jpg", **{name: "x"}), b), tmp_path).hash != manifest.hash


def test_where(tmp_path: Path) -> None:
    a = record("a.jpg", make="Apple", model="iPad", extra={"part": "main"})
    b = record("b.jpg", OTHER, make="Canon", model="6D", width=9, extra={})
    manifest = Manifest((a, b), tmp_path)
    assert manifest.where(part=["main", "x"]).photos == (a,)
    assert manifest.where(part="").photos == (b,)
    assert manifest.where(make=["Apple", "Canon"], width=["9"]).photos == (b,)
    assert manifest.where(camera="Apple iPad").photos == (a,)
    assert manifest.where(id=OTHER[:16]).photos == (b,)
    with pytest.raises(UsageError, match=r"no column 'colour'.*part"):
        manifest.where(colour="red")


def test_without(tmp_path: Path) -> None:
    a = record("a.jpg", make="Apple", model="iPad", extra={"part": "main"})
    b = record("b.jpg", OTHER, make="Canon", model="6D", width=9, extra={})
    manifest = Manifest((a, b), tmp_path)
    assert manifest.without().photos == (a, b)
    assert manifest.without(part=["main", "x"]).photos == (b,)
    assert manifest.without(part="").photos == (a,)
    assert manifest.without(camera=["Apple iPad", "Canon 6D"]).photos == ()
    assert manifest.without(make="Sony", width=["9"]).photos == (a,)
    assert manifest.without(make="Apple", width="9").photos == ()  # either is enough
    with pytest.raises(UsageError, match=r"no column 'colour'.*part"):
        manifest.without(colour="red")


def test_renamed_models_keep_their_devices_apart(tmp_path: Path) -> None:
    def photo(number: int, model: str, device: str, make: str = "Nikon") -> PhotoRecord:
        name = f"{number:064x}"
        return record(f"{number}.jpg", name, make=make, model=model, device=device, scene="s")

    photos = (
        photo(0, "D70", "0"),
        photo(1, "D70s", "0"),
        photo(2, "D70s", ""),
        photo(3, "D200", "0"),
    )
    manifest = Manifest(photos, tmp_path)
    renamed = manifest.renamed({"Nikon D70s": "Nikon D70", "Canon 6D": "Canon 5D"})
    assert [p.camera for p in renamed.photos] == ["Nikon D70"] * 3 + ["Nikon D200"]
    assert [p.device_id for p in renamed.photos] == [
        "Nikon D70 / 0", "Nikon D70 / Nikon D70s 0", "Nikon D70 / unknown device",
        "Nikon D200 / 0",
    ]  # fmt: skip
    assert renamed.where(make="Nikon") == renamed
    assert renamed.photos[0] is photos[0]
    assert [replace(p, make="", model="", device="") for p in renamed.photos] == [
        replace(p, make="", model="", device="") for p in photos
    ]
    assert manifest.renamed({}) == manifest


@pytest.mark.parametrize(
    ("make", "model", "new"),
    [("Apple", "iPad", "Tablet"), ("", "D70s", "Nikon D70"), ("Canon", "6D", "Nikon D70"),
     ("NIKON CORPORATION", "NIKON D70s", "Nikon D70"), ("LG", "G3", "LG")],
)  # fmt: skip
def test_a_renamed_model_has_the_new_name_whatever_its_make(
    tmp_path: Path, make: str, model: str, new: str
) -> None:
    old = record("a.jpg", make=make, model=model)
    (photo,) = Manifest((old,), tmp_path).renamed({old.camera: new}).photos
    assert photo.camera == new


def test_names_can_be_exchanged(tmp_path: Path) -> None:
    photos = (record("a.jpg", make="M", model="A"), record("b.jpg", OTHER, make="M", model="B"))
    swapped = Manifest(photos, tmp_path).renamed({"M A": "M B", "M B": "M A"})
    assert [p.camera for p in swapped.photos] == ["M B", "M A"]


def test_verify_lists_what_is_wrong_and_nothing_else(
    tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    from phototrace.files import sha256_of

    for number in range(6):
        picture(number).save(tmp_path / f"{number}.jpg")
    (tmp_path / "6.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    broken = tmp_path / "5.jpg"
    broken.write_bytes(broken.read_bytes()[:-900])
    photos = tuple(
        record(f"{number}.jpg", sha256_of(tmp_path / f"{number}.jpg")) for number in range(7)
    )
    (tmp_path / "1.jpg").unlink()
    (tmp_path / "2.jpg").write_bytes((tmp_path / "3.jpg").read_bytes())
    found = verify(Manifest(photos, tmp_path))
    assert [(p.path, p.kind) for p in found] == [
        ("1.jpg", "missing"), ("2.jpg", "changed"), ("5.jpg", "unreadable"),
        ("6.jpg", "duplicate"),
    ]  # fmt: skip
    assert all(p.path in p.text for p in found)


def test_a_path_with_a_hole_is_missing(tmp_path: Path) -> None:
    assert [p.kind for p in verify(Manifest((record("a.jpg"),), tmp_path))] == ["missing"]


def test_the_real_manifest_is_read_and_kept(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(corpus / "manifest.csv")
    for ending in ("csv", "parquet"):
        written = manifest.save(tmp_path / f"m.{ending}")
        assert Manifest.load(tmp_path / f"m.{ending}") == written
    with (tmp_path / "m.csv").open(newline="") as new, (corpus / "manifest.csv").open() as old:
        for mine, given in zip(csv.DictReader(new), csv.DictReader(old), strict=True):
            assert all(mine[name] == given[name] for name in given if name != "path")


@pytest.mark.parametrize(
    ("column", "text", "advice"),
    [
        ("camera", "my old one", "columns make and model"),
        ("device_id", "phone 3", "column device"),
        ("id", "17", "Rename your column"),
    ],
)
def test_a_column_of_ones_own_under_a_derived_name_is_refused(
    tmp_path: Path, column: str, text: str, advice: str
) -> None:
    path = tmp_path / "m.csv"
    rows = f"a.jpg,{'0' * 64},Nikon,D70,1,\nb.jpg,{'1' * 64},Nikon,D70,1,{text}\n"
    path.write_text(f"path,sha256,make,model,device,{column}\n{rows}")
    with pytest.raises(UsageError, match=rf"Row 3 of .*{column!r} says {text}.*{advice}"):
        Manifest.load(path)


def test_a_derived_column_that_says_what_is_derived_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "path,sha256,make,model,device,camera,device_id,id\n"
        f"a.jpg,{'0' * 64},Nikon,D70,1,Nikon D70,Nikon D70 / 1,{'0' * 16}\n"
        f"b.jpg,{'1' * 64},Nikon,D70,,,,\n"
    )
    manifest = Manifest.load(path)
    assert [row.extra for row in manifest.photos] == [{}, {}]
    assert [row.camera for row in manifest.where(camera="Nikon D70").photos] == ["Nikon D70"] * 2


def test_rows_of_empty_cells_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,make\na.jpg,Acme\n,\n\n , \nb.jpg,\n,\n")
    manifest = Manifest.load(tmp_path / "m.csv", hashed=False)
    assert [p.path for p in manifest.photos] == ["a.jpg", "b.jpg"]


HEADER = ["path", "sha256", "make", "width", "note"]
ROW = ["a, b.jpg", SHA, "Mäker; x", "100", "tab\tin it"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_tables_are_read_as_programs_write_them(
    tmp_path: Path, delimiter: str, encoding: str, ending: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerows([HEADER, ROW])
    (tmp_path / "m.csv").write_bytes(text.getvalue().encode(encoding))
    (photo,) = Manifest.load(tmp_path / "m.csv").photos
    assert (photo.path, photo.make, photo.width) == ("a, b.jpg", "Mäker; x", 100)
    assert photo.extra == {"note": "tab\tin it"}


def test_numbers_and_nothing_are_read_as_programs_write_them(tmp_path: Path) -> None:
    columns = "path,sha256,make,model,device,scene,burst,width,height,taken,phash,damage,note"
    given = f"nan,{SHA},None,nan,NaN,null,<NA>,100.0,68.,nan,NULL,nan,nan"
    (tmp_path / "m.csv").write_text(f"{columns}\n{given}\n")
    (photo,) = Manifest.load(tmp_path / "m.csv").photos
    own = (photo.make, photo.model, photo.device, photo.scene, photo.burst)
    assert own == ("",) * 5
    assert (photo.path, photo.width, photo.height) == ("nan", 100, 68)
    assert photo.extra == {"taken": "", "phash": "", "damage": "", "note": "nan"}
    table = {"path": ["a.jpg"], "sha256": [SHA], "width": [100.0], "height": [float("nan")]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "m.parquet")
    (photo,) = Manifest.load(tmp_path / "m.parquet").photos
    assert (photo.width, photo.height) == (100, 0)


def test_paths_of_windows_are_found_on_any_system(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    names = ["photos\\a.jpg", "photos\\is there.jpg", "photos/b.jpg"]
    if os.sep == "/":
        (tmp_path / names[1]).touch()
    rows = [f"{name},{number:064x}" for number, name in enumerate(names)]
    (tmp_path / "m.csv").write_text("\n".join(["path,sha256", *rows]))
    manifest = Manifest.load(tmp_path / "m.csv")
    assert manifest.path_of(manifest.photos[0]) == tmp_path / "photos" / "a.jpg"
    assert manifest.path_of(manifest.photos[1]) == tmp_path / names[1]
    assert manifest.photos[2].path == names[2]


def test_columns_are_known_in_any_case_and_excel_may_name_its_delimiter(tmp_path: Path) -> None:
    text = f"sep=;\r\nPath ;SHA256; Make;MODEL;Note\r\na.jpg;{SHA};Canon;EOS 6D;x\r\n"
    (tmp_path / "m.csv").write_text(text, newline="")
    (photo,) = Manifest.load(tmp_path / "m.csv").photos
    assert (photo.path, photo.camera, photo.extra) == ("a.jpg", "Canon EOS 6D", {"Note": "x"})
    table = pyarrow.table({"Path": ["a.jpg"], "sha256": [SHA], "Model": ["X"]})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").photos[0].model == "X"
    (tmp_path / "two.csv").write_text(f"path,Path,sha256\na.jpg,b.jpg,{SHA}\n")
    with pytest.raises(UsageError, match="'path' twice"):
        Manifest.load(tmp_path / "two.csv")
