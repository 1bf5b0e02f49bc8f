"""Metadata of picture files: what a decoder may stumble over and no pixel needs is left out.

Texts, colour profiles, EXIF and their checksums never refuse a picture; of all of it the orientation alone is
used. Sans-IO; nothing here raises.
"""

import struct
import zlib

from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
JPEG_START, JPEG_SCAN, JPEG_EXIF, JPEG_ADOBE, JPEG_COMMENT = 0xD8, 0xDA, 0xE1, 0xEE, 0xFE
WEBP_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
WEBP_METADATA = 0x20 | 0x08 | 0x04  # flags of VP8X: colour profile, EXIF, XMP
ORIENTATION, SHORT = 0x0112, 3  # tag and type, of TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned and mirrored as EXIF's orientation, 1 to 8, says."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def without_metadata(data: bytes) -> tuple[bytes, int]:
    """A file with the same pixels, and its orientation (1: as it is stored). What is neither PNG, JPEG nor
    WebP comes back as it is."""
    for start, strip in (
        (PNG_SIGNATURE, _png),
        (b"\xff\xd8", _jpeg),
        (b"RIFF", _webp),
    ):
        if data.startswith(start):
            return strip(data)
    return data, 1


def _png(data: bytes) -> tuple[bytes, int]:
    kept, orientation, at = [PNG_SIGNATURE], 1, len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        at += len(chunk)
        if kind == b"eXIf":
            orientation = _orientation(chunk[8:-4])
        # As libpng does: an optional part with a wrong checksum counts as not there.
        if kind in PNG_PIXELS and (
            kind != b"tRNS" or zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]
        ):
            kept.append(chunk)
        if kind == b"IEND":
            break
    return b"".join(kept), orientation


def _jpeg(data: bytes) -> tuple[bytes, int]:
    kept, orientation, at = [data[:2]], 1, 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != JPEG_SCAN:
        marker = data[at + 1]
        if marker in (0xFF, 0x01) or JPEG_START >= marker >= 0xD0:  # filling, and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        segment = data[at:end]
        if marker == JPEG_EXIF and segment[4:10] == b"Exif\0\0" and orientation == 1:
            orientation = _orientation(segment[10:])
        # Adobe's tells how colours are coded, the first application segment is JFIF's.
        is_metadata = 0xE1 <= marker <= 0xEF and marker != JPEG_ADOBE
        if not is_metadata and marker != JPEG_COMMENT:
            kept.append(segment)
        at = end
    return b"".join((*kept, data[at:])), orientation


def _webp(data: bytes) -> tuple[bytes, int]:
    kept, orientation, at = list[bytes](), 1, 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        chunk = data[at : at + 8 + length + length % 2]
        at += len(chunk)
        if kind == b"EXIF":
            orientation = _orientation(chunk[8:].removeprefix(b"Exif\0\0"))
        elif kind == b"VP8X" and len(chunk) > 8:
            kept.append(chunk[:8] + bytes([chunk[8] & ~WEBP_METADATA]) + chunk[9:])
        elif kind in WEBP_PIXELS:
            kept.append(chunk)
    body = b"".join(kept)
    return data[:4] + struct.pack("<I", 4 + len(body)) + data[8:12] + body, orientation


def _orientation(exif: bytes) -> int:
    """Of the first directory of a TIFF file; 1 where that cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1

    def read(what: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(order + what, exif, at)

    try:
        (directory,) = read("I", 4)
        (count,) = read("H", directory)
        for number in range(count):
            tag, kind, _, value = read("HHIH", directory + 2 + 12 * number)
            if tag == ORIENTATION and kind == SHORT:
                return value
    except struct.error:
        pass
    return 1
