"""Hints for flags, values and words that people know from other programs."""

import os
import re
from collections.abc import Mapping

from absl import flags

# Names elsewhere, written with underscores, and what to write here; a name that the
# command does not have is not hinted at.
SYNONYMS = {
    "lr": ("learning_rate",),
    "learningrate": ("learning_rate",),
    "base_lr": ("learning_rate",),
    "key": ("private_key", "public_key", "require_signed"),
    "wd": ("weight_decay",),
    "batch": ("global_batch",),
    "batch_size": ("global_batch",),
    "bs": ("global_batch",),
    "train_batch_size": ("global_batch",),
    "num_epochs": ("epochs",),
    "n_epochs": ("epochs",),
    "max_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "steps": ("train_steps",),
    "max_steps": ("train_steps",),
    "num_steps": ("train_steps",),
    "lr_schedule": ("schedule",),
    "lr_scheduler": ("schedule",),
    "scheduler": ("schedule",),
    "warmup": ("warmup_epochs",),
    "warmup_steps": ("warmup_epochs",),
    "opt": ("optimizer",),
    "arch": ("model",),
    "backbone": ("model",),
    "network": ("model",),
    "data": ("image_dir", "dataset"),
    "data_path": ("image_dir", "data_dir"),
    "dataset_dir": ("data_dir", "image_dir"),
    "dataset_name": ("dataset",),
    "data_root": ("data_dir", "image_dir"),
    "train_dir": ("image_dir",),
    "images": ("image_dir",),
    "folder": ("image_dir",),
    "img_size": ("image_size",),
    "imgsz": ("image_size",),
    "input_size": ("image_size",),
    "size": ("image_size",),
    "val_split": ("validation_fraction",),
    "validation_split": ("validation_fraction",),
    "fp16": ("precision=mixed_bfloat16",),
    "bf16": ("precision=mixed_bfloat16",),
    "amp": ("precision=mixed_bfloat16",),
    "mixed_precision": ("precision=mixed_bfloat16",),
    "ema": ("ema_decay",),
    "pretrained": ("init_from=imagenet",),
    "weights": ("init_from", "model"),
    "checkpoint_path": ("run_dir", "model"),
    "ckpt": ("run_dir", "model"),
    "resume_from": ("run_dir",),
    "output_dir": ("run_dir", "out_dir"),
    "output": ("out_dir",),
    "save_dir": ("run_dir", "out_dir"),
    "log_dir": ("run_dir",),
    "logdir": ("run_dir",),
    "model_dir": ("run_dir",),
    "project": ("runs_root",),
    "run": ("run_dir",),
    "model_path": ("model",),
    "tta": ("eval_tta",),
    "num_workers": ("threads",),
    "gpus": ("strategy=mirrored",),
    "gpu": ("strategy=mirrored",),
    "num_gpus": ("strategy=mirrored",),
    "device": ("strategy",),
    "devices": ("strategy=mirrored",),
    "cosine": ("schedule=cosine",),
    "quantise": ("quantize",),
    "int8": ("quantize",),
}
# Of flags that no command has in this form: what to do.
ADVICE = {
    "gpus": "it takes all GPUs that are visible; CUDA_VISIBLE_DEVICES=0,1 chooses",
    "gpu": "it takes all GPUs that are visible; CUDA_VISIBLE_DEVICES=0 chooses",
    "num_gpus": "it takes all GPUs that are visible; CUDA_VISIBLE_DEVICES=0,1 chooses",
    "device": "a visible GPU is used by itself; CUDA_VISIBLE_DEVICES= hides all",
    "warmup_steps": "in epochs, such as 0.5",
}
VALUES = {
    ("optimizer", "adam"): "adamw",
    ("optimizer", "momentum"): "sgd with --momentum=0.9",
    ("schedule", "step"): "piecewise",
    ("schedule", "multistep"): "piecewise",
    ("schedule", "linear"): "triangle",
    ("schedule", "onecycle"): "triangle",
    ("schedule", "none"): "constant",
    ("precision", "fp32"): "float32",
    ("precision", "float16"): "mixed_float16",
    ("precision", "fp16"): "mixed_float16",
    ("precision", "bfloat16"): "mixed_bfloat16",
    ("precision", "bf16"): "mixed_bfloat16",
    ("augment", "random_crop"): "crop",
    ("augment", "off"): "none",
    ("augment", "horizontal_flip"): "flip",
    ("strategy", "ddp"): "mirrored",
    ("strategy", "multi_gpu"): "mirrored",
    ("scheme", "fp16"): "float16",
    ("scheme", "fp32"): "float32",
    ("scheme", "uint8"): "int8",
}
_WRONG_VALUE = re.compile(r"flag --(\w+)=(.*?): (.*)")


