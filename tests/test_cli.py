"""The commands from end to end, as a user gives them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from phototrace import demo
from phototrace.photos.manifest import Manifest

from .commands import phototrace

RECIPE = """
name = "small"
[split]
validation = 0.15
test = 0.25
[network]
patch_size = 64
[legs.{task}]
task = "{task}"
batch_size = 16
blocks = "random"
blocks_per_photo = 2
[training]
epochs = 1
optimizer = "adamw"
"""


@pytest.fixture(scope="module")
def folder(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as a user keeps them: model/device/file, with one broken and one text file."""
    root = tmp_path_factory.mktemp("user") / "photos"
    for record in photos.photos:
        place = root / record.camera.replace(" ", "_") / record.device / record.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos.path_of(record), place)
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (root / "notes.txt").write_text("not a photo")
    return root


def test_help_answers_without_heavy_imports() -> None:
    heavy = ("torch", "numpy", "pyarrow", "PIL", "cv2", "matplotlib", "pydantic", "joblib")
    code = (
        "import sys; sys.argv = ['phototrace', '--help']\n"
        "from phototrace.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: phototrace" in out.stdout
    assert out.stdout.splitlines()[-1] == "[]"


def test_more_devices_than_there_are_are_refused_first(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = phototrace(capsys, "train", "manipulation", "--devices", 9999)
    assert status == 2
    assert err.startswith("phototrace: 9999 processes cannot train here: there are ")


@pytest.mark.parametrize("command", ["index", "audit", "train", "evaluate", "demo"])
def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    status, out, _ = phototrace(capsys, command, "--help")
    assert status == 0
    assert f"phototrace {command}" in out.split("Example", 1)[1]


def test_the_whole_way_from_a_folder_to_a_page(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    manifest, runs = tmp_path / "photos.parquet", tmp_path / "runs"
    status, out, err = phototrace(capsys, "index", folder, "--corpus", "folder", "-o", manifest)
    assert status == 1
    assert "20 photos of 2 camera models and 4 devices" in out
    assert "1 could not be read" in err
    assert "broken.jpg" in err
    assert "notes.txt" in err

    for task in ("manipulation", "camera"):
        recipe = tmp_path / f"{task}.toml"
        recipe.write_text(RECIPE.format(task=task).replace('"small"', f'"{task}"'))
        status, out, err = phototrace(
            capsys, "train", recipe, "--photos", manifest, "--out", runs, "--json"
        )
        assert status == 0, err
        facts = json.loads(out)
        assert facts["epoch"] == facts["legs"][task]["epoch"] == 1

    status, out, err = phototrace(capsys, "evaluate", runs / "manipulation", manifest)
    assert status == 0, err
    assert "of patches were classified correctly (95 % interval" in out
    assert "used in training" in out
    page = runs / "manipulation" / "evaluation" / "index.html"
    assert "median filter" in page.read_text()
    assert not list(tmp_path.rglob("*.tmp"))

    status, out, err = phototrace(
        capsys, "evaluate", runs / "camera", folder, "--corpus", "folder", "--json"
    )
    assert status == 1
    facts = json.loads(out)
    assert facts["evaluations"][0]["task"] == "camera"
    assert [entry["path"] for entry in facts["broken"]] == ["broken.jpg"]

    status, out, _ = phototrace(capsys, "audit", tmp_path / "camera.toml", "--photos", manifest)
    assert "20 photos: 0 broken or duplicate, 0 leaks" in out
    assert status == 0


def test_a_damaged_photo_is_named_and_can_be_kept(
    photos: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.csv"
    for number in range(2):
        data = photos.path_of(photos.photos[number]).read_bytes()
        half = data[: len(data) // 2] + data[-2:] if number else data
        (tmp_path / f"{number}.jpg").write_bytes(half)
    status, _, errors = phototrace(capsys, "index", tmp_path, "-o", out)
    assert status == 1
    assert "1.jpg is a damaged JPEG" in errors
    status, printed, _ = phototrace(capsys, "index", tmp_path, "-o", out, "--keep-damaged")
    assert (status, printed.startswith("2 photos")) == (0, True)
    assert phototrace(capsys, "audit", out)[0] == 0  # the index says that it was kept
    table = tmp_path / "by-hand.csv"
    rows = [f"{p.path},{p.sha256}" for p in Manifest.load(out).photos]
    table.write_text("\n".join(["path,sha256", *rows]))
    status, _, errors = phototrace(capsys, "audit", table)
    assert (status, "damaged JPEG" in errors) == (1, True)
    assert phototrace(capsys, "audit", table, "--keep-damaged")[0] == 0


def test_a_transfer_and_a_hybrid_from_the_command_line(
    capsys: pytest.CaptureFixture[str], photos: Manifest, tmp_path: Path
) -> None:
    manifest = photos.root / "hybrid.csv"
    photos.save(manifest)
    text = RECIPE.format(task="manipulation")
    legs = text.split("[legs")[1].split("[training]")[0].replace("manipulation", "camera")
    depth = text.replace("patch_size", 'share_depth = "fc2"\npatch_size')
    (tmp_path / "source.toml").write_text(text.replace("small", "source"))
    (tmp_path / "hybrid.toml").write_text(depth.replace("small", "hybrid") + "[legs" + legs)
    (tmp_path / "transfer.toml").write_text(depth.replace("small", "transfer"))
    named = depth.replace("share_depth", 'trunk_from = "runs/source"\nshare_depth')
    (tmp_path / "named.toml").write_text(named.replace("small", "named"))

    def train(name: str, *more: object) -> tuple[int, str, str]:
        place = ("--photos", manifest, "--out", tmp_path / "runs")
        return phototrace(capsys, "train", tmp_path / f"{name}.toml", *place, *more)

    status, out, err = train("hybrid")
    assert status == 0, err
    assert re.search(
        r"hybrid: after 1 epochs, on the validation part: manipulation accuracy [\d.]+%, camera",
        out,
    )
    status, out, _ = phototrace(capsys, "evaluate", tmp_path / "runs/hybrid", manifest, "--json")
    assert status == 0
    assert [e["run"] for e in json.loads(out)["evaluations"]] == [
        "hybrid (manipulation)", "hybrid (camera)",
    ]  # fmt: skip
    assert train("named")[0] == 2
    status, _, err = train("transfer")
    assert status == 2
    assert "--trunk" in err
    assert train("source")[0] == 0
    for name, more in (("transfer", ["--trunk", tmp_path / "runs/source"]), ("named", [])):
        status, _, err = train(name, *more)
        assert status == 0, err
        assert "only the head is trained" in err
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "named.toml").read_text().replace("name =", "seed = 5\nname =", 1))
    status, out, _ = phototrace(capsys, "audit", other, "--photos", manifest, "--json")
    assert status == 1
    assert {leak["text"].split(", ")[-1] for leak in json.loads(out)["leaks"]} == {
        "but the trunk was trained on the same file."
    }


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["index", "nowhere", "-o", "m.csv"], 2, "nowhere"),
        (["index", ".", "-o", "m.csv"], 2, "no photos"),
        (["index", ".", "-o", "m.txt"], 2, ".parquet"),
        (["index", ".", "-o", "m.csv", "--corpus", "dresdn"], 2, "dresdn"),
        (["audit", "none.csv"], 2, "none.csv"),
        (["audit", "none.PARQUET"], 2, "none.PARQUET cannot be opened"),
        (["audit", "."], 2, "no photos"),
        (["audit", "nonsense"], 2, "nonsense"),
        (["audit", "manipulation", "--by", "device"], 2, "--by"),
        (["audit", "m.csv", "--trunk", "run"], 2, "--trunk"),
        (["train", "nonsense"], 2, "manipulation-128"),
        (["train", "manipulation-128"], 2, "--photos"),
        (["train", "manipulation-128", "--photos", "none.csv"], 2, "none.csv"),
        (["evaluate", "run"], 2, "then the photos"),
        (["evaluate", "run", "m.csv"], 2, "no run"),
        (["frobnicate"], 2, "frobnicate"),
        (["index"], 2, "folder"),
    ],
)
def test_a_mistake_gives_a_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], status: int, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    got, out, err = phototrace(capsys, *arguments)
    assert got == status
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert os.listdir(tmp_path) == []


