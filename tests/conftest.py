"""What tests share: replicas in a process, prepared digits, commands as processes."""

import fcntl
import functools
import gc
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = pathlib.Path(__file__).parent.parent
LOGICAL_DEVICES = 4
PROGRESS = re.compile(
    r"^.*(\(\d+:[\d:]+ so far\)| of [\d,]+ \w+  ETA .*)$\n", re.MULTILINE
)
# Seconds-long: a narrow network, small batches, few steps.
TINY = [
    "--dataset=digits",
    "--augment=crop",
    "--model_width=0.25",
    "--global_batch=32",
    "--train_steps=24",
    "--warmup_epochs=0.1",
    "--eval_every_epochs=0.2",
    "--log_every_steps=5",
]


# Files of the longest tests, tens of seconds each: begun last, one would leave a worker
# of the two alone at the end. --no-loadscope-reorder keeps this order.
LONGEST = ["resume", "speednet", "steps", "cli", "launch_local"]
LONGEST += ["export_tflite", "multi_worker", "elastic", "teacher", "stop", "tta"]
LONGEST += ["averages", "streams", "launch_supervisor", "model_files", "recheck"]


def pytest_collection_modifyitems(items):
    """The longest files first."""
    names = [f"test_{name}" for name in LONGEST]
    rank = {name: place for place, name in enumerate(names)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_collection_finish(session):
    """Libraries live as long as the process: no collection walks through them again."""
    gc.freeze()


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

    from trainer import cluster

    @functools.cache
    def make(count: int) -> cluster.Cluster:
        names = [f"/cpu:{n}" for n in range(count)]
        # Strategies of one process would otherwise take each other's collectives.
        tf.distribute.MirroredStrategy._collective_key_base = 1000 * count
        strategy = tf.distribute.MirroredStrategy(names)
        return cluster.Cluster(
            strategy=strategy,
            replicas=count,
            local_devices=tuple(strategy.extended.worker_devices),
            worker=0,
            workers=1,
        )

    return make


class Shared:
    """What the workers of one test session make once, in the folder `root`.

    Attributes:
        of_session: this session's.
    """

    of_session: "Shared"

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def made(self, name: str, make: Callable[[pathlib.Path], object]) -> pathlib.Path:
        """The path `name`, which the first worker to ask has `make` write.

        Nobody may change what lies there.
        """
        path, done = self.root / name, self.root / f"{name}.done"
        with (self.root / f"{name}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a maker that failed
                make(path)
                done.touch()
        return path

    def digits(self) -> pathlib.Path:
        """A TFDS folder that holds the digits."""

        def make(path: pathlib.Path) -> None:
            words = ["--dataset=digits", f"--data_dir={path}"]
            command("trainer.prepare", *words, check=True)

        return self.made("tfds", make)


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory) -> Shared:
    """What is made once a session, however many workers it has."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    (root / "shared").mkdir(exist_ok=True)
    Shared.of_session = Shared(root / "shared")
    return Shared.of_session


@pytest.fixture(scope="session")
def data_dir(shared) -> pathlib.Path:
    """A TFDS folder that holds the digits."""
    return shared.digits()


@pytest.fixture(scope="session")
def template(data_dir, shared) -> pathlib.Path:
    """A finished run, of random weights, that nobody may change."""
    from tests import eval_kit

    return shared.made("tiny", lambda path: eval_kit.make_run(path, data_dir))


@pytest.fixture
def run(template, tmp_path) -> pathlib.Path:
    """A copy of it that a test may damage."""
    return pathlib.Path(shutil.copytree(template, tmp_path / "tiny"))


def command(
    module: str, *words: str, check: bool = False, **kwargs
) -> subprocess.CompletedProcess:
    """Runs `python -m module words` and returns what it printed.

    How far long phases were, which depends on the machine, is left out of its stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        **kwargs,
    )
    done.stderr = PROGRESS.sub("", done.stderr)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def peak_bytes(since=None) -> int:
    """Of this process' memory, from a call with `since` None on; /proc's own mark.

    getrusage's would also have what the parent had before the program was started.
    """
    if since is None:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) - (since or 0)


def train(data_dir, run_dir, *words: str, **kwargs) -> subprocess.CompletedProcess:
    """Runs the trainer for seconds; later flags override the tiny ones."""
    where = [f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    return command("trainer.main", *TINY, *where, *words, **kwargs)


def result(run_dir) -> dict:
    """result.json of a finished run."""
    return json.loads((pathlib.Path(run_dir) / "result.json").read_text())
