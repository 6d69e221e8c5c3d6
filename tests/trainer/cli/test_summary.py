"""The commands that are suggested after a training repeat how it was tested."""

import pathlib

import pytest

from trainer.cli import summary
from trainer.rundir.layout import Run

RESULT = {
    "test_accuracy": 0.9067,
    "test_accuracy_interval": [0.9, 0.91],
    "test_images": 10_000,
    "data": "cifar10/3.0.2",
    "steps": 990,
    "images_per_second": 100.0,
    "weights_sha256": "ab" * 32,
}


@pytest.mark.parametrize(
    ("tta", "words"), [("none", ""), ("flip_shift", " --eval_tta=flip_shift")]
)
def test_a_report_is_suggested_with_the_same_test_time_augmentation(tta, words):
    said = summary.format_result(
        Run(pathlib.Path("/r/a b")), {**RESULT, "eval_tta": tta}
    )
    line = f"      python -m eval.report --run_dir='/r/a b'{words}"
    assert line in said.splitlines()
    assert ("test-time augmentation" in said) == (tta != "none")
