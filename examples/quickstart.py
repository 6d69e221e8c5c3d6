"""Trains a network of one's own on arrays, in a minute: python examples/quickstart.py.

It needs no download: the arrays are scikit-learn's handwritten digits.
"""

import keras
import numpy as np
from sklearn import datasets

import trainer

digits = datasets.load_digits()
images = (digits.images[..., None] * 15).astype(np.uint8)  # [1797, 8, 8, 1], 0 to 240
labels = digits.target


def network(x, num_classes, *, width=32):
    """Convolution, batch normalisation, pooling, dense; `width` is an option."""
    x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(trainer.layers.BatchNorm()(x))
    x = keras.layers.Conv2D(2 * width, 3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU()(trainer.layers.BatchNorm()(x))
    return keras.layers.Dense(num_classes)(keras.layers.GlobalMaxPooling2D()(x))


data = trainer.data.from_arrays(
    train=(images[:1400], labels[:1400]), test=(images[1400:], labels[1400:])
)
config = trainer.Config(
    epochs=10, global_batch=50, data=trainer.DataConfig(augment=trainer.Augment.CROP)
)
result = trainer.train(config, data, model=network, run_dir="runs/quickstart")
low, high = result.test_accuracy_interval
print(f"{result.test_accuracy:.1%} of {result.test_images} ({low:.1%} to {high:.1%})")

model = trainer.load("runs/quickstart")  # needs neither this script nor the data
probabilities = model.predict(images[1400:1405])
print("classes:", probabilities.argmax(axis=1), "labels:", labels[1400:1405])

report = trainer.evaluate("runs/quickstart", data)  # the data are not in the run
print(report.path / "report.html")
artifact = trainer.export_tflite("runs/quickstart", data, quantize=True)
print(artifact)
