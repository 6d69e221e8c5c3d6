"""What tests share: replicas in a process, prepared digits, commands as processes."""

import functools
import gc
import os
import pathlib
import shutil
import sys

import pytest

from tests.support import commands, eval_models, resumed_runs
from tests.support.chromium import Chromium
from tests.support.session_cache import SessionCache, TrainedRun
from trainer.cli import command
from trainer.distributed import strategy as distributed_strategy

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
LOGICAL_DEVICES = 4


# Files of the longest tests, tens of seconds each: begun last, one would leave a worker
# of the two alone at the end. --no-loadscope-reorder keeps this order.
LONGEST = [
    "laws/test_image_files.py",
    "trainer/training/test_step.py",
    "laws/test_stop.py",
    "trainer/models/networks/test_speednet.py",
    "export/test_tflite.py",
    "trainer/models/quantization/test_training.py",
    "trainer/cli/test_commands.py",
    "launch/supervisor/test_job_supervisor.py",
    "eval/test_report.py",
    "laws/test_multi_worker.py",
    "trainer/training/test_mixed_steps.py",
    "trainer/distillation/test_teacher.py",
    "trainer/pretrained/test_frozen_steps.py",
    "laws/test_without_test.py",
    "laws/test_user_networks.py",
    "laws/test_quantization.py",
    "eval/test_library.py",
    "eval/predictors/test_model_files.py",
    "eval/test_evaluation.py",
    "trainer/models/test_tta.py",
    "trainer/data/augmentation/test_photographs.py",
    "export/test_exporting.py",
    "laws/test_resume.py",
    "trainer/distillation/test_loss.py",
    "benchmarks/test_benchmarks.py",
    "trainer/test_streams.py",
    "laws/test_recheck.py",
    "laws/test_elastic.py",
    "laws/test_keras_networks.py",
    "eval/test_image_file_runs.py",
    "eval/test_data.py",
    "trainer/data/test_host_pixels.py",
    "laws/test_host_input.py",
    "trainer/optim/test_averages.py",
    "launch/test_trainer_command.py",
    "trainer/distributed/test_heartbeat.py",
]


def pytest_collection_modifyitems(items):
    """The longest files first."""
    here = pathlib.Path(__file__).parent
    rank = {here / name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish(session):
    """Libraries live as long as the process: no collection walks through them again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory):
    """A cache folder of its own: no test writes into the home of its user."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def commands_that_leave_this_process_alone():
    """A command that a test runs in this process raises SystemExit at its end."""
    command.leave_process = sys.exit


@pytest.fixture(scope="session", autouse=True)
def logical_devices():
    """Splits this process's CPU before anything else touches TensorFlow's devices."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * LOGICAL_DEVICES
    tf.config.set_logical_device_configuration(cpu, parts)


@pytest.fixture(scope="session")
def replicas():
    """Makes clusters of 1, 2 or 4 replicas on logical CPUs of this process."""
    import tensorflow as tf

    @functools.cache
    def make(count: int) -> distributed_strategy.Cluster:
        names = [f"/cpu:{n}" for n in range(count)]
        # Strategies of one process would otherwise take each other's collectives.
        tf.distribute.MirroredStrategy._collective_key_base = 1000 * count
        strategy = tf.distribute.MirroredStrategy(names)
        return distributed_strategy.Cluster(
            strategy=strategy,
            replicas=count,
            local_devices=tuple(strategy.extended.worker_devices),
            worker=0,
            workers=1,
        )

    return make


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory) -> SessionCache:
    """What is made once a session, however many workers it has."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    (root / "shared").mkdir(exist_ok=True)
    SessionCache.current = SessionCache(root / "shared")
    return SessionCache.current


@pytest.fixture(scope="session")
def data_dir(shared) -> pathlib.Path:
    """A TFDS folder that holds the digits."""
    return shared.digits()


@pytest.fixture(scope="session")
def template(data_dir, shared) -> pathlib.Path:
    """A finished run, of random weights, that nobody may change."""

    return shared.get_or_build(
        "tiny", lambda path: eval_models.make_run(path, data_dir)
    )


@pytest.fixture(scope="session")
def tiny_run(shared) -> TrainedRun:
    """The run of commands.TINY: for who needs any training by command."""
    return shared.tiny_run()


def train_once(shared: SessionCache, name: str, words: list[str]) -> pathlib.Path:
    def make(path: pathlib.Path) -> None:
        commands.run_trainer(shared.digits(), path, *words, check=True)

    return shared.get_or_build(name, make)


@pytest.fixture(scope="session")
def whole_run(shared) -> pathlib.Path:
    """The run of resumed_runs.WHOLE, never interrupted; nobody may change it."""
    return train_once(shared, "whole", resumed_runs.WHOLE)


@pytest.fixture(scope="session")
def single_run(shared) -> pathlib.Path:
    """That of resumed_runs.SINGLE."""
    return train_once(shared, "single", resumed_runs.SINGLE)


@pytest.fixture(scope="module")
def browser():
    """A Chromium that runs."""
    with Chromium() as made:
        yield made


@pytest.fixture
def run(template, tmp_path) -> pathlib.Path:
    """A copy of it that a test may damage."""
    return pathlib.Path(shutil.copytree(template, tmp_path / "tiny"))
