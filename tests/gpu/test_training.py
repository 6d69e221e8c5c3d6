"""Training on a GPU: it learns, resumes bit for bit, and agrees with the CPU."""

import json
import os
import pathlib
import re
import signal

import numpy as np
import pytest

from tests.support.commands import result, run_command
from tests.support.resumed_runs import SAME, stop_after_save
from trainer.rundir import checkpoints
from trainer.rundir.weights import raw_weights

pytestmark = pytest.mark.slow

MIRRORED = "--strategy=mirrored"
COMMON = ["--dataset=digits", "--warmup_epochs=0", "--log_every_steps=20"]
# Enough steps that a kill comes before the end.
LONG = [*COMMON, "--global_batch=64", "--train_steps=200", "--steps_per_call=10"]
LONG += ["--checkpoint_every_steps=20", "--augment=crop"]
SPEEDNET = ["--model=speednet", "--model_kwargs=activation=gelu", "--optimizer=muon"]
SPEEDNET += ["--image_size=32", "--progressive_size=24", "--flip=alternating"]
SPEEDNET += ["--augment=flip_crop", "--learning_rate=0.05", "--sgd_learning_rate=0.05"]
NETWORKS = {
    "cnn": ["--model=cnn", "--ema_decay=0.99"],
    "resnet8": ["--model=resnet8", "--image_size=32"],
    "speednet": SPEEDNET,
    "mixtures": ["--model=resnet8", "--mixup=0.2", "--cutmix=1"],
    "host": ["--model=resnet8", "--input=host"],
    "shards": ["--model=resnet8", "--elastic_shards=2"],
    "qat": ["--model=cnn", "--qat", "--init_from={finished}"],
}
CASES = [
    (name, precision)
    for name in ("cnn", "resnet8", "speednet")
    for precision in ("float32", "mixed_bfloat16")
]
CASES += [(name, "float32") for name in ("mixtures", "host", "shards", "qat")]
CASES += [("cnn", "mixed_float16")]
ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}


