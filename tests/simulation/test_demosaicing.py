import numpy as np
import pytest

from phototrace.simulation.cameras import BGGR, GBRG, GRBG, RGGB, SIX_BY_SIX
from phototrace.simulation.demosaicing import METHODS
from phototrace.simulation.randomness import stream
from phototrace.simulation.sensor import colour_channels, mosaic

SIZE = (48, 60)
BAYER = (RGGB, GRBG, GBRG, BGGR)
CASES = [(name, filters) for name in METHODS for filters in (*BAYER, SIX_BY_SIX)]
CASES = [(name, filters) for name, filters in CASES if filters in BAYER or name == "weighted"]


def demosaiced(name: str, filters: tuple[str, ...], colours: np.ndarray) -> np.ndarray:
    channels = colour_channels(filters, colours.shape[:2])
    return METHODS[name](mosaic(colours, channels), channels)


@pytest.mark.parametrize(("name", "filters"), CASES)
def test_an_even_colour_stays_even(name: str, filters: tuple[str, ...]) -> None:
    colour = np.array([0.30, 0.42, 0.17])
    colours = np.broadcast_to(colour.astype(np.float32), (*SIZE, 3))
    result = demosaiced(name, filters, colours)
    assert result.shape == (*SIZE, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, colours, atol=1e-4)


@pytest.mark.parametrize(("name", "filters"), [c for c in CASES if c[0] in ("bilinear", "malvar")])
def test_ramps_of_each_colour_are_kept(name: str, filters: tuple[str, ...]) -> None:
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] / 100.0
    ramps = np.stack([0.2 + 0.5 * across, 0.1 + down, 0.9 - 0.4 * down - 0.3 * across], axis=2)
    result = demosaiced(name, filters, ramps.astype(np.float32))
    inside = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(result[inside], ramps[inside], atol=1e-5)


@pytest.mark.parametrize(("name", "filters"), CASES)
def test_measured_values_stay(name: str, filters: tuple[str, ...]) -> None:
    colours = stream("measured").random((*SIZE, 3), dtype=np.float32)
    channels = colour_channels(filters, SIZE)
    result = demosaiced(name, filters, colours)
    tolerance = 1e-4 if name == "edge-aware" else 1e-6
    kept = np.abs(mosaic(result, channels) - mosaic(colours, channels)) <= tolerance
    assert kept.all()


@pytest.mark.parametrize("name", ["hamilton-adams", "menon"])
def test_directed_methods_follow_edges_that_bilinear_blurs(name: str) -> None:
    grey = (np.arange(SIZE[1]) % 20 < 10).astype(np.float32)  # upright bars
    colours = np.broadcast_to(grey[None, :, None], (*SIZE, 3)).astype(np.float32)
    directed, plain = (
        np.abs(demosaiced(method, RGGB, colours) - colours)[4:-4, 4:-4, 1].mean()
        for method in (name, "bilinear")
    )
    assert directed < 0.2 * plain


@pytest.mark.parametrize(("name", "filters"), [c for c in CASES if c[1] == RGGB])
def test_interpolated_green_is_smoother_than_measured_green(
    name: str, filters: tuple[str, ...]
) -> None:
    """The periodic trace that names the pattern (Popescu and Farid 2005)."""
    noise = 0.5 + 0.05 * stream("trace").standard_normal((*SIZE, 3), dtype=np.float32)
    green = demosaiced(name, filters, noise)[..., 1]
    measured = colour_channels(filters, SIZE) == 1
    assert green[~measured].std() != pytest.approx(green[measured].std(), rel=0.05)