def explain(
    error: Exception, values: flags.FlagValues, renamed: Mapping[str, str]
) -> str:
    """Explains an error of absl's parser in one line, with what may have been meant.

    `renamed` maps flags of earlier releases to their replacements.
    """
    said, old = " ".join(str(error).split()), getattr(error, "flagname", None)
    if old in renamed:
        return f"--{old} has another name now: --{renamed[old]}"
    # absl calls the whole word the value: --lr=0.1.
    value = str(getattr(error, "flagvalue", None) or "").partition("=")[2]
    if old is not None and (found := _find_flag(old, value, values)):
        return f"--{old} is not a flag here; {found}"
    if isinstance(error, flags.UnrecognizedFlagError) and "Did you mean" not in said:
        return f"{said}; --help lists the flags"
    if isinstance(error, flags.CantOpenFlagFileError | UnicodeDecodeError):
        return _explain_flagfile(error)
    if match := _WRONG_VALUE.fullmatch(said):
        return _explain_value(said, *match.groups(), values)
    return said


def _explain_flagfile(error: Exception) -> str:
    """Explains why a file of flags cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return "--flagfile names a file that is no text; it holds flags, one per line"
    cause = error.__context__
    if not isinstance(cause, OSError):
        return " ".join(str(error).split())
    return f"--flagfile={cause.filename} cannot be read: {cause.strerror}"


def _find_flag(name: str, value: str, values: flags.FlagValues) -> str | None:
    """What to write instead of the flag `name` with `value`; None: not known."""
    plain = name.replace("-", "_").lower()
    given = f"={value}" if value else ""
    if plain in values:
        return f"it is written --{plain}{given}"
    known = [one for one in SYNONYMS.get(plain, ()) if one.partition("=")[0] in values]
    if not known:
        return None
    named = [f"--{one}" if "=" in one else f"--{one}{given}" for one in known]
    advice = f" ({ADVICE[plain]})" if plain in ADVICE else ""
    return f"did you mean {' or '.join(named)}?{advice}"


def _explain_value(
    said: str, name: str, value: str, reason: str, values: flags.FlagValues
) -> str:
    """Explains why `value` is no value of the flag `name`."""
    if name not in values:
        return said
    if values[name].boolean:
        return (
            f"--{name}={value} is neither true nor false; write --{name} or --no{name}"
        )
    kinds = {"int": "a whole number", "float": "a number"}
    kind = kinds.get(values[name].flag_type())
    if kind and ("invalid literal" in reason or "could not convert" in reason):
        default = values[name].default
        example = "" if default is None else f", such as --{name}={default:g}"
        return f"--{name}={value} must be {kind}{example}"
    if meant := VALUES.get((name, value.lower())):
        return f"{said}; did you mean {meant}?"
    return said


def suggest_flag(word: str, values: flags.FlagValues) -> str | None:
    """The flag that a word may belong to; None: no idea.

    Runs, model files, folders and tables of images are known by their files or names.
    """
    is_run = os.path.isfile(os.path.join(word, "config.json"))
    is_saved_model = os.path.isfile(os.path.join(word, "saved_model.pb"))
    is_model = word.endswith((".tflite", ".py")) or ".py:" in word or is_saved_model
    kinds = (
        ("flagfile", word.endswith((".flags", "flags.txt"))),
        ("run_dir", is_run),
        ("model", is_model),
        ("image_list", word.endswith((".csv", ".jsonl"))),
        ("image_dir", os.path.isdir(word) and not is_run and not is_saved_model),
        ("run_dir", os.sep in word),
    )
    for flag, fits in kinds:
        if fits and (flag in values or flag == "flagfile"):
            return f"--{flag}={word}"
    return None
