"""Augmentations of photographs: bounds, Pillow's answers, replicas, partners."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from trainer.config.data_config import DataConfig
from trainer.config.enums import Augment
from trainer.data.augmentation import color, mixing, quantiles, resizing
from trainer.data.augmentation import randaugment as rand
from trainer.data.augmentation.crops import GREY
from trainer.data.augmentation.pipeline import augment
from trainer.rng import RandomStream

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (64, 12, 10, 3), np.uint8)
IMAGES[:8] //= 4  # dark ones, for autocontrast
FLOATS = IMAGES.astype(np.float32)
ALL = DataConfig(
    augment=Augment.FLIP_RESIZED_CROP,
    color_jitter=0.4,
    randaugment_ops=2,
    mixup=0.2,
    cutmix=1.0,
)
EACH = {
    "resized_crop": DataConfig(augment=Augment.RESIZED_CROP, min_crop_area=0.3),
    "color_jitter": DataConfig(augment=Augment.NONE, color_jitter=0.4),
    "randaugment": DataConfig(augment=Augment.NONE, randaugment_ops=2),
    "all": ALL,
}


def position(step: int, first: int, seed: int = 0) -> RandomStream:
    numbers = (tf.constant(x, tf.int64) for x in (step, first))
    return RandomStream(seed, *numbers)


@tf.function(reduce_retracing=False)
def augmented(images, data, step, first):
    return augment(images, data, RandomStream(0, step, first))


def compiled(images: np.ndarray, data: DataConfig, step: int, first: int) -> np.ndarray:
    """As in the compiled step: graphs are optimised, calls are not."""
    here = position(step, first)
    return augmented(tf.constant(images), data, here.step, here.first).numpy()


@pytest.mark.parametrize(
    "name",
    # "all" has its operators, too
    [pytest.param(n, marks=[pytest.mark.slow] * (n == "randaugment")) for n in EACH],
)
def test_an_image_is_augmented_alike_wherever_it_stands_in_a_part_of_the_batch(name):
    whole = compiled(IMAGES, EACH[name], 5, 0)
    assert (whole == np.round(whole)).all()
    assert whole.min() >= 0 and whole.max() <= 255
    assert (whole != IMAGES).any(axis=(1, 2, 3)).mean() > 0.6
    ends = [0, 1, 64]  # alone, and no multiple of a vector of 4, 8 or 16
    parts = [
        compiled(IMAGES[a:b], EACH[name], 5, a)
        for a, b in zip(ends, ends[1:], strict=False)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    calls = augment(tf.constant(IMAGES), EACH[name], position(5, 0))
    np.testing.assert_array_equal(calls, whole)
    assert (compiled(IMAGES, EACH[name], 6, 0) != whole).any()


@pytest.mark.parametrize("size", [(96, 96), (64, 128), (40, 200)])
@pytest.mark.parametrize("area", [0.08, 0.5, 1.0])
def test_area_and_aspect_of_boxes_are_within_bounds(size, area):
    drawn = position(0, 0).uniform("boxes", examples=4096, features=22)
    top, left, height, width = np.array(resizing.crop_boxes(drawn, size, area)).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= size[0] + 1e-4).all()
    assert (left + width <= size[1] + 1e-4).all()
    logarithm = np.log(width / height)
    assert np.abs(logarithm).max() <= math.log(4 / 3) + 1e-6
    share = height * width / math.prod(size)
    fell_back = min(size) ** 2 * 4 / 3 / math.prod(size)  # an aspect allows no more
    assert share.min() >= min(area, fell_back) - 1e-6
    assert share.max() <= 1 + 1e-6
    if size == (96, 96) and area == 0.08:
        assert share.min() < 0.1 and share.max() > 0.95
        assert stats.kstest(logarithm, "uniform", (-0.2877, 0.5754)).statistic < 0.06


def test_a_box_of_the_whole_image_is_the_image_and_its_mirror():
    boxes = tf.constant([[0.0, 0.0, 12.0, 10.0]] * 64)
    mirror = tf.range(64) % 2 == 1
    found = resizing.resize_boxes(tf.constant(FLOATS), boxes, mirror).numpy()
    np.testing.assert_array_equal(found[::2], IMAGES[::2])
    np.testing.assert_array_equal(found[1::2], IMAGES[1::2, :, ::-1])


def test_boxes_are_resized_as_pillow_does():
    boxes = np.array([[2, 1, 6, 5], [0, 3, 12, 7], [5, 0, 3, 4]], np.float32)
    unmirrored = tf.zeros([3], tf.bool)
    found = resizing.resize_boxes(
        tf.constant(FLOATS[:3]), tf.constant(boxes), unmirrored
    ).numpy()
    for image, box, shown in zip(IMAGES, boxes, found, strict=False):
        top, left, height, width = map(int, box)
        part = image[top : top + height, left : left + width]
        expected = Image.fromarray(part).resize((10, 12), Image.Resampling.BILINEAR)
        # Pillow ends at the box, where ours sees what is beside it.
        near = 12 // height + 1, 10 // width + 1
        inner = (slice(near[0], -near[0]), slice(near[1], -near[1]))
        difference = np.asarray(expected, np.float32)[inner] - shown[inner]
        assert np.abs(difference).max() <= 2  # of rounding


def test_colour_jitter_of_strength_0_changes_nothing():
    np.testing.assert_array_equal(
        color.jitter(tf.constant(FLOATS), position(0, 0), 0.0), IMAGES
    )


def test_colour_jitter_is_what_pillow_does_with_the_factors_drawn():
    drawn = position(3, 0).uniform("augment/color_jitter", examples=64, features=3)
    factors = 1 + 0.4 * (2 * drawn.numpy() - 1)
    assert factors.min() < 0.65 and factors.max() > 1.35
    found = color.jitter(tf.constant(FLOATS), position(3, 0), 0.4).numpy()
    for image, (bright, contrast, saturation), shown in zip(
        IMAGES, factors, found, strict=True
    ):
        expected = Image.fromarray(image)
        expected = ImageEnhance.Brightness(expected).enhance(bright)
        expected = ImageEnhance.Contrast(expected).enhance(contrast)
        expected = ImageEnhance.Color(expected).enhance(saturation)
        assert np.abs(np.asarray(expected, np.float32) - shown).max() <= 4  # truncates


def by_pillow(image: np.ndarray, operator: rand.Operator, amount: float) -> np.ndarray:
    """What Pillow makes of it; `amount` is the signed part of the largest magnitude."""
    picture, (height, width) = Image.fromarray(image), image.shape[:2]
    factor = 1 + 0.9 * amount

    def moved(xx=1.0, xy=0.0, x=0.0, yx=0.0, yy=1.0, y=0.0):
        x += (1 - xx) * width / 2 - xy * height / 2  # around the middle
        y += (1 - yy) * height / 2 - yx * width / 2
        return picture.transform(
            (width, height),
            Image.Transform.AFFINE,
            (xx, xy, x, yx, yy, y),
            fillcolor=(int(GREY),) * 3,
        )

    answers = {
        "identity": lambda: picture,
        "auto_contrast": lambda: ImageOps.autocontrast(picture),
        "rotate": lambda: picture.rotate(30 * amount, fillcolor=(int(GREY),) * 3),
        "solarize": lambda: ImageOps.solarize(picture, 256 * (1 - abs(amount))),
        "color": lambda: ImageEnhance.Color(picture).enhance(factor),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(4 * abs(amount))),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(factor),
        "shear_x": lambda: moved(xy=0.3 * amount),
        "shear_y": lambda: moved(yx=0.3 * amount),
        "translate_x": lambda: moved(x=0.45 * amount * width),
        "translate_y": lambda: moved(y=0.45 * amount * height),
    }
    return np.asarray(answers[operator.value](), np.float32)


@pytest.mark.parametrize("operator", list(rand.Operator), ids=lambda each: each.value)
@pytest.mark.parametrize("magnitude", [3.0, 9.0])
def test_operators_of_randaugment_are_pillows(operator, magnitude):
    index = list(rand.Operator).index(operator)
    negative = np.arange(64, dtype=np.int32) % 2
    which = tf.fill([64], index)
    found = rand.apply_operators(
        tf.constant(FLOATS), which, tf.constant(negative), magnitude
    )
    signs = 1 - 2 * negative
    expected = [
        by_pillow(image, operator, sign * magnitude / 10)
        for image, sign in zip(IMAGES, signs, strict=True)
    ]
    difference = np.abs(found.numpy() - np.stack(expected))
    moves = operator.value.startswith(("rotate", "shear", "translate"))
    if moves:  # at the middle between two pixels rounding decides which is taken
        assert (difference > 0).mean() < 0.02
    else:
        assert difference.max() <= 1


@pytest.mark.parametrize("operator", list(rand.Operator), ids=lambda each: each.value)
def test_operators_of_magnitude_0_change_nothing(operator):
    if operator is rand.Operator.AUTO_CONTRAST:
        pytest.skip("it has no magnitude")
    which = tf.fill([64], list(rand.Operator).index(operator))
    found = rand.apply_operators(
        tf.constant(FLOATS), which, tf.zeros([64], tf.int32), 0.0
    )
    np.testing.assert_array_equal(found, IMAGES)


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow), 4])
def test_images_need_not_have_three_channels(channels):
    images = np.tile(IMAGES[..., :1], channels)
    shown = compiled(images, ALL, 0, 0)
    assert shown.shape == images.shape
    np.testing.assert_array_equal(
        color.grey(tf.constant(images, tf.float32)), images[..., :1]
    )


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution(alpha):
    drawn = position(0, 0).uniform("x", examples=20_000, features=1)[:, 0]
    shares = quantiles.interpolate(quantiles.tabulate_beta(alpha), drawn).numpy()
    assert shares.min() >= 0 and shares.max() <= 1
    exact = stats.beta.ppf(drawn.numpy(), alpha, alpha)
    near = np.abs(shares - exact) < 3e-3
    # Linear between entries, it is off by less than an interval of probability.
    off = np.abs(stats.beta.cdf(shares, alpha, alpha) - drawn.numpy())
    assert (near | (off < 1 / quantiles.INTERVALS)).all()


@pytest.mark.parametrize(
    "methods", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}]
)
def test_a_mixture_has_the_shares_of_its_images(methods):
    """An image of ones and a partner of zeros show the share of the image."""
    data = DataConfig(**methods)
    ones = tf.ones([256, 12, 10, 3])
    mixed, share = mixing.mix(ones, tf.zeros_like(ones), data, position(1, 0))
    mixed, share = mixed.numpy(), share.numpy()
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), share, atol=1e-6)
    assert share.min() >= 0 and share.max() <= 1
    assert len(set(share.tolist())) > 30  # each example draws by itself
    cut = ((mixed == 0) | (mixed == 1)).all(axis=(1, 2, 3))
    expected = {("mixup",): 0, ("cutmix",): 1}.get(tuple(methods), 0.5)
    assert abs(cut.mean() - expected) < 0.1
    boxes = (mixed[cut] == 0).any(axis=3)
    for box in boxes:  # a rectangle
        filled = box.any(axis=1).sum() * box.any(axis=0).sum()
        assert filled == box.sum()
    same, _ = mixing.mix(ones, ones, data, position(1, 0))
    np.testing.assert_allclose(same, ones, atol=1e-6)
    part, some = mixing.mix(ones[:16], tf.zeros_like(ones[:16]), data, position(1, 64))
    np.testing.assert_array_equal(part, mixed[64:80])
    np.testing.assert_array_equal(some, share[64:80])


def test_options_name_what_has_no_finite_number_of_views():
    assert DataConfig().uncountable is None
    for field in ("color_jitter", "mixup", "cutmix"):
        data = DataConfig(**{field: 0.5})
        assert data.uncountable == f"{field}=0.5"
    assert dataclasses.replace(ALL).uncountable == "augment=flip_resized_crop"
