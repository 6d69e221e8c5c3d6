"""What newcomers type is answered at once, with the remedy, by every command."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import quick_mistakes
from tests.support.commands import PROGRESS, ROOT
from tests.support.sources import COMMANDS

# Of processor time, which does not depend on what else the machine does.
LIMIT_SECS = 2.0
MISTAKES = {
    "trainer.main --lr=0.1": "--learning_rate=0.1",
    "trainer.main --batch_size=32": "--global_batch=32",
    "trainer.main --batch-size=32": "--global_batch=32",
    "trainer.main --num_epochs=3": "--epochs=3",
    "trainer.main --epoch=3": "epochs",
    "trainer.main --epochs=abc": "must be a number",
    "trainer.main --optimizer=adam": "adamw",
    "trainer.main --lr_schedule=cosine": "--schedule=cosine",
    "trainer.main --weight-decay=0.1": "--weight_decay=0.1",
    "trainer.main --gpus=2": "--strategy=mirrored",
    "trainer.main --data=photos": "--image_dir=photos",
    "trainer.main --dataset_dir=data": "--data_dir=data",
    "trainer.main --dataset=cifar": "--dataset=cifar10",
    "trainer.main --dataset=my_photos": "--image_dir",
    "trainer.main --dataset=cifar10 --data_dir={runs} --dry_run":
        "python -m trainer.prepare --dataset=cifar10 --data_dir={runs}",
    "trainer.main --image_dir=no/such/folder": "no/such/folder is no folder",
    "trainer.main --model=no_net": "resnet8",
    "trainer.main --model=no_file.py:net": "no_file.py",
    "trainer.main configs/fast.flags": "--flagfile=configs/fast.flags",
    "trainer.main --dataset=digits --data_dir={data} --global_batch=5000":
        "a batch of 5,000 is more than the 1,437 images",
    "trainer.main --dataset=digits --data_dir={data} --train_steps=9 --warmup_epochs=2":
        "lower --warmup_epochs",
    "trainer.main --epochs=1 --warmup_epochs=2": "warmup_epochs",
    "trainer.main --strategy=mirrored --logical_devices=3": "255 and 258",
    "trainer.prepare --dataset=cifar": "--dataset=cifar10",
    "eval.report {run}": "--run_dir={run}",
    "eval.report --run_dir={runs}": "name one with --run_dir: {unfinished}",
    "eval.report --run_dir={unfinished}": "--flagfile=",
    "eval.report --model=model.tflite": "model.tflite does not exist",
    "eval.report --run_dir={run} --dataset=cifar": "--dataset=cifar10",
    "eval.compare": "two or more",
    "eval.compare {run} none.tflite": "none.tflite does not exist",
    "eval.predict --run_dir={runs} photo.jpg": "name one with --run_dir",
    "export.tflite --run_dir={unfinished}": "trainer.main --flagfile=",
    "export.tflite --run_dir={run} --scheme=fp16": "float16",
    "export.web --run_dir={run} --port=80": "--port=80 says nothing without --serve",
    "export.bench --run_dir={run} --targets=": "--targets is empty",
    "export.bench --run_dir={run} --formats=": "--formats is empty",
    "export.bench --run_dir={run} --formats=int8,fp16": "--formats=int8,fp16 must be",
    "export.bench --run_dir={rounded} --formats=float16": "float32, int8",
    "export.bench --run_dir={run} --require_signed=no.pub": "no.pub cannot be read",
    "export.sign --key=owner.pem": "--private_key=owner.pem",
    "export.saved_model --run_dir={run}/config.json": "with --run_dir: {run}",
    "export.saved_model model.tflite": "unexpected word",
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(template, data_dir, tmp_path_factory) -> dict[str, dict]:
    """What every command of MISTAKES answers, and the names in them."""
    runs = tmp_path_factory.mktemp("runs")
    unfinished = runs / "unfinished"
    unfinished.mkdir()
    for name in ("config.json", "environment.json"):
        (unfinished / name).write_bytes((template / name).read_bytes())
    rounded = shutil.copytree(template, tmp_path_factory.mktemp("rounded") / "run")
    config = json.loads((rounded / "config.json").read_text())
    config["config"]["model"]["qat"] = True
    (rounded / "config.json").write_text(json.dumps(config))
    names = {"runs": runs, "run": template, "unfinished": unfinished, "data": data_dir}
    names |= {"rounded": rounded}
    todo = [line.format(**names).split() for line in MISTAKES]
    done = subprocess.run(
        [sys.executable, quick_mistakes.__file__],
        cwd=ROOT,
        input=json.dumps(todo),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(todo), done.stderr
    names = {name: str(path) for name, path in names.items()}
    return dict(zip(MISTAKES, ({**one, **names} for one in found), strict=True))


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_answered_at_once_with_its_remedy(line, answers):
    answer = answers[line]
    said = PROGRESS.sub("", answer["said"])
    assert answer["code"] == 2, said
    assert MISTAKES[line].format(**answer) in said
    assert len(said.splitlines()) <= 2 and "Traceback" not in said
    assert answer["secs"] < LIMIT_SECS
    assert answer["heavy"] == ""


@pytest.mark.parametrize("package", ["trainer", "eval", "export", "launch"])
def test_a_package_lists_its_commands(package):
    done = subprocess.run(
        [sys.executable, "-m", package], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        if name.startswith(f"{package}."):
            assert f"python -m {name} " in done.stdout


def test_make_alone_shows_what_it_makes():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "make demo" in done.stdout
