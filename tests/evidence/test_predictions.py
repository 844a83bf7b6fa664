from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.predictions import (
    NumberPredictions,
    Predictions,
    load_predictions,
)

Table = Predictions | NumberPredictions
MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]
AnyTable = Callable[[int], Table]
RELEASED = Path(__file__).parent / "data" / "predictions-1.parquet"


def parts_of(table: Table) -> dict[str, Any]:
    return {field.name: getattr(table, field.name) for field in fields(table)}


def test_saved_and_loaded_is_the_same(any_table: AnyTable, tmp_path: Path) -> None:
    table = any_table(24)
    table.save(tmp_path / "p.parquet")
    loaded = load_predictions(tmp_path / "p.parquet")
    assert type(loaded) is type(table)
    assert loaded.hash == table.hash
    for name, value in parts_of(table).items():
        found = getattr(loaded, name)
        np.testing.assert_array_equal(found, value)
        assert getattr(found, "dtype", None) == getattr(value, "dtype", None)
    if isinstance(table, Predictions) and isinstance(loaded, Predictions):
        np.testing.assert_array_equal(loaded.predicted, table.predicted)


def test_each_kind_of_table_is_read_as_what_it_is(
    made_up: MakeUp, made_up_numbers: MakeUpNumbers, tmp_path: Path
) -> None:
    classes, numbers = tmp_path / "classes.parquet", tmp_path / "numbers.parquet"
    made_up(6).save(classes)
    made_up_numbers(6).save(numbers)
    assert NumberPredictions.load(numbers).hash == made_up_numbers(6).hash
    with pytest.raises(DamagedError, match=r"numbers\.parquet holds numbers in a range"):
        Predictions.load(numbers)
    with pytest.raises(DamagedError, match=r"classes\.parquet holds classes"):
        NumberPredictions.load(classes)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: not text.endswith("\x00")
)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            texts.filter(bool),
            *[texts] * 4,
            st.integers(-(2**40), 2**40),
            st.lists(st.floats(0.001, 1), min_size=3, max_size=3),
        ),
        max_size=8,
    ),
    name=texts,
)
def test_any_text_and_number_comes_back(
    rows: list[Any], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 7
    chances = np.array([np.array(c) / sum(c) for c in columns[6]], np.float32).reshape(-1, 3)
    n = len(rows)
    table = Predictions(
        task=name,
        classes=("x", "y", name + "z"),
        run=name,
        run_hash="",
        split_hash="",
        data_hash="",
        label=np.zeros(n, int),
        probabilities=chances,
        photo=np.array(columns[0], np.str_),
        device=np.array(columns[1], np.str_),
        scene=np.array(columns[2], np.str_),
        camera=np.array(columns[3], np.str_),
        editing=np.array(columns[4], np.str_),
        row=np.array(columns[5], int),
        column=np.array(columns[5], int),
        seen_device=np.zeros(n, bool),
        seen_scene=np.ones(n, bool),
    )
    path = tmp_path_factory.mktemp("any") / "p.parquet"
    table.save(path)
    assert Predictions.load(path).hash == table.hash


def test_a_file_of_version_1_is_read() -> None:
    table = Predictions.load(RELEASED)
    assert table.classes == ("unaltered", "median", "JPEG")
    assert len(table) == 24
    assert table.hash == "83fbb1360a37124e561d88d61c9f968aa17dcb7b81afa24228789360539a4806"


def test_thirty_thousand_patches_stay_small(made_up: MakeUp, tmp_path: Path) -> None:
    table = made_up(555, patches=9)
    table.save(tmp_path / "p.parquet")
    assert len(table) == 29_970
    assert (tmp_path / "p.parquet").stat().st_size < 1_000_000


def test_numbers_stay_small(made_up_numbers: MakeUpNumbers, tmp_path: Path) -> None:
    table = made_up_numbers(555, patches=9)
    table.save(tmp_path / "p.parquet")
    assert len(table) == 29_970
    assert (tmp_path / "p.parquet").stat().st_size < 100_000


def test_arrays_are_copies_that_cannot_be_changed(any_table: AnyTable) -> None:
    parts = parts_of(any_table(24))
    label = np.array(parts["label"])
    table = type(any_table(1))(**{**parts, "label": label})
    before = label[0]
    label[:] = label[-1]
    assert before != label[0]
    assert table.label[0] == before
    for name, value in parts_of(table).items():
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                getattr(table, name)[:] = value[0]


def test_select_keeps_rows_in_order(any_table: AnyTable) -> None:
    table = any_table(24)
    mask = table.label == table.label[2]
    chosen = table.select(mask)
    for name, value in parts_of(table).items():
        kept = value[mask] if isinstance(value, np.ndarray) else value
        np.testing.assert_array_equal(getattr(chosen, name), kept)
    with pytest.raises(UsageError, match="selection"):
        table.select(mask[:-1])
    with pytest.raises(UsageError, match="selection"):
        table.select(np.zeros(len(table), int))


def spoilt(parts: dict[str, Any], name: str, place: Any, value: Any) -> Predictions:
    array = np.array(parts[name])
    array[place] = value
    return Predictions(**{**parts, name: array})


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("label", 3, 6, r"labels must be in 0\.\.5"),
        ("label", 0, -1, "labels must be"),
        ("probabilities", (0, 0), np.nan, "finite"),
        ("probabilities", (0, 0), np.inf, "finite"),
        ("probabilities", 0, [-0.5, 1.5, 0, 0, 0, 0], "finite"),
        ("probabilities", 0, [0.5, 0.502, 0, 0, 0, 0], "sum to 1"),
        ("photo", 5, "", "id of its photo"),
        ("scene", 0, "\ud800", "Unicode"),
    ],
)
def test_wrong_values_are_refused(
    made_up: MakeUp, name: str, place: Any, value: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        spoilt(parts_of(made_up()), name, place, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", np.zeros(3, int), "shape"),
        ("label", np.zeros((576, 1), int), "shape"),
        ("row", np.zeros(576), "row must be int64"),
        ("seen_scene", np.zeros(576, int), "seen_scene must be bool"),
        ("photo", np.zeros(576, int), "photo must be str"),
        ("probabilities", np.full((576, 5), 0.2, np.float32), "shape"),
        ("classes", ("a", "b", "c", "d", "e", "e"), "each named once"),
        ("classes", (), "at least one class"),
        ("run", None, "run must be text"),
        ("device", np.full(576, "x" * 1001), "1001 characters"),
    ],
)
def test_wrong_kinds_are_refused(made_up: MakeUp, name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictions(**{**parts_of(made_up()), name: value})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"no\.parquet is missing"):
        Predictions.load(tmp_path / "no.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    with pytest.raises(DamagedError, match=r"p\.parquet"):
        Predictions.load(tmp_path / "p.parquet")


def test_a_cut_file_is_refused_wherever_it_ends(any_table: AnyTable, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    any_table(24).save(path)
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 40, dtype=int):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError):
            load_predictions(path)


