"""Groups of runs that differ in their seed: a configuration of a study, or a folder."""

import dataclasses
import pathlib

from eval.studies import study_data, study_summary
from trainer.config import parsing
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run


@dataclasses.dataclass(frozen=True)
class SeedGroup:
    """Some trainings of one configuration.

    Attributes:
        name: what messages and tables call it.
        path: the study or folder.
        runs: the run directories.
        candidates: how many configurations the group was chosen from by its validation
            rows; 1: it was not chosen.
        expected_maximum_of_noise: what the best of them gains by luck, at most.
    """

    name: str
    path: pathlib.Path
    runs: tuple[pathlib.Path, ...]
    candidates: int = 1
    expected_maximum_of_noise: float = 0.0


def is_group(word: str) -> bool:
    """Whether `word` names a study, a configuration of one, or a folder of runs."""
    path, _ = _split_number(word)
    if Run(path).exists or not path.is_dir():
        return False
    return study_data.is_study(path) or len(_runs_inside(path)) > 1


def find_group(word: str) -> SeedGroup:
    """The group that `word` names: DIR, or DIR:NUMBER for a configuration of a study.

    Of a study it is the best configuration, unless a number is given.

    Raises:
        InvalidInput: there is none, or none of its trials is complete.
    """
    path, number = _split_number(word)
    if not is_group(word):
        raise InvalidInput(
            f"{word} is no study and no folder of runs, but others are;\ncompare "
            "groups alone: studies, STUDY:NUMBER for a configuration, folders of runs"
        )
    if not study_data.is_study(path):
        return SeedGroup(path.name, path, _runs_inside(path))
    study = study_data.load_study(path)
    found = study_summary.summarize(study)
    rows = {row["configuration"]: row for row in found["configurations"]}
    if not rows or (number is not None and number not in rows):
        what = "trial" if number is None else f"trial of configuration {number}"
        raise InvalidInput(
            f"{path} has no complete {what}; finish it with launch.sweep\nand the same "
            "command, or name one of its configurations: "
            f"{', '.join(map(str, sorted(rows))) or 'there are none yet'}"
        )
    best = found["winner"] if number is None else rows[number]
    places = {trial.number: trial.run_dir for trial in study.trials}
    return SeedGroup(
        name=f"{study.name}:{best['configuration']}",
        path=path,
        runs=tuple(places[trial] for trial in best["trials"]),
        candidates=best.get("candidates", 1),
        expected_maximum_of_noise=best.get("expected_maximum_of_noise", 0.0),
    )


def _split_number(word: str) -> tuple[pathlib.Path, int | None]:
    """Path and configuration of DIR:NUMBER; a folder of that very name comes first."""
    path = parsing.parse_path("study", word)
    folder, colon, number = word.rpartition(":")
    if path.exists() or not (colon and folder and number.isdecimal()):
        return path, None
    return parsing.parse_path("study", folder), int(number)


def _runs_inside(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The runs directly in a folder; links such as `latest` do not count."""
    found = (one for one in path.iterdir() if not one.is_symlink())
    return tuple(sorted(one for one in found if Run(one).exists))
