"""Edits of any strength: what a label says is what was done, and labels never contradict."""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import UsageError
from phototrace.patches import chains
from phototrace.patches.chains import (
    FACTORS,
    KINDS,
    WAYS_OF_SCALING,
    ChainEdits,
    again,
    cut_version,
    scale,
)
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits, Pixels, QualityEdits

EDITS = ChainEdits()
PLAIN, RECOMPRESSED, OTHER_TABLES = 0, 70, 170


def picture(shape: tuple[int, ...] = (260, 300)) -> Pixels:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(40, 216, (20, 24), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((shape[1], shape[0])), dtype=float)
    noisy = smooth[..., None] + rng.normal(0, 5, (*smooth.shape, 3))
    made = np.clip(noisy, 0, 255).astype(np.uint8)
    return made if len(shape) == 3 else made[..., 0]


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def cut(label: float, seed: int = 1, size: int = 64, pixels: Pixels | None = None) -> Pixels:
    given = picture() if pixels is None else pixels
    return EDITS.cut(given, (90, 110), size, label, np.random.default_rng(seed))


def test_labels_are_every_kind_plain_and_recompressed() -> None:
    labels = np.array(EDITS.labels((), np.random.default_rng(0)), dtype=np.float32)
    assert EDITS.read("edit", labels).tolist() == [k for k in range(5) for _ in range(2)]
    assert EDITS.read("recompressed", labels).tolist() == [0, 1] * 5
    with pytest.raises(UsageError, match="say nothing of 'camera'"):
        EDITS.read("camera", labels)


def test_a_quality_is_known_of_standard_tables_alone() -> None:
    drawn = np.array(
        [x for s in range(200) for x in EDITS.labels((), np.random.default_rng(s))], np.float32
    )
    quality = EDITS.read("jpeg-quality", drawn)
    plain = EDITS.read("recompressed", drawn) == 0
    assert np.isnan(quality[plain]).all()
    known = quality[~plain & ~np.isnan(quality)]
    assert (known.min(), known.max()) == (50, 95)
    assert 0.4 < len(known) / (~plain).sum() < 0.6
    assert EDITS.read("jpeg-quality", floats(3070, 3170))[0] == 70
    assert np.isnan(EDITS.read("jpeg-quality", floats(3070, 3170))[1])


def test_the_unaltered_block_is_the_photos_own() -> None:
    assert np.array_equal(cut(PLAIN), picture()[90:154, 110:174])


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("after", [0, 70, 170])
@pytest.mark.parametrize("size", [64, 128])
def test_every_version_is_a_patch_of_its_size(
    kind: int, after: int, size: int, colour: bool
) -> None:
    pixels = picture((260, 300, 3) if colour else (260, 300))
    for seed in range(12):
        found = cut(1000 * kind + after, seed, size, pixels)
        assert found.shape == ((size, size, 3) if colour else (size, size))
        assert found.dtype == np.uint8
        assert np.array_equal(found, cut(1000 * kind + after, seed, size, pixels))
    if kind or after:
        assert len({cut(1000 * kind + after, s, size, pixels).tobytes() for s in range(6)}) == 6


@pytest.mark.parametrize("side", [64, 70, 90])
def test_photos_hardly_larger_than_a_patch_are_edited_too(side: int) -> None:
    small = picture((side, side))
    for seed in range(40):
        for kind in range(5):
            found = EDITS.cut(small, (0, 0), 64, 1000 * kind + 80, np.random.default_rng(seed))
            assert found.shape == (64, 64)


def test_strengths_span_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "TWICE", 0.0)
    found: dict[int, list[float]] = {kind: [] for kind in range(1, 5)}
    for seed in range(600):
        for kind in found:
            (step,), factor = chains._steps(kind, np.random.default_rng(seed), 64, 1000)
            options = step.keywords  # type: ignore[attr-defined]
            value = options.get("size", options.get("sigma", factor))
            found[kind].append(value)
            if kind == chains.SCALING:
                assert options["way"] in WAYS_OF_SCALING
    assert set(found[1]) == {3, 5, 7}
    for kind, low, high in ((2, 0.5, 2.5), (3, 1.0, 6.0), (4, FACTORS[0], FACTORS[3])):
        assert low <= min(found[kind]) < low * 1.05
        assert high * 0.95 < max(found[kind]) <= high
    assert not [f for f in found[4] if FACTORS[1] < f < FACTORS[2]]
    smaller = np.mean(np.array(found[4]) < 1)
    assert 0.3 < smaller < 0.5  # as long a part of the logarithms: 0.41


