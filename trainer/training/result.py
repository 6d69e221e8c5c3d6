"""Writes result.json, the results of a finished run."""

from typing import Any

from trainer.data.dataset import Dataset
from trainer.models.evaluator import EvalMetrics, count_parameters
from trainer.monitoring import tensorboard
from trainer.monitoring.monitor import Monitor
from trainer.rundir.layout import Run
from trainer.rundir.lease import Lease
from trainer.storage import as_failure
from trainer.training.state import TrainState
from trainer.training.timetable import Timetable

VERSION = 1
HASHES = ("weights_sha256", "raw_weights_sha256", "rows_sha256")


def describe_training(
    state: TrainState, timetable: Timetable, seconds: dict[str, float]
) -> dict[str, Any]:
    """Describes the steps, speed, size and hashes of a training.

    "images_per_second" is the number of training images divided by "train_seconds",
    which exclude compilation, evaluation and saving; "seconds" are those of the last
    process by phase.
    """
    facts = state.facts()
    return {
        "version": VERSION,
        "finished": True,
        "steps": state.step,
        "epochs": round(timetable.epoch(state.step), 6),
        "train_seconds": round(state.seconds, 3),
        "images_per_second": round(state.images_per_second, 1),
        "seconds": {name: round(secs, 3) for name, secs in seconds.items()},
        "parameters": count_parameters(state.model),
        **{name: facts[name] for name in HASHES},
    }


def describe_scores(
    validation: EvalMetrics | None, test: EvalMetrics | None, data: Dataset
) -> dict[str, Any]:
    """Describes accuracies, their interval, and the data they were measured on.

    A run that was not tested has no field that begins with "test_".
    """
    recorded = data.recorded()
    found: dict[str, Any] = {"tested": test is not None}
    found["validation_accuracy"] = validation.accuracy if validation else None
    if validation is not None:
        found |= {
            "validation_accuracy_interval": list(validation.interval),
            "validation_loss": validation.loss,
            "validation_images": validation.total,
        }
    if test is not None:
        found |= {
            "test_accuracy": test.accuracy,
            "test_accuracy_interval": list(test.interval),
            "test_loss": test.loss,
            "test_images": test.total,
            "test_split": data.test.split,
        }
    return found | {
        "data": data.name,
        "data_sha256": recorded["sha256"],
        "pixels_sha256": recorded["pixels_sha256"],
    }


def write_result(
    run: Run, result: dict[str, Any], lease: Lease, monitor: Monitor
) -> None:
    """Writes the last summaries, then result.json, which marks the run as finished.

    Raises:
        Interrupted: with exit code 175: the disk is full or gone, or the run has
            another owner.
        TrainingFailed: the storage cannot hold the file.
    """
    try:
        if result["tested"]:
            events = tensorboard.TensorBoardWriter(
                run.tensorboard, lease.attempt, monitor.say
            )
            final = {"accuracy": result["test_accuracy"], "loss": result["test_loss"]}
            tagged = {f"{tensorboard.FINAL}{name}": v for name, v in final.items()}
            events.scalars(result["steps"], tagged)
            events.sync()
        lease.confirm()
        run.write("result.json", result)
    except OSError as error:
        raise as_failure("result.json could not be written", error) from error
