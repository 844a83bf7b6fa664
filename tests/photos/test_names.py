from pathlib import Path

import pytest

from phototrace.errors import UsageError
from phototrace.photos.names import camera_names, near_names

NAMES = camera_names()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("SAMSUNG", "SM-G930V"), ("samsung", "SM-G930V")),
        (("SAMSUNG TECHWIN CO., LTD.", "NV15"), ("Samsung", "SAMSUNG NV15")),
        (("OLYMPUS IMAGING CORP.", "E-P3"), ("OLYMPUS CORPORATION", "E-P3")),
        (("OLYMPUS OPTICAL CO.,LTD", "E-10"), ("OLYMPUS DIGITAL CAMERA", "E-10")),
        (("NIKON", "COOLPIX P2"), ("NIKON CORPORATION", "COOLPIX P2")),
        (("NIKON CORPORATION", "NIKON D70"), ("Nikon", "D70")),
        (("LGE", "LG-H815"), ("LG Electronics", "LG-H815")),
        (("HP", "HP PhotoSmart 318"), ("Hewlett-Packard", "PhotoSmart 318")),
        (("HEWLETT-PACKARD COMPANY", "HP 435"), ("HP", "HP 435")),
        (("EASTMAN KODAK COMPANY", "KODAK DX4330 DIGITAL CAMERA"), ("Kodak", "DX4330")),
        (("FUJI PHOTO FILM CO., LTD.", "FinePixS602 ZOOM"), ("FUJIFILM", "FinePix S602 Zoom")),
        (("PENTAX Corporation", "PENTAX K10D"), ("RICOH IMAGING COMPANY, LTD.", "PENTAX K10D")),
        (("CASIO COMPUTER CO.,LTD", "EX-Z3"), ("CASIO COMPUTER CO.,LTD.", "EX-Z3")),
        (("Sony Mobile Communications", "D5503"), ("Sony", "D5503")),
        (("Canon", "Canon EOS 350D DIGITAL"), ("Canon", "Canon EOS DIGITAL REBEL XT")),
        (("Canon", "Canon EOS 350D DIGITAL"), ("Canon", "Canon EOS Kiss Digital N")),
        (("Canon", "EOS 350D"), ("Canon", "Rebel XT")),
        (("Canon", "EOS 350D"), ("Canon", "Kiss Digital N")),
        (("Canon", "Canon EOS 700D"), ("Canon", "Canon EOS Kiss X7i")),
        (("Canon", "Canon DIGITAL IXUS 70"), ("Canon", "Canon PowerShot SD1000")),
        (("Canon", "Canon IXUS 220HS"), ("Canon", "Canon PowerShot ELPH 300 HS")),
        (("Panasonic", "DMC-GX80"), ("Panasonic", "DMC-GX85")),
        (("", "iPhone 6"), ("Apple", "iPhone 6")),
        (("", "Canon EOS 40D"), ("Canon", "EOS40D")),
    ],
)
def test_one_camera_has_one_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert NAMES.key(*one) == NAMES.key(*other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Sony Ericsson", "C905c"), ("Sony", "C905c")),
        (("KONICA MINOLTA", "DiMAGE A2"), ("Minolta Co., Ltd.", "DiMAGE A2")),
        (("RICOH IMAGING COMPANY, LTD.", "RICOH GR III"), ("Pentax", "GR III")),
        (("Canon", "Canon EOS 5D"), ("Canon", "Canon EOS 5D Mark II")),
        (("samsung", "SM-G955F"), ("samsung", "SM-G955U")),
        (("Phase One A/S", "P45"), ("Phase One A/S", "P45+")),
        (("LGE", "Nexus 5"), ("LGE", "Nexus 5X")),
        (("Canon", "Canon PowerShot S100"), ("Canon", "Canon DIGITAL IXUS")),
    ],
)
def test_what_is_different_stays_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert NAMES.key(*one) != NAMES.key(*other)


def test_the_name_used_is_short() -> None:
    assert NAMES.canonical("NIKON CORPORATION", "NIKON D90") == ("Nikon", "D90")
    assert NAMES.canonical("Canon", "Canon EOS REBEL T3") == ("Canon", "EOS 1100D")
    assert NAMES.canonical("Zoran Corporation", "COACH") == ("Zoran Corporation", "COACH")
    assert NAMES.canonical("", "") == ("", "")
    assert NAMES.key("Nikon", "") == ""


def test_no_name_in_the_table_stands_for_two() -> None:
    for make, models in NAMES.models.items():
        for written, name in models.items():
            assert NAMES.canonical(make, name) == (make, name)
            assert NAMES.models[make][written] == name


def test_people_extend_the_table(tmp_path: Path) -> None:
    assert camera_names(tmp_path) == NAMES
    own = tmp_path / "camera_names.toml"
    own.write_text('[makes]\n"Acme" = ["ACME Ltd."]\n[models."Acme"]\n"X1" = ["X1 Kiss"]\n')
    names = camera_names(tmp_path)
    assert names.canonical("ACME LTD", "Acme x1 kiss") == ("Acme", "X1")
    assert names.canonical("NIKON CORPORATION", "NIKON D90") == ("Nikon", "D90")
    for text in ("[makes", "[makes]\nAcme = 1\n", "[cameras]\na = []\n", "models = 3\n"):
        own.write_text(text)
        with pytest.raises(UsageError, match=r"camera_names\.toml"):
            camera_names(tmp_path)


def test_names_that_may_mean_one_camera_are_pointed_out() -> None:
    (note,) = near_names([("SAMSUNG", "GT-1", ""), ("samsung", "GT-1", "a"), ("A", "B", "")], NAMES)
    assert note.startswith("SAMSUNG GT-1, samsung GT-1 look like 2 names of one camera model")
    (note,) = near_names([("Fly", "Tornado-Slim", ""), ("Fly", "Tornado slim", "")], NAMES)
    assert "Fly Tornado slim, Fly Tornado-Slim" in note
    assert (
        near_names([("NIKON CORPORATION", "NIKON D40", ""), ("NIKON", "NIKON D40", "")], NAMES)
        == []
    )


def test_one_serial_number_under_two_models_is_pointed_out() -> None:
    twice = [("A", "X", "2051302"), ("A", "Y", "2051302")]
    (note,) = near_names(twice, NAMES)
    assert note.startswith("The device 2051302 stands under 2 camera models: A X, A Y.")
    for device in ("0", "12", "D01", "device-2", ""):
        assert near_names([("A", "X", device), ("A", "Y", device)], NAMES) == []
    one = [
        ("Canon", "Canon EOS 350D DIGITAL", "2051302"),
        ("Canon", "EOS Kiss Digital N", "2051302"),
    ]
    assert len(near_names(one, NAMES)) == 1  # two names, and no second note
