"""The trainer's flags, and the Config and RunConfig they make; no TensorFlow."""

import os
import re
from typing import Any

from absl import flags

from trainer.config import enums, schema
from trainer.config.parsing import parse_path
from trainer.config.schema import RunConfig, TeacherConfig
from trainer.distillation import teacher
from trainer.distributed import tf_config
from trainer.errors import UsageError
from trainer.models import registry

VALUES = flags.FlagValues()


def define(values: flags.FlagValues = VALUES) -> flags.FlagValues:
    """Declares the training flags on `values`; tests pass a fresh FlagValues."""
    define_groups(values)
    return values


def read(values: flags.FlagValues = VALUES) -> tuple[schema.Config, RunConfig]:
    """The two configs that parsed flags ask for.

    Raises:
        UsageError: a value is out of range or contradicts another.
    """
    try:
        config, run_config = _config(values), _run_config(values)
    except ValueError as error:
        raise UsageError(str(error)) from error
    last = (run_config.profile_steps or (0, 0))[1]
    if config.train_steps is not None and last > config.train_steps:
        raise UsageError(
            f"--profile_steps ends at step {last}, after --train_steps="
            f"{config.train_steps}; let it end before"
        )
    if run_config.strategy is enums.Strategy.MULTI_WORKER:
        tf_config.read_task()
    return config, run_config


def _config(values: flags.FlagValues) -> schema.Config:
    return schema.Config(
        data=schema.DataConfig(
            dataset=values.dataset,
            validation_fraction=values.validation_fraction,
            augment=enums.Augment(values.augment),
            crop_pixels=values.crop_pixels,
            flip=enums.Flip(values.flip),
            small_pixels=values.small_pixels,
            small_part=values.small_part,
        ),
        model=schema.ModelConfig(
            name=values.model,
            width=values.model_width,
            dropout=values.dropout,
            sync_batch_norm=values.sync_batch_norm,
            whiten=values.whiten,
            activation=enums.Activation(values.activation),
        ),
        optim=_optim(values),
        teacher=teacher.from_flags(values),
        global_batch=values.global_batch,
        elastic_shards=values.elastic_shards,
        epochs=values.epochs,
        train_steps=values.train_steps,
        precision=enums.Precision(values.precision),
        jit_compile=values.jit_compile,
        seed=values.seed,
        deterministic=values.deterministic,
    )


def _optim(values: flags.FlagValues) -> schema.OptimConfig:
    return schema.OptimConfig(
        name=enums.OptimizerName(values.optimizer),
        momentum=values.momentum,
        learning_rate=values.learning_rate,
        other_learning_rate=values.other_learning_rate,
        bias_rate_factor=values.bias_rate_factor,
        schedule=enums.Schedule(values.schedule),
        warmup_epochs=values.warmup_epochs,
        weight_decay=values.weight_decay,
        label_smoothing=values.label_smoothing,
        clip_norm=values.clip_norm,
        ema_decay=values.ema_decay,
    )


def _run_config(values: flags.FlagValues) -> RunConfig:
    return RunConfig(
        strategy=enums.Strategy(values.strategy),
        logical_devices=values.logical_devices,
        threads=values.threads,
        data_dir=_directory("data_dir", values.data_dir),
        teacher=_directory("teacher", values.teacher),
        run_dir=_directory("run_dir", values.run_dir),
        runs_root=_directory("runs_root", values.runs_root),
        resume=enums.Resume(values.resume),
        checkpoint_every_steps=values.checkpoint_every_steps,
        keep_checkpoints=values.keep_checkpoints,
        eval_every_epochs=values.eval_every_epochs,
        eval_tta=enums.EvalTta(values.eval_tta),
        log_every_steps=values.log_every_steps,
        steps_per_call=values.steps_per_call,
        profile_steps=_profile_steps(values.profile_steps),
        grace_secs=values.grace_secs,
        hang_secs=values.hang_secs,
        dry_run=values.dry_run,
        debug=values.debug,
    )


