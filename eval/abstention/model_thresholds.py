"""The thresholds of a model that is to predict; a run may have none yet."""

from collections.abc import Callable

from eval import runner
from eval.abstention import thresholds
from eval.abstention.thresholds import Thresholds
from eval.metrics import calibration
from eval.model_source import ModelSource
from trainer.errors import InvalidInput
from trainer.rundir import layout


def load_or_choose(source: ModelSource, say: Callable[[str], object]) -> Thresholds:
    """Loads the thresholds of a model; those of a run are chosen if it has none yet.

    `say` is called with each line about the data of the run that must be known.

    Raises:
        InvalidInput: there are none, and they cannot be chosen.
    """
    if source.run is None:
        return thresholds.from_manifest(source)
    if not source.final:
        raise InvalidInput(
            "`abstain` has thresholds for the run's last checkpoint only; leave"
            " `checkpoint` or `abstain` out"
        )
    fitted = calibration.load_saved(source.run, source.facts["sha256"])
    if fitted and (counts := thresholds.load_counts(source, fitted)):
        return thresholds.from_counts(counts)
    tested = layout.was_tested(source.run.result())
    data = runner.open_data(source, say=say, test=tested)
    split = data.load("test" if tested else "train")
    test = split if tested else None  # a test split that is closed stays closed
    predictor = runner.open_predictor(source, split)
    answers = runner.answer_validation(source, predictor, data, test)
    fitted = runner.find_calibration(source, predictor, answers)
    found = thresholds.find_thresholds(source, predictor, fitted, answers)
    if isinstance(found, str):
        raise InvalidInput(
            f"{source.name} has no thresholds for `abstain`: {found};\nleave it out"
        )
    return found