def test_no_flipped_bit_gives_other_predictions(any_table: AnyTable, tmp_path: Path) -> None:
    table = any_table(6)
    path = tmp_path / "p.parquet"
    table.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            assert load_predictions(path).hash == table.hash
        except DamagedError:
            refused += 1
    assert refused > 80  # of 150; the rest hit what is not read, such as statistics


def test_wild_bytes_raise_nothing_else(any_table: AnyTable, tmp_path: Path) -> None:
    table = any_table(6)
    path = tmp_path / "p.parquet"
    table.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    for _ in range(400):
        wild = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 6)):
            wild[place] = rng.integers(256)
        path.write_bytes(wild)
        with suppress(DamagedError):
            assert load_predictions(path).hash == table.hash


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("label", 3, 49.9, "true values must be in 50 to 95"),
        ("label", 3, 95.1, "true values must be"),
        ("label", 3, np.nan, "true values must be"),
        ("value", 3, np.nan, "values must be finite"),
        ("value", 3, np.inf, "values must be finite"),
        ("photo", 5, "", "id of its photo"),
        ("scene", 0, "\ud800", "Unicode"),
    ],
)
def test_wrong_numbers_are_refused(
    made_up_numbers: MakeUpNumbers, name: str, place: int, value: Any, message: str
) -> None:
    parts = parts_of(made_up_numbers())
    array = np.array(parts[name])
    array[place] = value
    with pytest.raises(UsageError, match=message):
        NumberPredictions(**{**parts, name: array})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", np.full(576, 60), "label must be float32"),
        ("value", np.full(575, 60.0), "shape"),
        ("value", np.full((576, 1), 60.0), "shape"),
        ("unit", None, "unit must be text"),
        ("range", (95, 50), "two finite numbers"),
        ("range", (50, np.inf), "two finite numbers"),
        ("range", None, "two finite numbers"),
    ],
)
def test_wrong_kinds_of_number_are_refused(
    made_up_numbers: MakeUpNumbers, name: str, value: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        NumberPredictions(**{**parts_of(made_up_numbers()), name: value})


def test_answers_may_leave_the_range_and_ends_that_no_float32_hits_are_in_it(
    made_up_numbers: MakeUpNumbers,
) -> None:
    table = made_up_numbers(lowest=0.1, highest=0.7, spread=0.5)
    assert table.value.min() < 0.1
    assert float(table.label.min()) != 0.1
    assert table.range == (0.1, 0.7)


def test_a_compact_table_keeps_what_was_named_and_little_else(
    made_up: MakeUp, tmp_path: Path
) -> None:
    table = made_up(555, patches=9)
    small = table.compact()
    assert (small.probabilities, small.made_from) == (None, table.hash)
    assert small.hash != table.hash
    assert small.compact() is small
    np.testing.assert_array_equal(small.predicted, table.predicted)
    assert small.predicted.dtype == np.int64
    table.save(tmp_path / "full.parquet")
    small.save(tmp_path / "small.parquet")
    sizes = [(tmp_path / f"{name}.parquet").stat().st_size for name in ("full", "small")]
    assert sizes[1] < sizes[0] / 10
    with pytest.raises(UsageError, match=f"made-up are compact.*whose hash is {table.hash}"):
        _ = small.chances


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": None}, "need probabilities"),
        ({"made_from": "a" * 64}, "need probabilities"),
        ({"named": np.zeros(576, np.uint16)}, "Compact predictions have no probabilities"),
        ({"named": np.zeros(576, np.uint16), "probabilities": None}, "name the full table"),
        (
            {"named": np.zeros(576), "probabilities": None, "made_from": "a"},
            "named must be uint16",
        ),
    ],
)
def test_a_table_is_full_or_compact(made_up: MakeUp, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictions(**{**parts_of(made_up()), **change})
