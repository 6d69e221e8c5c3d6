"""Our networks in PyTorch, layer for layer, and the one of airbench94.

`TWINS` in benchmarks/against_pytorch.py tells which of them each of our networks is
compared with; the first has its layers and number of parameters.
"""

import torch
from torch import nn
from torch.nn import functional

CLASSES = 10


class Norm(nn.BatchNorm2d):
    """Batch normalisation with the constants of our layer."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.01)


def cnn() -> nn.Module:
    """trainer/models/networks/cnn.py: 550,570 parameters for 32x32x3 and 10 classes."""
    parts, channels = [], 3
    for width in (32, 64, 128):
        for _ in range(2):
            parts += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        parts += [nn.MaxPool2d(2), nn.Dropout(0.15)]
    parts += [nn.Flatten(), nn.Linear(4 * 4 * 128, 128), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.Dropout(0.3), nn.Linear(128, CLASSES))


class Residual(nn.Module):
    """A block of resnet8; one with strides has a 1x1 convolution as its shortcut.

    TensorFlow's "same" padding of a stride of two lies on two sides of the image, this
    one on all four; the work is equal.
    """

    def __init__(self, before: int, channels: int, strides: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, channels, 3, strides, padding=1),
            Norm(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            Norm(channels),
        )
        self.shortcut = (
            nn.Identity() if strides == 1 else nn.Conv2d(before, channels, 1, strides)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet8() -> nn.Module:
    """trainer/models/networks/resnet.py: 78,666 parameters with moving statistics."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        Norm(16),
        nn.ReLU(inplace=True),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AvgPool2d(8),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


class Scaled(nn.Module):
    """Multiplies logits by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def airbench94(
    activation: type[nn.Module] = nn.GELU, first: type[nn.Module] | None = None
) -> nn.Module:
    """The network of airbench94 (Jordan 2024, arXiv:2404.00498, section 3).

    The whitening convolution has frozen weights and a bias that learns; `first` is the
    activation after it, if another. 1,975,096 parameters.
    """
    whiten = nn.Conv2d(3, 24, 2)
    whiten.weight.requires_grad_(False)
    parts: list[nn.Module] = [whiten, (first or activation)()]
    channels = 24
    for width in (64, 256, 256):
        parts += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            Norm(width),
            activation(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            Norm(width),
            activation(),
        ]
        channels = width
    last = nn.Linear(channels, CLASSES, bias=False)
    return nn.Sequential(*parts, nn.MaxPool2d(3), nn.Flatten(), last, Scaled(1 / 9))


def speednet() -> nn.Module:
    """The network of airbench94 with ReLU."""
    return airbench94(nn.ReLU)


def speednet_gelu() -> nn.Module:
    """The network of airbench94 with SiLU, as our GELU is computed."""
    return airbench94(nn.SiLU, first=nn.ReLU)


class Inverted(nn.Module):
    """An inverted residual block of MobileNetV2 (Sandler et al. 2018)."""

    def __init__(self, before: int, channels: int, strides: int, factor: int) -> None:
        super().__init__()
        wide = before * factor
        parts = _norm_relu6(before, wide, 1) if factor > 1 else []
        parts += _norm_relu6(wide, wide, 3, stride=strides, padding=1, groups=wide)
        parts += [nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.body = nn.Sequential(*parts)
        self.residual = strides == 1 and before == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def _norm_relu6(before: int, after: int, size: int, **words: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, size, bias=False, **words)
    return [conv, nn.BatchNorm2d(after), nn.ReLU6(inplace=True)]


def mobilenet_v2() -> nn.Module:
    """The layers of torchvision's mobilenet_v2 without dropout: 2,270,794 parameters.

    torchvision itself is not used: its wheels need PyTorch's for GPUs.
    """
    parts, before = _norm_relu6(3, 32, 3, stride=2, padding=1), 32
    for factor, channels, count, strides in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for number in range(count):
            stride = strides if number == 0 else 1
            parts.append(Inverted(before, channels, stride, factor))
            before = channels
    parts += [*_norm_relu6(before, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(1280, CLASSES))


NETS = {
    "cnn": cnn,
    "resnet8": resnet8,
    "speednet": speednet,
    "speednet gelu": speednet_gelu,
    "airbench94": airbench94,
    "mobilenet_v2": mobilenet_v2,
}


def parameters(net: nn.Module) -> int:
    """Counts weights and moving statistics, as Keras does."""
    kept = [*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())]
    return sum(tensor.numel() for tensor in kept)