def train(data_dir, run_dir, *words: str, env: dict[str, str] | None = None) -> str:
    """Trains to the end, with the variables of `env`; its stderr."""
    where = [f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    env = {**os.environ, **(env or {})}
    done = run_command("trainer.main", *words, *where, check=True, fresh=True, env=env)
    return done.stderr


def stop(number: signal.Signals, data_dir, run_dir, *words: str, env=None) -> int:
    """Signals a training as soon as it has saved; its exit code."""
    words = [*words, f"--data_dir={data_dir}"]
    env = {**os.environ, **(env or {})}
    return stop_after_save(run_dir, number, words, wait=0, env=env)


def on_gpu(run_dir: pathlib.Path) -> bool:
    """Whether the run says that it saw a GPU."""
    seen = json.loads((run_dir / "environment.json").read_bytes())["devices"]
    return any("NVIDIA" in name for name in seen)


def last_weights(run_dir: pathlib.Path) -> dict[str, np.ndarray]:
    """The weights of its last checkpoint."""
    folder = checkpoints.list_folders(run_dir / "checkpoints")[0]
    return raw_weights(checkpoints.load(folder).arrays)


def test_mirrored_trains_the_digits_and_names_the_card(data_dir, tmp_path):
    path = tmp_path / "run"
    said = train(data_dir, path, "--flagfile=configs/digits.flags", MIRRORED)
    assert re.search(r"^device: .*NVIDIA .*, \d+\.\d GiB$", said, re.MULTILINE), said
    assert on_gpu(path)
    assert result(path)["test_accuracy"] > 0.97
    # Evaluation by its own command gives the same answers, on the GPU too.
    report = [f"--run_dir={path}", f"--data_dir={data_dir}"]
    run_command("eval.report", *report, check=True, fresh=True)
    found = json.loads((path / "report" / "report.json").read_bytes())
    assert found["scores"]["accuracy"] == result(path)["test_accuracy"]


@pytest.fixture(scope="module")
def finished(data_dir, tmp_path_factory) -> pathlib.Path:
    """A cnn that --qat can start from."""
    path = tmp_path_factory.mktemp("finished") / "run"
    train(data_dir, path, *COMMON, "--model=cnn", "--train_steps=50", MIRRORED)
    return path


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_killed_and_resumed_equals_never_killed(
    data_dir, tmp_path, request, name, precision
):
    words = [*LONG, *NETWORKS[name], f"--precision={precision}", MIRRORED]
    if name == "qat":
        run = request.getfixturevalue("finished")
        words = [word.format(finished=run) for word in words]
    train(data_dir, tmp_path / "whole", *words)
    cut = tmp_path / "cut"
    killed = stop(signal.SIGKILL, data_dir, cut, *words)
    assert killed == -signal.SIGKILL
    assert not (cut / "result.json").exists()
    assert "resumed" in train(data_dir, cut, *words)
    for key in SAME:
        assert result(cut)[key] == result(tmp_path / "whole")[key], key


def test_the_checkpoint_of_a_cpu_goes_on(data_dir, tmp_path):
    words = ["--flagfile=configs/digits.flags", "--checkpoint_every_steps=50"]
    path = tmp_path / "run"
    stopped = stop(signal.SIGTERM, data_dir, path, *words, env=ON_CPU)
    assert stopped == 128 + signal.SIGTERM
    assert "changed" in train(data_dir, path, *words)
    assert result(path)["test_accuracy"] > 0.97


@pytest.mark.parametrize("name", ["cnn", "resnet8", "speednet"])
def test_a_few_steps_agree_with_those_of_a_cpu_to_rounding(data_dir, tmp_path, name):
    """By SGD: AdamW makes a whole step of the rounding of a gradient that is zero.

    Two libraries of one CPU, oneDNN and Eigen, are 1.6e-4 apart by the same measure.
    """
    words = [*COMMON, *NETWORKS[name], "--train_steps=5", "--global_batch=64"]
    words += ["--optimizer=sgd", "--learning_rate=0.01"]
    train(data_dir, tmp_path / "gpu", *words)
    train(data_dir, tmp_path / "cpu", *words, env=ON_CPU)
    assert on_gpu(tmp_path / "gpu")
    assert not on_gpu(tmp_path / "cpu")
    one, other = (last_weights(tmp_path / side) for side in ("gpu", "cpu"))
    assert one.keys() == other.keys()
    apart = np.sqrt(sum(np.sum((one[key] - other[key]) ** 2) for key in one))
    assert apart <= 1e-3 * np.sqrt(sum(np.sum(value**2) for value in other.values()))
    rows = [result(tmp_path / side)["rows_sha256"] for side in ("gpu", "cpu")]
    assert rows[0] == rows[1]


LARGE = ["--image_size=32", "--augment=flip_crop"]
OPTIONS = {
    "mobilenet": ["--model=mobilenet", *LARGE],
    "keras": ["--model=keras:MobileNetV2", "--model_kwargs=alpha=0.35", *LARGE],
    "depthwise-bfloat16": [
        "--model=mobilenet",
        "--precision=mixed_bfloat16",
        *LARGE,
    ],
    "photographs": [
        "--model=resnet8",
        "--image_size=32",
        "--augment=flip_resized_crop",
        "--color_jitter=0.4",
        "--randaugment_ops=2",
    ],
    "frozen": ["--freeze=norm|stem", "--init_from={residual}", "--model=resnet8"],
    "teacher": ["--teacher={finished}", "--model=resnet8"],
    "synchronised": ["--model=resnet8", "--sync_batch_norm"],
    "accumulated": ["--model=resnet8", "--accumulate_steps=2"],
    "float64": ["--model=resnet8", "--precision=float64"],
    "compiled": ["--model=resnet8", "--nodeterministic", "--jit_compile"],
    "cutout": ["--model=resnet20", "--augment=flip_crop_cutout", "--clip_norm=1"],
    "drop-path": ["--model=resnet8", "--model_kwargs=stochastic_depth=0.2"],
}


@pytest.fixture(scope="module")
def residual(data_dir, tmp_path_factory) -> pathlib.Path:
    """A resnet8 that a fine-tuning can start from."""
    path = tmp_path_factory.mktemp("residual") / "run"
    train(data_dir, path, *COMMON, "--model=resnet8", "--train_steps=20", MIRRORED)
    return path


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_trains(data_dir, tmp_path, request, name):
    runs = {
        key: request.getfixturevalue(key)
        for key in ("finished", "residual")
        if any(f"{{{key}}}" in word for word in OPTIONS[name])
    }
    words = [word.format(**runs) for word in OPTIONS[name]]
    short = [*COMMON, "--train_steps=20", "--global_batch=64", MIRRORED]
    train(data_dir, tmp_path / "run", *short, *words)
    assert on_gpu(tmp_path / "run")
