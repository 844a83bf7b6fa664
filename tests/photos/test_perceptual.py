from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from phototrace.photos.grouping import connected, joined
from phototrace.photos.perceptual import (
    NEAR_BITS,
    hashes_of,
    is_hash,
    is_look,
    look,
    looks_of,
    near_any,
    near_pairs,
    phash,
    same_picture,
)

Picture = Callable[..., Image.Image]


def green(image: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.asarray(image.convert("RGB"))[..., 1].copy()


def saved(image: Image.Image, quality: int, scale: float = 1.0) -> Image.Image:
    size = round(image.width * scale), round(image.height * scale)
    buffer = BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("quality", "scale"), [(30, 1.0), (75, 0.5), (60, 0.37), (90, 1.6)])
def test_a_photo_saved_again_stays_near(
    picture: Picture, seed: int, quality: int, scale: float
) -> None:
    image = picture(seed, (1200, 800))
    again = saved(image, quality, scale)
    a, b = hashes_of([phash(green(image)), phash(green(again))])
    assert np.bitwise_count(a ^ b) <= NEAR_BITS
    one, two = looks_of([look(green(image))]), looks_of([look(green(again))])
    assert same_picture(one, two).all()


def test_other_photos_are_far(picture: Picture) -> None:
    hashes = hashes_of([phash(green(picture(seed))) for seed in range(60)])
    assert list(near_pairs(hashes, 10)) == []


def test_pictures_without_contrast_correlate_with_nothing() -> None:
    flat = looks_of([look(np.full((50, 60), 200, np.uint8)), "no look"])
    assert flat.shape == (2, 64)
    assert not flat.any()
    assert not same_picture(flat, flat).any()


def test_looks_of_other_photos_differ(picture: Picture) -> None:
    looks = looks_of([look(green(picture(seed))) for seed in range(30)])
    a, b = np.triu_indices(30, 1)
    assert not same_picture(looks[a], looks[b]).any()
    assert same_picture(looks, looks).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (31, 33)])
def test_odd_shapes_have_a_hash(shape: tuple[int, int]) -> None:
    values = np.arange(shape[0] * shape[1], dtype=np.uint32).reshape(shape).astype(np.uint8)
    assert len(phash(values)) == 16
    assert is_look(look(values))


@pytest.mark.parametrize("parted", [False, True])
@pytest.mark.parametrize("bits", [0, 2, 6, 10])
@pytest.mark.parametrize("count", [700, 1500])  # compared one by one, and by bands
def test_near_pairs_are_those_of_a_plain_loop(count: int, bits: int, parted: bool) -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, count, dtype=np.uint64)
    hashes[-40:] = hashes[0]
    for a, b in rng.integers(0, count, (300, 2)):
        flips = rng.choice(64, rng.integers(0, bits + 3), replace=False)
        hashes[b] = hashes[a] ^ np.uint64(sum(1 << int(flip) for flip in flips))
    parts = rng.integers(0, 3, count)
    differing = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    wanted = np.triu(differing <= bits, k=1)
    if parted:
        wanted &= parts[:, None] != parts[None, :]
    blocks = list(near_pairs(hashes, bits, parts if parted else None))
    found = [tuple(pair) for block in blocks for pair in block.tolist()]
    assert len(found) == len(set(found))
    assert set(found) == {(a, b) for a, b in np.argwhere(wanted).tolist()}
    assert len(found) > 200


def test_what_is_a_hash() -> None:
    assert is_hash("0123456789abcdef")
    for text in ("", "12", "x" * 16, "0123456789abcdef0", " 123456789abcdef"):
        assert not is_hash(text)


def test_groups_join_in_turn() -> None:
    assert joined(6, [(4, 1), (1, 3), (5, 0)]) == [[0, 5], [1, 3, 4], [2]]
    items = [("a", ""), ("b", "x"), ("a", "x"), ("", ""), ("", "")]
    assert connected(items, list) == [items[:3], [("", "")], [("", "")]]
    # The first key of one and the second of another are not compared.
    assert len(connected([("a", ""), ("", "a")], list)) == 2


def test_near_any_finds_what_a_comparison_of_all_finds() -> None:
    rng = np.random.default_rng(4)
    others = rng.integers(2**64, size=300, dtype=np.uint64)
    flips = (np.uint64(1) << rng.integers(64, size=(300, 12), dtype=np.uint64)) * (
        rng.random((300, 12)) < rng.random((300, 1))
    )
    hashes = np.concatenate([others[:150] ^ np.bitwise_xor.reduce(flips[:150], axis=1), others[:9]])
    wanted = (np.bitwise_count(hashes[:, None] ^ others[None]) <= 4).any(axis=1)
    assert 0 < wanted.sum() < len(hashes)
    assert np.array_equal(near_any(hashes, others, 4), wanted)
