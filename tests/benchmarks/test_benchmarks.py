"""The commands behind the numbers in docs/ start, and their JSON can be read."""

import collections
import json

import pytest

from benchmarks import against_applications, roofline
from benchmarks.against_pytorch import TWINS
from tests.support.commands import ROOT, run_command
from trainer.config.schema import ModelConfig
from trainer.models import builder, registry

COMMANDS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "command.run(" in path.read_text()
)


def test_there_are_commands():
    assert len(COMMANDS) == 13


@pytest.mark.parametrize("name", COMMANDS)
def test_help_starts_and_says_how_to_call_it(name):
    done = run_command(f"benchmarks.{name}", "--help", check=True)
    assert f"usage: python -m benchmarks.{name}" in done.stdout
    assert "--rounds" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "name, word",
    [
        ("throughput", "--rounds=0"),
        ("scaling", "--global_batch=64,x"),
        ("input_cost", "--augment=twirl"),
        ("against_pytorch", "--model=vgg"),
        ("roofline", "--model=vgg"),
    ],
)
def test_wrong_words_are_refused(name, word):
    done = run_command(f"benchmarks.{name}", word)
    assert done.returncode == 2
    assert word.split("=")[0] in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.slow
def test_input_cost_gives_every_augmentation_by_the_constant_batch():
    words = ["--steps=1", "--rounds=1", "--global_batch=4", "--examples=9"]
    words += ["--model=cnn", "--image_size=16", "--cold"]
    done = run_command("benchmarks.input_cost", *words, "--augment=crop", check=True)
    found = json.loads(done.stdout)["rows"]
    assert [row["input"] for row in found] == ["device", "host", "device"]
    rows = {row["augment"]: row for row in found}
    assert rows.keys() == {"crop", "constant"}
    assert rows["constant"]["by constant"] == 1
    assert all(row["images/s"] > 0 for row in rows.values())
    assert "by constant" in done.stderr  # the table, for people


def test_preparing_compares_the_store_with_two_others():
    words = ["--images=30", "--image_size=16", "--rounds=1"]
    done = run_command("benchmarks.preparing", *words, check=True)
    rows = {row["by"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows.keys() == {"store", "keras", "tf.data"}
    assert rows["keras"]["by keras"] == 1
    assert all(row["images/s"] > 0 < row["CPU ms/image"] for row in rows.values())


def test_the_arithmetic_of_a_step_is_three_times_that_of_its_multiply_adds():
    cost = roofline.measure_cost("resnet8")
    first = 32 * 32 * 16 * 27  # nobody needs the gradient of the images
    counted = roofline.count_operations(cost)
    assert sum(counted.values()) == 2 * (3 * cost.multiply_adds - first)
    assert counted["dense"] == 2 * 3 * 64 * 10
    assert roofline.count_elements(cost)["norm"] == 32 * 32 * 16 * 3 + (
        16 * 16 * 32 * 2 + 8 * 8 * 64 * 2
    )


@pytest.mark.slow
def test_checkpoint_cost_is_measured_in_the_trainer(data_dir):
    words = ["--dataset=digits", f"--data_dir={data_dir}", "--model=resnet8"]
    short = ["--global_batch=16", "--rounds=1", "--saves=2"]
    done = run_command("benchmarks.checkpoint_cost", *words, *short, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["bytes"] > 78_666 * 4  # weights, and the optimizer's slots
    assert row["save s"] > 0
    assert row["restore s"] > 0
    assert row["share"] == pytest.approx(row["save s"] / (45 + row["save s"]), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "activation", "twin"),
    [(n, a, t) for n, of in TWINS.items() for a, all_ in of.items() for t in all_],
)
def test_a_twin_in_pytorch_has_as_many_parameters(name, activation, twin):
    pytest.importorskip("torch", reason="PyTorch is installed by those who compare")
    from benchmarks import torch_nets

    kwargs = {} if activation == "relu" else {"activation": activation}
    config = ModelConfig(name=name, kwargs=kwargs)
    ours = builder.build_model(config, image_shape=(32, 32, 3), num_classes=10)
    theirs = torch_nets.NETS[twin]()
    assert torch_nets.parameters(theirs) == ours.count_params()


def test_the_twin_of_an_application_has_as_many_parameters():
    pytest.importorskip("torch", reason="PyTorch is installed by those who compare")
    from benchmarks import torch_nets
    from trainer.models.networks import applications

    for name, twin in against_applications.TWINS.items():
        ours = applications.network(name)(torch_nets.CLASSES, (96, 96, 3))
        theirs = torch_nets.NETS[twin]()
        assert torch_nets.parameters(theirs) == ours.count_params()


@pytest.mark.slow
def test_an_application_is_compared_with_fit():
    words = ["--notorch", "--steps=1", "--rounds=1", "--batch=4", "--image_size=32"]
    words += ["--precision=float32"]
    done = run_command("benchmarks.against_applications", *words, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["network"] == "keras:MobileNetV2"
    assert row["ours / fit"] == pytest.approx(row["ours"] / row["fit"], rel=1e-3)
    assert row["ours / best fit"] <= row["ours / fit"] * 1.001


@pytest.mark.slow
def test_a_step_is_compared_with_the_peak_of_the_machine():
    words = ["--notorch", "--steps=1", "--rounds=1", "--batch=4", "--model=resnet8"]
    done = run_command("benchmarks.roofline", *words, check=True)
    rows = json.loads(done.stdout)["rows"]
    kinds = collections.Counter(next(iter(row)) for row in rows)
    assert kinds["step"] == kinds["one thread"] == 2 and kinds["peak of"] >= 2
    speeds = [value for row in rows for value in row.values() if type(value) is float]
    assert speeds and min(speeds) >= 0


def test_every_network_of_the_comparison_exists():
    assert TWINS.keys() <= registry.MODELS.keys()
