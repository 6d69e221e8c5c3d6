"""What is shown: curves without scars, lines of metrics, one live line or many."""

import io
import json
import re

import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.support.run_directories import begin
from trainer.monitoring import metrics_log, tensorboard
from trainer.monitoring.metrics_log import MetricsLog
from trainer.monitoring.progress import PhaseTimer, Progress, duration
from trainer.monitoring.tensorboard import TensorBoardWriter
from trainer.rundir import layout
from trainer.training.loop import BlockSizer


def written(directory) -> list[tuple[str, int]]:
    found = []
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(value.tag, event.step) for value in event.summary.value]
    return found


def test_what_came_after_the_checkpoint_is_removed(tmp_path):
    first = TensorBoardWriter(tmp_path, 1, print)
    for step in (1, 2, 3):
        first.scalars(step, {"loss": float(step)})
    first.sync()
    tensorboard.truncate_after(tmp_path, 2)
    assert written(tmp_path) == [("loss", 1), ("loss", 2)]
    tensorboard.truncate_after(tmp_path, 2)
    assert written(tmp_path) == [("loss", 1), ("loss", 2)]


def test_a_torn_event_file_keeps_what_is_whole(tmp_path):
    writer = TensorBoardWriter(tmp_path, 1, print)
    for step in (1, 2, 3):
        writer.scalars(step, {"loss": 0.0})
    writer.sync()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    tensorboard.truncate_after(tmp_path, 3)
    assert written(tmp_path) == [("loss", 1), ("loss", 2)]


def test_a_record_that_is_no_event_is_dropped_and_said(tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(event_of(1))
        file.write(b"\xff\xff\xff")
        file.write(event_of(2))
    said = []
    tensorboard.truncate_after(tmp_path, 3, said.append)
    assert written(tmp_path) == [("loss", 1), ("loss", 2)]
    assert len(said) == 1
    assert str(path) in said[0]


def event_of(step: int) -> bytes:
    value = tf.compat.v1.Summary.Value(tag="loss", simple_value=0.5)
    summary = tf.compat.v1.Summary(value=[value])
    return tf.compat.v1.Event(step=step, summary=summary).SerializeToString()


def test_step_0_starts_anew(tmp_path):
    writer = TensorBoardWriter(tmp_path, 1, print)
    writer.scalars(0, {"loss": 0.0})
    writer.sync()
    tensorboard.truncate_after(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_lines_of_metrics_are_cut_at_the_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = MetricsLog(path, print)
    for step in (5, 10, 15):
        lines.write(step, step / 10, "train", loss=1.0)
    with path.open("a") as file:
        file.write('{"version": 1, "step": 20, "lo')
    metrics_log.truncate_after(path, 10)
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in read] == [5, 10]
    assert read[0] == {
        "version": 1, "step": 5, "epoch": 0.5, "split": "train", "loss": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("damaged", [b"\0\x85\xff", b"[]", b'{"step": "5"}', b"{"])
def test_a_damaged_line_of_metrics_takes_no_others_with_it(tmp_path, damaged):
    path, said = tmp_path / "metrics.jsonl", []
    good = [b'{"step": %d}' % step for step in (5, 15, 10, 8)]
    path.write_bytes(b"\n".join([good[0], damaged, *good[1:], b'{"st']))
    metrics_log.truncate_after(path, 10, said.append)
    assert path.read_bytes() == b"\n".join([good[0], *good[2:], b""])
    assert len(said) == 1
    assert f"{path}, the first at line 2" in said[0]
    metrics_log.truncate_after(path, 10, said.append)
    assert len(said) == 1


def test_a_pipe_gets_whole_lines_every_few_seconds():
    out, times = io.StringIO(), iter([0.0, 0.0, 1.0, 4.9, 5.0, 5.0, 6.0])
    progress = Progress(lambda: next(times), out)
    for name in "abcd":
        progress.update(name)
    progress.update("last", last=True)
    assert out.getvalue().split("\n")[:-1] == ["a", "d", "last"]
    assert "\r" not in out.getvalue()


def test_durations():
    assert [duration(s) for s in (0, 59.6, 61, 3723)] == [
        "0:00", "1:00", "1:01", "1:02:03",
    ]  # fmt: skip


def test_a_call_is_paced_to_its_target():
    pace = BlockSizer(None, target_secs=1.0)
    assert (pace.steps(), pace.proposal()) == (1, 1)
    pace.record(5, 0.5)
    assert pace.proposal() == 10
    pace.set_agreed(7)  # of all workers' wishes the fewest
    assert pace.steps() == 7
    assert BlockSizer(3).proposal() == 3


def test_the_clock_adds_up_phases():
    times = iter([1.0, 3.0, 10.0, 10.5])
    clock = PhaseTimer(lambda: next(times))
    for _ in range(2):
        with clock.phase("train"):
            pass
    assert clock.seconds["train"] == 2.5
    assert clock.last["train"] == 0.5


@pytest.fixture(scope="module")
def read_back(tmp_path_factory):
    """What TensorBoard's own reader finds in a folder of runs."""
    from tensorboard.backend.event_processing import plugin_event_multiplexer

    root = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        run = begin(root / name)
        writer = TensorBoardWriter(run.tensorboard, 1, print)
        graph = tf.Graph()
        with graph.as_default():
            tf.constant(1.0, name="conv")
        writer.start(name, graph, {"seed": 1})
        writer.scalars(5, {"train/loss": 0.5, "validation/loss": 0.6})
        writer.sync()
        layout.update_latest(run)
    reader = plugin_event_multiplexer.EventMultiplexer()
    reader.AddRunsFromDirectory(str(root))
    reader.Reload()
    return reader


def test_each_run_is_shown_once_and_by_its_name(read_back):
    assert read_back.Runs().keys() == {"one", "two"}


def test_one_chart_has_the_curves_of_all_splits(read_back):
    (event,) = read_back.Tensors("one", "custom_scalars__config__")
    packed = tf.make_ndarray(event.tensor_proto).item()
    found = layout_pb2.Layout.FromString(packed).category[0].chart
    shown = {chart.title: list(chart.multiline.tag) for chart in found}
    (pattern,) = shown["loss"]
    tags = read_back.PluginRunToTagToContent("scalars")["one"]
    assert [tag for tag in sorted(tags) if re.match(pattern, tag)] == [
        "train/loss",
        "validation/loss",
    ]


def test_hyperparameters_have_the_name_of_their_run(read_back):
    for name in ("one", "two"):
        content = read_back.PluginRunToTagToContent("hparams")[name]
        packed = content["_hparams_/session_start_info"]
        found = plugin_data_pb2.HParamsPluginData.FromString(packed)
        assert found.session_start_info.group_name == name


def test_the_graph_is_the_network(read_back):
    graph = read_back.Graph("one")
    assert [node.name for node in graph.node] == ["conv"]