def test_chains_end_with_their_kind_and_scale_once() -> None:
    lengths = []
    for seed in range(400):
        for kind in range(1, 5):
            steps, _ = chains._steps(kind, np.random.default_rng(seed), 64, 1000)
            names = [step.func.__name__ for step in steps]  # type: ignore[attr-defined]
            own = {1: "median_filter", 2: "_blur", 3: "white_noise", 4: "scale"}[kind]
            assert names[-1] == own
            assert len(set(names)) == len(names)
            lengths.append(len(names))
    assert set(lengths) == {1, 2}
    assert abs(np.mean(np.array(lengths) == 2) - chains.TWICE) < 0.05
    assert chains._steps(0, np.random.default_rng(1), 64, 1000)[0] == []


def test_a_patch_recompressed_meets_every_offset_to_the_new_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def noted(pixels: Pixels, rng: np.random.Generator, *, quality: int) -> Pixels:
        rows = np.arange(pixels.shape[0]) % 8
        return np.repeat((rows * 8)[:, None], pixels.shape[1], axis=1).astype(np.uint8)

    monkeypatch.setattr(chains, "jpeg_compress", noted)
    grids = [int(cut(RECOMPRESSED, seed)[0, 0]) // 8 for seed in range(400)]
    assert min(np.bincount(grids, minlength=8)) > 20


def test_other_tables_are_no_standard_ones_and_about_as_coarse() -> None:
    for mode, count in (("L", 1), ("RGB", 2)):
        tables = chains._other_tables(80, mode, np.random.default_rng(3))
        assert len(tables) == count
        buffer = BytesIO()
        Image.new(mode, (8, 8)).save(buffer, "JPEG", quality=80)
        standard = Image.open(buffer).quantization  # type: ignore[attr-defined]
        for table, plain in zip(tables, standard.values(), strict=True):
            assert table != list(plain)
            assert 0.4 < np.mean(table) / np.mean(plain) < 2.5


@pytest.mark.parametrize("way", WAYS_OF_SCALING)
@pytest.mark.parametrize("factor", [0.6, 0.93, 1.07, 2.0])
def test_ways_of_scaling_keep_what_a_picture_shows(way: str, factor: float) -> None:
    pixels = picture()
    found = scale(pixels, np.random.default_rng(0), factor=factor, way=way)
    assert found.shape == tuple(round(side * factor) for side in pixels.shape)
    back = Image.fromarray(found).resize((300, 260), Image.Resampling.BICUBIC)
    assert np.corrcoef(np.asarray(back).ravel(), pixels.ravel())[0, 1] > 0.9


def test_ways_of_scaling_differ() -> None:
    pixels = picture()
    for factor in (0.7, 1.6):
        made = {
            w: scale(pixels, np.random.default_rng(0), factor=factor, way=w).tobytes()
            for w in WAYS_OF_SCALING
        }
        assert len(set(made.values())) >= 6


def test_what_is_drawn_again_stays_in_its_class() -> None:
    rng = np.random.default_rng(0)
    for label in (0, 70, 3000, 3170):
        many = np.array([again(EDITS, (), label, rng) for _ in range(50)], dtype=np.float32)
        for task in ("edit", "recompressed"):
            first = EDITS.read(task, floats(label))[0]
            assert (EDITS.read(task, many) == first).all()
        assert len(set(many)) > 20 if label % 1000 else len(set(many)) == 1
    named = NamedEdits(MANIPULATIONS)
    assert again(named, tuple(MANIPULATIONS), 3.0, rng) == 3.0
    assert len({again(QualityEdits(), (), 70.0, rng) for _ in range(50)}) > 20


def test_other_edits_are_cut_as_before() -> None:
    pixels, named = picture(), NamedEdits(MANIPULATIONS)
    classes = tuple(MANIPULATIONS)
    found = cut_version(named, pixels, (8, 16), 64, classes, 1.0, "block", np.random.default_rng(0))
    block = pixels[8:72, 16:80]
    expected = MANIPULATIONS["median filter"](block, np.random.default_rng(0))
    assert np.array_equal(found, expected)
    assert KINDS[1] == "median filter"


def test_a_whole_picture_can_be_edited() -> None:
    whole = EDITS.operation((), 2000.0)(picture(), np.random.default_rng(1))
    assert whole.shape[0] > 100
    assert (
        np.abs(np.diff(whole.astype(int), axis=1)).mean()
        < np.abs(np.diff(picture().astype(int), axis=1)).mean()
    )
