"""The fifteen corruptions: deterministic, of one shape, stronger with severity."""

import numpy as np
import pytest

from eval.robustness import corruptions


def pictures(channels: int = 3, side: int = 32) -> np.ndarray:
    """Squares of two pixels, uint8 [6, side, side, channels]."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, side // 2, side // 2, channels))
    return coarse.repeat(2, 1).repeat(2, 2).astype(np.uint8)


@pytest.mark.parametrize("name", corruptions.TYPES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8)])
def test_shape_type_and_bits_hold(name, channels, side):
    images = pictures(channels, side)
    before = images.copy()
    once = corruptions.corrupt(images, name, 5)
    assert once.shape == images.shape
    assert once.dtype == np.uint8
    assert (once != images).any() or side == 8  # a lens may be finer than a pixel
    np.testing.assert_array_equal(once, corruptions.corrupt(images, name, 5))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", corruptions.TYPES)
def test_the_strongest_changes_more_than_the_weakest(name):
    images = pictures()
    far = [
        np.abs(corruptions.corrupt(images, name, s).astype(int) - images).mean()
        for s in (1, 5)
    ]
    if name != "elastic_transform":  # its first severities shift, its last ones tremble
        assert far[0] < far[1]


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "snow", "fog"])
def test_another_seed_gives_another_image(name):
    images = pictures()
    one, two = (corruptions.corrupt(images, name, 3, seed) for seed in (0, 1))
    assert (one != two).any()


def test_there_are_the_fifteen_of_the_paper():
    assert len(corruptions.TYPES) == 15


def test_a_prefix_of_the_images_gives_a_prefix_of_the_result():
    images = pictures().repeat(100, axis=0)  # 600: more than one chunk
    whole = corruptions.corrupt(images, "brightness", 2)
    part = corruptions.corrupt(images[:500], "brightness", 2)
    np.testing.assert_array_equal(whole[:500], part)


def test_contrast_by_hand():
    image = np.zeros((1, 2, 2, 1), np.uint8)
    image[0, 0] = 200
    expected = [[[[175], [175]], [[25], [25]]]]
    result = corruptions.corrupt(image, "contrast", 1)
    assert result.tolist() == expected


def test_impulses_have_the_share_they_should():
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    noisy = corruptions.corrupt(grey, "impulse_noise", 5)
    assert (noisy != 128).mean() == pytest.approx(0.07, rel=0.05)
    assert set(np.unique(noisy)) == {0, 128, 255}
