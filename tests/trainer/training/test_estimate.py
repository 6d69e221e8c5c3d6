"""FLOPs are those of the papers: counted by hand here, by layer there."""

from trainer.config.schema import Config, DataConfig, ModelConfig
from trainer.models import builder
from trainer.training import estimate
from trainer.training.timetable import Interval, Timetable

SHAPE = (32, 32, 3)


def body(name, shape=SHAPE, classes=10):
    model = builder.build_model(
        ModelConfig(name=name), image_shape=shape, num_classes=classes
    )
    return model.get_layer("body")


def test_resnet8_has_the_multiply_adds_of_mlperf_tiny():
    assert (
        estimate.forward_flops(body("resnet8")) == 2 * 12_501_632
    )  # Banbury et al.: 12.5 M


def test_mobilenet_has_the_multiply_adds_of_visual_wake_words():
    found = estimate.forward_flops(body("mobilenet", (96, 96, 3), 2))
    assert found == 2 * 7_489_664  # Banbury et al.: 7.5 M


def test_small_images_cost_what_their_steps_have():
    config = Config(
        data=DataConfig(progressive_size=24, progressive_fraction=0.5),
        model=ModelConfig(name="speednet"),
        global_batch=8,
    )
    never = dict.fromkeys(("log", "evaluate", "save"), Interval(None, 3))
    plan = Timetable(3, 0, 3, **never, small_steps=1)
    small, whole = body("speednet", (24, 24, 3)), body("speednet")
    expected = (
        3 * 8 * (estimate.forward_flops(small) + 2 * estimate.forward_flops(whole))
    )
    assert estimate.training_flops(config, plan, SHAPE, 10) == expected
    assert estimate.forward_flops(small) < 0.6 * estimate.forward_flops(whole)
