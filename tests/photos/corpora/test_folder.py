from pathlib import Path

from phototrace.photos.corpora import CORPORA, Labels

PATHS = [
    "photo.jpg",
    "HTC-1-M7/(HTC-1-M7)1.jpg",
    "Nikon_Coolpix_S710/0/a.jpg",
    "Nikon_Coolpix_S710/1/DCIM/100/b.jpg",
    "_odd/c.jpg",
    "odd_/d.jpg",
]


def test_folders_name_camera_and_device() -> None:
    assert CORPORA["folder"](Path("nowhere"), PATHS).labels == [
        Labels(),
        Labels("", "HTC-1-M7"),
        Labels("Nikon", "Coolpix S710", "0"),
        Labels("Nikon", "Coolpix S710", "1"),
        Labels("", "odd"),
        Labels("", "odd"),
    ]


def test_exif_leaves_everything_open() -> None:
    assert CORPORA["exif"](Path("nowhere"), PATHS).labels == [Labels()] * len(PATHS)
