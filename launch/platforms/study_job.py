"""Jobs whose workers take the trials of a study: launch.sweep instead of the trainer.

Workers do not know of each other: they meet in the study's storage.
"""

from absl import flags

from launch.command_line import UsageError, require_utf8
from launch.trainer_command import (
    DEFAULT_GRACE_SECS,
    TrainerCommand,
    expand_flag_files,
)

COMMAND = ("python", "-m", "launch.sweep")


def read_study_command(arguments: list[str]) -> TrainerCommand:
    """Checks flags of launch.sweep that a scheduler repeats unchanged at a restart.

    Raises:
      UsageError: they name no study, or would do more than work on its trials.
    """
    arguments = expand_flag_files(arguments)
    for argument in arguments:
        require_utf8(argument)
    values = flags.FlagValues()
    flags.DEFINE_string("study_dir", None, "", flag_values=values)
    flags.DEFINE_bool("finish", False, "", flag_values=values)
    flags.DEFINE_bool("run", True, "", flag_values=values)
    values.set_gnu_getopt(True)
    values(["", *arguments], known_only=True)
    if not values.study_dir:
        raise UsageError(
            "--study_dir is missing after `--`; name the study, one for all workers, "
            "which launch.sweep --norun defines"
        )
    if values.finish or not values.run:
        raise UsageError(
            "--finish and --norun after `--` are no work for several workers; run "
            "launch.sweep with them once"
        )
    return TrainerCommand(
        arguments=tuple(arguments),
        run_dir=values.study_dir,
        grace_secs=DEFAULT_GRACE_SECS,
        prepare_arguments=(),
    )
