"""The paper's Table 1: the classes of its three tasks, and what each collection calls them.

Mayer, Bayar and Stamm 2018. T_A are operations, which can be applied to any photo. T_B and T_C are
camera models; five of the 20 and three of the 5 are from a collection that is not public.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phototrace.photos.names import camera_names

T_A = (
    "Unaltered", "Median Filter (5x5)", "Gauss. Blur (sigma = 1.1)", "AWGN (sigma = 2)",
    "Bilinear Interp. (x1.5)", "JPEG (Q=70)",
)  # fmt: skip

# The paper's name -> camera models (make and model) as collections have them. What is not named
# here goes by the paper's own name, as far as a collection has it.
T_B: dict[str, dict[str, str]] = {
    "Apple iPhone 4s": {"vision": "Apple iPhone4s"},
    "Apple iPhone 6": {"vision": "Apple iPhone6"},
    "Canon Ixus70": {"dresden": "Canon Ixus70"},
    "Casio EX-Z150": {"dresden": "Casio EX-Z150"},
    "FujiFilm FinePixJ50": {"dresden": "FujiFilm FinePixJ50"},
    "Kodak M1063": {"dresden": "Kodak M1063"},
    "LG Nexus 5x": {},
    "Nikon Coolpix S710": {"dresden": "Nikon CoolPixS710"},
    "Nikon D200": {"dresden": "Nikon D200"},
    "Olympus mju-1050SW": {"dresden": "Olympus mju-1050SW"},
    "Panasonic DMC-FZ50": {"dresden": "Panasonic DMC-FZ50"},
    "Pentax OptioA40": {"dresden": "Pentax OptioA40"},
    "Praktica DCZ5.9": {"dresden": "Praktica DCZ5.9"},
    "Ricoh GX100": {"dresden": "Ricoh GX100"},
    "Rollei RCP-S7325XS": {"dresden": "Rollei RCP-7325XS"},
    "Samsung Gal. Note4": {},
    "Samsung Gal. S4": {},
    "Samsung LZ74 wide": {"dresden": "Samsung L74wide"},
    "Samsung NV15": {"dresden": "Samsung NV15"},
    "Sony DSC-T77": {"dresden": "Sony DSC-T77"},
}
T_C: dict[str, dict[str, str]] = {
    "HTC One M7": {},
    "Mot. Droid Maxx": {},
    "Nikon D70": {"dresden": "Nikon D70"},
    "Samsung Galaxy S2": {},
    "Sony DSC-W170": {"dresden": "Sony DSC-W170"},
}

_SHORT = {"Gal.": "Galaxy", "Mot.": "Motorola"}


def served(cameras: Iterable[str]) -> dict[str, dict[str, str]]:
    """Which classes of T_A, T_B and T_C the given camera models can serve.

    Names are compared without regard to case, spaces and punctuation, and a camera that has several
    names (see `names`) serves by any of them.

    Args:
        cameras: Make and model of the photos' cameras (`PhotoRecord.camera`), "" where unknown.

    Returns:
        Task -> class -> the camera that serves it; of T_A, all classes with "" if there are photos.
    """
    cameras = list(cameras)
    known = {_key(camera): camera for camera in cameras if camera}
    tasks = {"T_A": dict.fromkeys(T_A, "") if cameras else {}}
    for task, classes in (("T_B", T_B), ("T_C", T_C)):
        found = {
            name: [k for k in _keys(name, also) if k in known] for name, also in classes.items()
        }
        tasks[task] = {name: known[keys[0]] for name, keys in found.items() if keys}
    return tasks


def resolve(names: Sequence[str], cameras: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What each name stands for in these photos: a camera, or one of Table 1's classes.

    Args:
        names: Camera models as the photos have them, or names of T_B and T_C.
        cameras: Make and model of the photos' cameras.

    Returns:
        Name -> camera, in order; and the names that no photo is of.
    """
    there = sorted(set(cameras))  # in order: two may serve one class, and one must always do so
    classes = served(there)
    by_paper = classes["T_B"] | classes["T_C"]
    found = {name: name if name in there else by_paper.get(name, "") for name in names}
    missing = [name for name, camera in found.items() if not camera]
    return {name: camera for name, camera in found.items() if camera}, missing


def sentence(tasks: dict[str, dict[str, str]]) -> str:
    """How many classes of each task are served, in words."""
    a, b, c = (len(tasks[task]) for task in ("T_A", "T_B", "T_C"))
    return (
        f"Of the paper's classes (Table 1) these photos can serve {a} of {len(T_A)} of T_A, "
        f"{b} of {len(T_B)} of T_B and {c} of {len(T_C)} of T_C."
    )


def _keys(name: str, elsewhere: dict[str, str]) -> list[str]:
    words = [_SHORT.get(word, word) for word in name.split()]
    return [_key(" ".join(words)), *(_key(other) for other in elsewhere.values())]


def _key(name: str) -> str:
    return camera_names().key("", name)
