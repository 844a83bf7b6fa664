"""What a file is, from its first bytes: the name's ending does not decide."""

from __future__ import annotations

from phototrace.photos.ifd import read_directory

HEAD_BYTES = 32
TIFF_BYTES = 1 << 20
"""How much of a TIFF `is_raw` looks at: raw files have their directories near the start."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1",
                b"msf1", b"mif2"}  # fmt: skip
_AVIF_BRANDS = {b"avif", b"avis"}
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR", b"\x00MRM", b"FOVb",
               b"II\x1a\x00\x00\x00HEAPCCDR", b"ARRI")  # fmt: skip
_RAW_ENDINGS = (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr",
                ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef",
                ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f")  # fmt: skip
_TYPE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _SUB_PICTURES, _DNG = 254, 259, 262, 271, 330, 50706
_SENSOR = {32803, 34892}  # colours: a filter mosaic, linear raw
_PACKED = {32767, 32769, 32770, 32772, 34316, 34713, 65000, 65535}  # the makers' compressions
_DO_NOT_CONVERT = "Converting it would erase the traces to be examined: ask for the camera's JPEG."
RAW = f"is a raw file, which is not read. {_DO_NOT_CONVERT}"
"""Why a raw file is not read, and what to do: the end of a sentence."""
_OTHER_STARTS = {
    b"GIF8": "a GIF", b"BM": "a BMP", b"8BPS": "a Photoshop file", b"%PDF": "a PDF",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture", b"\xff\x0a": "a JPEG XL picture",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 picture", b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
}  # fmt: skip


def kind_of(head: bytes) -> str:
    """Tell "JPEG", "PNG" or "TIFF" by the first `HEAD_BYTES` bytes; "" for anything else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        # Some raw files keep a TIFF header; Canon and Phase One sign themselves behind it.
        return "" if _is_signed(head) else "TIFF"
    return ""


def _is_signed(head: bytes) -> bool:
    return head[8:11] == b"CR\x02" or head[8:12] in (b"IIII", b"MMMM")


def is_raw(data: bytes) -> bool:
    """Whether a TIFF, of which `data` are the first `TIFF_BYTES` or all, is a camera's raw file.

    One of its pictures holds sensor values, or it is a camera's preview with the picture itself in
    a directory below.
    """
    tags = (_TYPE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _SUB_PICTURES)
    first = read_directory(data, tags)
    below = first.numbers.get(_SUB_PICTURES, ())[:16]
    preview = first.number(_TYPE, 0) == 1 and below and _MAKE in first.present
    if preview or _DNG in first.present or _is_signed(data[:HEAD_BYTES]):
        return True
    behind = [first.next] if first.next else []
    pictures = [first, *(read_directory(data, tags, place) for place in [*below, *behind])]
    return any(
        picture.number(_PHOTOMETRIC, 0) in _SENSOR or picture.number(_COMPRESSION, 0) in _PACKED
        for picture in pictures
    )


def has_raw_ending(name: str) -> bool:
    """Whether a file is named as cameras name raw files."""
    return name.lower().endswith(_RAW_ENDINGS)


def refusal_of(head: bytes) -> str:
    """Why a file that starts so is not read, and what to do: the end of a sentence."""
    if not head:
        return "is empty. Copy it again from its source."
    if head[4:8] == b"ftyp":
        return _refusal_of_brand(head[8:12])
    if head.startswith(_RAW_STARTS) or _is_signed(head):
        return RAW
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _other("a WebP picture")
    for start, name in _OTHER_STARTS.items():
        if head.startswith(start):
            return _other(name)
    return "is not a photo: its content is neither JPEG, PNG nor TIFF. Leave it out."


def _refusal_of_brand(brand: bytes) -> str:
    if brand in _HEIF_BRANDS:
        return f"is a HEIC (HEIF) photo, which is not read. {_DO_NOT_CONVERT}"
    if brand in _AVIF_BRANDS:
        return f"is an AVIF picture, which is not read. {_DO_NOT_CONVERT}"
    if brand == b"crx ":
        return RAW
    return "is a video or another media file, not a photo. Leave it out."


def _other(name: str) -> str:
    return (
        f"is {name}; only JPEG, PNG and TIFF are read. Look for the file that the camera wrote: "
        "a conversion of this one would carry the conversion's traces."
    )
