"""The fast way through stages of known form gives what their modules give, forwards and back."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from earlier import earlier
from phototrace.errors import UsageError
from phototrace.learning import training
from phototrace.learning.accelerator import Precision, accelerator, place
from phototrace.learning.block import fold
from phototrace.learning.checkpoint import Progress
from phototrace.learning.fast import lanes_of, run
from phototrace.learning.lanes import cut, lanes, side_by_side
from phototrace.learning.network import Network, build_network, mislnet
from phototrace.learning.optim import make_optimizer
from phototrace.learning.recipe import TrainingChoice
from phototrace.learning.tasks import Task

CLASSES = {"a": 5, "b": 3, "c": 4}
TASKS = {leg: Task(leg, tuple(map(str, range(count)))) for leg, count in CLASSES.items()}
ROWS = {"a": 4, "b": 3, "c": 2}
WEIGHTS = {"a": 1.0, "b": 0.5}
Found = dict[str, Tensor]
Patches = Mapping[str, Tensor]


@pytest.fixture(params=[1, 2], ids=["one lane", "two lanes"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def started(
    size: int = 64, legs: str = "a", depth: str = "fc2", preset: str = "modern",
    channels: str = "green", precision: torch.dtype = torch.float64,
) -> Network:  # fmt: skip
    """A network in the middle of things: half of the scales of its batch norms are negative."""
    classes = {leg: CLASSES[leg] for leg in legs}
    network = build_network(
        mislnet, classes, patch_size=size, share_depth=depth, preset=preset, channels=channels
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.normal_(generator=generator)
                norm.bias.normal_(generator=generator)
                norm.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
                norm.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    return place(network, torch.device("cpu")).to(precision).train()


def photos(size: int, legs: str, channels: str = "green") -> dict[str, Tensor]:
    """Patches of another grey and of another roughness for each leg."""
    generator = torch.Generator().manual_seed(2)
    depth = 3 if channels == "rgb" else 1
    found = {}
    for k, leg in enumerate(legs):
        noise = torch.randn((ROWS[leg], depth, size, size), generator=generator)
        found[leg] = (noise * (6 + 12 * k) + 80 + 50 * k).round().clip(0, 255)
    return found


def learned(network: Network, patches: Patches, precision: Precision = "float32") -> Found:
    """Scores, gradients, and statistics after one pass through a copy of `network`."""
    network = copy.deepcopy(network)
    kind = next(network.parameters()).dtype
    given = {leg: x.to(kind, memory_format=torch.channels_last) for leg, x in patches.items()}
    with lanes_of(network):
        with accelerator(precision).autocast():
            scores = network(given, WEIGHTS)
        total = sum((s.to(kind).square() + s.to(kind).sin()).sum() for s in scores.values())
        total.backward()
    gradients = {f"gradient of {k}": p.grad for k, p in network.named_parameters()}
    buffers = {k: v.to(torch.float64) for k, v in network.named_buffers()}
    return {k: v.detach() for k, v in (scores | gradients | buffers).items() if v is not None}


def plainly_learned(network: Network, patches: Patches, precision: Precision = "float32") -> Found:
    with earlier(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "lanes_of", lambda _: nullcontext())
        return learned(network, patches, precision)


def distance(found: Found, expected: Found) -> float:
    """The largest difference, each tensor's relative to its largest magnitude.

    A bias below a batch norm has no gradient; what the plain way gives there is rounding.
    """
    assert found.keys() == expected.keys()
    worst = 0.0
    for name, value in expected.items():
        scale = float(value.abs().max())
        if name.endswith(".0.bias") and scale < 1e-3:
            scale = 1.0
        worst = max(worst, float((found[name] - value).abs().max()) / (scale or 1.0))
    return worst


CASES = [
    (64, "a", "fc2", "modern", "green"),
    (64, "abc", "fc2", "modern", "green"),
    (64, "ab", "conv1", "caffe", "green"),
    (64, "ab", "constr", "modern", "rgb"),
    (96, "ab", "conv2", "modern", "rgb"),
    (128, "a", "conv3", "caffe", "green"),
    pytest.param(256, "b", "fc2", "modern", "green", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("norms", ["of the batch", "frozen", "at test"])
@pytest.mark.parametrize(("size", "legs", "depth", "preset", "channels"), CASES)
def test_it_gives_what_the_modules_give(
    size: int, legs: str, depth: str, preset: str, channels: str, norms: str, threads: int
) -> None:
    network = started(size, legs, depth, preset, channels)
    if norms == "frozen":
        network.freeze_batch_norm_()
    if norms == "at test":
        network.eval()
    patches = photos(size, legs, channels)
    assert distance(learned(network, patches), plainly_learned(network, patches)) < 1e-10


def test_a_scale_of_zero_has_its_gradient_too() -> None:
    network = started()
    with torch.no_grad():
        network.trunk["conv1"][1].weight[::3] = 0  # type: ignore[index]
    patches = photos(64, "a")
    found, expected = learned(network, patches), plainly_learned(network, patches)
    # Where all is alike, any place may win, and what wins there takes the gradient of the scale.
    assert distance({"a": found["a"]}, {"a": expected["a"]}) < 1e-10
    assert all(bool(v.isfinite().all()) for v in found.values())


@pytest.mark.parametrize("legs", ["a", "ab"])
def test_in_float32_it_is_as_exact_as_the_modules(legs: str, threads: int) -> None:
    patches = photos(64, legs)
    truth = learned(started(64, legs), patches)
    network = started(64, legs, precision=torch.float32)
    plain = distance(as_double(plainly_learned(network, patches)), truth)
    assert distance(as_double(learned(network, patches)), truth) < 3 * plain < 1e-2


def as_double(found: Found) -> Found:
    return {name: value.double() for name, value in found.items()}


@pytest.mark.parametrize("norms", ["of the batch", "at test"])
def test_in_bfloat16_it_rounds_as_much_as_the_modules(norms: str) -> None:
    patches = photos(64, "ab")
    double, network = started(64, "ab"), started(64, "ab", precision=torch.float32)
    if norms == "at test":
        double.eval()
        network.eval()
    truth = learned(double, patches)
    fast = as_double(learned(network, patches, "bfloat16"))
    plain = as_double(plainly_learned(network, patches, "bfloat16"))
    for name, value in truth.items():
        if not name.endswith(".0.bias") or norms == "at test":
            scale = float(value.norm()) or 1.0
            off = [float((f[name] - value).norm()) / scale for f in (fast, plain)]
            assert off[0] < 1.5 * off[1] + 1e-2, (name, off)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("preset", ["modern", "caffe"])
def test_twenty_steps_are_the_same_steps(optimizer: str, preset: str, threads: int) -> None:
    def trained() -> Found:
        network = started(64, "ab", "conv2", preset)
        choice = TrainingChoice.model_validate({"optimizer": optimizer, "learning_rate": 1e-4})
        updates, progress = make_optimizer(network, choice, preset), Progress()
        generator = torch.Generator().manual_seed(3)
        for _ in range(20):
            shapes = {leg: (ROWS[leg], 1, 64, 64) for leg in "ab"}
            batch = {
                leg: (
                    torch.randint(256, shape, generator=generator, dtype=torch.uint8),
                    torch.randint(CLASSES[leg], shape[:1], generator=generator),
                )
                for leg, shape in shapes.items()
            }
            machine = accelerator("float32")
            training.step(network, updates, batch, machine, progress, TASKS, WEIGHTS)
        return {k: v.double() for k, v in network.state_dict().items()}

    found = trained()
    with earlier():
        expected = trained()
    # AdamW divides rounding by rounding where there is no gradient: below a batch norm.
    still = {k for k in found if k.endswith(".0.bias") or k.endswith("running_mean")}
    kept = expected.keys() - (still if optimizer == "adamw" else set())
    assert distance({k: found[k] for k in kept}, {k: expected[k] for k in kept}) < 1e-8


def test_one_lane_or_three_are_the_same() -> None:
    patches, found = photos(64, "ab"), []
    before = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        found.append(learned(started(64, "ab"), patches))
    torch.set_num_threads(before)
    assert distance(*found) < 1e-10


def test_the_residual_stays_in_full_precision() -> None:
    """Kernels rounded to bfloat16 would let image content through: grey would not be as black."""
    network = started(precision=torch.float32).eval()
    flat = torch.tensor([0.0, 255.0])[:, None, None, None].expand(2, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        black, grey = network.features(flat, "conv1")
    assert black.dtype == torch.bfloat16
    assert float((black - grey).abs().max()) < 0.01


def test_pixels_are_folded_as_a_stride_of_two_sees_them() -> None:
    x = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    folded = fold(x)
    assert folded.shape == (1, 8, 3, 4)
    assert folded[0, :, 1, 1].tolist() == [7, 8, 13, 14, 31, 32, 37, 38]
    assert folded[0, :4, 0, 0].tolist() == [0, 0, 0, 0]


def test_a_stage_that_someone_looks_into_goes_its_own_way() -> None:
    network, seen = started(), []
    stage = network.trunk["conv2"]
    hook = stage[1].register_forward_hook(lambda *_: seen.append(1))  # type: ignore[index]
    patches = photos(64, "a")
    expected = plainly_learned(network, patches)
    assert distance(learned(network, patches), expected) < 1e-10
    assert len(seen) == 2
    hook.remove()


def test_photos_may_ask_for_their_gradient() -> None:
    network = started().eval()
    found = []
    for way in (nullcontext(), earlier()):
        x = photos(64, "a")["a"].double().requires_grad_()
        with way:
            network({"a": x})["a"].square().sum().backward()
        found.append({"x": x.grad})
    assert distance(*found) < 1e-10  # type: ignore[arg-type]


def test_rows_that_are_no_legs_are_refused() -> None:
    network = started(64, "ab")
    network(dict_of_doubles(photos(64, "ab")))
    with pytest.raises(UsageError, match="legs cannot be told apart"):
        network.shared(torch.zeros(5, 1, 64, 64, dtype=torch.float64))


def dict_of_doubles(patches: Patches) -> dict[str, Tensor]:
    return {leg: x.double() for leg, x in patches.items()}


def test_stages_of_other_forms_take_operations_threads_and_their_own_way() -> None:
    relu = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    tanh = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2))
    x = torch.randn(2, 1, 9, 9)
    assert torch.equal(run([relu], x), relu(x))
    assert isinstance(lanes_of(relu), nullcontext)
    assert not isinstance(lanes_of(tanh), nullcontext)
    assert torch.allclose(run([tanh.eval()], x), tanh(x), atol=1e-6)


@pytest.mark.parametrize(
    ("legs", "sizes", "owners"),
    [
        ((7,), [4, 3], [0, 0]),
        ((4, 4), [4, 4], [0, 1]),
        ((6, 1, 3), [5, 1, 1, 3], [0, 0, 1, 2]),
        ((1,), [1], [0]),
    ],
)
def test_batches_are_cut_at_legs_and_into_equal_lanes(
    legs: tuple[int, ...], sizes: list[int], owners: list[int]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with lanes():
        assert cut(legs) == (sizes, owners)
    assert torch.get_num_threads() == 2
    assert cut(legs) == (list(legs), list(range(len(legs))))
    torch.set_num_threads(before)


def test_lanes_take_one_thread_each_and_leave_no_trace(threads: int) -> None:
    def work(_: int) -> tuple[int, bool, bool]:
        on = torch.is_autocast_enabled("cpu")
        return torch.get_num_threads(), torch.is_grad_enabled(), on

    with lanes(), torch.autocast("cpu", torch.bfloat16):
        assert side_by_side(work, [1, 2, 3]) == [(1, False, False)] * 3
    assert torch.get_num_threads() == threads
    with lanes(), pytest.raises(ZeroDivisionError):
        side_by_side(lambda x: 1 / x, [1, 0])
    assert torch.get_num_threads() == threads


TOUCHED = """
import resource, torch
from phototrace.learning.accelerator import keep_memory
{keep}
def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(5):
    touched()
print(touched())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_what_is_freed_is_kept() -> None:
    """Pages that the system has taken back are cleared again when they are touched."""
    counts = [
        int(subprocess.check_output([sys.executable, "-c", TOUCHED.format(keep=keep)]))
        for keep in ("keep_memory()", "")
    ]
    assert counts[0] < 100 < counts[1]
