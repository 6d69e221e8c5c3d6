"""Flags of trainer.main, converted to Config and RunConfig without TensorFlow.

`python -m trainer.cli.flags > docs/flags.md` writes the table in the docs.
"""

import dataclasses
from collections.abc import Mapping

from absl import flags

from trainer.cli import flag_schema
from trainer.config import enums, parsing
from trainer.config.options import require
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig
from trainer.data.split import IMAGE_DIR, IMAGE_LIST
from trainer.distillation import teacher
from trainer.distributed import tf_config
from trainer.models import registry
from trainer.models.lookup import application_signatures
from trainer.models.lookup.signatures import SYNC, Signature
from trainer.pretrained import source

COMMAND = "trainer.main"
SUMMARY = "Trains a small image classifier; --run_dir resumes a run."
VALUES = flags.FlagValues()
_PATHS = {  # options that name a path, and how each is parsed
    each.name: each.option.parse
    for each in flag_schema.declared(RunConfig, Config)
    if each.option.parse
    in (parsing.parse_directory, parsing.parse_data_directory, parsing.parse_init_from)
}
CHOICES = {"model": [*sorted(registry.MODELS), *registry.FORMS]}
# Flags of earlier releases and their replacements.
RENAMED = {
    "other_learning_rate": "sgd_learning_rate",
    "small_pixels": "progressive_size",
    "small_part": "progressive_fraction",
    "bias_rate_factor": "bias_scaler",
    "model_width": "model_kwargs=width=NUMBER",
    "dropout": "model_kwargs=dropout=NUMBER",
    "activation": "model_kwargs=activation=NAME",
    "whiten": "model_kwargs=whiten=true",
    "nowhiten": "model_kwargs=whiten=false",
}


def define(values: flags.FlagValues = VALUES) -> flags.FlagValues:
    """Declares the training flags on `values`; tests pass a fresh FlagValues."""
    flag_schema.define(values, RunConfig, Config, choices=CHOICES)
    return values


def read_configs(values: flags.FlagValues = VALUES) -> tuple[Config, RunConfig]:
    """Builds both configs from parsed flags.

    Raises:
        InvalidConfig: a value is out of range or contradicts another.
    """
    run_config = flag_schema.build(RunConfig, values)
    teacher_sha256 = teacher.find_sha256(run_config, values.teacher_weight)
    config = flag_schema.build(Config, values, teacher_sha256=teacher_sha256)
    config = _name_image_files(config, run_config, given=values["dataset"].present)
    config, run_config = registry.locate_network(config, run_config)
    config = source.add_sha256(config, run_config)
    last = (run_config.profile_steps or (0, 0))[1]
    require(
        config.train_steps is None or last <= config.train_steps,
        f"`profile_steps` ends at step {last}, after train_steps={config.train_steps}; "
        "let it end before",
    )
    if run_config.strategy is enums.Strategy.MULTI_WORKER:
        tf_config.read_task()
    return config, run_config


def _name_image_files(config: Config, run_config: RunConfig, given: bool) -> Config:
    """`config` with the kind of source as its data set, where files are named."""
    kinds = {
        IMAGE_DIR: run_config.image_dir,
        IMAGE_LIST: run_config.image_list,
    }
    for kind, path in kinds.items():
        if path is not None:
            require(not given, f"`{kind}` takes the place of `dataset`; leave one out")
            data = dataclasses.replace(config.data, dataset=kind)
            return dataclasses.replace(config, data=data)
    require(
        config.data.test_fraction == DataConfig.test_fraction,
        f"test_fraction={config.data.test_fraction} is for `image_dir` and `image_list`"
        "; a TFDS data set has its own test split",
    )
    return config


def flag_file(values: flags.FlagValues = VALUES) -> str:
    """Formats the flags of this run as text that --flagfile reads.

    Its directory and flags that are meant for one start are left out. Paths are
    absolute, so that the text repeats the run from any folder.
    """
    lines, left_out = [], ("run_dir", "dry_run", "resume", "pause_at")
    for declared in values.flags_by_module_dict().values():
        for flag in declared:
            if flag.value is None or flag.name in left_out:
                continue
            path = _absolute(flag.name, flag.value)
            lines.append(f"--{flag.name}={path}" if path else flag.serialize())
    return "\n".join(lines) + "\n"


def _absolute(name: str, value: object) -> str | None:
    """The absolute path that the option `name` has; None: it has none."""
    if name == "model":
        file, colon, function = str(value).rpartition(":")
        if not file.endswith(".py"):
            return None
        return f"{parsing.parse_directory(name, file)}{colon}{function}"
    return _PATHS[name](name, str(value)) if name in _PATHS else None


def document() -> str:
    """Formats docs/flags.md: flags of trainer.main and options of the networks."""
    lines = [
        "# Flags of trainer.main",
        "",
        "Made from `trainer/config/` and the signatures of the networks by",
        "`python -m trainer.cli.flags > docs/flags.md`; change the text there.",
        "",
        flag_schema.table(RunConfig, Config, choices=CHOICES),
        "## Options of the networks",
        "",
        "Set with `--model_kwargs=NAME=VALUE,NAME=VALUE`.",
        "",
        "| `--model` | options and their defaults |",
        "|---|---|",
    ]
    known = {name: registry.read_signature(name) for name in sorted(registry.MODELS)}
    for name in application_signatures.names():
        known[name] = application_signatures.read_signature(name)
    for name, signature in _without_repetition(known).items():
        options = signature.parameters.items()
        shown = [f"`{k}={v.default}`" for k, v in options if k != SYNC]
        sync = " · takes `--sync_batch_norm`" if SYNC in dict(options) else ""
        lines.append(f"| {name} | {', '.join(shown)}{sync} |")
    bounds = registry.BOUNDS | application_signatures.BOUNDS
    limits = [f"`{name}` is {each}" for name, each in bounds.items()]
    return "\n".join([*lines, "", f"{', '.join(limits)}.", ""])


def _without_repetition(known: Mapping[str, Signature]) -> dict[str, Signature]:
    """Lists networks of equal options in one row."""
    rows: dict[str, list[str]] = {}
    for name, signature in known.items():
        group = name if name in registry.MODELS else str(signature.parameters)
        rows.setdefault(group, []).append(name)
    return {
        ", ".join(f"`{name}`" for name in names): known[names[0]]
        for names in rows.values()
    }


if __name__ == "__main__":
    print(document(), end="")
