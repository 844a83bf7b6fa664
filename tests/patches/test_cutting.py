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
    assert central_blocks(767, 768, 256) == central_blocks(768, 767, 256) == []


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
    assert len(blocks) == min(count, block_count(height, width, size))
    assert len({grid_offset(*block) for block in blocks}) <= 1


@pytest.mark.parametrize("count", [1, 8, 10_000])
def test_no_class_is_told_by_the_offsets_of_its_blocks(count: int) -> None:
    """Photos of two cameras differ in size alone; their patches meet all 64 offsets alike."""
    classes = []
    for height, width in [(512, 640), (519, 647), (768, 1000), (333, 71)]:
        offsets = np.zeros(64)
        for seed in range(4000):
            for block in random_blocks(height, width, 64, count, np.random.default_rng(seed)):
                row, column = grid_offset(*block)
                offsets[row * 8 + column] += 1
        classes.append(offsets / offsets.sum())
    for shares in classes:
        assert abs(shares - 1 / 64).max() < 0.012  # 4000 photos: five standard deviations
        assert shares == pytest.approx(classes[0], abs=0.012)


def test_all_that_fit_at_any_offset_are_found_when_asked_for() -> None:
    for seed in range(100):
        assert len(random_blocks(775, 775, 128, 99, np.random.default_rng(seed))) == 36
        assert len(random_blocks(774, 775, 128, 99, np.random.default_rng(seed))) == 30
    assert random_blocks(70, 700, 64, 1, np.random.default_rng(0)) == []


def test_random_blocks_come_from_all_over_a_photo() -> None:
    """At any row and column, as often from each ninth of it, and in an order drawn again."""
    rngs = [np.random.default_rng(seed) for seed in range(3000)]
    firsts = np.array([random_blocks(640, 640, 64, 3, rng)[0] for rng in rngs])
    assert set((firsts % 64).ravel().tolist()) == set(range(64))
    ninths, _, _ = np.histogram2d(firsts[:, 0], firsts[:, 1], np.linspace(0, 577, 4))
    assert ninths.sum() == 3000
    assert ninths == pytest.approx(np.full((3, 3), 3000 / 9), rel=0.25)


@pytest.mark.parametrize("size", [32, 65, 80, 0, -64])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        check_patch_size(size)


def test_the_offset_to_the_grid_is_of_row_and_column() -> None:
    assert grid_offset(17, 30) == (1, 6)


def test_centre_crop_takes_the_middle() -> None:
    assert np.array_equal(
        centre_crop(np.arange(36, dtype=np.uint8).reshape(6, 6), 2), [[14, 15], [20, 21]]
    )
