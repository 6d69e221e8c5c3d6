"""A run's temperature: fitted once on its own validation rows, then only read.

calibration.json lies in the run directory. The test split has no part in it, and nobody
fits again: the exported model, the report and every comparison use this one number.
"""

import dataclasses
import enum
import hashlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from eval import leakage, scores, temperature
from trainer import files, sampler
from trainer.commandline import UsageError
from trainer.datasets.split import Split
from trainer.nested import misfit
from trainer.runs import Run

FILE = "calibration.json"
VERSION = 2  # 1 took a temperature from any rows, also from all right ones


class State(enum.Enum):
    """Whether the probabilities are calibrated, and where."""

    CALIBRATED = "calibrated"  # by the temperature given
    UNCALIBRATED = "uncalibrated"
    INSIDE = "calibrated inside the model"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The temperature to apply to a model's answers, None for none, and why."""

    state: State
    temperature: float | None
    why: str


def none(why: str) -> Calibration:
    """No temperature is to be had; `why` is one sentence."""
    return Calibration(State.UNCALIBRATED, None, why)


def inside(manifest: dict) -> Calibration:
    """What the manifest of an exported file says; {} where there is none."""
    value = manifest.get("temperature")
    if isinstance(value, int | float):
        return Calibration(
            State.INSIDE, None, f"The file divides its logits by {value:.4g} itself."
        )
    return none("Uncalibrated: the answers are taken as they are.")


def of_run(
    run: Run,
    weights_sha256: str,
    predict: Callable[[np.ndarray], np.ndarray],
    train: Callable[[], Split],
    test: Split,
) -> Calibration:
    """The calibration of a finished run's weights; writes calibration.json if missing.

    Args:
        predict: probabilities [N, C] of images uint8 [N, H, W, C].
        train: loads the training split; called only if there is something to fit.
        test: what the run is judged by; no row that is one of its images is fitted on.

    Raises:
        UsageError: calibration.json is damaged or of other weights.
    """
    if (run.path / FILE).exists() and (noted := _read(run)).get("version") != 1:
        return _calibration(run, noted, weights_sha256)
    fraction = run.config().data.validation_fraction
    if not fraction:
        return none("Uncalibrated: the run held no validation rows out.")
    split = train()
    trained_on = (run.result() or {}).get("data_sha256")
    trained_on = trained_on.get("train") if isinstance(trained_on, dict) else None
    if split.sha256 != trained_on:
        return none("Uncalibrated: the run's own training data was not found.")
    _, rows = sampler.validation_split(split.labels, fraction)
    seen = leakage.test_images(split, test)
    if leaked := leakage.found(seen):
        return none(f"Uncalibrated: {leaked}.")
    rows = rows[~seen[rows]]
    if not len(rows):
        return none("Uncalibrated: the run held no validation rows out.")
    known = {"weights_sha256": weights_sha256, "train_sha256": split.sha256}
    fitted = _fit(predict(split.images[rows]), split.labels[rows], rows)
    noted = {"version": VERSION, **fitted, **known}
    _keep(run, noted)
    return _calibration(run, noted, weights_sha256)


def _keep(run: Run, noted: dict[str, Any]) -> None:
    try:
        run.write(FILE, noted)
    except OSError as error:  # somebody else's run: it is fitted again next time
        print(f"{run.path / FILE} is not kept: {error.strerror}", file=sys.stderr)


def _fit(
    probabilities: np.ndarray, labels: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    """The temperature, and on which `rows` of the training split it was found.

    It is None, and "why" says so, where the rows do not tell one.
    """
    value = temperature.fit(probabilities, labels)
    doubt = temperature.doubt(probabilities, labels, value)
    softened = temperature.soften(probabilities, 1.0 if doubt else value)
    state = State.UNCALIBRATED if doubt else State.CALIBRATED
    fitted = f"Temperature {value:.4g}, fitted on the run's {len(rows):,} validation"
    return {
        "state": state.value,
        "temperature": None if doubt else value,
        "why": f"Uncalibrated: {doubt}." if doubt else f"{fitted} rows.",
        "rows": len(rows),
        "wrong": int((~scores.correct(probabilities, labels)).sum()),
        "rows_sha256": hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest(),
        "nll": {
            "before": scores.nll(probabilities, labels),
            "after": scores.nll(softened, labels),
        },
    }


def _read(run: Run) -> dict[str, Any]:
    path = run.path / FILE
    try:
        noted = files.read_json(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(noted, dict):
        raise _unreadable(path, "it holds no object")
    return noted


def _unreadable(path: pathlib.Path, reason: object) -> UsageError:
    return UsageError(
        f"{path} cannot be read ({reason}); move it away to have it fitted again"
    )


def _calibration(run: Run, noted: dict[str, Any], weights_sha256: str) -> Calibration:
    """What the content of calibration.json says of these weights."""
    path = run.path / FILE
    shape = {"temperature": float | None, "weights_sha256": str}
    if wrong := misfit(noted, shape | {"why": str, "rows": int}):
        raise _unreadable(path, wrong)
    value, own = (noted[name] for name in shape)
    why, rows = noted["why"], noted["rows"]
    if own != weights_sha256:
        raise UsageError(
            f"{path} is of weights {own[:12]}, these are {weights_sha256[:12]};"
            " move it away to have it fitted again"
        )
    if value is None:
        return none(why)
    low, high = temperature.BOUNDS
    if not low <= value <= high:
        raise UsageError(
            f"{path} has temperature {value:.4g}; limit: {low} to {high};\nmove it"
            " away to have it fitted again"
        )
    return Calibration(
        State.CALIBRATED,
        value,
        f"Temperature {value:.4g}, fitted on the run's {rows:,} validation rows.",
    )
