from dataclasses import replace

import numpy as np
import pytest

from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import BGGR, CAMERAS, GBRG, GRBG, RGGB, SIX_BY_SIX
from phototrace.simulation.randomness import stream
from phototrace.simulation.sensor import (
    BLACK,
    MID_GREY,
    choose_iso,
    colour_channels,
    make_device,
    mend,
    meter,
    mosaic,
    record,
)

SIZE = (128, 192)
CAMERA = CAMERAS[0]


def test_bayer_phases_are_told_from_their_corner() -> None:
    corners = {
        filters: "".join("RGB"[c] for c in colour_channels(filters, (5, 7))[:2, :2].ravel())
        for filters in (RGGB, GRBG, GBRG, BGGR)
    }
    assert list(corners.values()) == ["RGGB", "GRBG", "GBRG", "BGGR"]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_filters_repeat_and_are_mostly_green(camera: Camera) -> None:
    filters = camera.sensor.filters
    period = len(filters)
    channels = colour_channels(filters, (6 * period, 6 * period))
    np.testing.assert_array_equal(channels[period:], channels[:-period])
    np.testing.assert_array_equal(channels[:, period:], channels[:, :-period])
    shares = np.bincount(channels.ravel()) / channels.size
    assert shares[0] == shares[2]
    assert shares[1] == pytest.approx(5 / 9 if filters == SIX_BY_SIX else 0.5)


def test_a_mosaic_keeps_each_pixels_own_colour() -> None:
    colours = np.broadcast_to(np.array([1.0, 2.0, 3.0], np.float32), (4, 6, 3))
    seen = mosaic(colours, colour_channels(GRBG, (4, 6)))
    assert seen.shape == (4, 6)
    assert seen[0, :2].tolist() == [2.0, 1.0]
    assert seen[1, :2].tolist() == [3.0, 2.0]


