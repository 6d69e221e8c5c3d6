"""What a report or a comparison is made of, and where it goes."""

import dataclasses
import pathlib

from eval.evaluation_options import EvaluationOptions
from trainer.rundir.layout import Run


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """One model, the images it is evaluated on, and the folder of its report.

    Attributes:
        out_dir: the folder; it may hold an older report.
        run, model: a run, or else a model file; the other is None.
        checkpoint: step of the run's checkpoint; None: the last of a finished run.
        replaces_other: whether the report of another model in `out_dir` gives way.
        corruptions: whether corrupted images are evaluated, too.
        corruption_sample: how many images are corrupted; None: all.
    """

    out_dir: pathlib.Path
    run: Run | None = None
    model: pathlib.Path | None = None
    checkpoint: int | None = None
    options: EvaluationOptions = EvaluationOptions()
    replaces_other: bool = False
    corruptions: bool = False
    corruption_sample: int | None = None


@dataclasses.dataclass(frozen=True)
class ComparisonRequest:
    """Several models, the images they are evaluated on, and the comparison's folder.

    Attributes:
        models: run directories or model files; all are compared with the first.
        out_dir: the folder; it may hold an older comparison.
        replaces_other: whether a comparison of other models in `out_dir` gives way.
    """

    models: tuple[str, ...]
    out_dir: pathlib.Path
    options: EvaluationOptions = EvaluationOptions()
    replaces_other: bool = False
