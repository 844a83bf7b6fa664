"""Folders that are not what the corpus says: what does not fit is listed, the rest is used."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phototrace import cli
from phototrace.errors import UsageError
from phototrace.photos.corpora import CORPORA
from phototrace.photos.indexing import IndexResult, read_photos

Index = Callable[[Path, str], IndexResult]
TREE = (
    "Canon_Ixus70_0_1.JPG", "Canon_Ixus70_1/Canon_Ixus70_1_2.JPG", "Nikon_D200_0_3.JPG",
    "D02_Apple_iPhone4s/images/nat/D02_I_nat_0001.jpg",
    "D02_Apple_iPhone4s/images/natWA/D02_I_natWA_0001.jpg",
    "D01_Motorola_E3_1/orig/D01_img_orig_0001.jpg", "holiday/IMG_1.jpg",
)  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path, shoot: Callable[..., None]) -> Path:
    """Three collections and a holiday photo in one folder."""
    for seed, name in enumerate(TREE):
        shoot(tmp_path / "all" / name, seed)
    return tmp_path / "all"


@pytest.mark.parametrize(("corpus", "count"), [("dresden", 3), ("vision", 2), ("forchheim", 1)])
def test_of_several_collections_in_one_folder_one_is_read(
    mixed: Path, indexed: Index, corpus: str, count: int
) -> None:
    result = indexed(mixed, corpus)
    assert len(result.manifest.photos) == count
    assert {p.corpus for p in result.manifest.photos} == {corpus}
    assert len(result.skipped) == len(TREE) - count
    texts = {p.path: p.text for p in result.skipped}
    for other in {"dresden", "vision", "forchheim"} - {corpus}:
        hints = [text for text in texts.values() if f"--corpus {other}" in text]
        assert len(hints) == {"dresden": 3, "vision": 2, "forchheim": 1}[other]
    assert "It looks like" not in texts["holiday/IMG_1.jpg"]


@pytest.mark.parametrize("corpus", ["vision", "forchheim", "dresden"])
def test_a_tree_of_another_collection_is_refused_with_its_name(
    tmp_path: Path, indexed: Index, shoot: Callable[..., None], corpus: str
) -> None:
    own = {"dresden": TREE[0], "vision": TREE[3], "forchheim": TREE[5]}
    other = {"vision": "dresden", "forchheim": "vision", "dresden": "forchheim"}[corpus]
    shoot(tmp_path / own[other], 1)
    with pytest.raises(UsageError, match=f"belongs to the corpus {corpus}.*--corpus {other}"):
        indexed(tmp_path, corpus)


def test_a_tree_of_no_collection_is_refused(
    tmp_path: Path, indexed: Index, shoot: Callable[..., None]
) -> None:
    shoot(tmp_path / "IMG_1.jpg", 1)
    with pytest.raises(UsageError, match=r"IMG_1.jpg is not named as D01_I_nat_0001\.jpg"):
        indexed(tmp_path, "vision")


def test_a_collection_read_as_a_plain_folder_is_noticed(
    mixed: Path, indexed: Index, caplog: pytest.LogCaptureFixture
) -> None:
    note, *_ = indexed(mixed, "folder").notes
    assert note.startswith("6 of 7 files are named as in a public collection.")
    assert "--corpus dresden" in note
    read_photos(mixed)
    assert note in caplog.messages
    for name in TREE[:5]:
        (mixed / name).unlink()
    assert indexed(mixed, "folder").notes == ()


def test_loops_empty_files_and_locked_folders_are_no_obstacle(
    mixed: Path, indexed: Index, shoot: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (mixed / "loop").symlink_to(mixed)
    (mixed / "Canon_Ixus70_0_8.JPG").symlink_to(mixed / "Canon_Ixus70_0_8.JPG")
    (mixed / "Canon_Ixus70_0_9.JPG").touch()
    shoot(mixed / "locked" / "Canon_Ixus70_0_7.JPG", 50)
    plain = os.scandir

    def scandir(place: Any) -> Iterator[os.DirEntry[str]]:
        if os.fspath(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", place)
        return plain(place)

    monkeypatch.setattr(os, "scandir", scandir)
    result = indexed(mixed, "dresden")
    assert len(result.manifest.photos) == 3
    assert {p.path: p.kind for p in result.broken} == {
        "Canon_Ixus70_0_8.JPG": "unreadable",
        "Canon_Ixus70_0_9.JPG": "unreadable",
        "locked": "unreadable",
    }
    texts = {p.path: p.text for p in result.collection}
    # What is there but broken is not missing: one photo, and two that cannot be opened.
    assert "Canon_Ixus70, device 0: 3 photos" in texts["Canon_Ixus70_0"]


@pytest.mark.parametrize("corpus", sorted(CORPORA))
def test_no_name_stops_a_corpus(tmp_path: Path, corpus: str) -> None:
    names = [
        "", ".jpg", "_", "a/b/../c.jpg", "D99_I_nat_0001.jpg", "D00_img_orig_0001.jpg",
        "D01_I_nat_.jpg", "D01_img_orig_99999.jpg", "Canon_Ixus70_.JPG", "Canon_Ixus70_1_x.JPG",
        "Canon_Ixus70_\u0661_\u0662.JPG", "\udcff_1_2.JPG", "x" * 5000, "D01_I_nat_0001.jpg\n",
    ]  # fmt: skip
    reading = CORPORA[corpus](tmp_path, names)
    assert len(reading.labels) == len(names)


def test_the_command_says_what_is_missing_and_what_is_served(
    mixed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (mixed / "canon_ixus70_0_4.jpg").write_bytes((mixed / TREE[0]).read_bytes() + b" ")
    out = mixed.parent / "m.parquet"
    command = ["phototrace", "index", str(mixed), "--corpus", "dresden", "-o", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == 0
    assert "16,961 natural photos" in said.out
    assert "2 of 20 of T_B and 0 of 5 of T_C" in said.out
    assert "74 things are missing from a whole copy" in said.err
    assert "1 are misnamed" in said.err
    assert "54 more" in said.err
    monkeypatch.setattr(sys, "argv", [*command, "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    facts = json.loads(capsys.readouterr().out)
    assert len([p for p in facts["collection"] if p["kind"] == "missing"]) == 74
    assert facts["table_1"]["T_B"] == {"Canon Ixus70": "Canon Ixus70", "Nikon D200": "Nikon D200"}
    assert len(facts["table_1"]["T_A"]) == 6