def test_gains_belong_to_the_device() -> None:
    first, again = (make_device(CAMERA, 1, SIZE, 0).gains for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.mean() == pytest.approx(1.0, abs=1e-3)
    assert first.std() == pytest.approx(CAMERA.sensor.prnu, rel=0.05)
    others = [
        make_device(CAMERA, 2, SIZE, 0),
        make_device(CAMERA, 1, SIZE, 1),
        make_device(CAMERAS[1], 1, SIZE, 0),
    ]
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.gains.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("iso", [80, 640])
def test_noise_is_shot_and_read_noise_of_the_iso_setting(iso: int) -> None:
    sensor, device = CAMERA.sensor, make_device(CAMERA, 1, SIZE, 0)
    level = 0.3
    even = np.full((*SIZE, 3), level, np.float32)
    raws = [record(even, sensor, device, iso, stream("noise", n)) for n in range(12)]
    assert raws[0].dtype == np.float32
    channels = colour_channels(sensor.filters, SIZE)
    sums = np.array(sensor.sensitivity).sum(axis=1)
    well = sensor.full_well * sensor.base_iso / iso
    for colour in range(3):
        signal = level * sums[colour] / sums.max()
        assert np.mean([raw[channels == colour].mean() for raw in raws]) == pytest.approx(
            signal, abs=0.003
        )
        expected = np.sqrt(signal * well + device.read_noise**2) / well
        measured = np.std(raws, axis=0, ddof=1)[channels == colour]
        assert np.sqrt((measured**2).mean()) == pytest.approx(expected, rel=0.03)


def test_raw_numbers_are_the_converters_steps_and_saturate() -> None:
    sensor, device = CAMERA.sensor, make_device(CAMERA, 1, SIZE, 0)
    ramp = np.broadcast_to(np.linspace(0, 3, SIZE[1], dtype=np.float32)[:, None], (*SIZE, 3))
    raw = record(np.ascontiguousarray(ramp), sensor, device, 80, stream("ramp"))
    assert raw.max() == 1.0
    assert -BLACK <= raw.min() < 0.0
    steps = raw[(raw > -BLACK) & (raw < 1)] * (2**sensor.bits - 1) * (1 - BLACK)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_the_meter_puts_the_mean_at_mid_grey_but_spares_the_lights() -> None:
    random = stream("meter")
    dim = np.full((*SIZE, 3), 0.01, np.float32)
    exposures = [meter(dim, random) * 0.01 for _ in range(200)]
    assert np.median(exposures) == pytest.approx(MID_GREY, rel=0.1)
    lit = dim.copy()
    lit[:, :40] = 5.0
    assert np.median([meter(lit, random) * 5.0 for _ in range(200)]) == pytest.approx(0.9, rel=0.1)


def test_iso_rises_by_whole_stops_in_the_dark() -> None:
    assert [choose_iso(CAMERA.sensor, s) for s in (-1, 0, 1.1, 9)] == [80, 80, 160, 640]


def test_iso_stops_at_the_sensors_top() -> None:
    assert choose_iso(replace(CAMERA.sensor, top_iso=400), 9) == 320


def test_bias_makes_a_photo_lighter() -> None:
    even = np.full((*SIZE, 3), 0.05, np.float32)
    plain, light = (meter(even, stream("bias"), bias) for bias in (0.0, 1.0))
    assert light == pytest.approx(2 * plain)


def test_hot_pixels_belong_to_the_device_and_grow_with_iso() -> None:
    camera = replace(CAMERA, sensor=replace(CAMERA.sensor, hot=2000.0))
    device, again, other = (make_device(camera, n, SIZE, 0) for n in (1, 1, 2))
    np.testing.assert_array_equal(device.hot, again.hot)
    assert 20 < len(device.hot) < 90  # 49 expected
    assert {tuple(spot) for spot in device.hot.tolist()} != {tuple(s) for s in other.hot.tolist()}
    dark = np.zeros((*SIZE, 3), np.float32)
    low, high = (record(dark, camera.sensor, device, iso, stream("hot")) for iso in (80, 320))
    spots = (device.hot[:, 0], device.hot[:, 1])
    rest = np.ones(SIZE, bool)
    rest[spots] = False
    np.testing.assert_allclose(np.median(low[spots]), np.median(device.dark), rtol=0.4)
    assert low[rest].max() < 0.01
    assert high[spots].mean() > 2 * low[spots].mean()


@pytest.mark.parametrize("filters", [RGGB, SIX_BY_SIX])
def test_mending_replaces_listed_hot_pixels_from_their_own_colour(filters: tuple[str, ...]) -> None:
    channels = colour_channels(filters, SIZE)
    even = np.array([0.2, 0.5, 0.3], np.float32)[channels]
    device = make_device(replace(CAMERA, sensor=replace(CAMERA.sensor, hot=2000.0)), 1, SIZE, 0)
    raw = even.copy()
    raw[device.hot[:, 0], device.hot[:, 1]] = 1.0
    mended = mend(raw, device, channels)
    listed, later = device.hot[device.listed], device.hot[~device.listed]
    assert len(later) > 0
    np.testing.assert_allclose(mended[tuple(listed.T)], even[tuple(listed.T)], atol=0.05)
    assert (mended[tuple(later.T)] == 1.0).all()
    assert (raw[tuple(listed.T)] == 1.0).all()


def test_banding_moves_whole_rows() -> None:
    quiet = replace(CAMERA.sensor, read_noise=0.0, hot=0.0)
    device = replace(make_device(replace(CAMERA, sensor=quiet), 1, SIZE, 0), read_noise=0.0)
    dark = np.zeros((*SIZE, 3), np.float32)
    steady, banded = (
        record(dark, replace(quiet, banding=b), device, 80, stream("rows")) for b in (0.0, 20.0)
    )
    assert steady.mean(axis=1).std() < 1e-3 * banded.mean(axis=1).std() + 1e-6
    assert banded.std(axis=1).max() < 0.1 * banded.mean(axis=1).std()
