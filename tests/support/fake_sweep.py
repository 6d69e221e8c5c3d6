"""launch.sweep with a stand-in for the trainer: `python fake_sweep.py FLAGS -- …`."""

import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from launch import sweep  # noqa: E402
from launch.study import study_command  # noqa: E402
from launch.study.trial_run import TrialPrograms  # noqa: E402

FAKE = (sys.executable, str(pathlib.Path(__file__).with_name("fake_trial.py")))
NOTHING = (sys.executable, "-c", "pass")
PROGRAMS = TrialPrograms(
    prepare=NOTHING,
    train=FAKE,
    tflite=NOTHING,
    bench=NOTHING,
    report=NOTHING,
    study=NOTHING,
)


def main(words: list[str] | None = None) -> int:
    """Runs the command with PROGRAMS instead of the real ones."""
    carry_out = study_command.carry_out
    study_command.carry_out = functools.partial(carry_out, programs=PROGRAMS)
    try:
        return sweep.main(words)
    finally:
        study_command.carry_out = carry_out


if __name__ == "__main__":
    sys.exit(main())
