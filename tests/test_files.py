import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phototrace.errors import DamagedError, UsageError
from phototrace.files import (
    check_contents,
    hash_of,
    is_complete,
    locked,
    write_bytes,
    write_contents,
    write_json,
    write_text,
    written_whole,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def half_written() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="space"):
        half_written()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_noticed_at_the_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_bytes(tmp_path / "new", b"data")
    assert os.listdir(tmp_path) == []


def test_a_folder_is_complete_only_with_its_contents(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    assert not is_complete(tmp_path)
    with pytest.raises(DamagedError, match="never finished"):
        check_contents(tmp_path)
    write_contents(tmp_path, ["a"])
    assert is_complete(tmp_path)
    check_contents(tmp_path)
    (tmp_path / "a").write_text("two")
    check_contents(tmp_path, sizes_only=True)
    with pytest.raises(DamagedError, match="has changed since"):
        check_contents(tmp_path)
    (tmp_path / "a").write_text("three")
    with pytest.raises(DamagedError, match="size"):
        check_contents(tmp_path, sizes_only=True)
    (tmp_path / "a").unlink()
    with pytest.raises(DamagedError, match="missing"):
        check_contents(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"files": []}',
        '{"files": {"a": 1}}',
        '{"files": {"../a": {"bytes": 1, "sha256": ""}}}',
        '{"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}',
    ],
)
def test_a_malformed_contents_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "contents.json").write_text(text)
    with pytest.raises(DamagedError, match="cannot be read"):
        check_contents(tmp_path)


def test_json_never_holds_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []
    write_json(tmp_path / "a.json", {"x": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of([1, 2]) != hash_of([2, 1])


def test_a_folder_is_one_process_s_alone_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "with it"
    code = (
        "import sys; from pathlib import Path; from phototrace.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="Another phototrace is at work in"), locked(folder):
            pass
        other.kill()
        other.wait()
        with locked(folder), pytest.raises(UsageError, match="with it"), locked(folder):
            pass
        with locked(folder):
            pass
