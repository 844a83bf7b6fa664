from collections.abc import Iterator

import pytest
import torch
from torch import nn

from phototrace.errors import UsageError
from phototrace.learning.batchnorm import CorrectedBatchNorm2d
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import (
    PRESETS,
    Network,
    build_network,
    mislnet,
)

# Output shapes by patch size, from the authors' release of the network.
SHAPES = {
    256: [(3, 252, 252), (96, 63, 63), (64, 31, 31), (64, 15, 15), (128, 7, 7)],
    128: [(3, 124, 124), (96, 31, 31), (64, 15, 15), (64, 7, 7), (128, 3, 3)],
    96: [(3, 92, 92), (96, 23, 23), (64, 11, 11), (64, 5, 5), (128, 2, 2)],
    64: [(3, 60, 60), (96, 15, 15), (64, 7, 7), (64, 3, 3), (128, 1, 1)],
}
STAGES = ["constr", "conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "output"]


@pytest.mark.parametrize("size", SHAPES)
def test_every_stage_has_the_reference_shape(size: int) -> None:
    stages = mislnet(size, 1, 6)
    assert list(stages) == STAGES
    x = torch.rand(2, 1, size, size) * 255
    shapes = []
    for stage in stages.values():
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [*SHAPES[size], (200,), (200,), (6,)]


def test_fc1_takes_the_reference_inputs() -> None:
    inputs = [mislnet(size, 1, 6)["fc1"][1].in_features for size in (256, 128, 96, 64)]  # type: ignore[index]
    assert inputs == [6272, 1152, 512, 128]


def test_colour_patches_enter_with_three_channels() -> None:
    stages = mislnet(64, 3, 5)
    assert stages["constr"](torch.zeros(1, 3, 64, 64)).shape == (1, 3, 60, 60)


def _sums(layer: ConstrainedConv2d) -> tuple[torch.Tensor, torch.Tensor]:
    weight = layer.weight.detach().double()
    centre = weight[..., 2, 2]
    return centre, weight.sum(dim=(-2, -1)) - centre


def test_new_kernels_satisfy_equation_4() -> None:
    centre, rest = _sums(ConstrainedConv2d(1, 3, 5))
    assert torch.all(centre == -1)
    assert torch.allclose(rest, torch.ones_like(rest), atol=1e-6)


def test_projection_divides_by_the_sum() -> None:
    layer = ConstrainedConv2d(1, 1, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(25.0).reshape(1, 1, 5, 5))
    layer.project_()
    expected = torch.arange(25.0).reshape(5, 5) / (300 - 12)
    expected[2, 2] = -1
    assert torch.allclose(layer.weight[0, 0], expected)


@pytest.mark.parametrize(("row", "column"), [(2, 2), (0, 4)])
def test_one_kernel_off_the_constraint_counts(row: int, column: int) -> None:
    layer = ConstrainedConv2d(2, 3, 5)
    assert layer.deviation() < 1e-6
    with torch.no_grad():
        layer.weight[1, 1, row, column] -= 0.25
    assert layer.deviation() == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("total", [0.0, 1e-9, -1e-9, 9e-3])
def test_projection_of_a_vanishing_sum_stays_small(total: float) -> None:
    layer = ConstrainedConv2d(1, 1, 5)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(0))
        layer.weight[0, 0, 2, 2] = 0
        layer.weight[0, 0, 0, 0] -= layer.weight.sum() - total
        before = layer.weight.clone()
    layer.project_()
    _, rest = _sums(layer)
    assert float(rest) == pytest.approx(1, abs=1e-5)
    assert float((layer.weight - before).detach().abs().max()) <= 1.0 + 1e-6


def test_constrained_layer_suppresses_flat_content_under_autocast() -> None:
    layer = ConstrainedConv2d(1, 3, 5)
    flat = torch.full((1, 1, 16, 16), 255.0)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(flat)
    assert out.dtype == torch.float32
    assert float(out.detach().abs().max()) < 1e-3


def test_corrected_batch_norm_forgets_its_start() -> None:
    layer = CorrectedBatchNorm2d(2)
    batches = [torch.randn(8, 2, 4, 4) + 5 for _ in range(7)]
    for batch in batches:
        layer(batch)
    weights = torch.tensor([0.999 ** (6 - k) for k in range(7)])
    means = torch.stack([b.mean(dim=(0, 2, 3)) for b in batches])
    variances = torch.stack([b.var(dim=(0, 2, 3)) for b in batches])
    expected = (weights[:, None] * means).sum(0) / weights.sum()
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert torch.allclose(layer.running_mean, expected, atol=1e-5)
    assert torch.allclose(
        layer.running_var, (weights[:, None] * variances).sum(0) / weights.sum(), atol=1e-5
    )


def test_presets_set_biases_and_weights() -> None:
    for preset in PRESETS:
        stages = mislnet(64, 1, 6, preset)
        convolution = stages["conv2"][0]  # type: ignore[index]
        bound = (3 / (96 * 25)) ** 0.5
        largest = float(convolution.weight.detach().abs().max())
        assert bound * 0.95 < largest <= bound * (1 + 1e-6)  # the bound itself is rounded
        biases = [float(stages[s][i].bias[0]) for s, i in (("conv1", 0), ("fc1", 1), ("fc2", 0))]  # type: ignore[index]
        assert biases == pytest.approx([0.1, 1, 1] if preset == "caffe" else [0, 0, 0])
        assert isinstance(stages["conv1"][1], CorrectedBatchNorm2d) == (preset == "caffe")  # type: ignore[index]


