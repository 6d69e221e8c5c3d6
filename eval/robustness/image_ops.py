"""Image operations of the corruptions on float32 [N, H, W, C] with values 0..1.

Written on scipy.ndimage and Pillow; `corruptions` chooses the strengths.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage


def scale(x: np.ndarray) -> float:
    """The factor for lengths, which are given for images 32 pixels high."""
    return x.shape[1] / 32


def grey(x: np.ndarray) -> np.ndarray:
    """Luminance of RGB (ITU-R BT.601), else the mean of the channels: [N, H, W, 1]."""
    if x.shape[3] != 3:
        return x.mean(axis=3, keepdims=True)
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return (x @ weights)[..., None]


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with a Gaussian of `sigma` pixels of a 32-pixel image."""
    wide = sigma * scale(x)
    return ndimage.gaussian_filter(x, (0, wide, wide, 0), mode="nearest")


def disk(radius: float, alias: float) -> np.ndarray:
    """A filled circle of `radius` pixels, softened by `alias`: [S, S], sum 1."""
    reach = int(np.ceil(radius)) + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    circle = (x**2 + y**2 <= radius**2).astype(np.float32)
    soft = ndimage.gaussian_filter(circle, alias, radius=1)
    return soft / soft.sum()


def swap_neighbours(x: np.ndarray, rng: np.random.Generator) -> None:
    """Swaps every inner pixel with one of its upper-left neighbours or itself."""
    rows = np.arange(len(x))
    height, width = x.shape[1:3]
    for h in range(height - 1, 1, -1):
        for w in range(width - 1, 1, -1):
            dy, dx = rng.integers(-1, 1, size=(2, len(x)))
            other = x[rows, h + dy, w + dx].copy()
            x[rows, h + dy, w + dx] = x[:, h, w]
            x[:, h, w] = other


def motion_blur(
    x: np.ndarray, radius: float, sigma: float, degrees: np.ndarray
) -> np.ndarray:
    """Smears each image along its own direction [N] with a one-sided Gaussian."""
    steps = np.arange(int(2 * radius * scale(x)) + 1)
    weights = np.exp(-0.5 * (steps / (sigma * scale(x))) ** 2)
    weights /= weights.sum()
    n = np.arange(len(x))[:, None, None]
    height, width = x.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    down, right = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    result = np.zeros_like(x)
    for step, weight in zip(steps, weights.astype(np.float32), strict=True):
        if weight < 1e-4:  # below a tenth of a grey level all together
            break
        y = rows + np.rint(step * down).astype(int)[:, None, None]
        z = columns + np.rint(step * right).astype(int)[:, None, None]
        result += weight * x[n, np.clip(y, 0, height - 1), np.clip(z, 0, width - 1)]
    return result


