"""Files of predictions that someone has changed on purpose."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phototrace.errors import DamagedError
from phototrace.evidence.predictions import NumberPredictions, Predictions, load_predictions

MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]
AnyTable = Callable[[int], Predictions | NumberPredictions]
Change = Callable[[pa.Table, dict[str, Any]], pa.Table]


def rewritten(path: Path, change: Change) -> None:
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


def fact(name: str, value: Any) -> Change:
    """A forgery: one fact changed."""

    def change(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
        facts[name] = value
        return table

    return change


def numbers_in(name: str, values: pa.Scalar) -> Change:
    """A forgery: one column all of one value."""

    def change(table: pa.Table, facts: dict[str, Any]) -> pa.Table:
        column = pa.array([values.as_py()] * len(table), values.type)
        return table.set_column(table.column_names.index(name), name, column)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fact("version", 2), "of version 2, this phototrace reads version 1"),
        (fact("format", "predictions"), "not a whole table"),
        (fact("format", ["number predictions"]), "not a whole table"),
        (fact("unit", "degrees"), "has changed"),
        (fact("unit", None), "unit must be text"),
        (fact("unit", "x" * 1001), "1001 characters"),
        (fact("range", [40, 95]), "has changed"),
        (fact("range", [95, 50]), "two finite numbers"),
        (fact("range", [50, 50 + 1e-9]), "two finite numbers"),
        (fact("range", [50, float("inf")]), "two finite numbers"),
        (fact("range", [float("nan"), 95]), "two finite numbers"),
        (fact("range", [0, 10**400]), "two finite numbers"),
        (fact("range", [50, 60, 95]), "two finite numbers"),
        (fact("range", "59"), "two finite numbers"),
        (fact("range", 5), "two finite numbers"),
        (fact("range", [60, 95]), "true values must be in 60 to 95"),
        (dropped_column, "not a whole table"),
        (added_column, "not a whole table"),
        (text_from_outside, "not a whole table"),
        (with_nulls, "not a whole table"),
        (endless_text, "10000000 characters"),
        (numbers_in("value", pa.scalar(60.0, pa.float64())), "not a whole table"),
        (numbers_in("value", pa.scalar(60.0, pa.float32())), "has changed"),
        (numbers_in("value", pa.scalar(float("nan"), pa.float32())), "values must be finite"),
        (numbers_in("label", pa.scalar(float("nan"), pa.float32())), "true values must be"),
        (numbers_in("label", pa.scalar(60, pa.int64())), "not a whole table"),
    ],
)
def test_forged_files_of_numbers_are_refused(
    made_up_numbers: MakeUpNumbers, tmp_path: Path, change: Change, message: str
) -> None:
    path = tmp_path / "p.parquet"
    made_up_numbers(6).save(path)
    rewritten(path, change)
    with pytest.raises(DamagedError, match=message):
        load_predictions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fact("format", "predictions"), "not a whole table"),
        (fact("format", "number predictions"), "not a whole table"),
        (fact("made_from", "d" * 64), "has changed"),
        (fact("made_from", ""), "name the full table"),
        (fact("made_from", 5), "made_from must be text"),
        (fact("classes", ["a", "b"]), "labels must be"),
        (numbers_in("named", pa.scalar(6, pa.uint16())), "named classes must be"),
        (numbers_in("named", pa.scalar(1, pa.uint16())), "has changed"),
        (numbers_in("named", pa.scalar(1, pa.int64())), "not a whole table"),
    ],
)
def test_forged_compact_files_are_refused(
    made_up: MakeUp, tmp_path: Path, change: Change, message: str
) -> None:
    path = tmp_path / "p.parquet"
    made_up(6).compact().save(path)
    rewritten(path, change)
    with pytest.raises(DamagedError, match=message):
        load_predictions(path)


def test_a_file_of_too_many_rows_is_refused_before_it_is_read(
    any_table: AnyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_table(6).save(tmp_path / "p.parquet")
    monkeypatch.setattr("phototrace.evidence.patch_table.SIZE_LIMIT", 100)
    with pytest.raises(DamagedError, match="too many"):
        load_predictions(tmp_path / "p.parquet")
