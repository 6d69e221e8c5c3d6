"""Temperature scaling (Guo et al. 2017): one number that softens or sharpens.

Dividing logits by T changes probabilities to softmax(log p / T): the order of the
classes, and so the accuracy, stays; confidence comes to match accuracy.
"""

import dataclasses
import enum
import hashlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, special

from eval import leakage
from eval.metrics import classification
from trainer import files
from trainer.config.serialization import misfit
from trainer.data import sampler
from trainer.data.split import Split
from trainer.errors import UsageError
from trainer.rundir.layout import Run

BOUNDS = (0.05, 20.0)  # an optimum at one is none: the NLL falls all the way to it
# Rows of either kind, right and wrong, that a fit needs. Answers as honest as can be,
# drawn anew and fitted: with 10 wrong ones T is off by 15 to 20 %, which costs new rows
# 0.005 nats; with fewer than 5 of 30 it costs up to 0.38.
LEAST = 10


def apply_temperature(
    probabilities: np.ndarray,
    temperature: float,
    floor: float = classification.SMALLEST,
) -> np.ndarray:
    """`probabilities` [N, C] at another temperature; rows sum to 1, float64.

    At temperature 1 they come back untouched; values below `floor` count as it.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities, floor))
    return special.softmax(logs / temperature, axis=1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature within BOUNDS with the least NLL on these rows.

    The NLL is convex in 1 / T, so the minimum is the only one.
    """
    classification.check(probabilities, labels)
    logs = np.log(np.maximum(probabilities, classification.SMALLEST))
    rows = np.arange(len(labels))

    def loss(inverse: float) -> float:
        return -special.log_softmax(logs * inverse, axis=1)[rows, labels].mean()

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    best = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / best.x)


def reason_to_reject(
    probabilities: np.ndarray, labels: np.ndarray, value: float
) -> str | None:
    """Why the `value` fitted on these rows is none to trust; None if it is."""
    low, high = BOUNDS
    right = int(classification.correct(probabilities, labels).sum())
    wrong = len(labels) - right
    few = "wrong" if wrong < right else "right"
    if min(right, wrong) < LEAST:
        return (
            f"{min(right, wrong)} of {len(labels):,} validation rows are {few}; fewer "
            f"than {LEAST} do not tell a temperature"
        )
    if not 1.01 * low < value < high / 1.01:
        return (
            f"no temperature within {low} to {high:g} fits the {len(labels):,} "
            "validation rows"
        )
    return None


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


def uncalibrated(why: str) -> Calibration:
    """No temperature is to be had; `why` is one sentence."""
    return Calibration(State.UNCALIBRATED, None, why)


def from_manifest(manifest: dict) -> Calibration:
    """What the manifest of an exported file says; {} where there is none."""
    value = manifest.get("temperature")
    if isinstance(value, int | float):
        return Calibration(
            State.INSIDE, None, f"The file divides its logits by {value:.4g} itself."
        )
    return uncalibrated("Uncalibrated: the answers are taken as they are.")


def from_run(
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
        return uncalibrated("Uncalibrated: the run held no validation rows out.")
    split = train()
    trained_on = (run.result() or {}).get("data_sha256")
    trained_on = trained_on.get("train") if isinstance(trained_on, dict) else None
    if split.sha256 != trained_on:
        return uncalibrated("Uncalibrated: the run's own training data was not found.")
    _, rows = sampler.validation_split(split.labels, fraction)
    seen = leakage.test_images(split, test)
    if leaked := leakage.found(seen):
        return uncalibrated(f"Uncalibrated: {leaked}.")
    rows = rows[~seen[rows]]
    if not len(rows):
        return uncalibrated("Uncalibrated: the run held no validation rows out.")
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
    value = fit_temperature(probabilities, labels)
    doubt = reason_to_reject(probabilities, labels, value)
    softened = apply_temperature(probabilities, 1.0 if doubt else value)
    state = State.UNCALIBRATED if doubt else State.CALIBRATED
    fitted = f"Temperature {value:.4g}, fitted on the run's {len(rows):,} validation"
    return {
        "state": state.value,
        "temperature": None if doubt else value,
        "why": f"Uncalibrated: {doubt}." if doubt else f"{fitted} rows.",
        "rows": len(rows),
        "wrong": int((~classification.correct(probabilities, labels)).sum()),
        "rows_sha256": hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest(),
        "nll": {
            "before": classification.nll(probabilities, labels),
            "after": classification.nll(softened, labels),
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
        return uncalibrated(why)
    low, high = BOUNDS
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
