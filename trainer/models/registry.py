"""Networks by name; imports no TensorFlow, so that flags know the names at once."""

# name -> module:function; the function maps a float tensor [N, H, W, C], its
# ModelConfig and the number of classes to logits [N, K].
MODELS = {
    "cnn": "trainer.models.cnn:cnn",
    "resnet8": "trainer.models.resnet:resnet8",
    "resnet20": "trainer.models.resnet:resnet20",
    "speednet": "trainer.models.speednet:speednet",
}
ANY_SIZE = ("speednet",)  # networks whose body takes images of any height and width
