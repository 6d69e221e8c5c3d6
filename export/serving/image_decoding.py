"""Decodes PNG and JPEG files inside a graph, upright as Pillow's exif_transpose.

JPEG is decoded by the accurate integer transform, which equals Pillow and libjpeg on
every pixel; TensorFlow's default differs in 65 % of the values of CIFAR-10's test
images as JPEG, by 5 at most.
"""

from collections.abc import Callable

import tensorflow as tf

_EXIF, _ORIENTATION = 0xE1, 0x0112  # marker APP1 and the tag in it
_SCAN, _END = 0xDA, 0xD9  # markers after which no segment with a length comes
_SHORT = 3  # type of the tag's value: uint16
_MAX_PARTS = 1000  # segments or chunks that are searched, so that no file takes long
_PADDING = 32  # zeros after the file, so that a header cut short reads as zeros
# Orientations that are transposed, then mirrored, then upside down.
_TRANSPOSED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def decode_images(encoded: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes PNG or JPEG files of any size, bytes [N], to pixels uint8 [N, H, W, C].

    Resized by triangle filters as wide as the reduction; an image of the right size
    comes through unchanged.
    """
    height, width, channels = shape

    def decode_image(content: tf.Tensor) -> tf.Tensor:
        pixels = _decode_pixels(content, channels)
        upright = _orient(pixels, exif_orientation(content))
        resized = tf.image.resize(upright, [height, width], antialias=True)
        return tf.saturate_cast(tf.round(resized), tf.uint8)

    return tf.map_fn(
        decode_image, encoded, fn_output_signature=tf.TensorSpec(shape, tf.uint8)
    )


def _decode_pixels(content: tf.Tensor, channels: int) -> tf.Tensor:
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(content, channels, expand_animations=False),
    )
    image.set_shape([None, None, channels])
    return image


def _orient(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns `image` [H, W, C] upright; `orientation` is EXIF's, 1 to 8."""
    for orientations, transform in (
        (_TRANSPOSED, lambda stored: tf.transpose(stored, [1, 0, 2])),
        (_MIRRORED, lambda stored: stored[:, ::-1]),
        (_UPSIDE_DOWN, lambda stored: stored[::-1]),
    ):
        image = tf.cond(
            tf.reduce_any(orientation == orientations),
            lambda image=image, transform=transform: transform(image),
            lambda image=image: image,
        )
    return image


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG or PNG file, int64; 1 where it has none.

    JPEG has it in a segment APP1, PNG in a chunk eXIf. XMP and other metadata are not
    searched.
    """
    raw = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int64)
    size = tf.size(raw, tf.int64)
    data = tf.pad(raw, [[0, _PADDING]])
    header = tf.cond(
        tf.io.is_jpeg(content),
        lambda: _find_exif_in_jpeg(data, size),
        lambda: _find_exif_in_png(data, size),
    )
    return tf.cond(
        header > 0,
        lambda: _parse_orientation(data, size, header),
        lambda: tf.constant(1, tf.int64),
    )


def _parse_integer(
    data: tf.Tensor, offset: tf.Tensor, width: int, little_endian: tf.Tensor | bool
) -> tf.Tensor:
    """The unsigned integer of `width` bytes at `offset`, int64."""
    digits = tf.gather(data, offset + tf.range(width, dtype=tf.int64))
    digits = tf.where(little_endian, digits[::-1], digits)
    weights = tf.constant([256**n for n in range(width)][::-1], tf.int64)
    return tf.reduce_sum(digits * weights)


def _equals(data: tf.Tensor, offset: tf.Tensor, text: bytes) -> tf.Tensor:
    """Whether the bytes at `offset` are `text`."""
    return tf.reduce_all(data[offset : offset + len(text)] == list(text))


def _find_exif_in_jpeg(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Offset of the TIFF header of the first EXIF segment; 0: there is none."""

    def is_segment(offset: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
        marker = data[offset + 1]
        segment = (data[offset] == 0xFF) & (marker != _SCAN) & (marker != _END)
        return (header == 0) & (offset + 4 <= size) & segment

    def skip(offset: tf.Tensor, header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        exif = (data[offset + 1] == _EXIF) & _equals(data, offset + 4, b"Exif\0\0")
        fill = data[offset + 1] == 0xFF  # any number of FF may precede a marker
        length = tf.maximum(_parse_integer(data, offset + 2, 2, False), 2)
        following = offset + tf.where(fill, tf.constant(1, tf.int64), 2 + length)
        return tf.minimum(following, size), tf.where(exif, offset + 10, header)

    return _search(is_segment, skip, 2)


def _find_exif_in_png(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Offset of the TIFF header in the chunk eXIf; 0: there is none, or no PNG."""

    def is_chunk(offset: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
        return (header == 0) & (offset + 8 <= size)

    def skip(offset: tf.Tensor, header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        exif = _equals(data, offset + 4, b"eXIf")
        following = offset + 12 + _parse_integer(data, offset, 4, False)
        return tf.minimum(following, size), tf.where(exif, offset + 8, header)

    png = _equals(data, tf.constant(0, tf.int64), b"\x89PNG\r\n\x1a\n")
    return tf.cond(
        png, lambda: _search(is_chunk, skip, 8), lambda: tf.constant(0, tf.int64)
    )


def _search(
    condition: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    body: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    start: int,
) -> tf.Tensor:
    """Runs `body` over (offset, header) from `start` on, and returns the header."""
    state = (tf.constant(start, tf.int64), tf.constant(0, tf.int64))
    return tf.while_loop(condition, body, state, maximum_iterations=_MAX_PARTS)[1]


def _parse_orientation(
    data: tf.Tensor, size: tf.Tensor, header: tf.Tensor
) -> tf.Tensor:
    """The orientation in the first directory of the TIFF header at offset `header`.

    TIFF 6.0, section 2: a directory is a count and entries of 12 bytes, each with tag,
    type (3: uint16), number of values and value.
    """
    little = _equals(data, header, b"II")
    known = little | _equals(data, header, b"MM")
    offset = _parse_integer(data, header + 4, 4, little)
    directory = tf.minimum(header + offset, size)
    count = _parse_integer(data, directory, 2, little)
    count = tf.minimum(count, (size - directory) // 12)
    entries = data[directory + 2 : directory + 2 + 12 * count]
    halves = tf.reshape(entries, [-1, 6, 2])
    halves = tf.where(little, halves[..., ::-1], halves)
    tag, kind, value = (halves[:, n, 0] * 256 + halves[:, n, 1] for n in (0, 1, 4))
    valid = (value >= 1) & (value <= 8)  # the ones that Pillow transposes
    matches = known & (tag == _ORIENTATION) & (kind == _SHORT) & valid
    return tf.reduce_max(tf.concat([[1], tf.where(matches, value, 1)], 0))
