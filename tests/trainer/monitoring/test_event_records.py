"""Event files: every good record is kept, whatever is damaged; fast, little memory."""

import os
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from tests.support.memory import peak_bytes
from trainer.monitoring import event_records, metrics_log, tensorboard
from trainer.monitoring.tensorboard import TensorBoardWriter

LENGTHS = [*range(20), 100, 1023, 1024, 1025, 2048, 5001]


def test_checksums_are_those_of_tensorboard():
    contents = [np.random.default_rng(n).bytes(n) for n in LENGTHS]
    expected = [masked_crc32c(content) for content in contents]
    assert event_records.checksums(contents).tolist() == expected  # many at once
    assert [event_records.checksums([c])[0] for c in contents] == expected
    assert event_records.checksums([]).tolist() == []


def test_tensorflow_reads_what_was_framed(tmp_path):
    contents = [bytes([n % 256]) * n for n in LENGTHS]
    path = tmp_path / "a"
    path.write_bytes(
        b"".join(event_records.encode_record(content) for content in contents)
    )
    read = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert read == contents
    spans = list(event_records.scan(path))
    assert [span.content for span in spans] == contents
    assert (spans[0].start, spans[-1].end) == (0, path.stat().st_size)


def written(tmp_path, steps=6):
    """An event file of as many steps, and where each record begins."""
    events = TensorBoardWriter(tmp_path, 1, print)
    for step in range(1, steps + 1):
        events.scalars(step, {"loss": float(step)})
        if step == 3:
            noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
            events.picture(step, "picture", noise)
    events.sync()
    (path,) = tmp_path.iterdir()
    return path, [span.start for span in event_records.scan(path)]


def seen(directory, tag="loss"):
    """Steps of `tag` as TensorBoard shows them."""
    read = event_accumulator.EventAccumulator(
        str(directory), size_guidance={"tensors": 0}
    ).Reload()
    if tag not in read.Tags()["tensors"]:
        return []
    return [event.step for event in read.Tensors(tag)]


@pytest.mark.parametrize("place", [0, 8, 13, -1], ids=["length", "crc", "event", "end"])
@pytest.mark.parametrize("hit", [2, 4, 7])
def test_damage_takes_only_its_own_record(tmp_path, place, hit):
    path, starts = written(tmp_path)  # version, 1, 2, 3, picture, 4, 5, 6
    ends = [*starts[1:], path.stat().st_size]
    content = bytearray(path.read_bytes())
    content[(ends if place < 0 else starts)[hit] + place] ^= 0x55
    path.write_bytes(content)
    said = []
    tensorboard.truncate_after(tmp_path, 6, said.append)
    left = {2: [1, 3, 4, 5, 6], 4: [1, 2, 3, 4, 5, 6], 7: [1, 2, 3, 4, 5]}
    assert seen(tmp_path) == left[hit]
    assert seen(tmp_path, "picture") == ([] if hit == 4 else [3])
    assert len(said) == 1
    assert str(path) in said[0]


@pytest.mark.parametrize("lost", ["some", "as long as a record", "most"])
def test_missing_bytes_take_only_their_own_record(tmp_path, lost):
    """The length of the cut record leads into, to the end of, or past later ones."""
    path, starts = written(tmp_path)
    picture, after = starts[4], starts[5]
    records = {"some": 10, "as long as a record": starts[6] - after}
    count = records.get(lost, after - picture - 100)
    content, said = path.read_bytes(), []
    path.write_bytes(content[: picture + 50] + content[picture + 50 + count :])
    tensorboard.truncate_after(tmp_path, 6, said.append)
    assert path.read_bytes() == content[:picture] + content[after:]
    (line,) = said
    assert f"{after - picture - count:,} damaged bytes of {path}, in 1 place;" in line


def test_a_length_within_damaged_bytes_is_believed_only_with_its_content(tmp_path):
    path, starts = written(tmp_path)
    picture, after = starts[4], starts[5]
    content = path.read_bytes()
    length = (len(content) - picture - 200).to_bytes(8, "little")
    header = length + masked_crc32c(length).to_bytes(4, "little")
    forged = b"\0" * 100 + header
    path.write_bytes(content[:picture] + forged + content[picture + len(forged) :])
    tensorboard.truncate_after(tmp_path, 6, lambda _: None)
    assert path.read_bytes() == content[:picture] + content[after:]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"x", b"\xff" * 40, os.urandom(999)])
def test_a_foreign_end_is_cut_off(tmp_path, tail):
    path, _ = written(tmp_path)
    before = path.read_bytes()
    path.write_bytes(before + tail)
    tensorboard.truncate_after(tmp_path, 6, lambda _: None)
    assert path.read_bytes() == before


def test_a_file_of_which_all_is_kept_is_not_written(tmp_path):
    path, _ = written(tmp_path)
    lines = tmp_path / "metrics.jsonl"
    lines.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    before = [(p.stat().st_mtime_ns, p.stat().st_ino) for p in (path, lines)]
    tensorboard.truncate_after(tmp_path, 6)
    metrics_log.truncate_after(lines, 6)
    after = [(p.stat().st_mtime_ns, p.stat().st_ino) for p in (path, lines)]
    assert before == after


def test_after_a_kill_and_a_resume_each_step_is_seen_once(tmp_path):
    for attempt, (first, last, kept) in enumerate([(1, 9, 5), (6, 12, 8), (9, 10, 10)]):
        events = TensorBoardWriter(tmp_path, attempt, print)
        for step in range(first, last + 1):
            events.scalars(step, {"loss": 0.0})
        events.scalars(last, {"test/loss": 0.0})
        events.sync()
        tensorboard.truncate_after(tmp_path, kept)
    assert seen(tmp_path) == list(range(1, 11))
    assert seen(tmp_path, "test/loss") == []


def test_a_large_file_takes_seconds_and_megabytes(tmp_path):
    path, _ = written(tmp_path, steps=2)
    (tmp_path / "one").mkdir()
    one = TensorBoardWriter(tmp_path / "one", 1, print)
    for step in range(1, 1001):
        one.scalars(step, {"loss": 0.0})
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    one.picture(7, "picture", noise)
    one.sync()
    (piece,) = (tmp_path / "one").iterdir()
    with open(path, "ab") as file:
        for _ in range(20):
            file.write(piece.read_bytes())
    before = peak_bytes()
    start, size = time.process_time(), path.stat().st_size
    assert size > 20e6
    tensorboard.truncate_after(tmp_path, 900)
    assert time.process_time() - start < 5  # 0.6 s on an idle core; it was a minute
    assert peak_bytes(since=before) < 50e6
    assert sum(1 for _ in event_records.scan(path)) == 3 + 20 * (1 + 900 + 1)
