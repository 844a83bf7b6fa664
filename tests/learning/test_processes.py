"""Several processes train as one does: the same step, the same end, and the same after a kill.

The definition of a step is as many literal networks (`benchmarks/literal.py`) as there are tasks
and processes, in float64.
"""

import copy
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from torch import Tensor, nn

from literal import LiteralNetworks
from phototrace.errors import UsageError
from phototrace.files import is_complete
from phototrace.learning.batches import batches, steps_per_epoch
from phototrace.learning.leg_data import leg_data
from phototrace.learning.preparing import prepare
from phototrace.learning.processes import team, together
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

from . import several
from . import test_multitask as one

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # for the processes that are started: they import tests
several_cores = pytest.mark.skipif(
    joblib.cpu_count() < several.PROCESSES, reason="fewer processor cores than processes"
)


class LiteralProcesses(LiteralNetworks):
    """Of each task a network a process, named "task process": its heads are kept equal too."""

    def _share_gradients(self) -> None:
        super()._share_gradients()
        for twins in self._heads():
            for alike in zip(*(head.parameters() for head in twins), strict=True):
                mean = torch.stack([p.grad for p in alike if p.grad is not None]).mean(0)
                for parameter in alike:
                    parameter.grad = mean.clone()

    def _average_normalisation(self) -> None:
        super()._average_normalisation()
        for twins in self._heads():
            for alike in zip(*(head.buffers() for head in twins), strict=True):
                if alike[0].is_floating_point():
                    mean = torch.stack(alike).mean(0)
                    for buffer in alike:
                        buffer.copy_(mean)

    def _heads(self) -> list[list[nn.ModuleList]]:
        heads = {
            name: nn.ModuleList(stage for key, stage in network.items() if key not in self.shared)
            for name, network in self.networks.items()
        }
        return [[heads[name] for name in heads if name[0] == leg] for leg in several.LEGS]


