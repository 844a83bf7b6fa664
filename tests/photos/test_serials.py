import random
import struct
import time
from collections.abc import Callable

import pytest

from phototrace.photos.exif import read_exif

Entry = tuple[int, int, bytes]
MAKE, MODEL, BODY, CAMERA = 271, 272, 0xA431, 0xC62F


def camera(make: str, model: str) -> list[Entry]:
    return [(MAKE, 2, make.encode() + b"\0"), (MODEL, 2, model.encode() + b"\0")]


@pytest.mark.parametrize("tag", [BODY, CAMERA])
@pytest.mark.parametrize(
    ("kind", "value", "serial"),
    [
        (2, b"SN 4711\0", "SN 4711"),
        (2, b"No= 20025585 \0", "20025585"),
        (7, b"SN4711", "SN4711"),
        (129, "Nö4711\0".encode(), "Nö4711"),
        (1, b"\x37", "55"),
        (3, struct.pack("<H", 4711), "4711"),
        (4, struct.pack("<L", 4_000_004_711), "4000004711"),
        (9, struct.pack("<l", 4711), "4711"),
        (16, struct.pack("<Q", 90_000_004_711), "90000004711"),
    ],
)
def test_a_serial_number_in_the_first_directory_is_read_whatever_its_type(
    exif_of: Callable[..., bytes], tag: int, kind: int, value: bytes, serial: str
) -> None:
    assert read_exif(exif_of([(tag, kind, value)])).serial == serial
    assert read_exif(exif_of([], [(tag, kind, value)])).serial == serial


@pytest.mark.parametrize(
    "text",
    ["0", "0000000000", "1111111", "00 00 00 00", "FFFFFFFF", "XXXX", "1234567890", "0123456789",
     "123456", "987654321", "none", "N/A", "n.a.", "Unknown", "---", " ", "(null)", "4294967295"],
)  # fmt: skip
def test_what_stands_in_for_a_serial_number_is_none(
    exif_of: Callable[..., bytes], text: str
) -> None:
    entry = (BODY, 2, text.encode() + b"\0")
    assert read_exif(exif_of([], [entry])).serial == ""
    # and does not hide one that stands elsewhere
    assert read_exif(exif_of([(CAMERA, 2, b"A77B12\0")], [entry])).serial == "A77B12"


@pytest.mark.parametrize("text", ["77", "0123", "12345", "1002003", "S", "00002539"])
def test_short_and_plain_serial_numbers_are_kept(exif_of: Callable[..., bytes], text: str) -> None:
    assert read_exif(exif_of([], [(BODY, 2, text.encode() + b"\0")])).serial == text


Directory = Callable[..., bytes]
Note = Callable[[int, Directory], bytes]
# Other values, so that the number stands between some.
TEXT, MORE = (0x0001, 2, b"firmware 1.0\0"), (0xF000, 7, b"9" * 60)


def nikon(place: int, directory: Directory, tag: int = 0x1D, text: bytes = b"6107872\0") -> bytes:
    start = b"Nikon\0\x02\x10\0\0MM\0*\0\0\0\x08"
    return start + directory([TEXT, (tag, 2, text)], 8, ">")


def olympus(place: int, directory: Directory) -> bytes:
    inner = directory([(0x0100, 2, b"S0011\0"), (0x0101, 2, b"BHP200301".ljust(32))], 30)
    return b"OLYMPUS\0II\x03\0" + directory([(0x2010, 4, struct.pack("<L", 30))], 12) + inner


def om_system(place: int, directory: Directory) -> bytes:
    inner = directory([(0x0101, 2, b"BJ6A01234".ljust(32))], 34)
    start = b"OM SYSTEM\0\0\0II\x04\0"
    return start + directory([(0x2010, 4, struct.pack("<L", 34))], 16) + inner


def old_olympus(place: int, directory: Directory) -> bytes:
    return b"OLYMP\0\x01\0" + directory([TEXT, (0x0404, 2, b"000JQ6201467\0"), MORE], place + 8)


def old_olympus_pro(place: int, directory: Directory) -> bytes:
    """The directory of the equipment is itself the value of its tag."""
    at = place + 8 + len(directory([TEXT, (0x2010, 7, bytes(8))], place + 8)) - 8
    inner = directory([(0x0101, 2, b"143008611".ljust(32)), MORE], at)
    return b"OLYMP\0\x02\0" + directory([TEXT, (0x2010, 7, inner)], place + 8)


def panasonic(place: int, directory: Directory) -> bytes:
    number = b"F590607150293".ljust(16, b"\0")
    return b"Panasonic\0\0\0" + directory([TEXT, (0x25, 7, number), MORE], place + 12)