def test_every_bias_begins_as_its_preset_says() -> None:
    for preset in PRESETS:
        biases = {}
        for name, stage in mislnet(64, 1, 6, preset).items():
            for layer in stage.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                    biases[name] = layer.bias.tolist()
        expected = {"fc1": 1.0, "fc2": 1.0, "output": 0.0} if preset == "caffe" else {}
        other = 0.1 if preset == "caffe" else 0.0
        for name in STAGES[1:]:
            alike = [expected.get(name, other)] * len(biases[name])
            assert biases[name] == pytest.approx(alike), name


def _layers(network: Network) -> Iterator[str]:
    yield from network.trunk
    yield "|"
    yield from network.heads["a"]  # type: ignore[misc]


@pytest.mark.parametrize("depth", STAGES[:-1])
def test_network_is_cut_at_any_share_depth(depth: str) -> None:
    network = build_network(mislnet, {"a": 6}, patch_size=64, share_depth=depth)
    cut = STAGES.index(depth) + 1
    assert list(_layers(network)) == [*STAGES[:cut], "|", *STAGES[cut:]]
    assert network({"a": torch.zeros(2, 1, 64, 64)})["a"].shape == (2, 6)


@pytest.mark.parametrize("depth", ["output", "conv9"])
def test_unknown_share_depth_is_refused(depth: str) -> None:
    with pytest.raises(UsageError, match="share depth"):
        build_network(mislnet, {"a": 6}, patch_size=64, share_depth=depth)


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_network(mislnet, {"a": 6}, patch_size=64, seed=3)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    again = build_network(mislnet, {"a": 6}, patch_size=64, seed=3)
    other = build_network(mislnet, {"a": 6}, patch_size=64, seed=4)
    assert torch.rand(1) == drawn
    same = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(first.trunk["constr"].weight, other.trunk["constr"].weight)  # type: ignore[arg-type]


def test_projection_reaches_every_constrained_stage() -> None:
    network = build_network(mislnet, {"a": 2}, patch_size=64)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3)
    network.project_()
    layer = network.trunk["constr"]
    assert isinstance(layer, ConstrainedConv2d)
    assert layer.deviation() < 1e-6
    assert isinstance(network.trunk["fc2"], nn.Sequential)


def test_a_frozen_trunk_is_neither_projected_nor_trained() -> None:
    """Its kernels are off the constraint by as much as rounding may leave them."""
    network = build_network(mislnet, {"a": 2}, patch_size=64, share_depth="conv1").freeze_trunk_()
    with torch.no_grad():
        next(network.trunk.parameters()).mul_(1 + 1e-5)
    before = {k: v.clone() for k, v in network.trunk.state_dict().items()}
    network.train()
    network.project_()
    network({"a": torch.rand(4, 1, 64, 64) * 255})["a"].sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in network.trunk.state_dict().items())
    assert all(p.grad is None for p in network.trunk.parameters())
    assert all(p.grad is not None for p in network.heads.parameters())


def test_heads_alone_take_what_the_trunk_gives() -> None:
    network = build_network(mislnet, {"a": 2, "b": 3}, patch_size=64, share_depth="conv2").eval()
    patches = torch.rand(4, 1, 64, 64) * 255
    above = network.above_trunk().eval()
    assert torch.equal(above({"b": network.shared(patches)})["b"], network({"b": patches})["b"])
    assert {id(p) for p in above.parameters()} == {id(p) for p in network.heads.parameters()}


def test_a_trunk_is_in_eval_mode_as_soon_as_it_is_frozen() -> None:
    network = build_network(mislnet, {"a": 2}, patch_size=64, share_depth="conv1").freeze_trunk_()
    before = {k: v.clone() for k, v in network.trunk.state_dict().items()}
    network({"a": torch.rand(4, 1, 64, 64) * 255})
    assert all(torch.equal(v, before[k]) for k, v in network.trunk.state_dict().items())
    assert network.heads.training


def test_legs_share_the_trunk_and_nothing_above_it() -> None:
    network = build_network(mislnet, {"a": 2, "b": 2}, patch_size=64, share_depth="conv4")
    heads = [{id(p) for p in head.parameters()} for head in network.heads.values()]
    assert len(heads[0]) == len(heads[1]) > 0
    assert not heads[0] & heads[1]
    ours, theirs = (head["fc1"][1].weight for head in network.heads.values())  # type: ignore[index]
    assert not torch.equal(ours, theirs)  # drawn one after the other, from one seed


def test_batch_norms_without_running_averages_tell_legs_apart_at_test_too() -> None:
    norm = nn.BatchNorm2d(2, track_running_stats=False)
    network = Network({"low": norm}, {"a": {}, "b": {}}).eval()
    patches = {leg: torch.randn(4, 2, 5, 5) + k for k, leg in enumerate("ab")}
    for leg, found in network(patches).items():
        assert torch.allclose(found, network({leg: patches[leg]})[leg], atol=1e-6)


def test_a_leg_without_a_weight_counts_once() -> None:
    def gradient(weights: dict[str, float] | None) -> torch.Tensor:
        network = build_network(mislnet, {"a": 2, "b": 2}, patch_size=64, share_depth="constr")
        generator = torch.Generator().manual_seed(0)
        patches = {leg: torch.rand(3, 1, 64, 64, generator=generator) * 255 for leg in "ab"}
        sum(s[:, 0].sum() for s in network(patches, weights).values()).backward()
        found = next(network.trunk.parameters()).grad
        assert found is not None
        return found

    once = gradient({"a": 1.0, "b": 1.0})
    assert torch.equal(gradient(None), once)
    assert torch.equal(gradient({"a": 1.0}), once)
    assert not torch.allclose(gradient({"a": 1.0, "b": 0.5}), once)
