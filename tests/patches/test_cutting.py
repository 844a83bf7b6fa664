import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phototrace.errors import UsageError
from phototrace.patches.cutting import (
    block_count,
    central_blocks,
    centre_crop,
    check_patch_size,
    grid_offset,
    random_blocks,
)


def test_nine_central_blocks_fill_the_middle() -> None:
    blocks = central_blocks(1000, 1200, 256)
    assert blocks[0] == (116, 216)
    assert blocks[4] == (372, 472)
    assert len(set(blocks)) == 9
    assert max(blocks) == (116 + 512, 216 + 512)


def test_a_photo_below_three_blocks_gives_none() -> None:
    assert central_blocks(768, 768, 256) != []
    assert central_blocks(767, 768, 256) == []


@given(
    height=st.integers(64, 700),
    width=st.integers(64, 700),
    size=st.sampled_from([64, 96, 128]),
    count=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_random_blocks_lie_inside_and_apart(
    height: int, width: int, size: int, count: int, seed: int
) -> None:
    blocks = random_blocks(height, width, size, count, np.random.default_rng(seed))
    covered = np.zeros((height, width), dtype=int)
    for row, column in blocks:
        assert 0 <= row <= height - size
        assert 0 <= column <= width - size
        covered[row : row + size, column : column + size] += 1
    assert covered.max(initial=0) <= 1
    assert len(blocks) <= min(count, block_count(height, width, size))
    assert len(blocks) >= min(count, 1) * (height >= size and width >= size)


def test_random_blocks_meet_every_offset_to_the_grid() -> None:
    offsets = {
        grid_offset(*random_blocks(768, 768, 128, 1, np.random.default_rng(seed))[0])
        for seed in range(1000)
    }
    assert len(offsets) == 64


def test_all_that_fit_are_found_when_asked_for() -> None:
    assert len(random_blocks(768, 768, 128, 36, np.random.default_rng(0))) == 36


@pytest.mark.parametrize("size", [32, 65, 80, 0, -64])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        check_patch_size(size)


def test_centre_crop_takes_the_middle() -> None:
    assert np.array_equal(
        centre_crop(np.arange(36, dtype=np.uint8).reshape(6, 6), 2), [[14, 15], [20, 21]]
    )
