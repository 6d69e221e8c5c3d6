"""No command is silent for more than five seconds, piped to a file as well."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests.support import eval_models
from tests.support.commands import ROOT, TINY, run_trainer
from tests.support.image_folders import write_classes
from trainer.contract import is_progress_line

LIMIT_SECS = 10.0  # five, and as many that a busy machine may take to speak
pytestmark = pytest.mark.slow


def silences(*words: str, **variables: str) -> tuple[list[float], str]:
    """Seconds between outputs of `python -m words`, up to the last, and its text."""
    seen, text = [time.monotonic()], b""
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | variables,
    ) as process:  # fmt: skip
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            seen.append(time.monotonic())
            text += chunk
    assert process.returncode == 0, text
    return [b - a for a, b in zip(seen, seen[1:], strict=False)], text.decode()


def heard(*words: str, **variables: str) -> str:
    """The text of a command that was never silent for longer than LIMIT_SECS."""
    found, text = silences(*words, **variables)
    assert max(found) < LIMIT_SECS, text
    return text


def test_two_workers_and_the_log_of_the_second(data_dir, tmp_path):
    words = [*TINY, "--train_steps=100", "--steps_per_call=1"]
    place = [f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    text = heard("launch.local", "--workers=2", "--", *words, *place)
    assert "[worker-0] step" in text and "[worker-1] step" not in text
    log = (tmp_path / "run" / "logs" / "worker-1.log").read_text()
    steps = [line for line in log.splitlines() if line.startswith("step ")]
    assert len(steps) > 1 and all(map(is_progress_line, steps))
    assert steps[-1].startswith("step 100/100  ETA 0:00")


SLOW_DATA = """
import pathlib, runpy, sys, time
import numpy as np, tensorflow_datasets as tfds

class SlowDigits(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = pathlib.Path(sys.argv[0]).parent

    def _info(self):
        image, label = tfds.features.Image(), tfds.features.ClassLabel(num_classes=2)
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(240):
            time.sleep(0.05)
            yield i, {"image": np.zeros((8, 8, 3), np.uint8), "label": i % 2}

runpy.run_module("trainer.prepare", run_name="__main__")
"""


def test_a_data_set_that_is_slow_to_prepare(tmp_path):
    (tmp_path / "slow_data.py").write_text(SLOW_DATA)
    words = ["--dataset=slow_digits", f"--data_dir={tmp_path / 'data'}"]
    text = heard("slow_data", *words, PYTHONPATH=f"{tmp_path}:{ROOT}")
    counts = re.findall(r"train examples: (\d+) examples .* so far\)", text)
    assert len(counts) >= 2 and counts == sorted(counts, key=int)
    assert "\r" not in text


def test_a_replay(data_dir, tmp_path):
    run_trainer(data_dir, tmp_path / "run", check=True)
    heard("trainer.recheck", f"--run_dir={tmp_path / 'run'}")


def test_the_bench(run):
    text = heard("export.bench", f"--run_dir={run}")
    assert "bench.json" in text
    turns = re.findall(r"([\d,]+) of ([\d,]+) turns", text)
    assert all(int(done) <= int(total) for done, total in turns)


def test_a_comparison_of_a_run_and_a_file(run, tmp_path):
    file = str(eval_models.tflite(tmp_path / "other.tflite"))
    words = [str(run), file, f"--out_dir={tmp_path / 'out'}"]
    assert "McNemar" in heard("eval.compare", *words)


def test_predictions_and_an_inspection_of_many_files(run, tmp_path):
    photos = write_classes(tmp_path / "photos", {"a": 800, "b": 800}, size=(96, 96))
    out = f"--out_dir={tmp_path / 'out'}"
    assert "1,600 images" in heard("eval.data", f"--image_dir={photos}", out)
    words = [f"--run_dir={run}", str(photos), "--format=csv"]
    assert heard("eval.predict", *words).count(".png,") == 1600
