"""Formats the result of a finished training, and the commands to run next."""

import shlex
from typing import Any

from trainer.config.enums import EvalTta
from trainer.rundir import layout


def format_result(run: layout.Run, result: dict[str, Any]) -> str:
    """Formats the summary of a finished run and commands that use the run.

    Raises:
        InvalidInput: result.json lacks a field or has one of another type.
    """
    where, parent = shlex.quote(str(run.path)), shlex.quote(str(run.path.parent))
    tta = result.get("eval_tta", EvalTta.NONE.value)
    views = "" if tta == EvalTta.NONE.value else f" --eval_tta={tta}"
    return (
        f"{layout.format_summary(run, result)}\n"
        f"next: tensorboard --logdir {parent}\n"
        f"      python -m eval.report --run_dir={where}{views}\n"
        f"      python -m export.tflite --quantize --run_dir={where}"
    )
