"""A network for laws of the step, and small networks of the registry."""

from trainer.models import registry
from trainer.models.layers import scaled
from trainer.models.networks import resnet


def block(x, num_classes, *, width=1.0, dropout=0.0, sync_batch_norm=False):
    """resnet8's stem and one of its blocks: each kind of layer, soon traced."""
    norm, channels = resnet._Norm(sync_batch_norm), scaled(16, width)
    x = norm(resnet._conv(x, channels, "stem", bias=True), "stem")
    x = resnet.keras.layers.ReLU(name="stem_relu")(x)
    shortcut = resnet._conv(x, channels, "shortcut", size=1, strides=2)
    x = norm(resnet._conv(x, channels, "a", strides=2), "a")
    x = resnet.keras.layers.Add(name="add")([shortcut, x])
    return resnet._classify(x, num_classes, dropout)


def options_of_width(name, width=0.25):
    """The option `width` of a network of the registry; none where it has no width."""
    known = registry.read_signature(name).parameters
    return {"width": width} if "width" in known else {}
