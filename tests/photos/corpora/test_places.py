import pytest

from phototrace.photos.corpora.places import Place, contradicts, device_of, place_of
from phototrace.photos.names import camera_names

NAMES = camera_names()


@pytest.mark.parametrize(
    ("path", "camera"),
    [
        ("Nikon_D70", ("Nikon", "D70", "")),
        ("Nikon_D70/0", ("Nikon", "D70", "0")),
        ("Nikon_D70_1", ("Nikon", "D70", "1")),
        ("NikonD70", ("Nikon", "D70", "")),
        ("photos/train/Nikon_Coolpix_S710/1/DCIM/100NIKON", ("Nikon", "Coolpix S710", "1")),
        ("canon eos 40d", ("Canon", "eos 40d", "")),
        ("Canon/EOS40D", ("Canon", "EOS40D", "")),
        ("Canon/EOS40D/2", ("Canon", "EOS40D", "2")),
        ("Canon_EOS_REBEL_T3/sn_1", ("Canon", "EOS 1100D", "sn_1")),
        ("Praktica_DCZ5.9/1", ("Praktica", "DCZ5.9", "1")),
        ("train/HTC-1-M7", ("HTC", "1-M7", "")),
        ("Motorola-Droid-Maxx", ("Motorola", "Droid Maxx", "")),
        ("Samsung-Galaxy-Note3", ("Samsung", "Galaxy-Note3", "")),
        ("Sony-NEX-7", ("Sony", "NEX-7", "")),
        ("OnePlus_3", ("OnePlus", "3", "")),
        ("iPhone-6/anna", ("Apple", "iPhone-6", "anna")),
        ("Apple_iPad_Air", ("Apple", "iPad Air", "")),
        ("Nikon_D70/2016-07", ("Nikon", "D70", "")),
        ("Nikon_D70/train", ("Nikon", "D70", "")),
        ("Nikon_D70/DCIM/100NIKON", ("Nikon", "D70", "")),
    ],
)
def test_a_folder_that_is_plainly_a_camera(path: str, camera: tuple[str, str, str]) -> None:
    place = place_of(path.split("/"), NAMES)
    assert place is not None
    assert (place.make, place.model, place.device) == camera


@pytest.mark.parametrize(
    "path",
    [
        "", "DCIM/100CANON", "DCIM/101D5000", "100APPLE", "2016/07", "2016-07-03", "train/cats",
        "test", "val/n02084071", "apple_pie", "Apple Red 1", "blackberry_12", "palm tree 3",
        "iPhone", "iPhone photos", "Canon_2016-07", "Nikon 2019", "Sony trip 2", "canon_cam1",
        "Canon_1", "Samsung phone 2", "DSC_0001", "Photos from 2019", "holiday_2016/07", "Sony D01",
        "001.Black_footed_Albatross", "Make_A/0", "Canon", "Canon/2016/07", "Canon/100CANON",
    ],
)  # fmt: skip
def test_a_folder_that_is_no_camera(path: str) -> None:
    place = place_of(path.split("/"), NAMES)
    assert place is None or place.model == ""


@pytest.mark.parametrize(
    ("path", "make", "model", "wrong"),
    [
        ("Nikon_D70", "Canon", "Canon EOS 40D", True),
        ("Nikon_D70", "NIKON CORPORATION", "NIKON D70s", True),
        ("Nikon_D7000", "NIKON CORPORATION", "NIKON D70", True),
        ("Apple_iPhone_6_Plus", "Apple", "iPhone 6", True),
        ("Canon/EOS40D", "NIKON CORPORATION", "NIKON D70", True),
        ("Canon", "NIKON CORPORATION", "NIKON D70", True),
        ("Samsung_Galaxy_S7", "Apple", "iPhone 6", True),
        ("Sony_D5503", "Sony", "D5803", True),
        ("Nikon_D70", "NIKON CORPORATION", "NIKON D70", False),
        ("Canon/EOS40D", "Canon", "Canon EOS 40D", False),
        ("Canon_EOS_Rebel_XT", "Canon", "Canon EOS 350D DIGITAL", False),
        ("Nikon_Coolpix_S710", "NIKON", "COOLPIX S710", False),
        ("Samsung_Galaxy_S7", "samsung", "SM-G930V", False),
        ("Google_Nexus_5X", "LGE", "Nexus 5X", False),
        ("iPhone 6 Anna", "Apple", "iPhone 6", False),
        ("Nikon_D70", "", "", False),
    ],
)
def test_a_folder_contradicts_exif_or_not(path: str, make: str, model: str, wrong: bool) -> None:
    place = place_of(path.split("/"), NAMES)
    assert place is not None
    assert contradicts(place, make, model, NAMES) is wrong


def test_a_device_lies_in_the_folder_of_its_camera() -> None:
    assert device_of(["all", "Elm_700", "2"], NAMES.key("Elm", "Elm 700"), NAMES) == "2"
    assert device_of(["Elm_700", "2"], NAMES.key("Nikon", "D70"), NAMES) == ""
    assert place_of(["Nikon_D70"], NAMES) == Place("Nikon", "D70", "", "Nikon_D70")
