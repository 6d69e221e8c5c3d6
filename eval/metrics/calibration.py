"""Temperature scaling (Guo et al. 2017): calibrates confidence with one number.

Dividing logits by T changes probabilities to softmax(log p / T). The order of the
classes and the accuracy do not change, and confidence matches accuracy better.
"""

import dataclasses
import enum
import pathlib
import sys
from typing import Any

import numpy as np
from scipy import optimize, special

from eval.metrics import classification
from eval.metrics.validation_rows import ValidationAnswers, is_outdated
from trainer import files
from trainer.config.serialization import misfit
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

BOUNDS = (0.05, 20.0)  # a fit at a bound is rejected: there is no minimum inside
# Least number of right and of wrong rows for a fit. In simulations with calibrated
# predictions, 10 wrong rows gave T within 15 to 20 %, which costs 0.005 nats on new
# rows; fewer than 5 wrong rows of 30 cost up to 0.38 nats.
MIN_ROWS = 10


def apply_temperature(
    probabilities: np.ndarray,
    temperature: float,
    min_probability: float = classification.SMALLEST,
) -> np.ndarray:
    """Applies a temperature to `probabilities` [N, C]: float64, rows sum to 1.

    At temperature 1 they are returned unchanged; values below `min_probability` are
    raised to it.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities, min_probability))
    return special.softmax(logs / temperature, axis=1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Fits the temperature within BOUNDS with the least NLL on these rows.

    The NLL is convex in 1 / T, so there is one minimum.
    """
    classification.validate(probabilities, labels)
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
    """Explains why the fitted `value` cannot be trusted; None if it can."""
    low, high = BOUNDS
    right = int(classification.correct(probabilities, labels).sum())
    wrong = len(labels) - right
    few = "wrong" if wrong < right else "right"
    if min(right, wrong) < MIN_ROWS:
        return (
            f"{min(right, wrong)} of {len(labels):,} validation rows are {few}; fewer "
            f"than {MIN_ROWS} do not determine a temperature"
        )
    if not 1.01 * low < value < high / 1.01:
        return (
            f"no temperature within {low} to {high:g} fits the {len(labels):,} "
            "validation rows"
        )
    return None


FILE = "calibration.json"
VERSION = 2  # version 1 fitted a temperature even if all rows were right


class State(enum.Enum):
    """State of calibration of a model's probabilities."""

    CALIBRATED = "calibrated"  # by the temperature given
    UNCALIBRATED = "uncalibrated"
    INSIDE = "calibrated inside the model"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The temperature to apply to probabilities, or None, and the reason."""

    state: State
    temperature: float | None
    why: str


def uncalibrated(why: str) -> Calibration:
    """Creates a Calibration without a temperature; `why` is one sentence."""
    return Calibration(State.UNCALIBRATED, None, why)


def from_manifest(manifest: dict) -> Calibration:
    """Reads the calibration from the manifest of an exported file; {}: no manifest."""
    value = manifest.get("temperature")
    if isinstance(value, int | float):
        return Calibration(
            State.INSIDE, None, f"The file itself divides its logits by {value:.4g}."
        )
    return uncalibrated("Uncalibrated: the probabilities are taken as they are.")


def from_run(answers: ValidationAnswers, weights_sha256: str) -> Calibration:
    """Loads or fits the calibration of a finished run; writes calibration.json.

    Args:
        answers: of the run; asked for only to fit.

    Raises:
        InvalidInput: calibration.json is damaged or belongs to other weights.
    """
    run = answers.run
    saved = load_saved(run, weights_sha256)
    if saved and not is_outdated(_load(run), answers.test):
        return saved
    if isinstance(answers.found, str):
        return uncalibrated(f"Uncalibrated: {answers.found}.")
    fitted = _fit(answers.probabilities, answers.labels)
    known = {"weights_sha256": weights_sha256, **answers.describe()}
    content = {"version": VERSION, **fitted, **known}
    _save(run, content)
    return _from_saved(run, content, weights_sha256)


def load_saved(run: Run, weights_sha256: str) -> Calibration | None:
    """Loads the calibration of these weights; None if it is not written yet.

    Raises:
        InvalidInput: calibration.json is damaged or belongs to other weights.
    """
    if not (run.path / FILE).exists() or (saved := _load(run)).get("version") == 1:
        return None
    return _from_saved(run, saved, weights_sha256)


def _save(run: Run, saved: dict[str, Any]) -> None:
    try:
        run.write(FILE, saved)
    except OSError as error:  # a run of another user: it is fitted again next time
        print(f"{run.path / FILE} is not saved: {error.strerror}", file=sys.stderr)


def _fit(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Fits the temperature on the validation rows.

    If the rows do not determine one it is None, and "why" gives the reason.
    """
    value = fit_temperature(probabilities, labels)
    doubt = reason_to_reject(probabilities, labels, value)
    softened = apply_temperature(probabilities, 1.0 if doubt else value)
    state = State.UNCALIBRATED if doubt else State.CALIBRATED
    fitted = f"Temperature {value:.4g}, fitted on the run's {len(labels):,} validation"
    return {
        "state": state.value,
        "temperature": None if doubt else value,
        "why": f"Uncalibrated: {doubt}." if doubt else f"{fitted} rows.",
        "wrong": int((~classification.correct(probabilities, labels)).sum()),
        "nll": {
            "before": classification.nll(probabilities, labels),
            "after": classification.nll(softened, labels),
        },
    }


def _load(run: Run) -> dict[str, Any]:
    path = run.path / FILE
    try:
        saved = files.read_json(path)
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error
    if not isinstance(saved, dict):
        raise _unusable(path, "it is not a JSON object")
    return saved


def _unusable(path: pathlib.Path, reason: object) -> InvalidInput:
    return InvalidInput(
        f"{path} cannot be read ({reason}); move it away to have it fitted again"
    )


def _from_saved(run: Run, saved: dict[str, Any], weights_sha256: str) -> Calibration:
    """Checks and converts the content of calibration.json."""
    path = run.path / FILE
    shape = {"temperature": float | None, "weights_sha256": str}
    if wrong := misfit(saved, shape | {"why": str, "rows": int}):
        raise _unusable(path, wrong)
    value, own = (saved[name] for name in shape)
    why, rows = saved["why"], saved["rows"]
    if own != weights_sha256:
        raise InvalidInput(
            f"{path} belongs to weights {own[:12]}, these are {weights_sha256[:12]};"
            " move it away to have it fitted again"
        )
    if value is None:
        return uncalibrated(why)
    low, high = BOUNDS
    if not low <= value <= high:
        raise InvalidInput(
            f"{path} has temperature {value:.4g}; limit: {low} to {high};\nmove it"
            " away to have it fitted again"
        )
    return Calibration(
        State.CALIBRATED,
        value,
        f"Temperature {value:.4g}, fitted on the run's {rows:,} validation rows.",
    )
