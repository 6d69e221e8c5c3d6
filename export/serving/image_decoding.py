"""Decodes PNG and JPEG files inside a graph as `trainer.data.preprocessing` does.

The same orientation, background, weights of grey, crop and antialiased filter give the
same pixels as Pillow; docs/data.md has the measurement and the exceptions. JPEG is
decoded by the accurate integer transform, which equals Pillow and libjpeg on every
pixel; TensorFlow's default differs in 65 % of the values of CIFAR-10's test images as
JPEG, by 5 at most.
"""

from collections.abc import Callable

import tensorflow as tf

from trainer.config.enums import Resize
from trainer.data.preprocessing import BACKGROUND, GREY, PixelSpec

_EXIF, _ORIENTATION = 0xE1, 0x0112  # marker APP1 and the tag in it
_SCAN, _END = 0xDA, 0xD9  # markers after which no segment with a length comes
_SHORT = 3  # type of the tag's value: uint16
_MAX_PARTS = 1000  # segments or chunks that are searched, so that no file takes long
_PADDING = 32  # zeros after the file, so that a header cut short reads as zeros
# Orientations that are transposed, then mirrored, then upside down.
_TRANSPOSED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
_PNG = b"\x89PNG\r\n\x1a\n"
# Pillow's fixed-point arithmetic: ITU-R 601-2 luma in 16 bits, weights in 22 bits.
_LUMA, _LUMA_BITS, _WEIGHT_BITS = (19595, 38470, 7471), 16, 22


def decode_images(encoded: tf.Tensor, spec: PixelSpec) -> tf.Tensor:
    """Decodes PNG or JPEG files of any size, bytes [N], to pixels uint8 [N, H, W, C].

    An image that has the height and width of `spec` is not resampled.
    """

    def decode_image(content: tf.Tensor) -> tf.Tensor:
        pixels = _decode_pixels(content)
        upright = _orient(pixels, exif_orientation(content))
        flat = _to_grey(upright) if spec.channels == 1 else upright
        return tf.ensure_shape(_resize(flat, spec), spec.shape)

    return tf.map_fn(
        decode_image, encoded, fn_output_signature=tf.TensorSpec(spec.shape, tf.uint8)
    )


