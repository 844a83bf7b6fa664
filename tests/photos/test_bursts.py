import pytest

from phototrace.photos.bursts import find_bursts
from phototrace.photos.manifest import PhotoRecord


def record(
    number: int, taken: str = "", phash: str = "", device: str = "d", camera: str = "A"
) -> PhotoRecord:
    sha256 = f"{number:064x}"
    extra = {"taken": taken, "phash": phash or f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"}
    return PhotoRecord(
        sha256[-16:], f"{number}.jpg", sha256, model=camera, device=device, extra=extra
    )


def grouped(*photos: PhotoRecord) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for photo_id, burst in find_bursts(photos).items():
        groups.setdefault(burst, set()).add(str(int(photo_id, 16)))
    return {frozenset(group) for group in groups.values()}


def test_photos_in_a_row_are_chained() -> None:
    found = grouped(
        record(1, "2024-01-01T10:00:00"),
        record(2, "2024-01-01T10:00:10.0"),
        record(3, "2024-01-01T10:00:19.9"),
        record(4, "2024-01-01T10:00:30"),
        record(5, "2024-01-02T10:00:05"),
        record(6, "not a time"),
        record(7, ""),
        record(8, "2024-01-01T10:00:05", device="other"),
        record(9, "2024-01-01T10:00:05", camera="B"),
    )
    assert found == {frozenset("123")}


@pytest.mark.parametrize(("other", "together"), [("03ff", True), ("07ff", False)])
def test_near_hashes_of_one_device(other: str, together: bool) -> None:
    near = "000000000000" + other
    found = grouped(record(1, phash="0" * 16), record(2, phash=near))
    assert found == ({frozenset("12")} if together else set())
    assert grouped(record(1, phash="0" * 16), record(2, phash="0" * 16, device="other")) == set()


def test_time_and_look_join_in_turn() -> None:
    found = grouped(
        record(1, "2024-01-01T10:00:00"),
        record(2, "2024-01-01T10:00:05", phash="0" * 16),
        record(3, phash="0" * 15 + "1"),
    )
    assert found == {frozenset("123")}


def test_names_do_not_depend_on_the_order() -> None:
    photos = [record(n, f"2024-01-01T10:00:{n:02d}") for n in range(5)]
    assert find_bursts(photos) == find_bursts(photos[::-1])
    assert len(set(find_bursts(photos).values())) == 1


@pytest.mark.parametrize(
    ("times", "burst"),
    [
        (["2000-01-01T00:00:00"] * 4, set()),
        (["2000-01-01T00:00:00"] * 3 + [""], set()),
        (["2000-01-01T00:00:00"] * 2, {frozenset("12")}),
        (["2000-01-01T00:00:00"] * 3 + ["2000-01-01T00:00:01"], {frozenset("1234")}),
        (["2000-01-01T00:00:00"] * 3 + ["2000-01-09T00:00:00"], {frozenset("123")}),
    ],
)
def test_a_time_that_all_photos_of_a_device_carry_makes_no_burst(
    times: list[str], burst: set[frozenset[str]]
) -> None:
    photos = [record(n, taken) for n, taken in enumerate(times, start=1)]
    other = [record(9, "2000-01-01T00:00:00", device="other")]
    assert grouped(*photos, *other) == burst


def test_photos_of_a_reset_clock_that_look_alike_are_still_a_burst() -> None:
    photos = [record(n, "2000-01-01T00:00:00") for n in (1, 2)]
    alike = [record(n, "2000-01-01T00:00:00", phash="0" * 16) for n in (3, 4)]
    assert grouped(*photos, *alike) == {frozenset("34")}


def test_a_photo_that_does_not_tell_its_device_may_be_by_any_of_its_model() -> None:
    when = "2024-01-01T10:00:"
    known = [record(1, f"{when}00", device="a"), record(2, f"{when}04", device="b")]
    assert grouped(*known) == set()
    stripped = record(3, f"{when}08", device="")
    assert grouped(*known, stripped) == {frozenset("123")}
    assert grouped(known[0], stripped) == {frozenset("13")}
    assert grouped(known[0], record(3, f"{when}11", device="")) == set()
    assert grouped(known[0], record(3, f"{when}08", device="", camera="B")) == set()
    looks = [record(1, phash="0" * 16, device="a"), record(2, phash="0" * 13 + "3ff", device="")]
    assert grouped(*looks) == {frozenset("12")}
    frozen = [record(n, f"{when}00", device="a") for n in (4, 5, 6)]
    assert grouped(*frozen, record(3, f"{when}00", device="")) == set()
