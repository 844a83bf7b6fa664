from dataclasses import replace

import numpy as np
import pytest

from phototrace.simulation import optics
from phototrace.simulation.camera import Correction, Lens
from phototrace.simulation.optics import project, shading, shaken, unshade, unwarp
from phototrace.simulation.randomness import stream
from phototrace.simulation.scenes import scene_size

SIZE = (96, 128)
FINE = scene_size(SIZE)
SHARP, SOFT = Lens(blur=0.4), Lens(blur=1.6)


def light() -> np.ndarray:
    return stream("light").random((*FINE, 3), dtype=np.float32) + np.float32(0.1)


def spots() -> np.ndarray:
    """A scene of soft bright spots on a grid, which tell where a lens puts them."""
    down, across = np.mgrid[: FINE[0], : FINE[1]]
    waves = np.cos(2 * np.pi * down / 24) + np.cos(2 * np.pi * across / 24)
    return np.repeat((2.1 + waves)[..., None], 3, axis=2).astype(np.float32)


def shift(one: np.ndarray, other: np.ndarray, part: tuple[slice, slice]) -> float:
    """How far apart two smooth pictures are, px (RMS), from their difference over their slope."""
    slope = np.hypot(*np.gradient(one[part]))
    return float(np.sqrt(((one - other)[part] ** 2).mean() / (slope**2).mean()))


MIDDLE = (slice(32, 64), slice(44, 84))
CORNER = (slice(0, 24), slice(0, 32))


def test_an_even_scene_stays_even() -> None:
    view = project(np.full((*FINE, 3), 0.3, np.float32), SHARP, SIZE, stream(1))
    assert view.shape == (*SIZE, 3)
    assert view.dtype == np.float32
    np.testing.assert_allclose(view, 0.3, rtol=1e-5)


def test_the_softer_lens_keeps_less_detail() -> None:
    sharp, soft = (project(light(), lens, SIZE, stream(1)) for lens in (SHARP, SOFT))
    assert soft.std() < 0.6 * sharp.std()


def test_no_two_photos_are_aimed_alike() -> None:
    one, other = (project(light(), SHARP, SIZE, stream(n)) for n in (1, 2))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.5


def test_some_photos_are_out_of_focus() -> None:
    detail = [project(light(), SHARP, SIZE, stream(n)).std() for n in range(60)]
    soft = np.mean(np.array(detail) < 0.6 * np.median(detail))
    assert 0.03 < soft < 0.35


def test_corners_are_softer_than_the_middle() -> None:
    plain, lens = (project(light(), L, SIZE, stream(1)) for L in (SHARP, replace(SHARP, corner=1)))
    ratio = [float(lens[part].std() / plain[part].std()) for part in (MIDDLE, CORNER)]
    assert ratio[0] > 0.9
    assert ratio[1] < 0.75


def test_lateral_chromatic_aberration_moves_red_and_blue_in_the_corners() -> None:
    lens = replace(SHARP, red=1.0, blue=-2.0)
    view = project(spots(), lens, SIZE, stream(1))
    green = view[..., 1]
    assert shift(green, view[..., 0], MIDDLE) < 0.3
    assert 0.4 < shift(green, view[..., 0], CORNER) < 1.2
    assert 1.0 < shift(green, view[..., 2], CORNER) < 2.4


def test_distortion_moves_the_corners_and_not_the_middle() -> None:
    plain, bent = (
        project(spots(), lens, SIZE, stream(1))[..., 1]
        for lens in (SHARP, replace(SHARP, distortion=0.03))
    )
    assert shift(plain, bent, MIDDLE) < 0.3
    assert shift(plain, bent, CORNER) > 0.8  # of 0.03 x 80 px, less inwards


def test_corrections_take_distortion_and_colour_back() -> None:
    lens = Lens(0.8, distortion=0.03, red=1.5, blue=-1.5)
    straight = project(spots(), Lens(0.8), SIZE, stream(1))
    bent = project(spots(), lens, SIZE, stream(1))
    back = unwarp(bent, lens, Correction(colour=True, distortion=True))
    inside = (slice(4, -4), slice(4, -4))
    for colour in range(3):
        before = shift(straight[..., colour], bent[..., colour], inside)
        after = shift(straight[..., colour], back[..., colour], inside)
        assert after < min(0.3 * before, 0.1)
    colour_only = unwarp(bent, lens, Correction(colour=True))
    np.testing.assert_array_equal(colour_only[..., 1], bent[..., 1])
    assert shift(colour_only[..., 1], colour_only[..., 0], inside) < 0.1
    assert unwarp(bent, lens, Correction()) is bent


def test_vignetting_falls_by_its_stops_and_is_taken_back_by_the_share() -> None:
    lens = Lens(0.8, vignetting=1.2)
    share = shading(lens, SIZE)
    assert share.max() == pytest.approx(1.0, abs=1e-3)
    assert share[0, 0] == pytest.approx(2**-1.2, rel=0.03)
    even = unshade(share, lens, Correction(vignetting=1.0))
    np.testing.assert_allclose(even, 1.0, rtol=1e-5)
    half = unshade(share, lens, Correction(vignetting=0.5))
    assert half[0, 0] == pytest.approx(2**-0.6, rel=0.03)
    assert unshade(share, lens, Correction()) is share


def test_shaking_smears_along_its_direction() -> None:
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 1.0
    smeared = shaken(point, 7.0, 0.0)[..., 1]
    assert smeared.sum() == pytest.approx(1.0, rel=1e-5)
    assert smeared[15, 12:19].sum() > 0.9
    upright = shaken(point, 7.0, np.pi / 2)[..., 1]
    np.testing.assert_allclose(upright, smeared.T, atol=1e-6)
    assert shaken(point, 0.2, 0.0) is point


def test_the_field_runs_from_the_middle_to_the_corners() -> None:
    field = optics.field(SIZE)
    assert field.min() < 1e-3
    assert field[0, 0] == pytest.approx(1.0, abs=0.05)
