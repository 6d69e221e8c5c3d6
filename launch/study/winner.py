"""Finish of a study: the winner by validation, trained again if asked, tested once."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from launch.command_line import UsageError
from launch.study import study_table, trial_plan, trial_records
from launch.study.study_definition import StudyDefinition
from launch.study.study_run import TRIALS, StudyPlace
from launch.study.trial_plan import Records, TrialTask
from launch.study.trial_records import TrialRecord, TrialState
from launch.study.trial_run import RESULT, TrialRun
from launch.supervisor.console import Console
from launch.supervisor.process_identity import die_with_parent
from launch.supervisor.signal_queue import SignalQueue
from trainer.contract import EXIT_FAILED, shell_code

FOLDER = "finish"
OPENINGS = "test_openings.json"
OPENED_BY = "STUDY_OPENED_BY"  # the trainer and eval write its value to OPENINGS
_VERSION = 1
_BY = "launch.sweep --finish"
_TICK_SECS = 0.1


@dataclasses.dataclass(frozen=True)
class FinishRequest:
    """How a study is finished.

    Attributes:
      configuration: the one to take; None: the best by validation.
      seeds: trainings of the winner, with other seeds than its trials; 0: its first
        trial is tested as it is.
      all_rows: whether these are trained on the validation rows, too.
    """

    configuration: int | None
    seeds: int
    all_rows: bool


def finish_study(
    definition: StudyDefinition,
    records: Records,
    request: FinishRequest,
    place: StudyPlace,
) -> int:
    """Chooses the winner, trains and tests it; returns the exit code.

    Raises:
      UsageError: trials are missing, or there is nothing to choose from.
    """
    console = Console(time.monotonic, name="launch.sweep")
    configuration = _choose(definition, records, request)
    chosen = records[definition.trial_numbers(configuration)[0]]
    _announce_openings(place.study_dir, console)
    console.announce(
        f"winner: configuration {configuration}, "
        f"{study_table.format_flags(chosen.flags)}"
    )
    os.environ[OPENED_BY] = _BY
    if request.seeds:
        code, tested = _train_again(definition, chosen, request, place, console)
        console.close()
    else:
        console.close()
        code, tested = _test_trial(chosen, place)
    if not code:
        table = study_table.build_table(definition, records)
        summary = {
            "version": _VERSION,
            "configuration": configuration,
            "flags": dict(chosen.flags),
            "all_rows": request.all_rows,
            "winner": table["winner"],
            "runs": tested,
        }
        _write_summary(place.study_dir, summary)
        study_table.write_table(place.study_dir, definition, records)
    return code


def _write_summary(study_dir: pathlib.Path, summary: dict[str, Any]) -> None:
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    trial_records.write_atomically(study_dir / study_table.FINISH_FILE, text)
    print("\n".join(_format_summary(summary)))


def _test_trial(
    chosen: TrialRecord, place: StudyPlace
) -> tuple[int, list[dict[str, Any]]]:
    """Has eval test the winner's first trial as it is."""
    run_dir = place.study_dir / TRIALS / str(chosen.number)
    out_dir = place.study_dir / FOLDER / "report"
    where = [f"--run_dir={run_dir}", "--split=test", f"--out_dir={out_dir}"]
    command = [*place.programs.report, *where]
    done = subprocess.run(command, check=False, preexec_fn=die_with_parent())
    report = trial_records.read_json(out_dir / "report.json") or {}
    scores = report.get("scores")
    found = (
        {
            "test_accuracy": scores.get("accuracy"),
            "test_accuracy_interval": scores.get("accuracy_interval"),
            "weights_sha256": chosen.weights_sha256,
        }
        if isinstance(scores, dict)
        else {}
    )
    return shell_code(done.returncode), [_read_test(str(run_dir), chosen.seed, found)]


def check_over(definition: StudyDefinition, records: Records) -> None:
    """Raises UsageError if trials of the study are missing."""
    open_numbers = [
        n for n in range(definition.trials) if not trial_plan.is_final(n, records)
    ]
    if open_numbers:
        raise UsageError(
            f"{len(open_numbers)} of {definition.trials} trials are not finished, the "
            f"first is {open_numbers[0]}; run the study to its end before --finish"
        )


def _choose(
    definition: StudyDefinition, records: Records, request: FinishRequest
) -> int:
    check_over(definition, records)
    ranked = trial_plan.rank_configurations(definition, records)
    if not ranked:
        raise UsageError(
            "no configuration is complete, so there is none to choose; trials.json has "
            "the reasons"
        )
    if request.configuration is None:
        return ranked[0]
    if request.configuration not in ranked:
        raise UsageError(
            f"--choose={request.configuration} is not a complete configuration; there "
            f"are {', '.join(map(str, sorted(ranked)[:20]))}"
        )
    return request.configuration


