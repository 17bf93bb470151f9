"""Remove comments, application data and trailing bytes from compressed images."""

_APP_0, _APP_14, _APP_15, _COMMENT = 0xE0, 0xEE, 0xEF, 0xFE
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
_START, _END, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_RESTART = range(0xD0, 0xD8)
_J2K_START, _J2K_START_OF_TILE, _J2K_START_OF_DATA = b"\xff\x4f", 0x90, 0x93
_J2K_COMMENT = 0x64
_J2K_TILE_BYTES = 12


def without_comments_jpeg(frame: bytes) -> bytes:
    """Return a JPEG or JPEG-LS image whose comments and application data are zeros, cut after its end.

    Parameters
    ----------
    frame : bytes
        The compressed image.

    Returns
    -------
    bytes
        As long as before up to its end, so that nothing else moves.

    Raises
    ------
    ValueError
        If it is no such image, or is cut off.
    """
    cleaned = bytearray(frame)
    if cleaned[:2] != bytes((0xFF, _START)):
        msg = "no JPEG image"
        raise ValueError(msg)
    at = 2
    while True:
        at = _next_marker(cleaned, at)
        marker = cleaned[at + 1]
        if marker == _END:
            return bytes(cleaned[: at + 2])
        end = _end_of_segment(cleaned, at)
        if marker == _COMMENT or _APP_0 <= marker <= _APP_15:
            _blank(cleaned, at + 4 + _retained_bytes(marker, cleaned[at + 4 : end]), end)
        at = end


def without_comments_jpeg_2000(frame: bytes) -> bytes:
    """Return a JPEG 2000 codestream whose comments are zeros, cut after its end.

    Raises
    ------
    ValueError
        If it is no such codestream, or is cut off.
    """
    cleaned = bytearray(frame)
    if cleaned[:2] != _J2K_START:
        msg = "no JPEG 2000 codestream"
        raise ValueError(msg)
    at, tile = 2, 0
    tile_bytes = 0
    while True:
        if at + 2 > len(cleaned) or cleaned[at] != 0xFF:
            msg = "the codestream is damaged"
            raise ValueError(msg)
        marker = cleaned[at + 1]
        if marker == _END:
            return bytes(cleaned[: at + 2])
        if marker == _J2K_START_OF_DATA:
            # a last tile may leave its size open: it ends where the codestream ends
            at = tile + tile_bytes if tile_bytes else _last_end(cleaned, at)
            continue
        end = _end_of_segment(cleaned, at)
        if marker == _J2K_START_OF_TILE:
            tile, tile_bytes = at, int.from_bytes(cleaned[at + 6 : at + 10])
            if tile_bytes and tile_bytes < _J2K_TILE_BYTES:
                msg = "the codestream is damaged"
                raise ValueError(msg)
        elif marker == _J2K_COMMENT:
            _blank(cleaned, at + 4, end)
        at = end


def _next_marker(image: bytearray, at: int) -> int:
    """Return where the next marker stands; in compressed data only bytes below 0x80 follow an 0xFF."""
    while True:
        at = image.find(0xFF, at)
        if at < 0 or at + 2 > len(image):
            msg = "the image has no end"
            raise ValueError(msg)
        follower = image[at + 1]
        if follower >= 0x80 and follower != 0xFF and follower not in _RESTART:
            return at
        at += 1


def _end_of_segment(image: bytearray, at: int) -> int:
    size = int.from_bytes(image[at + 2 : at + 4])
    end = at + 2 + size
    if size < 2 or end > len(image):
        msg = "a segment has no end"
        raise ValueError(msg)
    return end


def _last_end(image: bytearray, at: int) -> int:
    end = image.rfind(bytes((0xFF, _END)), at)
    if end < 0:
        msg = "the codestream has no end"
        raise ValueError(msg)
    return end


def _retained_bytes(marker: int, payload: bytearray) -> int:
    """Return how many first bytes of application data decoders need: those of JFIF and Adobe."""
    if marker == _APP_0 and payload.startswith(_JFIF):
        return _JFIF_BYTES
    return _ADOBE_BYTES if marker == _APP_14 and payload.startswith(_ADOBE) else 0


def _blank(image: bytearray, start: int, end: int) -> None:
    if end > start:
        image[start:end] = bytes(end - start)
