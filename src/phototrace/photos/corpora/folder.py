"""The corpora "auto", "folder" and "exif": your own photos.

"auto" takes make and model from EXIF, and where that has none from the folders that the photo lies
in, as far as one is plainly named for a camera (see `places`). The device is the body's serial
number; where there is none, the folder inside the one that names the photo's camera. A photo whose
EXIF names another camera than its folder is pointed out.

"folder" takes the labels from where a photo lies, and what the place does not tell from EXIF:

- `make_model/device/photo.jpg`: the first folder names the camera, the second the device. Up to its
  first `_` the first folder's name is the make, the rest the model, with spaces for `_`:
  `Nikon_Coolpix_S710/0/a.jpg` is device 0 of a Nikon Coolpix S710. What lies deeper belongs to the
  same device.
- `model/photo.jpg`: the same without a device. A folder's name without `_` is the model alone.
- `photo.jpg`, in no folder: all from EXIF; the device is the body's serial number.

"exif" takes everything from EXIF wherever the photos lie: for folders that name no cameras.

EXIF is joined to the labels when the photos have been read: see `labelling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from phototrace.photos.corpora.labels import Labels, Reading


def folder(source: Path, paths: Sequence[str]) -> Reading:
    """Labels by `make_model/device/photo.jpg`, `model/photo.jpg` or, in no folder, by EXIF."""
    return Reading([_labels(PurePosixPath(path).parts[:-1]) for path in paths])


def auto(source: Path, paths: Sequence[str]) -> Reading:
    """No labels by the layout alone: they come from EXIF, and from folders where EXIF has none."""
    return Reading([Labels() for _ in paths])


def exif(source: Path, paths: Sequence[str]) -> Reading:
    """No labels by the layout: everything comes from EXIF."""
    return Reading([Labels() for _ in paths])


def _labels(folders: tuple[str, ...]) -> Labels:
    if not folders:
        return Labels()
    make, _, model = folders[0].partition("_")
    if not model:
        make, model = "", folders[0]
    device = folders[1] if len(folders) > 1 else ""
    return Labels(make.strip(), model.replace("_", " ").strip(), device)
