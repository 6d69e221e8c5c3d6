"""result.json: what a finished run says of itself, made once."""

import typing
from typing import Any

from trainer.models.evaluator import EvalMetrics, count_parameters
from trainer.monitoring import tensorboard
from trainer.storage import as_failure
from trainer.training import callbacks

if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession

HASHES = ("weights_sha256", "raw_weights_sha256", "rows_sha256")


def write_result(
    job: "TrainingSession", validation: EvalMetrics | None, test: EvalMetrics
) -> dict[str, Any]:
    """Writes the last summaries and result.json; returns its content.

    Raises:
        Stopped: with 175, the disk is full or gone or the run has another owner.
        Failure: the storage does not take it, and never will.
    """
    described = describe(job, validation, test)
    say, attempt = job.progress.say, job.lease.attempt
    try:
        events = tensorboard.TensorBoardWriter(job.run.tensorboard, attempt, say)
        tagged = {"accuracy": test.accuracy, "loss": test.loss}
        tagged = {f"{tensorboard.FINAL}{name}": v for name, v in tagged.items()}
        events.scalars(job.state.step, tagged)
        events.sync()
        job.lease.confirm()
        job.run.write("result.json", described)
    except OSError as error:
        raise as_failure("result.json could not be written", error) from error
    return described


def describe(
    job: "TrainingSession", validation: EvalMetrics | None, test: EvalMetrics
) -> dict[str, Any]:
    """The content of result.json.

    "images_per_second" is training images over "train_seconds", which leave out
    compilation, evaluation and saving; "seconds" has those of the last process.
    """
    state, facts = job.state, job.state.facts()
    return {
        "version": 1,
        "finished": True,
        "steps": state.step,
        "epochs": round(job.plan.epoch(state.step), 6),
        "train_seconds": round(state.seconds, 3),
        "images_per_second": round(callbacks.images_per_second(state), 1),
        "seconds": {name: round(s, 3) for name, s in job.clock.seconds.items()},
        "parameters": count_parameters(state.model),
        "eval_tta": job.evaluator.tta.value,
        "validation_accuracy": validation.accuracy if validation else None,
        "test_accuracy": test.accuracy,
        "test_accuracy_interval": list(test.interval),
        "test_loss": test.loss,
        "test_images": test.total,
        "test_split": job.data.test.split,
        **{name: facts[name] for name in HASHES},
        "data": job.data.name,
        "data_sha256": job.data.recorded()["sha256"],
        "replicas": job.cluster.replicas,
        "commit": job.environment["commit"],
    }
