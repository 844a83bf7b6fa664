import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from phototrace.photos.exif import Exif, read_exif
from phototrace.photos.ifd import TEXT_LIMIT
from phototrace.photos.photo import read_photo


def exif_with(**texts: str) -> bytes:
    tags = Image.Exif()
    numbers = {"make": 271, "model": 272, "software": 305}
    inner = tags.get_ifd(0x8769)
    for name, text in texts.items():
        if name in numbers:
            tags[numbers[name]] = text
        else:
            inner[{"taken": 0x9003, "subsecond": 0x9291, "serial": 0xA431}[name]] = text
    return tags.tobytes()


def test_text_loses_control_characters_and_what_is_too_long() -> None:
    found = read_exif(
        exif_with(make="Ca\x1b[31mnon\x07 \x00 hidden", model="x" * 900, software="a\tb\n")
    )
    assert found.make == "Ca[31mnon"
    assert found.model == "x" * TEXT_LIMIT
    assert found.software == "ab"


def test_letters_beyond_ascii_are_kept_and_directions_are_not() -> None:
    plain = exif_with(make="K12345ln")
    for stored, text in [
        ("Kö34ln".encode(), "Kö34ln"),
        ("Kö345ln".encode("latin-1"), "Kö345ln"),
        ("K\u202e45ln".encode(), "K45ln"),
    ]:
        data = plain.replace(b"K12345ln", stored.ljust(8, b"\0"))
        assert read_exif(data).make == text


@pytest.mark.parametrize(
    ("text", "fraction", "iso"),
    [
        ("2024:05:06 07:08:09", "", "2024-05-06T07:08:09"),
        ("2024:05:06 07:08:09", "25", "2024-05-06T07:08:09.25"),
        ("2024:05:06 07:08:09", "xx", "2024-05-06T07:08:09"),
        ("2024-05-06 07:08:09", "", "2024-05-06T07:08:09"),
        ("2024/05/06 07:08:09", "", "2024-05-06T07:08:09"),
        ("2024:05:06T07:08:09+02:00", "5", "2024-05-06T07:08:09.5"),
        ("0000:00:00 00:00:00", "", ""),
        ("2024:13:41 07:08:09", "", ""),
        ("yesterday", "5", ""),
    ],
)
def test_time_taken(text: str, fraction: str, iso: str) -> None:
    assert read_exif(exif_with(taken=text, subsecond=fraction)).taken == iso


@pytest.mark.parametrize(
    "data",
    [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0" * 1000,
     b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHLL", 271, 2, 0xFFFFFFFF, 8),
     b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHLL", 0x8769, 4, 1, 8)],
)  # fmt: skip
def test_broken_exif_says_nothing(data: bytes) -> None:
    assert read_exif(data) == Exif()


@pytest.mark.parametrize("offset", [8, 1 << 30])
def test_one_damaged_entry_costs_no_other(offset: int) -> None:
    data = b"II*\0\x08\0\0\0\x03\0" + struct.pack("<HHLL", 271, 2, 1 << 24, offset)
    data += struct.pack("<HHL4s", 272, 2, 3, b"A1\0") + struct.pack("<HHLL", 305, 2, 8, 50)
    found = read_exif(data + bytes(4) + b"Editor1\0")
    assert (found.make, found.model, found.software) == ("", "A1", "Editor1")


def test_orientation_out_of_range_is_upright() -> None:
    tags = Image.Exif()
    tags[274] = 77
    assert read_exif(tags.tobytes()).orientation == 1


def test_broken_exif_never_fails_a_photo(
    tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    good = exif_with(make="Canon", model="EOS", taken="2024:05:06 07:08:09")
    path = tmp_path / "a.jpg"
    for cut in range(len(good)):
        for broken in (good[:cut], good[:cut] + b"\xff" * (len(good) - cut)):
            block = b"Exif\0\0" + broken.removeprefix(b"Exif\0\0")
            picture(1, (16, 16)).save(path, exif=block)
            assert read_photo(path).width == 16


def test_a_resolution_of_the_wrong_type_never_fails_a_photo(
    tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    # Pillow takes the second letter of a resolution that is text, also where there is one letter.
    entries = [(271, 2, 3, b"Me\0\0"), (0x011A, 2, 2, b"5\0\0\0"), (0x0128, 3, 1, b"\2\0\0\0")]
    entries.sort()
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    block += b"".join(struct.pack("<HHL", *entry[:3]) + entry[3] for entry in entries) + bytes(4)
    path = tmp_path / "a.jpg"
    picture(1).save(path, exif=block)
    assert read_photo(path).make == "Me"


def test_png_exif_may_stand_behind_the_pixels(
    tmp_path: Path, picture: Callable[..., Image.Image]
) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path, exif=exif_with(make="Canon", model="EOS"))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    length = struct.unpack_from(">L", data, start)[0] + 12
    end = data.index(b"IEND") - 4
    moved = data[:start] + data[start + length : end] + data[start : start + length] + data[end:]
    path.write_bytes(moved)
    assert read_photo(path).make == "Canon"


@pytest.mark.parametrize("kind", [7, 129])  # UNDEFINED; UTF-8, as of Exif 3.0
def test_text_of_other_types_is_read(exif_of: Callable[..., bytes], kind: int) -> None:
    times = [(0x9003, kind, b"2020:01:02 03:04:05\0"), (0x9291, kind, b"5\0")]
    main = [(271, kind, b"Acme\0"), (272, kind, "Käm 1".encode())]
    found = read_exif(exif_of(main, [*times, (0xA431, kind, b"SN4711\0")]))
    assert (found.make, found.model, found.serial) == ("Acme", "Käm 1", "SN4711")
    assert found.taken == "2020-01-02T03:04:05.5"


ORIGINAL = [(0x9003, 2, b"2020:01:01 00:00:01\0"), (0x9291, 2, b"11\0")]
DIGITIZED = [(0x9004, 2, b"2020:01:01 00:00:02\0"), (0x9292, 2, b"22\0")]
MODIFIED = [(0x0132, 2, b"2020:01:01 00:00:03\0")]
FRACTION = [(0x9290, 2, b"33\0")]
NO_DATE = [(0x9003, 2, b"0000:00:00 00:00:00\0")]


@pytest.mark.parametrize(
    ("main", "inner", "taken", "taken_from"),
    [
        (MODIFIED, [*FRACTION, *ORIGINAL, *DIGITIZED], "2020-01-01T00:00:01.11", ""),
        (MODIFIED, [*FRACTION, *DIGITIZED], "2020-01-01T00:00:02.22", "digitized"),
        (MODIFIED, [*NO_DATE, *DIGITIZED], "2020-01-01T00:00:02.22", "digitized"),
        (MODIFIED, FRACTION, "2020-01-01T00:00:03.33", "modified"),
        (MODIFIED, [*NO_DATE], "2020-01-01T00:00:03", "modified"),
        ([], NO_DATE, "", ""),
    ],
)
def test_a_time_falls_back_on_others_and_says_so(
    exif_of: Callable[..., bytes], main: list[tuple[int, int, bytes]],
    inner: list[tuple[int, int, bytes]], taken: str, taken_from: str,
) -> None:  # fmt: skip
    found = read_exif(exif_of(main, inner))
    assert (found.taken, found.taken_from) == (taken, taken_from)


def test_a_time_in_the_first_directory_is_read(exif_of: Callable[..., bytes]) -> None:
    """As TIFF/EP has it."""
    found = read_exif(exif_of([(0x9003, 2, b"2020:05:06 07:08:09\0")]))
    assert (found.taken, found.taken_from) == ("2020-05-06T07:08:09", "")
