"""The trainer's flags, and the Config and RunConfig they make; no TensorFlow."""

import os
import re

from absl import flags

from trainer import choices, contract, flag_groups, teacher
from trainer import config as cfg
from trainer.commandline import UsageError, place
from trainer.run_config import RunConfig

VALUES = flags.FlagValues()


def define(values: flags.FlagValues = VALUES) -> flags.FlagValues:
    """Declares the training flags on `values`; tests pass a fresh FlagValues."""
    flag_groups.define(values)
    return values


def read(values: flags.FlagValues = VALUES) -> tuple[cfg.Config, RunConfig]:
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
    if run_config.strategy is choices.Strategy.MULTI_WORKER:
        task()
    return config, run_config


def task() -> contract.Cluster:
    """The workers of this job and which of them this process is, as TF_CONFIG says.

    Raises:
        UsageError: TF_CONFIG is missing, or does not describe a worker.
    """
    text = os.environ.get(contract.TF_CONFIG)
    if text is None:
        raise UsageError(
            "--strategy=multi_worker reads its cluster from TF_CONFIG, which is not "
            "set;\nstart it through python -m launch.local or launch.worker"
        )
    try:
        return contract.read_cluster(text, contract.TF_CONFIG, ["worker"])
    except ValueError as error:
        raise UsageError(
            f"TF_CONFIG does not describe a worker of a cluster: {error}; start it "
            "through python -m launch.local or launch.worker"
        ) from error


def _config(values: flags.FlagValues) -> cfg.Config:
    return cfg.Config(
        data=cfg.DataConfig(
            dataset=values.dataset,
            validation_fraction=values.validation_fraction,
            augment=choices.Augment(values.augment),
            crop_pixels=values.crop_pixels,
            flip=choices.Flip(values.flip),
            small_pixels=values.small_pixels,
            small_part=values.small_part,
        ),
        model=cfg.ModelConfig(
            name=values.model,
            width=values.model_width,
            dropout=values.dropout,
            sync_batch_norm=values.sync_batch_norm,
            whiten=values.whiten,
            activation=choices.Activation(values.activation),
        ),
        optim=_optim(values),
        teacher=teacher.asked(values),
        global_batch=values.global_batch,
        elastic_shards=values.elastic_shards,
        epochs=values.epochs,
        train_steps=values.train_steps,
        precision=choices.Precision(values.precision),
        jit_compile=values.jit_compile,
        seed=values.seed,
        deterministic=values.deterministic,
    )


def _optim(values: flags.FlagValues) -> cfg.OptimConfig:
    return cfg.OptimConfig(
        name=choices.OptimizerName(values.optimizer),
        momentum=values.momentum,
        learning_rate=values.learning_rate,
        other_learning_rate=values.other_learning_rate,
        bias_rate_factor=values.bias_rate_factor,
        schedule=choices.Schedule(values.schedule),
        warmup_epochs=values.warmup_epochs,
        weight_decay=values.weight_decay,
        label_smoothing=values.label_smoothing,
        clip_norm=values.clip_norm,
        ema_decay=values.ema_decay,
    )


def _run_config(values: flags.FlagValues) -> RunConfig:
    return RunConfig(
        strategy=choices.Strategy(values.strategy),
        logical_devices=values.logical_devices,
        threads=values.threads,
        data_dir=_directory("data_dir", values.data_dir),
        teacher=_directory("teacher", values.teacher),
        run_dir=_directory("run_dir", values.run_dir),
        runs_root=_directory("runs_root", values.runs_root),
        resume=choices.Resume(values.resume),
        checkpoint_every_steps=values.checkpoint_every_steps,
        keep_checkpoints=values.keep_checkpoints,
        eval_every_epochs=values.eval_every_epochs,
        eval_tta=choices.EvalTta(values.eval_tta),
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
    return value if remote else os.path.abspath(place(name, value))


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