def _decode_pixels(content: tf.Tensor) -> tf.Tensor:
    """RGB uint8 [H, W, 3], with what is transparent on white."""
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.cond(
            tf.strings.substr(content, 0, len(_PNG)) == _PNG,
            lambda: _decode_png(content),
            lambda: tf.io.decode_image(content, 3, expand_animations=False),
        ),
    )
    image.set_shape([None, None, 3])
    return image


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    """RGB uint8 [H, W, 3] of a PNG file."""
    header = tf.cast(
        tf.io.decode_raw(tf.strings.substr(content, 24, 2), tf.uint8), tf.int32
    )
    depth, grey = header[0], header[1] == 0

    def decode_bytes() -> tf.Tensor:
        image = tf.io.decode_png(content, 4)
        # With grey of 1, 2 and 4 bits, TensorFlow's opaque alpha is 1, 3 and 15.
        most = tf.where(grey & (depth < 8), 2**depth - 1, 255)
        factor = tf.cast(255 // most, tf.uint8)
        return _put_on_white(tf.concat([image[..., :3], image[..., 3:] * factor], -1))

    return tf.cond(
        grey & (depth == 16),  # which Pillow keeps
        lambda: _divide_by_257(tf.io.decode_png(content, 3, tf.uint16)),
        decode_bytes,
    )


def _divide_by_257(wide: tf.Tensor) -> tf.Tensor:
    return tf.cast((tf.cast(wide, tf.int32) + 128) // 257, tf.uint8)


def _put_on_white(image: tf.Tensor) -> tf.Tensor:
    """RGB of RGBA, in the fixed-point arithmetic of Pillow's alpha_composite."""
    wide = tf.cast(image, tf.int32)
    colour, alpha = wide[..., :3], wide[..., 3:]
    total = (colour * alpha + BACKGROUND * (255 - alpha)) * 2**7 + 2**14
    return tf.cast((total // 2**8 + total) // 2**15, tf.uint8)


def _to_grey(image: tf.Tensor) -> tf.Tensor:
    """Luma uint8 [H, W, 1] of RGB."""
    wide = tf.cast(image, tf.int32) * tf.constant(_LUMA)
    total = tf.reduce_sum(wide, axis=-1, keepdims=True) + 2 ** (_LUMA_BITS - 1)
    return tf.cast(total // 2**_LUMA_BITS, tf.uint8)


def _resize(image: tf.Tensor, spec: PixelSpec) -> tf.Tensor:
    """Brings uint8 [H, W, C] to the size of `spec`, see `preprocessing.resize`."""
    size = tf.cast(tf.shape(image)[:2], tf.float64)
    target = tf.constant([spec.height, spec.width], tf.float64)
    whole, nothing = tf.cast(target, tf.int32), tf.zeros(2, tf.float64)
    match spec.resize:
        case Resize.SQUASH:
            return _resample(image, nothing, size, whole)
        case Resize.CROP:
            part = tf.minimum(target / tf.reduce_max(target / size), size)
            first = (size - part) / 2
            return _resample(image, first, tf.minimum(first + part, size), whole)
        case Resize.LETTERBOX:
            fitted = tf.round(size * tf.reduce_min(target / size))
            inner = tf.cast(tf.minimum(tf.maximum(fitted, 1), target), tf.int32)
            before = (whole - inner) // 2
            padding = tf.stack([before, whole - inner - before], axis=1)
            resized = _resample(image, nothing, size, inner)
            return tf.pad(
                resized, tf.concat([padding, [[0, 0]]], 0), constant_values=GREY
            )


def _resample(
    image: tf.Tensor, first: tf.Tensor, last: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Resamples a box of uint8 [H, W, C] to `size`; rows and columns as (y, x).

    Sums of integers below 2 ** 53 are exact in float64, so this equals Pillow's
    integers; the columns are rounded to pixels before the rows are summed, as there.
    """
    sides = tf.shape(image)[:2]
    box = [tf.cast(edge, tf.float32) for edge in (first, last)]  # as Pillow takes it
    down, across = (
        _weights(sides[axis], box[0][axis], box[1][axis], size[axis]) for axis in (0, 1)
    )
    pixels = tf.cast(image, tf.float64)
    narrow = _to_pixels(tf.einsum("hwc,xw->hxc", pixels, across))
    return tf.cast(_to_pixels(tf.einsum("hxc,yh->yxc", narrow, down)), tf.uint8)


def _to_pixels(sums: tf.Tensor) -> tf.Tensor:
    scaled = tf.floor((sums + 2 ** (_WEIGHT_BITS - 1)) / 2**_WEIGHT_BITS)
    return tf.clip_by_value(scaled, 0, 255)


def _weights(
    side: tf.Tensor, first: tf.Tensor, last: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Whole weights [count, side] of Pillow's bilinear filter, times 2 ** 22."""
    scale = tf.cast(last - first, tf.float64) / tf.cast(count, tf.float64)
    support = tf.maximum(scale, 1.0)
    middle = tf.range(count)[:, None]
    centre = tf.cast(first, tf.float64) + (tf.cast(middle, tf.float64) + 0.5) * scale
    begin = tf.maximum(tf.floor(centre - support + 0.5), 0)
    end = tf.minimum(tf.floor(centre + support + 0.5), tf.cast(side, tf.float64))
    place = tf.cast(tf.range(side), tf.float64)[None]
    triangle = tf.maximum(1 - tf.abs((place - centre + 0.5) / support), 0.0)
    inside = (place >= begin) & (place < end)
    weight = tf.where(inside, triangle, tf.zeros_like(triangle))
    weight = weight / tf.reduce_sum(weight, axis=1, keepdims=True)
    return tf.floor(weight * 2**_WEIGHT_BITS + 0.5)


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
