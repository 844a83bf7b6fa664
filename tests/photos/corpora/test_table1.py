from pathlib import Path

from phototrace.photos.corpora import table1
from phototrace.photos.corpora.dresden import MODELS


def test_the_tasks_have_as_many_classes_as_in_the_paper() -> None:
    assert (len(table1.T_A), len(table1.T_B), len(table1.T_C)) == (6, 20, 5)


def test_dresden_serves_fifteen_and_two() -> None:
    classes = table1.served(stem.replace("_", " ", 1) for stem in MODELS)
    assert (len(classes["T_A"]), len(classes["T_B"]), len(classes["T_C"])) == (6, 15, 2)
    assert classes["T_B"]["Rollei RCP-S7325XS"] == "Rollei RCP-7325XS"
    assert classes["T_B"]["Samsung LZ74 wide"] == "Samsung L74wide"
    assert classes["T_C"] == {"Nikon D70": "Nikon D70", "Sony DSC-W170": "Sony DSC-W170"}
    assert "15 of 20 of T_B and 2 of 5 of T_C" in table1.sentence(classes)
    every = {names["dresden"] for names in (*table1.T_B.values(), *table1.T_C.values())
             if "dresden" in names}  # fmt: skip
    assert every == {*classes["T_B"].values(), *classes["T_C"].values()}


def test_names_of_ones_own_photos_are_known() -> None:
    classes = table1.served(
        ["NIKON D200", "Apple iPhone 4S", "Samsung Galaxy S4", "Nikon D70s", ""]
    )
    assert classes["T_B"] == {
        "Nikon D200": "NIKON D200",
        "Apple iPhone 4s": "Apple iPhone 4S",
        "Samsung Gal. S4": "Samsung Galaxy S4",
    }
    assert classes["T_C"] == {}


def test_without_photos_nothing_is_served() -> None:
    assert table1.served([]) == {"T_A": {}, "T_B": {}, "T_C": {}}
    assert len(table1.served([""])["T_A"]) == 6


def test_names_stand_for_cameras_or_for_what_serves_them() -> None:
    cameras = ["Samsung L74wide", "NIKON D70", "Nikon D70s", "My Box 1", ""]
    names = ["Nikon D70", "My Box 1", "HTC One M7", "Samsung LZ74 wide", "my box 1", ""]
    found, missing = table1.resolve(names, iter(cameras))
    assert list(found.items()) == [
        ("Nikon D70", "NIKON D70"), ("My Box 1", "My Box 1"),
        ("Samsung LZ74 wide", "Samsung L74wide"),
    ]  # fmt: skip
    assert missing == ["HTC One M7", "my box 1", ""]


def test_a_camera_of_the_photos_comes_before_the_papers_name() -> None:
    """As the photos write it, whatever else could serve the class."""
    cameras = ["NIKON D200", "Nikon D200", "nikon d200"]
    assert table1.resolve(["Nikon D200"], cameras) == ({"Nikon D200": "Nikon D200"}, [])
    others = ["NIKON D200", "nikon d200"]
    assert table1.resolve(["Nikon D200"], others) == table1.resolve(["Nikon D200"], others[::-1])


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs/collections.md").read_text(encoding="utf-8")
    for task, classes in (("T_B", table1.T_B), ("T_C", table1.T_C)):
        for name, names in classes.items():
            row = f"| {task} | {name} | {names.get('dresden', '')} | {names.get('vision', '')} |"
            assert row in page


def test_a_camera_serves_by_any_of_its_names() -> None:
    served = table1.served(["Canon DIGITAL IXUS 70", "LGE Nexus 5X", "NIKON CORPORATION D200"])
    assert served["T_B"] == {
        "Canon Ixus70": "Canon DIGITAL IXUS 70",
        "LG Nexus 5x": "LGE Nexus 5X",
        "Nikon D200": "NIKON CORPORATION D200",
    }