def fujifilm(place: int, directory: Directory) -> bytes:
    number = b"FPX 21380391     593230313933\0"
    return b"FUJIFILM\x0c\0\0\0" + directory([(0, 7, b"0130"), (0x10, 2, number)], 12)


def pentax(place: int, directory: Directory) -> bytes:
    entries = [TEXT, (0x0229, 2, b"4418132\0")]
    return b"PENTAX \0MM" + directory(entries, 10, ">")


def old_pentax(place: int, directory: Directory) -> bytes:
    entries = [TEXT, (0x0229, 2, b"6512354\0"), MORE]
    return b"AOC\0MM" + directory(entries, place + 6, ">")


def pentax_number(place: int, directory: Directory) -> bytes:
    numbers = struct.pack(">LLLLL", 0x12C1E, 20061211, 3, 0, 132352)
    return b"AOC\0MM" + directory([TEXT, (0x0215, 4, numbers), MORE], place + 6, ">")


def canon(place: int, directory: Directory) -> bytes:
    return directory([TEXT, (0x0C, 4, struct.pack("<L", 330113864))], place)


NOTES = [
    ("NIKON CORPORATION", "NIKON D3100", nikon, "6107872"),
    (
        "NIKON CORPORATION", "NIKON D70",
        lambda p, d: nikon(p, d, 0xA0, b"NO= 00002539        \0"), "00002539",
    ),
    ("OLYMPUS IMAGING CORP.", "E-M1", olympus, "BHP200301"),
    ("OM Digital Solutions", "OM-1", om_system, "BJ6A01234"),
    ("OLYMPUS IMAGING CORP.", "SH-1", old_olympus, "000JQ6201467"),
    ("Panasonic", "DMC-FZ20", panasonic, "F590607150293"),
    ("FUJIFILM", "X10", fujifilm, "FPX 21380391 593230313933"),
    ("PENTAX", "PENTAX K-3", pentax, "4418132"),
    ("PENTAX Corporation", "PENTAX K10D", old_pentax, "6512354"),
    ("OLYMPUS CORPORATION", "E-1", old_olympus_pro, "143008611"),
    ("PENTAX Corporation", "PENTAX K10D", pentax_number, "132352"),
    ("Canon", "Canon EOS 20D", canon, "330113864"),
]  # fmt: skip
named = pytest.mark.parametrize(("make", "model", "note", "serial"), NOTES)


@named
def test_a_makers_note_tells_the_serial_number(
    exif_of: Callable[..., bytes], directory: Directory,
    make: str, model: str, note: Note, serial: str,
) -> None:  # fmt: skip
    data = exif_of(camera(make, model), note=lambda place: note(place, directory))
    assert read_exif(data).serial == serial
    both = exif_of(camera(make, model), [(BODY, 2, b"B4711\0")], lambda p: note(p, directory))
    assert read_exif(both).serial == "B4711"


@named
@pytest.mark.parametrize("by", [-40, -2, 2, 7, 40, 400])
def test_a_note_that_a_program_moved_gives_no_nonsense(
    exif_of: Callable[..., bytes], directory: Directory,
    make: str, model: str, note: Note, serial: str, by: int,
) -> None:  # fmt: skip
    data = exif_of(camera(make, model), note=lambda place: note(place + by, directory), gap=64)
    assert read_exif(data + b"2019:01:01 abcdef123456 " * 40).serial in ("", serial)


@pytest.mark.parametrize(
    ("note", "model"),
    [
        (lambda p, d: nikon(p, d, text=b"D200\0"), "NIKON D200"),  # some write the model there
        (lambda p, d: nikon(p, d, text=b"\x0c\x17\xff77\0"), "NIKON D60"),
        (lambda p, d: nikon(p, d, text=b"0000000\0"), "NIKON D60"),
        (lambda p, d: b"Nikon\0\x02", "NIKON D60"),
    ],
)
def test_what_is_no_number_is_not_taken_from_a_note(
    exif_of: Callable[..., bytes], directory: Directory, note: Note, model: str
) -> None:
    data = exif_of(camera("NIKON CORPORATION", model), note=lambda place: note(place, directory))
    assert read_exif(data).serial == ""


@named
def test_a_hostile_note_neither_fails_nor_takes_long(
    exif_of: Callable[..., bytes], directory: Directory, capfd: pytest.CaptureFixture[str],
    make: str, model: str, note: Note, serial: str,
) -> None:  # fmt: skip
    rng = random.Random(serial)
    good = exif_of(camera(make, model), note=lambda place: note(place, directory))
    began = time.monotonic()
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(8, len(data))] = rng.choice((0, 1, 8, 127, 255, rng.randrange(256)))
        found = read_exif(bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data))
        assert len(found.serial) <= 200
        assert found.serial.isprintable()
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")