def test_an_audit_that_has_nothing_to_look_at_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,sha256\n")
    assert phototrace(capsys, "audit", manifest)[0] == 2
    manifest.write_text(f"path,sha256\na.jpg,{'0' * 64}\n")
    status, _, err = phototrace(capsys, "audit", manifest, "--by", "device")
    assert status == 2
    assert "'part'" in err


def test_what_is_listed_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(folder, copy)
    (copy / "bad\x1b[31mred.jpg").write_bytes(b"")
    status, _, err = phototrace(capsys, "index", copy, "-o", tmp_path / "m.csv")
    assert status == 1
    assert "\\x1b[31mred.jpg is empty" in err
    assert "\x1b" not in err


def test_letters_that_a_pipe_cannot_show_are_escaped(photos: Manifest, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(photos.path_of(photos.photos[0]), tmp_path / "in")
    command = [sys.executable, "-m", "phototrace", "index", "in", "-o", "\u0416.csv"]
    out = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert "devices in \\u0416.csv." in out.stdout


def test_the_demo_prints_and_its_function_does_not(
    capsys: pytest.CaptureFixture[str], photos: Manifest, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    findings = [SimpleNamespace(name="Shared features", verdict="holds")]
    monkeypatch.setattr(demo, "study_photos", lambda *given: photos)
    monkeypatch.setattr(demo, "reproduce", lambda *given: SimpleNamespace(findings=findings))
    status, out, err = phototrace(capsys, "demo", "--out", tmp_path)
    assert (status, err) == (0, "")
    assert "20 photos: 2 camera models" in out
    assert "Shared features:                 holds" in out
    assert tmp_path.as_uri() in out
    demo.run_demo(tmp_path)
    assert capsys.readouterr() == ("", "")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "phototrace", "--debug", "audit", "none.csv"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "Traceback" in out.stderr


def test_a_full_disk_is_a_sentence(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = phototrace(capsys, "index", folder, "-o", tmp_path / "m.csv")
    assert status == 1
    assert f"The disk is full ({tmp_path / 'm.csv'})" in err
    assert not (tmp_path / "m.csv").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_plan_of_a_training_trains_nothing(
    capsys: pytest.CaptureFixture[str], photos: Manifest, tmp_path: Path
) -> None:
    photos.save(photos.root / "planned.csv")
    (tmp_path / "r.toml").write_text(RECIPE.format(task="camera"))
    asked = "train", tmp_path / "r.toml", "--photos", photos.root / "planned.csv", "--plan"
    status, out, err = phototrace(capsys, *asked, "--out", tmp_path / "runs")
    assert status == 0, err
    assert re.match(r"Training patches: camera \d+\. 1 epochs of \d+ steps\. ", out)
    status, out, _ = phototrace(capsys, *asked, "--json")
    assert json.loads(out)["memory"].keys() == {"bfloat16", "float32"}
    assert not (tmp_path / "runs").exists()


def test_interrupting_a_training_leaves_nothing_half_written(
    photos: Manifest, tmp_path: Path
) -> None:
    photos.save(photos.root / "interrupted.csv")
    (tmp_path / "r.toml").write_text(
        RECIPE.format(task="manipulation").replace("epochs = 1", "epochs = 500")
    )
    command = [sys.executable, "-m", "phototrace", "train", "r.toml", "--out", "runs"]
    process = subprocess.Popen(
        [*command, "--photos", str(photos.root / "interrupted.csv")],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        # A test run in the background may hand down that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        checkpoint = tmp_path / "runs" / "small" / "checkpoint"
        while not list(checkpoint.glob("step-*/contents.json")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.tmp"))
