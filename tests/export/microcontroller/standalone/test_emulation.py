"""The program on an emulated Cortex-M, and over the whole test split of CIFAR-10.

`make test-micro` installs compiler and emulator. TFDS_DATA_DIR names a folder with a
prepared CIFAR-10; without it, random images take its place.
"""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from export.artifact.number_formats import Io
from tests.support import c_projects, operator_files, operator_nets
from trainer.data import loading

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
NETWORKS = ["cnn", "resnet8", "resnet20", "mobilenet"]
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "make")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_emulator = pytest.mark.skipif(
    bool(MISSING) and "TEST_MICRO" not in os.environ,
    reason=f"no {' and no '.join(MISSING)}; make test-micro installs it",
)
# Most instructions a multiply-accumulate, all else included: about 2.8 (resnet8).
MOST_INSTRUCTIONS = 5
RESNET8_OPERATIONS = 12_501_632


def cifar(count: int) -> np.ndarray:
    folder = os.environ.get("TFDS_DATA_DIR")
    if folder is None:
        return operator_files.random_images(min(count, 200), (32, 32, 3), seed=7)
    images = loading.from_tfds("cifar10", folder, write=False).test.images
    return images[:count]


@needs_emulator
@pytest.mark.parametrize("name", NETWORKS)
def test_200_images_are_equal_on_a_cortex_m(name, tmp_path):
    content, images = operator_nets.quantized(name, Io.UINT8), cifar(200)
    answers = operator_files.reference_answers(content, images)
    c_projects.write_project(tmp_path, content, images, answers)
    words = ["make", "-C", str(tmp_path), "emulate"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 of 200 vectors equal\n" in done.stdout
    instructions = 40 * int(re.search(r"(\d+) ticks per image", done.stdout)[1])
    print(f"{name}: {instructions:,} instructions per image")
    if name == "resnet8":
        assert instructions < MOST_INSTRUCTIONS * RESNET8_OPERATIONS


@c_projects.needs_compiler
@pytest.mark.parametrize("io", [Io.UINT8, Io.INT8])
@pytest.mark.parametrize("name", [*NETWORKS, "speednet"])
def test_the_whole_test_split_is_byte_for_byte_equal(name, io, tmp_path):
    content = operator_nets.quantized(name, io)
    images = cifar(200 if io is Io.INT8 else 10_000)
    answers = operator_files.reference_answers(content, images)
    c_projects.write_project(tmp_path, content, images[:10], answers[:10])
    found = c_projects.answer(tmp_path, images, *c_projects.sanitizers(), "-O3")
    np.testing.assert_array_equal(found, answers)
