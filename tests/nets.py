"""A network for laws of the step that any network with batch norm obeys."""

from trainer.models import resnet


def block(x, config, num_classes):
    """resnet8's stem and one of its blocks: each kind of layer, soon traced."""
    norm, channels = resnet._Norm(config), resnet.scaled(16, config.width)
    x = norm(resnet._conv(x, channels, "stem", bias=True), "stem")
    x = resnet.keras.layers.ReLU(name="stem_relu")(x)
    shortcut = resnet._conv(x, channels, "shortcut", size=1, strides=2)
    x = norm(resnet._conv(x, channels, "a", strides=2), "a")
    x = resnet.keras.layers.Add(name="add")([shortcut, x])
    return resnet._classify(x, config, num_classes)
