"""The fifteen corruptions of Hendrycks & Dietterich 2019 at five severities.

"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", with
the strengths that its authors chose for 32 x 32 images (CIFAR-10-C); lengths in pixels
grow with the height of the image. Inputs and outputs are batches of uint8 [N, H, W, C].
Every random number depends on (seed, corruption, severity, position), so that two
models see the same images. The code is a new implementation with scipy.ndimage and
Pillow, so scores are close to those on the published files but not equal; frost is
drawn from noise, as its photographs are not included.
"""

import zlib
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from eval.robustness import image_ops

SEVERITIES = (1, 2, 3, 4, 5)
_CHUNK = 500  # images corrupted together: 6 MB of float32 at 32 x 32

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Corrupts `images` uint8 [N, H, W, C]: uint8 of the same shape."""
    return np.concatenate(list(_chunks(images, name, severity, seed)))


def _chunks(
    images: np.ndarray, name: str, severity: int, seed: int
) -> Iterator[np.ndarray]:
    key = zlib.crc32(name.encode())
    for start in range(0, len(images), _CHUNK):
        rng = np.random.default_rng([seed, key, severity, start])
        pixels = images[start : start + _CHUNK].astype(np.float32) / 255
        changed = TYPES[name](pixels, severity, rng)
        yield np.rint(np.clip(changed, 0, 1) * 255).astype(np.uint8)


def _gaussian_noise(
    x: np.ndarray, severity: int, rng: np.random.Generator
) -> np.ndarray:
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return x + sigma * rng.standard_normal(x.shape, dtype=np.float32)


def _shot_noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return rng.poisson(x * photons).astype(np.float32) / photons


def _impulse_noise(
    x: np.ndarray, severity: int, rng: np.random.Generator
) -> np.ndarray:
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draw = rng.random(x.shape, dtype=np.float32)
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 1, x))


def _defocus_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[
        severity - 1
    ]
    kernel = image_ops.disk(radius * image_ops.scale(x), alias)
    return ndimage.convolve(x, kernel[None, :, :, None], mode="mirror")


def _glass_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    sigma, rounds = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[severity - 1]
    shuffled = image_ops.blur(x, sigma)
    for _ in range(rounds):
        image_ops.swap_neighbours(shuffled, rng)
    return image_ops.blur(shuffled, sigma)


def _motion_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    degrees = rng.uniform(-45, 45, len(x))
    return image_ops.motion_blur(x, radius, sigma, degrees)


def _zoom_blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    furthest = (1.05, 1.10, 1.15, 1.20, 1.25)[severity - 1]
    zooms = np.arange(1, furthest + 0.005, 0.01)
    return (x + sum(image_ops.zoom(x, by) for by in zooms)) / (len(zooms) + 1)


def _snow(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    mean, spread, zoom, floor, radius, sigma, keep = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    flakes = rng.normal(mean, spread, (*x.shape[:3], 1)).astype(np.float32)
    flakes = image_ops.zoom(flakes, zoom)
    flakes = np.clip(np.where(flakes < floor, 0, flakes), 0, 1)
    flakes = image_ops.motion_blur(
        flakes, radius, sigma, rng.uniform(-135, -45, len(x))
    )
    grey = image_ops.grey(x)
    whitened = keep * x + (1 - keep) * np.maximum(x, grey * 1.5 + 0.5)
    return whitened + flakes + flakes[:, ::-1, ::-1]


def _frost(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    keep, ice = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[
        severity - 1
    ]
    crystals = np.abs(2 * image_ops.fractal_noise(x, decay=1.6, rng=rng) - 1)
    tint = np.linspace(0.85, 1, x.shape[3], dtype=np.float32)  # ice is a little blue
    return keep * x + ice * (1 - crystals) ** 2 * tint


def _fog(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    amount, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    misty = x + amount * image_ops.fractal_noise(x, decay=decay, rng=rng)
    return misty * brightest / (brightest + amount)


def _brightness(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = x.max(axis=3, keepdims=True)  # V of HSV; hue and saturation stay
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, x * brighter / np.maximum(value, 1e-6), brighter)


def _contrast(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    kept = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = x.mean(axis=(1, 2), keepdims=True)
    return (x - mean) * kept + mean


def _elastic_transform(
    x: np.ndarray, severity: int, rng: np.random.Generator
) -> np.ndarray:
    shift, smooth, affine = (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    )[severity - 1]
    side = x.shape[1]
    bent = image_ops.shear(x, affine * side, rng)
    return image_ops.elastic(bent, shift * side, smooth * side, rng)


def _pixelate(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    return image_ops.pixelate(x, share)


def _jpeg_compression(
    x: np.ndarray, severity: int, rng: np.random.Generator
) -> np.ndarray:
    return image_ops.jpeg(x, quality=(80, 65, 58, 50, 40)[severity - 1])


TYPES: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