def train_literally(depth: str, preset: str) -> dict[str, Tensor]:
    """The definition; its state under the names of our network, every copy included."""
    network = one.start(one.small, several.LEGS, depth, preset)
    shared, numbers = list(network.trunk), range(several.PROCESSES)
    networks = {
        f"{leg} {number}": copy.deepcopy({**dict(network.trunk.items()), **dict(head.items())})  # type: ignore[operator]
        for leg, head in network.heads.items() for number in numbers
    }  # fmt: skip
    # L_t is the mean over the batches of all processes.
    weights = {name: one.WEIGHTS[name[0]] / several.PROCESSES for name in networks}
    rate = 2.0 if preset == "caffe" else 1.0
    literal = LiteralProcesses(networks, shared, weights, decay=5e-4, bias_rate=rate)
    for step, batch in enumerate(one.made_batches(several.LEGS, 64, one.STEPS)):
        dealt = {
            f"{leg} {number}": (x.double().chunk(len(numbers))[number],
                                labels.chunk(len(numbers))[number])
            for leg, (x, labels) in batch.items() for number in numbers
        }  # fmt: skip
        literal.step(dealt, 1e-3 if step < one.EPOCH else 5e-4)
    state: dict[str, Tensor] = {}
    for name, made in literal.networks.items():
        for key, value in made.state_dict().items():
            kind = "trunk" if key.split(".")[0] in shared else f"heads.{name[0]}"
            full = f"{kind}.{key}"
            assert full not in state or one.distance({full: value}, {full: state[full]}) < 1e-12
            state[full] = value
    return state


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What each process has after its steps."""
    folder = tmp_path_factory.mktemp("stepped")
    together(team("float32", "cpu", several.PROCESSES), partial(several.take_steps, folder))
    return [torch.load(folder / f"{number}.pt") for number in range(several.PROCESSES)]


@several_cores
@pytest.mark.parametrize(("depth", "preset"), several.CASES)
def test_a_step_of_two_processes_is_the_definition(
    stepped: list[dict[str, dict[str, Tensor]]], depth: str, preset: str
) -> None:
    first, second = (found[f"{depth} {preset}"] for found in stepped)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert one.distance(first, train_literally(depth, preset)) < one.TOLERANCE


@several_cores
@pytest.mark.parametrize("mutant", several.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_so_it_would_not_be(stepped: list[dict[str, Any]], mutant: Any) -> None:
    literal = train_literally("conv1", "modern")
    assert one.distance(stepped[0][mutant.__name__], literal) > 1000 * one.TOLERANCE


@several_cores
def test_labels_that_are_missing_change_nothing(stepped: list[dict[str, Any]]) -> None:
    """Without batch norm, two processes have the weights and sums of one."""
    alone = several.with_labels_missing()
    assert one.distance(stepped[1]["labels missing"], alone) < one.TOLERANCE
    assert one.distance(stepped[1]["labels not weighed"], alone) > 1000 * one.TOLERANCE


def test_shares_together_are_the_batch(photos: Manifest, tmp_path: Path) -> None:
    """Also of fresh patches, which depend on their place in the epoch."""
    data = leg_data(prepare(several.recipe(), photos), tmp_path)
    legs = [found.leg for found in data.values()]
    last = steps_per_epoch(legs) + 1
    whole, *shares = (
        list(batches(legs, 0, last, 5, share=share)) for share in [(0, 1), (0, 2), (1, 2)]
    )
    for every, *parts in zip(whole, *shares, strict=True):
        for leg, tensors in every.items():
            for number, tensor in enumerate(tensors):
                assert torch.equal(tensor, torch.cat([part[leg][number] for part in parts]))


@pytest.fixture(scope="module")
def manifest(photos: Manifest) -> Path:
    path = photos.root / "several.csv"
    photos.save(path)
    return path


@pytest.fixture(scope="module")
def whole(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training of two processes that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    made = train_recipe(
        several.recipe(), photos, out, backbone=several.toy, device="cpu",
        devices=several.PROCESSES,
    )  # fmt: skip
    assert "MASTER_PORT" not in os.environ
    return made


def weights(run: Run) -> dict[str, Tensor]:
    return dict(run.model(backbone=several.toy).network.state_dict())


@several_cores
@pytest.mark.slow
def test_a_killed_process_ends_all_and_resume_is_bit_equal(
    whole: Run, manifest: Path, tmp_path: Path
) -> None:
    """Killed where `devices` started the processes, resumed where torchrun does."""
    script = [str(HERE / "several.py"), str(manifest), str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, *script, "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip
    assert process.stdout is not None
    pids = {}
    for line in process.stdout:
        number, pid, step = map(int, line.split())
        pids[number] = pid
        if number == 1 and step == 11:
            break
    os.kill(pids[1], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "phototrace: A process of the training was ended, and the others with it." in said
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    kept = (tmp_path / "toy" / "checkpoint").glob("step-*")
    assert any(is_complete(folder) and folder.name >= "step-000000009" for folder in kept)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
         *script, "1"],
        check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    resumed = Run.load(tmp_path / "toy")
    expected = weights(whole)
    assert all(torch.equal(expected[key], value) for key, value in weights(resumed).items())
    records = [(run.folder / "metrics.jsonl").read_text() for run in (whole, resumed)]
    assert records[0] == records[1]
    assert "validation_accuracy" in records[0]


@several_cores
def test_the_number_of_processes_belongs_to_the_training(whole: Run, photos: Manifest) -> None:
    assert whole.provenance["machine"]["processes"] == 2
    with pytest.raises(UsageError, match="a run of other choices or data"):
        train_recipe(
            several.recipe(), photos, whole.folder.parent, backbone=several.toy, device="cpu"
        )


@several_cores
def test_the_error_of_one_is_the_error_of_all() -> None:
    with pytest.raises(UsageError, match="One cannot go on"):
        together(team("float32", "cpu", 2), several.fail_in_one)


def test_more_processes_than_cores_are_refused(photos: Manifest, tmp_path: Path) -> None:
    cores = joblib.cpu_count()
    for devices in (0, cores + 1):
        with pytest.raises(UsageError, match=f"there are {cores} processor cores"):
            train_recipe(several.recipe(), photos, tmp_path, device="cpu", devices=devices)
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_dealt_is_refused(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    for devices in (3, 16):
        with pytest.raises(UsageError, match=rf"batch of 16 .* dealt to {devices} processes"):
            train_recipe(several.recipe(), photos, tmp_path, device="cpu", devices=devices)


def test_torchrun_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    with pytest.raises(UsageError, match="torchrun has started 1 processes"):
        team("float32", "cpu", 2)


def test_a_backbone_that_cannot_be_sent_is_refused(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    with pytest.raises(UsageError, match="must be a function of a module"):
        train_recipe(
            several.recipe(), photos, tmp_path, backbone=lambda *_: {}, device="cpu", devices=2
        )
