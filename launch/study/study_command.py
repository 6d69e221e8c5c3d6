"""The command launch.sweep once its flags are parsed: starts, joins, ends a study."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from launch import flag_checks
from launch.command_line import UsageError, require_utf8
from launch.study import (
    search_space,
    study_definition,
    study_run,
    study_storage,
    study_table,
    trial_records,
    winner,
)
from launch.study.study_definition import GRID, RANDOM, StudyDefinition
from launch.study.study_run import StudyPlace, StudyRun
from launch.study.study_storage import StudyStorage
from launch.study.trial_run import TrialPrograms
from launch.supervisor import temporary_files
from trainer.contract import EXIT_PEER_LOST

FILE = "study.json"
MAX_CHECKED = 500  # configurations; each takes about 10 ms
# Flags that define a study; without any of them a command takes those of study.json.
_DEFINING = ("try", "space", "trials", "seeds", "sampler", "study_seed", "pruner")
_DEFINING += ("halving_factor", "objective", "concurrent", "study_name")
_FINISHING = ("all_rows", "choose")

Resources = tuple[Sequence[Sequence[int]], Sequence[Sequence[str]]]


def carry_out(
    values: flags.FlagValues,
    trainer_flags: list[str],
    study_dir: pathlib.Path,
    resources: Resources,
    programs: TrialPrograms | None = None,
) -> int:
    """Starts, joins or finishes the study in `study_dir`; returns the exit code.

    Raises:
      UsageError: flags or space are wrong; nothing was written.
    """
    programs = programs or TrialPrograms()
    flag_checks.check_directory(str(study_dir))
    recorded = _read_recorded(study_dir)
    _check_finishing(values, trainer_flags, recorded)
    is_named = bool(trainer_flags) or any(values[n].present for n in _DEFINING)
    if recorded is not None and (values.finish or not is_named):
        definition = StudyDefinition.from_json(recorded)
        if values.seeds or not values.finish:  # else nothing is trained
            flag_checks.check_recorded_flags(definition.trainer_flags)
    else:
        definition = _define(values, trainer_flags, study_dir, resources, recorded)
    url = _choose_storage(values, study_dir, recorded)
    if recorded is None and (
        code := study_run.check_trial(definition, programs, winner.say)
    ):
        return code
    with temporary_files.create_directory() as scratch:
        place = StudyPlace(
            study_dir=study_dir,
            scratch=scratch,
            cores=resources[0],
            gpus=resources[1],
            hang_secs=values.hang_secs,
            max_restarts=values.max_restarts,
            programs=programs,
        )
        return _work_on_storage(values, definition, url, place)


def _work_on_storage(
    values: flags.FlagValues, definition: StudyDefinition, url: str, place: StudyPlace
) -> int:
    try:
        return _work(values, definition, url, place)
    except study_storage.STORAGE_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        winner.say(f"the storage was lost ({reason}); the same command goes on later")
        return EXIT_PEER_LOST


def _work(
    values: flags.FlagValues, definition: StudyDefinition, url: str, place: StudyPlace
) -> int:
    """Works on the study, shows its table and page."""
    if study_storage.is_new_file(url):  # perhaps in the directory, which is made first
        _write_definition(place.study_dir, definition, url)
        definition, storage = _join(values, definition, url)
    else:
        definition, storage = _join(values, definition, url)
        _write_definition(place.study_dir, definition, url)
    if not values.run:
        winner.say(
            f"study {definition.name}: defined in {place.study_dir}; the same "
            "directory without --norun works on it"
        )
        return 0
    if values.finish:
        request = winner.FinishRequest(
            values.choose, values.seeds or 0, values.all_rows
        )
        code = winner.finish_study(definition, storage.records(), request, place)
        return code or _write_page(place)
    winner.say(
        f"study {definition.name}: {definition.trials} trials in {place.study_dir}"
    )
    code = StudyRun(definition, storage, place).run()
    table = study_table.write_table(place.study_dir, definition, storage.records())
    print("\n".join(study_table.format_ranking(table)))
    print(f"{place.study_dir / study_table.JSON_FILE}  table {table['table_sha256']}")
    return code or _write_page(place)


def _write_page(place: StudyPlace) -> int:
    """Makes the page; without it the table is complete all the same."""
    if page := study_run.write_page(place.study_dir, place.programs):
        winner.say(f"the page was not made (exit code {page}); the table is complete")
    return 0


def _join(
    values: flags.FlagValues, definition: StudyDefinition, url: str
) -> tuple[StudyDefinition, StudyStorage]:
    """Opens the storage; what depends on the first machine is taken from there.

    Raises:
      UsageError: it has another definition, or --finish finds no trials in it.
    """
    if values.finish and study_storage.is_new_file(url):
        winner.check_over(definition, {})
    storage = study_storage.open_storage(url)
    theirs = study_storage.read_definition(storage, definition.name)
    if theirs is not None:
        definition = _adopt(values, definition, theirs)
    elif values.finish:
        winner.check_over(definition, {})
    return definition, StudyStorage(storage, definition)


def _adopt(
    values: flags.FlagValues, definition: StudyDefinition, theirs: dict[str, Any]
) -> StudyDefinition:
    """Takes threads and `concurrent` of the study, which follow from its machine."""
    taken = {"threads": theirs.get("threads", definition.threads)}
    if not values["concurrent"].present:
        taken["concurrent"] = theirs.get("concurrent", definition.concurrent)
    return dataclasses.replace(definition, **taken)


def _read_recorded(study_dir: pathlib.Path) -> dict[str, Any] | None:
    if not (study_dir / FILE).exists():
        return None
    found = trial_records.read_json(study_dir / FILE)
    if found is None:
        raise UsageError(
            f"{study_dir / FILE} is damaged; restore it, or name another --study_dir"
        )
    return found


def _check_finishing(
    values: flags.FlagValues, trainer_flags: list[str], recorded: object
) -> None:
    if not values.finish:
        for name in _FINISHING:
            if values[name].present:
                raise UsageError(f"--{name} has no effect without --finish; add it")
        return
    if recorded is None:
        raise UsageError("--finish needs the --study_dir of a study that is over")
    others = [n for n in _DEFINING if values[n].present and n != "seeds"]
    if others or trainer_flags:
        what = f"--{others[0]}" if others else "flags after `--`"
        raise UsageError(
            f"--finish takes what the study was started with; leave {what} out"
        )
    if values.all_rows and not values.seeds:
        raise UsageError(
            "--all_rows needs --seeds=N: only new trainings can have more rows"
        )


def _define(
    values: flags.FlagValues,
    trainer_flags: list[str],
    study_dir: pathlib.Path,
    resources: Resources,
    recorded: dict[str, Any] | None,
) -> StudyDefinition:
    """Builds and checks the definition."""
    # An earlier release kept --flagfile=FILE; the same command goes on with its study.
    if recorded is None or recorded.get("trainer_flags") != trainer_flags:
        trainer_flags = flag_checks.read_trainer_flags(trainer_flags)
    name = _choose_name(values, study_dir)
    definition = _build_definition(values, trainer_flags, name, len(resources[0][0]))
    study_definition.check(definition)
    first_seed = flag_checks.check_configurations(
        trainer_flags, _list_checked(definition)
    )
    definition = dataclasses.replace(definition, first_seed=first_seed)
    study_definition.check(definition)
    if recorded is not None:
        definition = _adopt(values, definition, recorded)
        _check_recorded(recorded, definition, study_dir)
    return definition


def _list_checked(definition: StudyDefinition) -> list[list[str]]:
    """Lists arguments of configurations which stand for all that can be drawn.

    Of a grid these are all, up to MAX_CHECKED; else each choice, both ends of each
    range, every integer of a short one, and combinations of them.
    """
    space, found = definition.space, []
    if definition.sampler == GRID:
        found = space.grid()
    if not 0 < len(found) <= MAX_CHECKED:
        found = list(space.checked_configurations(MAX_CHECKED))
    return [space.arguments(each) for each in found]


def _build_definition(
    values: flags.FlagValues, trainer_flags: list[str], name: str, threads: int
) -> StudyDefinition:
    space = search_space.parse_space(values["try"].value, values.space)
    sampler = values.sampler or (GRID if values.trials is None else RANDOM)
    seeds, factor = values.seeds or 1, values.halving_factor
    trials = study_definition.count_trials(space, sampler, values.trials, seeds)
    if not space.parameters and trials < 2:
        raise UsageError(
            f"there is no study {name}, and a new one would have nothing to compare: "
            "vary a flag with --try, or take --seeds=5"
        )
    return StudyDefinition(
        name=name,
        space=space,
        sampler=sampler,
        pruner=values.pruner,
        objectives=study_definition.parse_objectives(values.objective),
        seeds=seeds,
        first_seed=0,
        study_seed=values.study_seed,
        trials=trials,
        concurrent=values.concurrent
        or study_definition.choose_concurrent(
            sampler, values.pruner, values.workers, seeds
        ),
        halving_factor=factor,
        halving_stages=study_definition.choose_halving_stages(trials // seeds, factor),
        threads=threads,
        trainer_flags=tuple(trainer_flags),
    )


def _check_recorded(
    recorded: dict[str, Any], definition: StudyDefinition, study_dir: pathlib.Path
) -> None:
    ours = definition.to_json()
    theirs = {name: recorded.get(name) for name in ours}
    study_storage.check_same(theirs, ours, str(study_dir))


def _choose_name(values: flags.FlagValues, study_dir: pathlib.Path) -> str:
    name = study_dir.name if values.study_name is None else values.study_name
    require_utf8(name)
    if not name or not name.isprintable() or len(name) > 200:
        raise UsageError(
            f"--study_name={name!r:.80} must be a printable text of at most 200 letters"
        )
    return name


def _choose_storage(
    values: flags.FlagValues, study_dir: pathlib.Path, recorded: dict[str, Any] | None
) -> str:
    """Chooses the storage's URL; that of study.json has no password.

    Raises:
      UsageError: it is not a URL, or has a password that study.json does not hold.
    """
    url = values.storage
    if url is not None:
        study_storage.hide_password(url)
    if url is None:
        url = (recorded or {}).get("storage") or study_storage.own_url()
        if "***" in url:
            raise UsageError(
                f"--storage is missing: study.json has {url} without its password"
            )
    elif recorded is not None and _describe(url, study_dir) != recorded.get("storage"):
        raise UsageError(
            f"--storage={study_storage.hide_password(url)} is not that of the study, "
            f"{recorded.get('storage')}; leave it out"
        )
    return study_storage.resolve_url(url, str(study_dir))


def _describe(url: str, study_dir: pathlib.Path) -> str:
    own = study_storage.resolve_url(study_storage.own_url(), str(study_dir))
    return study_storage.own_url() if url == own else study_storage.hide_password(url)


def _write_definition(
    study_dir: pathlib.Path, definition: StudyDefinition, url: str
) -> None:
    """Writes study.json unless it is there."""
    if (study_dir / FILE).exists():
        return
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        content = {
            **definition.to_json(),
            "storage": _describe(url, study_dir),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "optuna": study_storage.OPTUNA_VERSION,
        }
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        trial_records.write_atomically(study_dir / FILE, text)
    except OSError as error:
        raise UsageError(
            f"--study_dir={study_dir} cannot be written: {error.strerror or error}"
        ) from error
