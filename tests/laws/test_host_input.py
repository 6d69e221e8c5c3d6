"""--input: whole runs end in the same bits, and host needs no memory for the data."""

import json
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

from tests.support.commands import ROOT, result, run_trainer
from tests.support.multi_worker import finish, start
from tests.support.resumed_runs import SAME, WHOLE, assert_equal_runs, interrupt
from trainer import system
from trainer.config.enums import Input
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.models import builder
from trainer.training import estimate

GIB = 2**30
ROW = np.zeros((1, 32, 32, 3), np.uint8)
DEVICE, HOST = "--input=device", "--input=host"


def chosen(monkeypatch, free: int, row=ROW, asked=Input.AUTO):
    """What is chosen for a split of 1 GiB, all `row`, with so many bytes free."""
    monkeypatch.setattr(system, "free_bytes", lambda: free)
    made = builder.build_model(Config().model, image_shape=(32, 32, 3), num_classes=10)
    images = np.broadcast_to(row, (GIB // 3072, 32, 32, 3), subok=True)
    split = types.SimpleNamespace(images=images)
    data = types.SimpleNamespace(train=split, test=split, image_shape=(32, 32, 3))
    cluster = types.SimpleNamespace(local_devices=("/cpu:0",), replicas=1, workers=1)
    body, run_config = made.get_layer("body"), RunConfig(input=asked)
    return estimate.choose_input(body, Config(), run_config, cluster, data)


def test_auto_takes_the_host_where_a_copy_does_not_fit(monkeypatch, tmp_path):
    assert chosen(monkeypatch, 8 * GIB).source is Input.DEVICE
    tight = chosen(monkeypatch, int(3.9 * GIB))
    assert tight.source is Input.HOST
    assert "GiB would be needed, 3.9 are free" in tight.why
    ROW.tofile(tmp_path / "row")
    mapped = np.memmap(tmp_path / "row", np.uint8, "r", shape=ROW.shape)
    assert chosen(monkeypatch, int(3.9 * GIB), mapped).source is Input.DEVICE
    assert chosen(monkeypatch, GIB, asked=Input.DEVICE).source is Input.DEVICE


@pytest.mark.slow  # of steps, test_host_pixels holds the same law
def test_host_is_named_in_the_plan_and_ends_in_the_bits_of_device(
    data_dir, whole_run, tmp_path
):
    done = run_trainer(data_dir, tmp_path / "host", *WHOLE, HOST, check=True)
    assert "a thread of the host reads the training images ahead" in done.stderr
    one, other = result(whole_run), result(tmp_path / "host")
    assert [one[key] for key in SAME] == [other[key] for key in SAME]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(HOST, DEVICE), (DEVICE, HOST)])
def test_a_resume_may_change_the_input(data_dir, tmp_path, first, second):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["--train_steps=60", "--threads=2", "--elastic_shards=4"]
    run_trainer(data_dir, whole, *words, "--ema_decay=0.9", second, check=True)
    killed = interrupt(data_dir, cut, signal.SIGKILL, [*words, first])
    assert killed == -signal.SIGKILL
    stopped = interrupt(data_dir, cut, signal.SIGTERM, [*words, first])
    assert stopped == 143
    run_trainer(data_dir, cut, *words, "--ema_decay=0.9", second, check=True)
    assert_equal_runs(whole, cut)


@pytest.mark.slow
def test_two_workers_read_their_own_rows(data_dir, tmp_path):
    for name, source in (("device", DEVICE), ("host", HOST)):
        done = finish(start(data_dir, tmp_path / name, "--train_steps=12", source))
        assert [code for code, _ in done] == [0, 0], done
    one, other = result(tmp_path / "device"), result(tmp_path / "host")
    assert [one[key] for key in SAME] == [other[key] for key in SAME]


TRAINING = """
import json, pathlib, re, sys
import numpy as np
from trainer.config.enums import Augment, Input
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig
from trainer.data.dataset import Splits
from trainer.data.split import Split
from trainer.distributed.shutdown import KeyboardRequest
from trainer.rundir.layout import Run
from trainer.training import start

folder, limit, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
shape, names = (32, 32, 3), ("a", "b")
count = 10 * limit // 3072

def split(count, name):
    path = folder / f"{name}.u8"
    with path.open("wb") as file:
        file.truncate(count * 3072)  # sparse: it takes no room on the disk
    images = np.memmap(path, np.uint8, "r", shape=(count, *shape))
    labels = (np.arange(count) % 2).astype(np.int32)
    return Split(images, labels, (), names, "0" * 64, name)

def anonymous():
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+) kB", text)[1])

seen = []
config = Config(
    data=DataConfig(dataset="arrays", augment=Augment.FLIP_CROP),
    model=ModelConfig(name="cnn", kwargs={"width": 1 / 16}),
    global_batch=16, train_steps=steps,
)
held = np.arange(20_000)
splits = Splits("arrays", "arrays", split(count, "train"), split(3000, "test"), held)
run_config = RunConfig(
    input=Input.HOST, run_dir=str(folder / "run"), eval_every_epochs=400 * 16 / count
)
request = KeyboardRequest()
start.train(
    Run(folder / "run"), config, run_config, request,
    script=start.ScriptInputs(
        splits=splits,
        callbacks=[lambda state, _: seen.append((state.step, anonymous()))],
    ),
)
size = splits.train.images.nbytes
print(json.dumps({"seen": seen, "end": anonymous(), "bytes": size}))
"""


@pytest.mark.slow
def test_a_store_ten_times_the_memory_trains(tmp_path):
    limit = GIB
    words = [sys.executable, "-c", TRAINING, str(tmp_path), str(limit), "2000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bytes"] > 9.9 * limit
    sizes = dict(found["seen"])
    assert max([*sizes.values(), found["end"]]) < limit
    # After the first validation, which compiles, nothing is left to be allocated.
    steady = [size for step, size in found["seen"] if step > 450]
    early = np.median(steady[: len(steady) // 4])
    assert max(steady) - early < 30e6, found["seen"]
