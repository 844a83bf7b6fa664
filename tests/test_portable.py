"""What macOS and Windows lack is taken away: everything must still import, read and write."""

import ntpath
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phototrace.files import relative_path
from phototrace.photos.finding import find_photos
from phototrace.photos.manifest import Manifest

BARE = """
import fcntl, os, pkgutil, sys
from importlib import import_module
from pathlib import Path

opened, flushed = os.open, os.fsync

def open_no_folder(path, *args, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return opened(path, *args, **named)

def flush_what_may_be_written(handle):
    if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    flushed(handle)

os.open, os.fsync = open_no_folder, flush_what_may_be_written
sys.modules["fcntl"] = None
names = "fdatasync", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "mkfifo", "sched_getaffinity"
gone = {name: vars(os).pop(name) for name in names}
import phototrace

modules = [m.name for m in pkgutil.walk_packages(phototrace.__path__, "phototrace.")]
for name in modules:
    import_module(name)
from phototrace import PatchStore, build_store, index, make_split
from phototrace.files import locked
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchSettings, plan_patches

folder, out = map(Path, sys.argv[1:])
manifest = index(folder, out=out / "m.csv").manifest
settings = PatchSettings(
    tuple(MANIPULATIONS), "manipulation", 64, edits=NamedEdits(MANIPULATIONS)
)
plan = plan_patches(manifest, make_split(manifest, "photo", 1), settings)
build_store(plan, out / "store").verify()
vars(os).update(gone)  # filelock goes by the system's name, and expects a Linux with these
with locked(out / "held"):
    print(len(manifest.photos), len(modules))
"""


def test_all_works_without_what_only_linux_has(photos: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "Make_A"
    folder.mkdir(parents=True)
    for record in photos.photos[:8]:  # so few are read in one process
        shutil.copy(photos.path_of(record), folder)
    command = [sys.executable, "-c", BARE, str(folder.parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read, modules = map(int, done.stdout.split())
    assert read == 8
    assert modules > 80
    assert "photos/Make_A/00.jpg," in (tmp_path / "m.csv").read_text()


def test_paths_in_manifests_have_forward_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert relative_path("/a/b/c.jpg", "/a/d") == "../b/c.jpg"
    with monkeypatch.context() as windows:
        windows.setattr(os, "path", ntpath)
        windows.setattr(os, "sep", "\\")
        beside = relative_path("C:\\a\\b\\c.jpg", "C:\\a\\d")
        elsewhere = relative_path("D:\\b\\c.jpg", "C:\\a")
    assert beside == "../b/c.jpg"
    assert elsewhere == "D:/b/c.jpg"


def test_folders_without_numbers_are_told_apart(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(photos.path_of(photos.photos[0]), tmp_path / name / "1.jpg")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    known = os.stat

    def without_number(path: str, **options: bool) -> os.stat_result:
        status = known(path, **options)
        return os.stat_result((status.st_mode, 0, *status[2:]))

    monkeypatch.setattr(os, "stat", without_number)
    assert find_photos(tmp_path).paths == ["a/1.jpg", "b/1.jpg"]
