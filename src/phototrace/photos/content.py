"""What a file is, from its first bytes: the name's ending does not decide."""

from __future__ import annotations

HEAD_BYTES = 32

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1",
                b"msf1", b"mif2"}  # fmt: skip
_AVIF_BRANDS = {b"avif", b"avis"}
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR", b"\x00MRM", b"FOVb")
_DO_NOT_CONVERT = "Converting it would erase the traces to be examined: ask for the camera's JPEG."
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
        # Some raw files keep a TIFF header; Canon's CR2 signs itself behind it.
        return "" if head[8:11] == b"CR\x02" else "TIFF"
    return ""


def refusal_of(head: bytes) -> str:
    """Why a file that starts so is not read, and what to do: the end of a sentence."""
    if not head:
        return "is empty. Copy it again from its source."
    if head[4:8] == b"ftyp":
        return _refusal_of_brand(head[8:12])
    if head.startswith(_RAW_STARTS) or head[8:11] == b"CR\x02":
        return f"is a raw file, which is not read. {_DO_NOT_CONVERT}"
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
        return f"is a raw file, which is not read. {_DO_NOT_CONVERT}"
    return "is a video or another media file, not a photo. Leave it out."


def _other(name: str) -> str:
    return (
        f"is {name}; only JPEG, PNG and TIFF are read. Look for the file that the camera wrote: "
        "a conversion of this one would carry the conversion's traces."
    )
