"""RunConfig: directories, devices and reports of a run; may change on resume."""

import dataclasses

from trainer.config.enums import EvalTta, Input, Resume, Strategy
from trainer.config.options import (
    DATA,
    DEVICES,
    DISTILLATION,
    PRETRAINED,
    REPORTS,
    RUN,
    Bounded,
    option,
    require,
)
from trainer.config.parsing import (
    parse_data_directory,
    parse_directory,
    parse_init_from,
    parse_step_range,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Bounded):
    """Options that say where and how a run is carried out.

    Attributes:
        model_file: where the file of a user's network is; its content is hashed in
            ModelConfig.source_sha256.
    """

    model_file: str | None = None

    data_dir: str | None = option(
        None,
        "Folder of TFDS data sets. Default: $TFDS_DATA_DIR, or TFDS's own.",
        group=DATA,
        parse=parse_data_directory,
    )
    image_dir: str | None = option(
        None,
        "Folder of image files in class folders, CLASS/FILE or SPLIT/CLASS/FILE with "
        "the splits train, validation (val, valid) and test. Instead of `dataset`.",
        group=DATA,
        parse=parse_directory,
    )
    image_list: str | None = option(
        None,
        "Table of image files: CSV with the columns path, label and perhaps split, or "
        "JSON Lines with these keys; paths are relative to it. Instead of `dataset`.",
        group=DATA,
        parse=parse_directory,
    )
    skip_unreadable: bool = option(
        False,
        "Leaves out image files that cannot be read, and records each with its reason. "
        "Default: they are named and nothing is trained.",
        group=DATA,
    )
    teacher: str | None = option(
        None,
        "Directory of a finished run that teaches. Its soft labels are computed once "
        "for every view that `augment` and `crop_pixels` can give.",
        group=DISTILLATION,
        parse=parse_directory,
    )
    init_from: str | None = option(
        None,
        "Weights that training starts from: a finished run, FILE.keras, "
        "FILE.weights.h5, FILE.npz, or imagenet with a network of Keras. They are "
        "matched by name and shape; a head for other classes is new.",
        group=PRETRAINED,
        parse=parse_init_from,
    )
    input: Input = option(
        Input.AUTO,
        "Where the training images are: copied to every device, or read by a thread of "
        "the host while the steps before them run. Both give the same bits. auto: "
        "device where they fit.",
        group=DATA,
    )
    strategy: Strategy = option(
        Strategy.ONE_DEVICE, "Distribution strategy.", group=DEVICES
    )
    logical_devices: int | None = option(
        None,
        "Splits the CPU into this many replicas, for tests of `strategy=mirrored`.",
        group=DEVICES,
        at_least=1,
        at_most=64,
    )
    threads: int | None = option(
        None,
        "Number of TensorFlow threads. Default: all cores.",
        group=DEVICES,
        at_least=1,
        at_most=1024,
    )
    steps_per_call: int | None = option(
        None,
        "Steps in one compiled call. Default: about a second of work.",
        group=DEVICES,
        at_least=1,
    )
    hang_secs: float = option(
        30.0,
        "Seconds without progress after which a worker of several ends.",
        group=DEVICES,
        above=0,
    )
    run_dir: str | None = option(
        None,
        "Run directory to start or resume. Default: a new one under `runs_root`.",
        group=RUN,
        parse=parse_directory,
    )
    runs_root: str = option(
        "runs", "Folder for new runs.", group=RUN, parse=parse_directory
    )
    resume: Resume = option(
        Resume.AUTO, "Policy for a run directory that has checkpoints.", group=RUN
    )
    checkpoint_every_steps: int | None = option(
        None,
        "Steps between checkpoints. Default: at most a minute of work is at risk.",
        group=RUN,
        at_least=1,
    )
    keep_checkpoints: int = option(
        3, "Number of newest checkpoints to keep.", group=RUN, at_least=1
    )
    grace_secs: float = option(
        30.0,
        "Seconds from a signal to the end of the process, at most.",
        group=RUN,
        above=0,
    )
    pause_at: float | None = option(
        None,
        "Pauses at the validation nearest to this fraction of the steps: saves "
        "and exits with 0. Without it the same command goes on, and ends in the bits "
        "of a run that never paused.",
        group=RUN,
        above=0,
        at_most=1,
    )
    dry_run: bool = option(
        False, "Runs one step, prints the plan and writes nothing.", group=RUN
    )
    test: bool = option(
        True,
        "Evaluates the test split once, after the last step. Without it that split is "
        "not even read: for runs among which validation rows choose.",
        group=RUN,
    )
    model_summary: bool = option(
        False,
        "Shows the layers of the network with their shapes, parameters, multiply-adds, "
        "receptive field and memory of activations; with `dry_run` before training.",
        group=REPORTS,
    )
    eval_every_epochs: float = option(
        1.0, "Epochs between validations.", group=REPORTS, above=0
    )
    eval_tta: EvalTta = option(
        EvalTta.NONE,
        "Test-time augmentation of validation and test: mean logits over 2 views "
        "(flip), 6 (flip_shift) or 3 (shift), named beside every number. The first two "
        "mirror images: for digits and text use shift.",
        group=REPORTS,
    )
    log_every_steps: int = option(
        50, "Steps between lines of metrics.", group=REPORTS, at_least=1
    )
    profile_steps: tuple[int, int] | None = option(
        None,
        "Steps FIRST:LAST of a TensorBoard profile; its plugin is xprof.",
        group=REPORTS,
        parse=parse_step_range,
    )
    debug: bool = option(False, "Shows the traceback of an error.", group=REPORTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.image_dir is None or self.image_list is None,
            "`image_dir` and `image_list` both name the images; leave one out",
        )
        files = self.image_dir is not None or self.image_list is not None
        require(
            files or not self.skip_unreadable,
            "`skip_unreadable` belongs to `image_dir` or `image_list`; leave it out",
        )
        mirrored = self.strategy is Strategy.MIRRORED
        require(
            (self.logical_devices or 1) == 1 or mirrored,
            f"logical_devices={self.logical_devices} needs strategy=mirrored, got "
            f"strategy={self.strategy.value}",
        )
        require(
            self.run_dir is not None or self.resume is not Resume.MUST,
            "resume=must needs the `run_dir` to resume",
        )
        require(
            self.run_dir is not None or self.strategy is not Strategy.MULTI_WORKER,
            "strategy=multi_worker needs `run_dir`, the same one for every worker",
        )
        if self.profile_steps is not None:
            first, last = self.profile_steps
            require(
                2 <= first <= last,  # the first step compiles
                f"profile_steps={first}:{last} must be FIRST:LAST with "
                "2 <= FIRST <= LAST, e.g. 10:20",
            )
