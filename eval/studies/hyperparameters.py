"""One table of hyperparameters over all trials in TensorBoard, without TensorFlow.

The training of each trial writes a session with all its options. The experiment that is
written here says which of them differ, so that `tensorboard --logdir DIR` shows these.
"""

import contextlib
import pathlib
import time

from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams

from eval.studies.study_data import Study
from trainer import files
from trainer.config.serialization import flatten
from trainer.errors import InvalidInput
from trainer.monitoring import event_records
from trainer.rundir.layout import Run

FOLDER, FILE = "tensorboard", "events.out.tfevents.0000000000.study"
METRICS = ("validation/accuracy", "validation/loss", "train/loss")


def write_experiment(study: Study, out_dir: pathlib.Path) -> None:
    """Writes the experiment beside the trials, replacing an older one.

    Raises:
        OSError: it cannot be written.
    """
    names = find_differing(study)
    if not names:
        return
    summary = hparams.hparams_config_pb(
        hparams=[hparams.HParam(name) for name in names],
        metrics=[hparams.Metric(tag) for tag in METRICS],
    )
    events = [
        event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"),
        event_pb2.Event(wall_time=time.time(), summary=summary),
    ]
    folder = out_dir / FOLDER
    folder.mkdir(exist_ok=True)
    records = [event_records.encode_record(one.SerializeToString()) for one in events]
    files.write_bytes(folder / FILE, b"".join(records))


def find_differing(study: Study) -> list[str]:
    """Names of the options that differ between the trials, as sessions call them."""
    seen: dict[str, set[str]] = {}
    count = 0
    for trial in study.trials:
        with contextlib.suppress(InvalidInput, KeyError):
            settings = flatten(Run(trial.run_dir).recorded()["config"])
            count += 1
            for name, value in settings.items():
                seen.setdefault(name, set()).add(repr(value))
    return [name for name, values in seen.items() if len(values) > 1]
