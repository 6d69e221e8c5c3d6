"""Tests on a GPU, run by make test-gpu; they are skipped where TensorFlow sees none."""

import os
import pathlib

import pytest

_FOLDER = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Skips the tests of this folder without a GPU."""
    here = [item for item in items if item.path.is_relative_to(_FOLDER)]
    if here and not _gpus():
        for item in here:
            item.add_marker(pytest.mark.skip(reason="TensorFlow sees no GPU"))


def _gpus() -> int:
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


@pytest.fixture(scope="session", autouse=True)
def leave_memory_to_the_commands():
    """TensorFlow in this process would take nearly all memory of the GPU."""
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"


@pytest.fixture(scope="session")
def data_dir(request) -> pathlib.Path:
    """A TFDS folder that holds the digits: $TFDS_DATA_DIR, or one that is made."""
    if place := os.environ.get("TFDS_DATA_DIR"):
        return pathlib.Path(place)
    return request.getfixturevalue("shared").digits()