def _directory(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    remote = "://" in value
    if remote and name != "data_dir":  # TFDS reads buckets, runs are plain files
        raise ValueError(f"--{name}={value} must be a folder of this machine")
    return value if remote else os.path.abspath(parse_path(name, value))


def _profile_steps(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", text)
    if match is None:
        raise ValueError(f"--profile_steps={text} must be FIRST:LAST, e.g. 10:20")
    return int(match[1]), int(match[2])


def flag_file(values: flags.FlagValues = VALUES) -> str:
    """The flags of this run as text that --flagfile reads.

    Without its directory, and without those that are meant for one start.
    """
    lines, left_out = [], ("run_dir", "dry_run", "resume")
    for declared in values.flags_by_module_dict().values():
        for flag in declared:
            if flag.value is not None and flag.name not in left_out:
                lines.append(flag.serialize())
    return "\n".join(lines) + "\n"


def define_groups(values: flags.FlagValues) -> None:
    """Declares all groups, in the order of --help."""
    first = (_data, _model, _optimizer, _teacher)
    for group in (*first, _schedule, _devices, _run, _reports):
        group(values)


class _Heading:
    """DEFINE_* functions bound to one FlagValues and one heading of --help."""

    def __init__(self, values: flags.FlagValues, heading: str) -> None:
        self._where = {"flag_values": values, "module_name": heading}

    def string(self, name: str, default: str | None, text: str) -> None:
        flags.DEFINE_string(name, default, text, **self._where)

    def number(self, name: str, default: float | None, text: str) -> None:
        flags.DEFINE_float(name, default, text, **self._where)

    def integer(self, name: str, default: int | None, text: str) -> None:
        flags.DEFINE_integer(name, default, text, **self._where)

    def switch(self, name: str, default: bool, text: str) -> None:
        flags.DEFINE_bool(name, default, text, **self._where)

    def choice(self, name: str, default: Any, text: str) -> None:
        values = [member.value for member in type(default)]
        flags.DEFINE_enum(name, default.value, values, text, **self._where)


def _data(values: flags.FlagValues) -> None:
    data = _Heading(values, "Data")
    default = schema.DataConfig()
    data.string("dataset", default.dataset, "TFDS image-classification data set.")
    data.string(
        "data_dir", None, "Where TFDS data sets are; off: $TFDS_DATA_DIR or TFDS's own."
    )
    data.number(
        "validation_fraction",
        default.validation_fraction,
        "Part of train that is held out, stratified, the same for every seed.",
    )
    data.choice("augment", default.augment, "What is done to the training images.")
    data.integer("crop_pixels", default.crop_pixels, "Largest shift of a crop, 0 to 8.")
    data.choice("flip", default.flip, "Which images an epoch mirrors.")
    data.integer("small_pixels", None, "Side of the images of the first steps.")
    data.number("small_part", default.small_part, "Part of the steps with small ones.")


def _model(values: flags.FlagValues) -> None:
    model = _Heading(values, "Model")
    default = schema.ModelConfig()
    flags.DEFINE_enum(
        "model",
        default.name,
        sorted(registry.MODELS),
        "Network.",
        flag_values=values,
        module_name="Model",
    )
    model.number("model_width", default.width, "Multiplies the number of channels.")
    model.number("dropout", None, "Dropout rate, 0 is none; off: the model's own.")
    model.switch(
        "sync_batch_norm",
        default.sync_batch_norm,
        "Batch statistics over all replicas instead of each its own.",
    )
    model.switch("whiten", default.whiten, "speednet: computes its first convolution.")
    model.choice("activation", default.activation, "speednet: after normalisations.")


def _optimizer(values: flags.FlagValues) -> None:
    optim = _Heading(values, "Optimizer")
    default = schema.OptimConfig()
    optim.choice("optimizer", default.name, "SGD is with Nesterov momentum.")
    optim.number("momentum", None, "Off: 0.9 for SGD, 0.6 for Muon.")
    optim.number(
        "learning_rate", default.learning_rate, "Highest rate of the schedule."
    )
    optim.number(
        "other_learning_rate",
        default.other_learning_rate,
        "Muon: the highest of weights that are no convolution's.",
    )
    optim.number(
        "bias_rate_factor",
        default.bias_rate_factor,
        "How much faster biases and offsets move.",
    )
    optim.number(
        "weight_decay",
        default.weight_decay,
        "Decoupled, times the rate; spares biases and normalisation, but for Muon.",
    )
    optim.number(
        "label_smoothing", default.label_smoothing, "Mass shared by all classes."
    )
    optim.number("clip_norm", None, "Largest global norm of the reduced gradient.")
    optim.number("ema_decay", None, "Averages weights; the average is evaluated.")


def _teacher(values: flags.FlagValues) -> None:
    teacher = _Heading(values, "Teacher")
    teacher.string(
        "teacher",
        None,
        "A finished run whose answers are learnt, given once for every view that "
        "--augment and --crop_pixels can give.",
    )
    teacher.number("teacher_weight", TeacherConfig.weight, "Part of the loss, 0 to 1.")
    teacher.number(
        "teacher_temperature",
        TeacherConfig.temperature,
        "Divides the logits that are compared.",
    )


def _schedule(values: flags.FlagValues) -> None:
    plan = _Heading(values, "Schedule")
    default = schema.Config()
    plan.integer("global_batch", default.global_batch, "Images a step, all replicas.")
    plan.number("epochs", default.epochs, "Passes over the training rows; may be 9.9.")
    plan.integer("train_steps", None, "Steps; overrides --epochs.")
    plan.choice("schedule", default.optim.schedule, "Shape of the rate after warm-up.")
    plan.number(
        "warmup_epochs", default.optim.warmup_epochs, "Linear rise of the rate."
    )
    plan.integer("seed", default.seed, "Of weights, order, augmentation and dropout.")


def _devices(values: flags.FlagValues) -> None:
    devices = _Heading(values, "Devices and arithmetic")
    config, run = schema.Config(), RunConfig()
    devices.choice("strategy", run.strategy, "How replicas share a step.")
    devices.integer("logical_devices", None, "Splits the CPU into as many replicas.")
    devices.integer(
        "threads", None, "Threads of TensorFlow; off: all cores, or the quota."
    )
    devices.choice("precision", config.precision, "Of the step; evaluation is float32.")
    devices.switch("jit_compile", config.jit_compile, "XLA for forward and backward.")
    devices.switch(
        "deterministic", config.deterministic, "Only operators that repeat their bits."
    )
    devices.number(
        "hang_secs", run.hang_secs, "Without progress until a worker of several ends."
    )
    devices.integer(
        "elastic_shards",
        None,
        "Parts of a batch, summed in order: 1, 2, ... replicas give the same bits.",
    )
    devices.integer(
        "steps_per_call", None, "Steps a compiled call; off: about a second."
    )


def _run(values: flags.FlagValues) -> None:
    run = _Heading(values, "Run directory")
    default = RunConfig()
    run.string("run_dir", None, "The run to start or resume; off: a new one.")
    run.string("runs_root", default.runs_root, "Where new runs are put.")
    run.choice("resume", default.resume, "What to do with a run that has checkpoints.")
    run.integer(
        "checkpoint_every_steps", None, "Off: at most a minute of work is at risk."
    )
    run.integer("keep_checkpoints", default.keep_checkpoints, "Newest ones to keep.")
    run.number("grace_secs", default.grace_secs, "From a signal to the end, at most.")
    run.switch("dry_run", default.dry_run, "One step, the plan, and nothing written.")


def _reports(values: flags.FlagValues) -> None:
    reports = _Heading(values, "Reports")
    default = RunConfig()
    reports.number(
        "eval_every_epochs", default.eval_every_epochs, "Between validations."
    )
    reports.choice(
        "eval_tta",
        default.eval_tta,
        "Test-time augmentation of validation and test: logits averaged over 2 views, "
        "or 6; named beside its numbers. All mirror: not for digits.",
    )
    reports.integer(
        "log_every_steps", default.log_every_steps, "Between lines of metrics."
    )
    reports.string("profile_steps", None, "FIRST:LAST step of a TensorBoard profile.")
    reports.switch("debug", default.debug, "Shows the traceback of an error.")
