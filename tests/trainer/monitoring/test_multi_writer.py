"""One call writes a value to metrics.jsonl and to TensorBoard."""

import json

import numpy as np
from tensorboard.backend.event_processing import event_accumulator

from trainer.monitoring.multi_writer import MultiWriter


def test_both_files_have_what_was_written(tmp_path):
    lines, events = tmp_path / "metrics.jsonl", tmp_path / "events"
    events.mkdir()
    writer = MultiWriter.open(lines, events, attempt=1, say=print)
    for step in (1, 2):
        writer.write_scalars(step, step / 4, "train", {"loss": step / 8})
    writer.write_scalars(2, 0.5, "validation", {"accuracy": 0.75}, eval_tta="flip")
    writer.write_picture(2, "train/augmented", np.zeros((2, 3, 3), np.uint8))
    writer.sync()
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(line["split"], line["step"]) for line in written] == [
        ("train", 1),
        ("train", 2),
        ("validation", 2),
    ]
    assert written[0]["loss"] == 0.125 and written[2]["eval_tta"] == "flip"
    seen = event_accumulator.EventAccumulator(
        str(events), size_guidance={"tensors": 0}
    ).Reload()
    assert [event.step for event in seen.Tensors("train/loss")] == [1, 2]
    assert sorted(seen.Tags()["tensors"]) == [
        "train/augmented",
        "train/loss",
        "validation/accuracy",
    ]
