import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.predictions import Predictions

MakeUp = Callable[..., Predictions]
RELEASED = Path(__file__).parent / "data" / "predictions-1.parquet"


def parts_of(table: Predictions) -> dict[str, Any]:
    return {name: getattr(table, name) for name in Predictions.__dataclass_fields__}


def test_saved_and_loaded_is_the_same(made_up: MakeUp, tmp_path: Path) -> None:
    table = made_up()
    table.save(tmp_path / "p.parquet")
    loaded = Predictions.load(tmp_path / "p.parquet")
    assert loaded.hash == table.hash
    for name, value in parts_of(table).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    np.testing.assert_array_equal(loaded.predicted, table.predicted)
    assert loaded.probabilities.dtype == np.float32


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


def test_arrays_are_copies_that_cannot_be_changed(made_up: MakeUp) -> None:
    parts = parts_of(made_up())
    label = np.array(parts["label"])
    table = Predictions(**{**parts, "label": label})
    label[:] = 1
    assert not np.all(table.label == 1)
    with pytest.raises(ValueError, match="read-only"):
        table.probabilities[0, 0] = 0


def test_select_keeps_rows_in_order(made_up: MakeUp) -> None:
    table = made_up()
    mask = table.label == 2
    chosen = table.select(mask)
    np.testing.assert_array_equal(chosen.photo, table.photo[mask])
    np.testing.assert_array_equal(chosen.probabilities, table.probabilities[mask])
    assert chosen.run == table.run
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


def test_a_cut_file_is_refused_wherever_it_ends(made_up: MakeUp, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    made_up().save(path)
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 40, dtype=int):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError):
            Predictions.load(path)


def test_no_flipped_bit_gives_other_predictions(made_up: MakeUp, tmp_path: Path) -> None:
    table = made_up(6)
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
            assert Predictions.load(path).hash == table.hash
        except DamagedError:
            refused += 1
    assert refused > 100


def test_wild_bytes_raise_nothing_else(made_up: MakeUp, tmp_path: Path) -> None:
    table = made_up(6)
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
            assert Predictions.load(path).hash == table.hash


def rewritten(path: Path, change: Callable[[pa.Table, dict[str, Any]], pa.Table]) -> None:
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"phototrace"])
    table = change(table, facts)
    pq.write_table(table.replace_schema_metadata({"phototrace": json.dumps(facts)}), path)


def other_version(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    facts["version"] = 2
    return table


def other_format(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    facts["format"] = "manifest"
    return table


def no_classes(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    del facts["classes"]
    return table


def renamed_class(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    facts["classes"][0] = "genuine"
    return table


def text_for_classes(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    facts["classes"] = "abcdef"
    return table


def dropped_column(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    return table.drop_columns(["scene"])


def added_column(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    return table.append_column("verdict", pa.array(["guilty"] * len(table)))


def finer_numbers(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    index = table.column_names.index("probability_0")
    return table.set_column(index, "probability_0", table["probability_0"].cast(pa.float64()))


def text_from_outside(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    beyond = np.full(len(table), 99, np.int32)
    text = pa.DictionaryArray.from_arrays(beyond, pa.array(["scene 1"]), safe=False)
    return table.set_column(table.column_names.index("scene"), "scene", text)


def with_nulls(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    empty = pa.nulls(len(table), pa.int64())
    return table.set_column(table.column_names.index("row"), "row", empty)


def wild_label(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    wild = pa.array(np.full(len(table), 2**62))
    return table.set_column(table.column_names.index("label"), "label", wild)


def endless_text(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
    text = pa.DictionaryArray.from_arrays(np.zeros(len(table), np.int32), ["x" * 10_000_000])
    return table.set_column(table.column_names.index("photo"), "photo", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_version, "of version 2, this phototrace reads version 1"),
        (other_format, "not a whole table"),
        (no_classes, "not a whole table"),
        (renamed_class, "has changed"),
        (text_for_classes, "has changed"),
        (dropped_column, "not a whole table"),
        (added_column, "not a whole table"),
        (finer_numbers, "not a whole table"),
        (text_from_outside, "not a whole table"),
        (with_nulls, "not a whole table"),
        (wild_label, "labels must be"),
        (endless_text, "10000000 characters"),
    ],
)
def test_forged_files_are_refused(
    made_up: MakeUp, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "p.parquet"
    made_up(6).save(path)
    rewritten(path, change)
    with pytest.raises(DamagedError, match=message):
        Predictions.load(path)


def test_a_file_of_too_many_rows_is_refused_before_it_is_read(
    made_up: MakeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(6).save(tmp_path / "p.parquet")
    monkeypatch.setattr("phototrace.evidence.predictions.SIZE_LIMIT", 100)
    with pytest.raises(DamagedError, match="too many"):
        Predictions.load(tmp_path / "p.parquet")
