"""FLOPs are those of the papers: counted by hand here, by layer there."""

from trainer import flops, models
from trainer.config import Config, DataConfig, ModelConfig
from trainer.plan import Every, Plan

SHAPE = (32, 32, 3)


def body(name, shape=SHAPE):
    model = models.build(ModelConfig(name=name), image_shape=shape, num_classes=10)
    return model.get_layer("body")


def test_resnet8_has_the_multiply_adds_of_mlperf_tiny():
    assert flops.forward(body("resnet8")) == 2 * 12_501_632  # Banbury et al.: 12.5 M


def test_small_images_cost_what_their_steps_have():
    config = Config(
        data=DataConfig(small_pixels=24, small_part=0.5),
        model=ModelConfig(name="speednet"),
        global_batch=8,
    )
    never = dict.fromkeys(("log", "evaluate", "save"), Every(None, 3))
    plan = Plan(3, 0, 3, **never, small_steps=1)
    small, whole = body("speednet", (24, 24, 3)), body("speednet")
    expected = 3 * 8 * (flops.forward(small) + 2 * flops.forward(whole))
    assert flops.training(config, plan, SHAPE, 10) == expected
    assert flops.forward(small) < 0.6 * flops.forward(whole)