def _announce_openings(study_dir: pathlib.Path, console: Console) -> None:
    found = trial_records.read_json(study_dir / OPENINGS) or {}
    openings = found.get("openings")
    if isinstance(openings, list) and openings:
        first = openings[0]
        when = first.get("time") if isinstance(first, dict) else "an unknown time"
        times = "once" if len(openings) == 1 else f"{len(openings)} times"
        console.announce(
            f"the test split was opened {times} before, first {when}: "
            "what it says now is no longer independent of choices made since"
        )


def _train_again(
    definition: StudyDefinition,
    chosen: TrialRecord,
    request: FinishRequest,
    place: StudyPlace,
    console: Console,
) -> tuple[int, list[dict[str, Any]]]:
    """Trains the winner with seeds that no trial had, one after the other."""
    cores = sorted({core for share in place.cores for core in share})
    gpus = list(dict.fromkeys(gpu for share in place.gpus for gpu in share))
    with SignalQueue() as signals:
        task = TrialTask(
            number=chosen.number, stage=0, pause_at=None, limits={}, tested=True
        )
        tested = []
        for i in range(request.seeds):
            seed = definition.first_seed + definition.seeds + i
            where = FOLDER if not request.all_rows else f"{FOLDER}_all_rows"
            run_dir = place.study_dir / where / str(seed)
            record = dataclasses.replace(
                chosen, seed=seed, state=TrialState.RUNNING, curve=(), values=None
            )
            run = TrialRun(
                task,
                record,
                _retraining(definition, seed, request.all_rows),
                place.trial_place(run_dir, cores, gpus),
                clock=time.monotonic,
                say=console.announce,
            )
            console.announce(f"trains the winner with seed {seed} in {run_dir}")
            done = _wait(run, signals, console, f"seed {seed}")
            if done is None:
                return 128 + (signals.received or 0), tested
            result = trial_records.read_json(run_dir / RESULT)
            if result is None:
                console.announce(f"seed {seed} failed: {done.reason}")
                return EXIT_FAILED, tested
            tested.append(_read_test(str(run_dir), seed, result))
    return 0, tested


def _retraining(
    definition: StudyDefinition, seed: int, all_rows: bool
) -> StudyDefinition:
    """Defines trials with one seed, perhaps on the validation rows, too."""
    rows = ("--validation_fraction=0",) if all_rows else ()
    return dataclasses.replace(
        definition,
        seeds=1,
        first_seed=seed,
        trainer_flags=(*definition.trainer_flags, *rows),
    )


def _wait(
    run: TrialRun, signals: SignalQueue, console: Console, what: str
) -> TrialRecord | None:
    """Waits for the end of a training; None if a signal stopped it."""
    try:
        while (record := run.poll()) is None:
            for number in signals.drain():
                run.stop(number)
            if run.is_stopped and not run.has_process:
                return None
            console.show_table(lambda: [f"{what}: {run.progress}"])
            time.sleep(_TICK_SECS)
        return record
    finally:
        run.kill()


def _read_test(run_dir: str, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """Reads the test from fields with the names of result.json."""
    names = ("test_accuracy", "test_accuracy_interval", "weights_sha256")
    return {
        "run_dir": run_dir,
        "seed": seed,
        **{name: found.get(name) for name in names},
    }


def _format_summary(summary: dict[str, Any]) -> Sequence[str]:
    lines = []
    for run in summary["runs"]:
        accuracy, interval = run["test_accuracy"], run["test_accuracy_interval"]
        shown = "" if accuracy is None else f"test accuracy {accuracy:.2%}"
        if interval:
            shown += f" (95 % interval {interval[0]:.2%} to {interval[1]:.2%})"
        lines.append(f"seed {run['seed']}: {shown}  {run['run_dir']}")
    winner = summary["winner"]
    if winner and winner["configuration"] == summary["configuration"]:
        lines.append(
            f"its validation accuracy was {winner['mean']:.2%}, the best of "
            f"{winner['candidates']}: up to {winner['expected_maximum_of_noise']:.2%} "
            "of it may be luck"
        )
    return lines


def say(text: str) -> None:
    """Writes a line of this command to stderr."""
    print(f"launch.sweep: {text}", file=sys.stderr, flush=True)
