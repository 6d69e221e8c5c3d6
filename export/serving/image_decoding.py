"""PNG and JPEG files to pixels inside a graph, upright as Pillow's exif_transpose.

JPEG is decoded by the accurate integer transform, which equals Pillow and libjpeg on
every pixel; TensorFlow's default differs in 65 % of the values of CIFAR-10's test
images as JPEG, by 5 at most.
"""

import tensorflow as tf

_EXIF, _ORIENTATION = 0xE1, 0x0112  # marker APP1 and the tag in it
_SCAN, _END = 0xDA, 0xD9  # markers after which no segment with a length comes
_SHORT = 3  # type of the tag's value: uint16
_PARTS = 1000  # segments or chunks that are looked at, so that no file takes long
_ROOM = 32  # zeros after the file, so that a header cut short reads as zeros
# Number of the orientation -> is it transposed, then mirrored, then upside down?
_TRANSPOSED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def decode(encoded: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Pixels uint8 [N, H, W, C] of PNG or JPEG files of any size, bytes [N].

    Resized by triangle filters as wide as the reduction; an image of the right size
    comes through unchanged.
    """
    height, width, channels = shape

    def one(content: tf.Tensor) -> tf.Tensor:
        upright = _upright(_pixels(content, channels), orientation(content))
        resized = tf.image.resize(upright, [height, width], antialias=True)
        return tf.saturate_cast(tf.round(resized), tf.uint8)

    return tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec(shape, tf.uint8))


def _pixels(content: tf.Tensor, channels: int) -> tf.Tensor:
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(content, channels, expand_animations=False),
    )
    image.set_shape([None, None, channels])
    return image


def _upright(image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """`image` [H, W, C] as its orientation, 1 to 8, says that it is to be seen."""

    def among(numbers: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_any(number == numbers)

    for numbers, change in (
        (_TRANSPOSED, lambda seen: tf.transpose(seen, [1, 0, 2])),
        (_MIRRORED, lambda seen: seen[:, ::-1]),
        (_UPSIDE_DOWN, lambda seen: seen[::-1]),
    ):
        image = tf.cond(
            among(numbers),
            lambda image=image, change=change: change(image),
            lambda image=image: image,
        )
    return image


def orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG or PNG file, int64; 1 where it has none.

    That of JPEG is in a segment APP1, that of PNG in a chunk eXIf. XMP and other
    places are not looked at.
    """
    raw = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int64)
    size = tf.size(raw, tf.int64)
    data = tf.pad(raw, [[0, _ROOM]])
    place = tf.cond(
        tf.io.is_jpeg(content),
        lambda: _exif_of_jpeg(data, size),
        lambda: _exif_of_png(data, size),
    )
    return tf.cond(
        place > 0, lambda: _tag(data, size, place), lambda: tf.constant(1, tf.int64)
    )


def _number(data: tf.Tensor, place: tf.Tensor, width: int, little=False) -> tf.Tensor:
    """The number of `width` bytes at `place`, big end first unless `little`."""
    found = tf.gather(data, place + tf.range(width, dtype=tf.int64))
    found = tf.where(little, found[::-1], found)
    places = tf.constant([256**n for n in range(width)][::-1], tf.int64)
    return tf.reduce_sum(found * places)


def _spells(data: tf.Tensor, place: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(data[place : place + len(text)] == list(text))


def _exif_of_jpeg(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header of the first EXIF segment is; 0: there is none."""

    def going(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        marker = data[place + 1]
        segment = (data[place] == 0xFF) & (marker != _SCAN) & (marker != _END)
        return (found == 0) & (place + 4 <= size) & segment

    def step(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        exif = (data[place + 1] == _EXIF) & _spells(data, place + 4, b"Exif\0\0")
        filling = data[place + 1] == 0xFF  # any number of FF may precede a marker
        length = tf.maximum(_number(data, place + 2, 2), 2)
        after = place + tf.where(filling, tf.constant(1, tf.int64), 2 + length)
        return tf.minimum(after, size), tf.where(exif, place + 10, found)

    return _search(going, step, 2)


def _exif_of_png(data: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header in the chunk eXIf is; 0: there is none, or it is no PNG."""

    def going(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return (found == 0) & (place + 8 <= size)

    def step(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        exif = _spells(data, place + 4, b"eXIf")
        after = place + 12 + _number(data, place, 4)
        return tf.minimum(after, size), tf.where(exif, place + 8, found)

    png = _spells(data, tf.constant(0, tf.int64), b"\x89PNG\r\n\x1a\n")
    return tf.cond(
        png, lambda: _search(going, step, 8), lambda: tf.constant(0, tf.int64)
    )


def _search(going, step, start: int) -> tf.Tensor:
    state = (tf.constant(start, tf.int64), tf.constant(0, tf.int64))
    return tf.while_loop(going, step, state, maximum_iterations=_PARTS)[1]


def _tag(data: tf.Tensor, size: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of the TIFF header at `place`.

    TIFF 6.0, section 2: a directory is a count and entries of 12 bytes, each with tag,
    type (3: uint16), number of values and value.
    """
    little = _spells(data, place, b"II")
    known = little | _spells(data, place, b"MM")
    directory = tf.minimum(place + _number(data, place + 4, 4, little), size)
    count = tf.minimum(_number(data, directory, 2, little), (size - directory) // 12)
    entries = data[directory + 2 : directory + 2 + 12 * count]
    halves = tf.reshape(entries, [-1, 6, 2])
    halves = tf.where(little, halves[..., ::-1], halves)
    tag, kind, value = (halves[:, n, 0] * 256 + halves[:, n, 1] for n in (0, 1, 4))
    among = (value >= 1) & (value <= 8)  # what Pillow has a way to turn
    own = known & (tag == _ORIENTATION) & (kind == _SHORT) & among
    return tf.reduce_max(tf.concat([[1], tf.where(own, value, 1)], 0))