def sample(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Samples `x` bilinearly at float positions [N, H, W], mirrored at the edges."""
    n = np.arange(len(x))[:, None, None]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    below = (rows - top)[..., None].astype(np.float32)
    beside = (columns - left)[..., None].astype(np.float32)

    def at(y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return x[n, _mirror(y, x.shape[1]), _mirror(z, x.shape[2])]

    upper = at(top, left) * (1 - beside) + at(top, left + 1) * beside
    lower = at(top + 1, left) * (1 - beside) + at(top + 1, left + 1) * beside
    return upper * (1 - below) + lower * below


def _mirror(index: np.ndarray, size: int) -> np.ndarray:
    period = max(2 * (size - 1), 1)
    return (size - 1) - np.abs((size - 1) - index % period)


def _grid(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]].astype(np.float32)
    return np.broadcast_to(rows, x.shape[:3]), np.broadcast_to(columns, x.shape[:3])


def zoom(x: np.ndarray, by: float) -> np.ndarray:
    """Enlarges the middle of each image `by` times to the size of the whole."""
    rows, columns = _stretch(x.shape[1], by), _stretch(x.shape[2], by)
    tall = np.einsum("ij,njwc->niwc", rows, x, optimize=True)
    return np.einsum("ij,nhjc->nhic", columns, tall, optimize=True)


def _stretch(size: int, by: float) -> np.ndarray:
    """The bilinear matrix [size, size] that enlarges a row `by` times, by >= 1."""
    middle = (size - 1) / 2
    places = middle + (np.arange(size) - middle) / by
    return np.maximum(1 - np.abs(places[:, None] - np.arange(size)), 0).astype("f4")


def shear(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Applies a random affine map: three points move by up to `amount` pixels."""
    height, width = x.shape[1:3]
    third = max(min(height, width) // 3, 1)
    square = np.array([[third, third], [third, -third], [-third, -third]])
    source = square + np.array([height // 2, width // 2])
    target = source + rng.uniform(-amount, amount, (len(x), 3, 2))
    ones = np.ones((len(x), 3, 1))
    back = np.linalg.pinv(np.concatenate([target, ones], 2)) @ source  # [N, 3, 2]
    rows, columns = _grid(x)
    places = np.stack([rows, columns, np.ones_like(rows)], axis=-1)
    moved = np.einsum("nhwk,nkd->nhwd", places, back)
    return sample(x, moved[..., 0], moved[..., 1])


def elastic(
    x: np.ndarray, amount: float, sigma: float, rng: np.random.Generator
) -> np.ndarray:
    """Moves each pixel by smoothed noise (Simard et al. 2003), lengths in pixels."""
    noise = rng.uniform(-1, 1, (2, *x.shape[:3]))
    smooth = ndimage.gaussian_filter(
        noise, (0, 0, sigma, sigma), mode="reflect", truncate=3
    )
    rows, columns = _grid(x)
    return sample(x, rows + amount * smooth[0], columns + amount * smooth[1])


def fractal_noise(
    x: np.ndarray, *, decay: float, rng: np.random.Generator
) -> np.ndarray:
    """Fractal noise 0..1, one map an image: [N, H, W, 1].

    Octaves of smoothly enlarged noise, each `decay` times weaker than the coarser one.
    """
    size = max(x.shape[1:3])
    cells, strength = 2, 1.0
    total = np.zeros((len(x), size, size), np.float32)
    while cells <= size:
        coarse = rng.uniform(-1, 1, (len(x), cells, cells)).astype(np.float32)
        grown = ndimage.zoom(coarse, (1, size / cells, size / cells), order=1)
        total += strength * grown[:, :size, :size]
        cells, strength = cells * 2, strength / decay
    low = total.min(axis=(1, 2), keepdims=True)
    total = (total - low) / np.maximum(
        (total - low).max(axis=(1, 2), keepdims=True), 1e-6
    )
    return total[:, : x.shape[1], : x.shape[2], None]


def pixelate(x: np.ndarray, share: float) -> np.ndarray:
    """Shrinks each image to `share` of its sides and enlarges it again, by areas."""
    height, width = x.shape[1:3]
    small = (max(int(width * share), 1), max(int(height * share), 1))

    def change(image: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return image.resize(small, box).resize((width, height), box)

    return _through_pillow(x, change)


def jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    """Compresses each image as JPEG at `quality`, 1..95, and decodes it."""

    def change(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _through_pillow(x, change)


def _through_pillow(
    x: np.ndarray, change: Callable[[Image.Image], Image.Image]
) -> np.ndarray:
    pixels = np.rint(x * 255).astype(np.uint8)
    if x.shape[3] == 3:
        done = [np.asarray(change(Image.fromarray(image))) for image in pixels]
        return np.stack(done).astype(np.float32) / 255
    planes = np.moveaxis(pixels, 3, 1).reshape(-1, *x.shape[1:3])
    done = np.stack([np.asarray(change(Image.fromarray(plane))) for plane in planes])
    done = done.reshape(len(x), x.shape[3], *x.shape[1:3])
    return np.moveaxis(done, 1, 3).astype(np.float32) / 255
