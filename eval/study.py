"""Writes the page of a study of many runs.

Synopsis::

    python -m eval.study runs/20261127-sweep  # finished or not -> study.html
"""

import pathlib
from typing import NoReturn

from absl import flags

from eval.reports.pages import wording
from eval.studies import hyperparameters, study_data, study_page, study_summary
from trainer import files, storage
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.errors import InvalidInput

WORDS = "DIR"
PAGE, SUMMARY, TABLE = "study.html", "summary.json", "configurations.csv"


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    out = {"flag_values": values, "module_name": "Study"}
    flags.DEFINE_string(
        "out_dir", None, "Where the files go. Default: the study itself.", **out
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def main(values: flags.FlagValues, words: list[str]) -> None:
    """Reads the study in `words`, writes its page and prints what it found."""
    if len(words) != 1:
        raise InvalidInput(
            f"one study is needed, got {len(words)} words; name the directory that "
            "launch.sweep wrote"
        )
    path = parsing.parse_path("study", words[0])
    study = study_data.load_study(path)
    out_dir = path
    if values.out_dir is not None:
        out_dir = parsing.parse_path("out_dir", values.out_dir)
    found = study_summary.summarize(study)
    content = {
        TABLE: study_summary.configurations_csv(found),
        PAGE: study_page.render(found),
        SUMMARY: files.json_bytes(found),
    }
    _write(out_dir, content)
    hyperparameters.write_experiment(study, out_dir)
    print("\n".join(summary_lines(found)))
    print(out_dir / PAGE)


def _write(out_dir: pathlib.Path, content: dict[str, bytes]) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for name, part in content.items():
            files.write_bytes(out_dir / name, part)
    except OSError as error:
        raise InvalidInput(
            f"the page cannot be written to {out_dir}: {storage.reason(error)};\nname "
            "a folder with `out_dir`"
        ) from error


def summary_lines(found: dict) -> list[str]:
    """Formats the states, the winner and the selection bias as lines."""
    states = ", ".join(f"{count} {state}" for state, count in found["states"].items())
    lines = [f"study {found['study']}: {states or 'no trial yet'}"]
    if (best := found["winner"]) is not None:
        lines.append(
            f"configuration {best['configuration']}: "
            f"{wording.percent(best['mean'], 2)} validation accuracy (95 % over "
            f"images {wording.span(best['over_images'])}{_seeds(best)}); "
            f"{study_page.format_flags(best['flags'])}"
        )
        lines.append(
            f"the best of {best['candidates']} would be up to "
            f"{wording.percent(best['expected_maximum_of_noise'], 2)} too high "
            "by luck alone"
        )
    if opened := len(found["test_openings"]):
        times = "once" if opened == 1 else f"{opened} times"
        lines.append(f"the test split was opened {times}")
    return lines


def _seeds(best: dict) -> str:
    if best["over_seeds"] is None:
        return ""
    ends = wording.span(best["over_seeds"])
    return f", over {best['seeds']} seeds {ends}"


def run() -> NoReturn:
    """Runs the command with the arguments of this process."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.study",
        "Writes the page of a study: trials, curves, seeds, selection bias.",
        values,
        lambda words: main(values, words),
        words=WORDS,
    )


if __name__ == "__main__":
    run()
