"""Weights of keras.applications that were trained on ImageNet, without the top.

Keras downloads them to a file whose name follows from the network, its options and the
image size. It is looked for before TensorFlow is imported; only if it is missing is
Keras asked to download it, in a process of its own.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.monitoring.progress import CONSOLE

PREFIX = "keras:"  # of `model`: a network of keras.applications
DOWNLOAD_SECS = 3600
CONNECT_SECS = 15  # without an answer
_KERNELS = {
    "DenseNet121": "densenet121",
    "DenseNet169": "densenet169",
    "DenseNet201": "densenet201",
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "ResNet50": "resnet50",
    "ResNet101": "resnet101",
    "ResNet152": "resnet152",
    "ResNet50V2": "resnet50v2",
    "ResNet101V2": "resnet101v2",
    "ResNet152V2": "resnet152v2",
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "Xception": "xception",
}
_OTHERS = {
    "NASNetMobile": "nasnet_mobile_no_top.h5",
    "NASNetLarge": "nasnet_large_no_top.h5",
    **{f"EfficientNetB{n}": f"efficientnetb{n}_notop.h5" for n in range(8)},
    **{
        f"EfficientNetV2{size}": f"efficientnetv2-{size.lower()}_notop.h5"
        for size in ("B0", "B1", "B2", "B3", "S", "M", "L")
    },
    **{
        f"ConvNeXt{size}": f"convnext_{size.lower()}_notop.h5"
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
}
_SIDES = {"MobileNet": (128, 160, 192, 224), "MobileNetV2": (96, 128, 160, 192, 224)}
_ALPHAS = {
    "MobileNet": {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"},
    "MobileNetV2": {a: str(a) for a in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)},
    "MobileNetV3Small": {a: str(a) for a in (0.75, 1.0)},
    "MobileNetV3Large": {a: str(a) for a in (0.75, 1.0)},
}
_SCRIPT = """
import json, socket, sys
socket.setdefaulttimeout(float(sys.argv[3]))
import keras
options = json.loads(sys.argv[2])
getattr(keras.applications, sys.argv[1])(
    include_top=False, weights="imagenet", **options)
"""  # TensorFlow prints to stderr; the last line says what failed


def find_file(config: Config) -> pathlib.Path:
    """Finds the ImageNet weights of the network of `config`; Keras may download them.

    Raises:
        InvalidInput: there are none for this network, or they cannot be downloaded.
    """
    name, side = config.model.name, _side(config)
    if not name.startswith(PREFIX):
        raise InvalidInput(
            f"init_from=imagenet belongs to the networks of Keras, got model={name}; "
            "use e.g. model=keras:MobileNetV3Small, or name a file of weights"
        )
    file = file_name(name.removeprefix(PREFIX), config.model.kwargs, side)
    path = _folder() / file
    if not path.is_file():
        _download(config, side, path)
    return path


def file_name(name: str, kwargs: dict, side: int) -> str:
    """Names the file that Keras keeps the weights of application `name` in.

    Args:
        name: of the function in keras.applications.
        kwargs: options of the network.
        side: height and width of the images; 0 if they are not square.

    Raises:
        InvalidInput: there are no weights for these options.
    """
    if name in _KERNELS:
        return f"{_KERNELS[name]}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    if name in _OTHERS:
        return _OTHERS[name]
    if name not in _ALPHAS:
        raise InvalidInput(
            f"init_from=imagenet: Keras has no such weights for {name}; name a file"
        )
    alpha, minimal = kwargs.get("alpha", 1.0), bool(kwargs.get("minimalistic"))
    known = {1.0: "1.0"} if minimal else _ALPHAS[name]
    if alpha not in known:
        raise InvalidInput(
            f"init_from=imagenet: {name} has no weights for alpha={alpha}; they exist "
            f"for {', '.join(map(str, known))}"
        )
    text = known[float(alpha)]
    if name in _SIDES:
        side = side if side in _SIDES[name] else 224
    if name == "MobileNet":
        return f"mobilenet_{text}_{side}_tf_no_top.h5"
    if name == "MobileNetV2":
        kernels = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
        return f"{kernels}_{text}_{side}_no_top.h5"
    size = name.removeprefix("MobileNetV3").lower() + "_minimalistic" * minimal
    return f"weights_mobilenet_v3_{size}_224_{text}_float_no_top_v2.h5"


def _side(config: Config) -> int:
    height, width = config.data.image_size or (0, 0)
    return height if height == width else 0


def _folder() -> pathlib.Path:
    """The folder of Keras' downloads; it takes one in /tmp if it cannot write there."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    if os.path.exists(home) and not os.access(home, os.W_OK):
        home = os.path.join(tempfile.gettempdir(), ".keras")
    return pathlib.Path(home, "models")


def _download(config: Config, side: int, path: pathlib.Path) -> None:
    """Lets Keras download the weights to `path`.

    Raises:
        InvalidInput: it failed; the message says what is missing where.
    """
    known = _SIDES.get(config.model.name.removeprefix(PREFIX), ())
    square = side if side in known else 224
    given = {k: v for k, v in config.model.kwargs.items() if k in ("alpha",)}
    if config.model.kwargs.get("minimalistic"):
        given["minimalistic"] = True
    if known:
        given["input_shape"] = [square, square, 3]
    name = config.model.name.removeprefix(PREFIX)
    words = ["-c", _SCRIPT, name, json.dumps(given), str(CONNECT_SECS)]
    reason = "Keras wrote another file"
    try:
        with CONSOLE.phase("asking Keras for the weights of ImageNet"):
            done = subprocess.run(
                [sys.executable, *words],
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECS,
                check=False,
            )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            reason = said[-1].strip() if said else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"it took more than {DOWNLOAD_SECS} s"
    if not path.is_file():
        raise InvalidInput(
            f"init_from=imagenet: {path.name} is not in {path.parent} and cannot be "
            f"downloaded ({reason:.300});\ncopy it there from a machine with a "
            "network, or name a file: init_from=FILE.weights.h5"
        )
