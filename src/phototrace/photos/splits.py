"""Which photos are for training, validation and test, and by what they are split.

A split is a pure function of the manifest's content and a seed: neither the order of the rows nor
the paths matter. What is drawn is drawn by the SHA-256 of `seed:name`, so that adding a photo moves
as little as possible. Photos of one burst are never on two sides, whatever the split is by.

by "photo"
    Within each camera model, bursts are dealt to the parts. A model with three or more bursts is in
    all parts. The largest burst always trains.
by "device"
    Of each camera model with two or more devices, one whole device is for test; with three or more,
    another one is for validation where it can. The device with the most photos always trains, and a
    device with less than a tenth of its photos is not drawn unless there is no other. Where there
    is no validation device, bursts of the training devices take its place. A model with one device
    is not in the test part: see `notes`.
by "scene"
    Whole scenes are dealt to the parts over all cameras; the largest always trains.
by "device and scene"
    Test: test devices in test scenes. Train and validation: the other devices in scenes of
    these parts. What is left is excluded. Train and validation share devices, not scenes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from phototrace.errors import UsageError
from phototrace.files import hash_of
from phototrace.photos.dealing import PARTS, Draw, Group, deal, draw_devices, largest_and_rest, take
from phototrace.photos.grouping import connected
from phototrace.photos.manifest import Manifest, PhotoRecord, cell

BY = ("photo", "device", "scene", "device and scene")


@dataclass(frozen=True)
class Split:
    """Which photo is in which part.

    Attributes:
        by: What the parts are split by.
        seed: Of the draw.
        part: Photo id to "train", "validation" or "test".
        excluded: Photo id to the reason why it is in no part.
        hash: Over all settings and the pairs of SHA-256 and part; 64 hexadecimal digits.
        notes: Sentences on what could not be done as asked, such as models with one device.
        conflicts: Where a hand-made split puts one photo in several parts: photo id to pairs of
            path and part.
    """

    by: str
    seed: int
    part: Mapping[str, str]
    excluded: Mapping[str, str]
    hash: str
    notes: tuple[str, ...] = ()
    conflicts: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def photos(self, manifest: Manifest, part: str) -> Manifest:
        """The manifest's photos that are in `part`, in its order.

        Raises:
            UsageError: There is no such part.
        """
        if part not in PARTS:
            raise UsageError(f"There is no part {part!r}. Choose train, validation or test.")
        return replace(
            manifest, photos=tuple(p for p in manifest.photos if self.part.get(p.id) == part)
        )


def make_split(
    manifest: Manifest,
    by: str,
    seed: int,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    test_devices: Sequence[str] = (),
    validation_devices: bool = True,
) -> Split:
    """Deal a manifest's photos to train, validation and test (see above).

    Args:
        manifest: With devices, scenes and bursts as far as the split needs them.
        by: "photo", "device", "scene" or "device and scene".
        seed: Of the draw.
        validation: Share of photos (with "scene", of all photos; else of each model's) for
            validation.
        test: Likewise, to test on. With "device", whole devices test and this does not matter.
        test_devices: `device_id`s that test whatever the draw: with "photo" with their bursts, with
            "scene" with their whole scenes, otherwise in place of a drawn device of their model.
        validation_devices: With "device", whether another device of a model is for validation,
            where there is one; otherwise bursts of the training devices are.

    Raises:
        UsageError: The manifest lacks what `by` needs, a part would be empty, or a value is wrong.
    """
    if by not in BY:
        raise UsageError(f"A split cannot be by {by!r}. Choose one of: {', '.join(BY)}.")
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise UsageError(
            f"validation = {validation} and test = {test} leave no photos for a part. Both must be "
            "above 0, and below 1 together."
        )
    records, excluded = _distinct(manifest)
    forced = frozenset(test_devices)
    unknown = sorted(forced - {p.device_id for p in records})
    if unknown:
        raise UsageError(f"The manifest has no device {unknown[0]!r}. Correct test_devices.")
    draw = Draw(seed, validation, test, validation_devices)
    dealt = {
        "photo": _by_photo,
        "device": _by_device,
        "scene": _by_scene,
        "device and scene": _by_device_and_scene,
    }[by](records, draw, forced)
    excluded |= dealt.excluded
    _require_all_parts(by, dealt)
    settings: dict[str, object] = {
        "validation": validation,
        "test": test,
        "test_devices": sorted(forced),
    }
    if not validation_devices:
        settings["validation_devices"] = False
    hashes = {p.id: p.sha256 for p in records}
    pairs = sorted([hashes[i], part] for i, part in dealt.part.items())
    notes = [*dealt.notes, *count_reasons(excluded)]
    name = hash_of({"by": by, "seed": seed, "settings": settings, "parts": pairs})
    return Split(by, seed, dealt.part, excluded, name, tuple(notes))


@dataclass
class _Dealt:
    part: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, photos: Iterable[PhotoRecord], part: str) -> None:
        self.part |= {p.id: part for p in photos}

    def exclude(self, photos: Iterable[PhotoRecord], reason: str) -> None:
        for photo in photos:
            self.part.pop(photo.id, None)
            self.excluded[photo.id] = reason


def _distinct(manifest: Manifest) -> tuple[list[PhotoRecord], dict[str, str]]:
    """One record a file, in order of SHA-256; a file that stands for two things is excluded."""
    labels: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    records: dict[str, PhotoRecord] = {}
    for p in manifest.photos:
        labels[p.id].add((p.make, p.model, p.device, p.scene, p.burst))
        records[p.id] = p
    reason = "the same file stands in several rows with different labels"
    excluded = {i: reason for i in sorted(labels) if len(labels[i]) > 1}
    kept = [p for p in records.values() if p.id not in excluded]
    return sorted(kept, key=lambda p: p.sha256), excluded


def _by_photo(records: list[PhotoRecord], draw: Draw, forced: frozenset[str]) -> _Dealt:
    dealt = _Dealt()
    cameras: dict[str, list[Group]] = defaultdict(list)
    tested: set[str] = set()
    for burst in connected(records, lambda p: [p.burst]):
        if any(p.device_id in forced for p in burst):
            dealt.put(burst, "test")
            tested |= {p.camera for p in burst}
        else:
            cameras[burst[0].camera].append(burst)
    for camera, bursts in sorted(cameras.items()):
        parts = deal(bursts, draw, _burst_name, test_first=camera not in tested)
        for part, groups in parts.items():
            dealt.put((p for group in groups for p in group), part)
        missing = [part for part in PARTS if not parts[part]]
        if missing and not (missing == ["test"] and camera in tested):
            dealt.notes.append(
                f"{camera or 'Unknown camera'} is not in the {' and '.join(missing)} part: "
                f"{_few(bursts)}."
            )
    return dealt


def _few(bursts: Sequence[Group]) -> str:
    """Why so few bursts fill no more parts, such as "its 24 photos form 2 bursts"."""
    photos, count = sum(map(len, bursts)), len(bursts)
    if photos == count:
        return f"it has {count} photo{'s' if count > 1 else ''}"
    timed = all(len({cell(p, "taken") for p in burst}) == 1 for burst in bursts if len(burst) > 1)
    known = all(cell(p, "taken") for burst in bursts for p in burst if len(burst) > 1)
    why = ", each of photos that all carry the same time" if timed and known else ""
    return f"its {photos} photos form {count} burst{'s' if count > 1 else ''}{why}"


def _by_scene(records: list[PhotoRecord], draw: Draw, forced: frozenset[str]) -> _Dealt:
    dealt = _Dealt()
    _require_scenes(records)
    free = []
    for scene in connected(records, lambda p: [p.scene, p.burst]):
        if any(p.device_id in forced for p in scene):
            dealt.put(scene, "test")
        else:
            free.append(scene)
    for part, groups in deal(free, draw, _scene_name, test_first=not dealt.part).items():
        dealt.put((p for group in groups for p in group), part)
    return dealt


def _by_device(records: list[PhotoRecord], draw: Draw, forced: frozenset[str]) -> _Dealt:
    dealt = _Dealt()
    roles = _device_roles(records, draw, forced, dealt, validation=draw.validation_devices)
    kept = [p for p in records if p.id not in dealt.excluded]
    for part in PARTS:
        dealt.put((p for p in kept if roles[p.device_id] == part), part)
    _validation_by_burst(kept, roles, draw, dealt)
    # Parts by device can cut a burst that spans devices: it stays where it tests.
    for burst in connected(kept, lambda p: [p.burst]):
        stays = max((dealt.part[p.id] for p in burst), key=PARTS.index)
        reason = f"its burst reaches into the {stays} part"
        dealt.exclude([p for p in burst if dealt.part[p.id] != stays], reason)
    return dealt


def _validation_by_burst(
    records: list[PhotoRecord], roles: Mapping[str, str], draw: Draw, dealt: _Dealt
) -> None:
    """Where a camera has no validation device, some bursts of its training devices are."""
    validated = {p.camera for p in records if roles[p.device_id] == "validation"}
    training = [p for p in records if roles[p.device_id] == "train" and p.camera not in validated]
    cameras: dict[str, list[Group]] = defaultdict(list)
    for burst in connected(training, lambda p: [p.burst]):
        cameras[burst[0].camera].append(burst)
    for _, bursts in sorted(cameras.items()):
        _, rest = largest_and_rest(bursts, draw, _burst_name)
        for group in take(rest, draw.validation * sum(map(len, bursts)), len(rest))[0]:
            dealt.put(group, "validation")


def _by_device_and_scene(records: list[PhotoRecord], draw: Draw, forced: frozenset[str]) -> _Dealt:
    dealt = _Dealt()
    _require_scenes(records)
    roles = _device_roles(records, draw, forced, dealt, validation=False)
    scenes = deal(connected(records, lambda p: [p.scene, p.burst]), draw, _scene_name)
    for part, groups in scenes.items():
        for photo in (p for group in groups for p in group if p.id not in dealt.excluded):
            test_device, test_scene = roles[photo.device_id] == "test", part == "test"
            if test_device == test_scene:
                dealt.put([photo], part)
            elif test_device:
                dealt.exclude([photo], "a test device in a scene that is not a test scene")
            else:
                dealt.exclude([photo], "a test scene by a device that is not a test device")
    return dealt


def _device_roles(
    records: list[PhotoRecord],
    draw: Draw,
    forced: frozenset[str],
    dealt: _Dealt,
    *,
    validation: bool = True,
) -> dict[str, str]:
    """Part of each device; photos whose device cannot be told from a test device are excluded."""
    cameras: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in records:
        cameras[photo.camera][photo.device_id] += 1
    unknown = {p.device_id for p in records if not p.device}
    roles: dict[str, str] = {}
    for counts in cameras.values():
        known = {d: n for d, n in counts.items() if d not in unknown or d in forced}
        roles |= dict.fromkeys(counts, "train") | draw_devices(
            known, draw, forced, validation=validation
        )
    for photo in records:
        if not photo.camera and not photo.device:
            dealt.exclude([photo], "neither its camera nor its device is known")
        elif not photo.device and any(
            roles[d] != "train" for d in cameras[photo.camera] if d != photo.device_id
        ):
            dealt.exclude([photo], "its device is unknown and may be one for test or validation")
    left = {p.device_id for p in records if p.id not in dealt.excluded}
    for camera, counts in sorted(cameras.items()):
        found = {roles[device] for device in counts if device in left}
        if found and "test" not in found:
            dealt.notes.append(
                f"{camera or 'Unknown camera'} has one device only, so it is not in the test part."
            )
        elif found == {"test"}:
            dealt.notes.append(
                f"All devices of {camera or 'unknown camera'} are for test: it is not in the "
                "train part."
            )
    return roles


def _burst_name(burst: Group) -> str:
    return burst[0].burst or burst[0].sha256


def _scene_name(group: Group) -> str:
    return min(p.scene for p in group)


def _require_scenes(records: list[PhotoRecord]) -> None:
    unknown = sum(not p.scene for p in records)
    if unknown:
        raise UsageError(
            f"{unknown} of {len(records)} photos have no scene. Fill the manifest's column "
            "'scene', leave these photos out, or split by photo or device."
        )


def _require_all_parts(by: str, dealt: _Dealt) -> None:
    empty = [part for part in PARTS if part not in dealt.part.values()]
    if empty:
        notes = f" {dealt.notes[0]}" if dealt.notes else ""
        raise UsageError(
            f"A split by {by} of these photos leaves the {empty[0]} part empty.{notes} "
            "Add photos, or split by something else."
        )


def count_reasons(excluded: Mapping[str, str]) -> list[str]:
    """How many photos were excluded for each reason, in sentences."""
    counts = Counter(excluded.values())
    return [f"{count} photo(s) excluded: {reason}." for reason, count in sorted(counts.items())]
