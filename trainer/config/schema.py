"""The config of a training: every option with its help, bounds and flag.

`Config` decides the numbers: two runs with equal Configs, data and kind of machine end
in the same bits, and a resume is refused when its Config differs. What may change is
`run_config.RunConfig`.
"""

import dataclasses
import hashlib
import re
from typing import Any

from trainer.config.data_config import DataConfig
from trainer.config.enums import Flip, OptimizerName, Precision, Schedule
from trainer.config.options import (
    DEVICES,
    DISTILLATION,
    MODEL,
    OPTIMIZER,
    PRETRAINED,
    SCHEDULE,
    Bounded,
    option,
    require,
)
from trainer.config.parsing import parse_kwargs
from trainer.config.serialization import from_plain, to_plain

VERSION = 2  # of the Config in config.json
PENDING = ""  # an architecture that will be described once the data are known


def _check_sha256(what: str, digest: str | None) -> None:
    require(
        digest is None or re.fullmatch(r"[0-9a-f]{64}", digest) is not None,
        f"the {what} {digest!r:.80} is not a SHA-256",
    )


def _check_pattern(pattern: str | None) -> None:
    """Raises InvalidConfig unless `pattern` is "backbone" or a regular expression."""
    try:
        good = pattern is None or (pattern and re.compile(pattern) is not None)
    except (re.error, RecursionError, OverflowError):
        good = False
    require(
        bool(good),
        f"freeze={pattern} is not a regular expression; name layers, e.g. conv_1, or "
        "backbone",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Bounded):
    """The network and its own options.

    Attributes:
        architecture: of a network that is no function of ours, its JSON; PENDING until
            it is built. config.json has the SHA-256 of it, model.json the text.
        source_sha256: of the file that holds a user's network.
        init_sha256: hash of the weights that training starts from, `weights_sha256` of
            a run or the SHA-256 of a file. The hash decides the numbers; the path,
            which belongs to one machine, does not.
    """

    GROUP = MODEL

    name: str = option(
        "cnn",
        "Network: one of ours, or the function of a file or module.",
        flag="model",
    )
    kwargs: dict[str, Any] = option(
        {},
        "Options of the network, the keyword arguments of its function: NAME=VALUE, "
        "separated by commas, e.g. width=0.5,dropout=0.2. Given again it adds to the "
        "earlier ones; an empty one drops them.",
        flag="model_kwargs",
        parse=parse_kwargs,
    )
    sync_batch_norm: bool = option(
        False,
        "Batch statistics over all replicas instead of over each replica alone.",
    )
    freeze: str | None = option(
        None,
        "Layers that keep the weights of `init_from`: backbone (all but the layer of "
        "the logits), or a regular expression that is searched in their names.",
        group=PRETRAINED,
    )
    unfreeze_epoch: float | None = option(
        None,
        "Epoch after which the layers of `freeze` are trained, too. Default: never.",
        group=PRETRAINED,
        above=0,
    )
    qat: bool = option(
        False,
        "Quantisation-aware fine-tuning of the finished run in `init_from`: weights "
        "and activations are rounded as in an int8 file, in training and evaluation.",
        group=PRETRAINED,
    )
    architecture: str | None = None
    source_sha256: str | None = None
    init_sha256: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.unfreeze_epoch is None or self.freeze is not None,
            f"unfreeze_epoch={self.unfreeze_epoch} has no effect without `freeze`; add "
            "freeze=backbone, or leave it out",
        )
        require(
            self.unfreeze_epoch is None or not self.sync_batch_norm,
            "`unfreeze_epoch` cannot be combined with `sync_batch_norm`: replicas "
            "cannot exchange numbers inside the choice of layers; leave one out",
        )
        require(
            not (self.qat and self.freeze),
            f"freeze={self.freeze} cannot be combined with `qat`: every layer learns "
            "to be rounded; leave one out",
        )
        require(
            not (self.qat and self.sync_batch_norm),
            "`sync_batch_norm` has no effect with `qat`, which folds batch "
            "normalisation into convolutions; leave it out",
        )
        _check_pattern(self.freeze)
        _check_sha256("hash of `init_from`", self.init_sha256)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig(Bounded):
    """The optimizer and the learning-rate schedule. Rates are per global batch."""

    GROUP = OPTIMIZER

    name: OptimizerName = option(
        OptimizerName.ADAMW,
        "Optimizer; sgd is with Nesterov momentum.",
        flag="optimizer",
    )
    momentum: float | None = option(
        None,
        "Momentum of the gradient. Default: 0.9 with sgd, 0.6 with muon.",
        at_least=0,
        below=1,
    )
    learning_rate: float = option(0.002, "Peak learning rate of the schedule.", above=0)
    sgd_learning_rate: float = option(
        1.66,
        "Peak learning rate of the parameters that muon leaves to SGD: all but "
        "convolution kernels.",
        above=0,
    )
    bias_scaler: float = option(
        1.0,
        "Factor on the learning rate of biases (Jordan 2024, section 3.4).",
        above=0,
    )
    backbone_lr_multiplier: float = option(
        1.0,
        "Factor on the learning rate and weight decay of all layers but the one of the "
        "logits, e.g. 0.1 with `init_from`.",
        group=PRETRAINED,
        above=0,
        at_most=100,
    )
    weight_decay: float = option(
        0.05,
        "Decoupled weight decay, times the learning rate. Biases and normalisation "
        "are exempt, except with muon.",
        at_least=0,
    )
    label_smoothing: float = option(
        0.0,
        "Probability mass shared equally by all classes.",
        at_least=0,
        below=1,
    )
    class_weight: float = option(
        0.0,
        "Weights the loss of an example by the inverse frequency of its class among "
        "the training rows, to this power; the mean weight is 1. 0: all count alike.",
        at_least=0,
        at_most=1,
    )
    clip_norm: float | None = option(
        None,
        "Largest global norm of the gradient, after the sum over replicas.",
        above=0,
    )
    ema_decay: float | None = option(
        None,
        "Exponential moving average of the weights; the average is evaluated.",
        at_least=0,
        below=1,
    )
    schedule: Schedule = option(
        Schedule.COSINE, "Learning-rate schedule after warm-up.", group=SCHEDULE
    )
    warmup_epochs: float | None = option(
        None,
        "Linear warm-up of the learning rate in epochs. Default: one epoch, at most a "
        "tenth of the steps; with triangle a fifth of the steps.",
        group=SCHEDULE,
        at_least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.name is OptimizerName.MUON
            or self.sgd_learning_rate == OptimConfig.sgd_learning_rate,
            f"sgd_learning_rate={self.sgd_learning_rate} belongs to optimizer=muon; "
            "leave it out",
        )
        require(
            self.momentum is None or self.name is not OptimizerName.ADAMW,
            f"momentum={self.momentum} belongs to optimizer=sgd or muon, got "
            f"optimizer={self.name.value}; leave `momentum` out",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationConfig(Bounded):
    """Distillation (Hinton et al. 2015), off without a teacher.

    Attributes:
        teacher_sha256: `weights_sha256` of the teacher's result.json. The hash decides
            the numbers; the directory, which belongs to one machine, does not.
        weight: of the teacher in the loss; the labels have the rest.
        temperature: divides the logits before they are compared.
    """

    GROUP = DISTILLATION

    teacher_sha256: str | None = None
    weight: float = option(
        0.9,
        "Weight of the teacher in the loss; the labels have the rest.",
        flag="teacher_weight",
        at_least=0,
        at_most=1,
    )
    temperature: float = option(
        2.0,
        "Temperature that divides the logits of teacher and student.",
        flag="teacher_temperature",
        at_least=0.1,
        at_most=100,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        digest = self.teacher_sha256
        if digest is None:
            for field in dataclasses.fields(self)[1:]:
                value = getattr(self, field.name)
                require(
                    value == field.default,
                    f"teacher_{field.name}={value} has no effect without `teacher`; "
                    "add it",
                )
            return
        _check_sha256("teacher's hash", digest)

    @property
    def enabled(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher_sha256 is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Bounded):
    """Everything that decides the numbers of a run."""

    GROUP = SCHEDULE

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    distillation: DistillationConfig = DistillationConfig()
    global_batch: int = option(
        256,
        "Images per step, over all replicas.",
        at_least=1,
        at_most=2**20,
    )
    epochs: float = option(
        30.0,
        "Passes over the training images; may be a fraction.",
        above=0,
    )
    train_steps: int | None = option(
        None, "Number of steps; overrides `epochs`.", at_least=1
    )
    seed: int = option(
        0,
        "Seed for weights, order, augmentation and dropout.",
        at_least=0,
        below=2**31,
    )
    precision: Precision = option(
        Precision.FLOAT32,
        "Arithmetic of the training step; evaluation is always float32.",
        group=DEVICES,
    )
    jit_compile: bool = option(
        False, "Compiles the forward and backward pass with XLA.", group=DEVICES
    )
    deterministic: bool = option(
        True, "Allows only operators that give the same bits every time.", group=DEVICES
    )
    elastic_shards: int | None = option(
        None,
        "Number of parts of a batch that are summed in a fixed order, so that any "
        "number of replicas gives the same bits.",
        group=DEVICES,
        at_least=1,
    )
    accumulate_steps: int | None = option(
        None,
        "Number of parts of a batch that follow each other, so that it needs less "
        "memory; their gradients are added. Another word for `elastic_shards`.",
        group=DEVICES,
        at_least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_shards(self._merge_accumulation())
        self._check_pairs()
        require(
            self.train_steps is not None
            or (self.optim.warmup_epochs or 0) < self.epochs,
            f"warmup_epochs={self.optim.warmup_epochs} must be less than "
            f"epochs={self.epochs}; lower `warmup_epochs`",
        )

    def _check_pairs(self) -> None:
        data, teacher = self.data, self.distillation.enabled
        require(
            not teacher or data.uncountable is None,
            f"`teacher` needs a finite number of views, which {data.uncountable} does "
            "not have; use augment=flip_crop or crop alone",
        )
        require(
            not teacher or data.flip is Flip.RANDOM,
            "flip=alternating cannot be combined with `teacher`: its soft labels are "
            "found by the view that is drawn; leave one out",
        )
        require(
            not data.mixes or self.global_batch > 1,
            f"mixup={data.mixup}, cutmix={data.cutmix} need two images in a batch; "
            "raise `global_batch`",
        )
        require(
            not (self.jit_compile and self.deterministic),
            "`jit_compile` needs deterministic=False: XLA has no deterministic "
            "gradient of max-pooling",
        )
        require(
            not (data.progressive_size and self.model.qat),
            "`progressive_size` cannot be combined with `qat`: smaller images have "
            "other ranges; leave it out",
        )
        sync = self.model.sync_batch_norm
        require(
            not (self.jit_compile and sync),
            "`jit_compile` cannot be combined with `sync_batch_norm`: the part of the "
            "step that XLA compiles has no exchange between replicas; leave one out",
        )
        require(
            not (data.progressive_size and sync),
            "`progressive_size` cannot be combined with `sync_batch_norm`: replicas "
            "cannot exchange numbers inside the choice of a size; leave one out",
        )

    def _merge_accumulation(self) -> str:
        """Keeps `accumulate_steps` as `elastic_shards`: equal runs, equal configs.

        Returns the word that was given.
        """
        parts, shards = self.accumulate_steps, self.elastic_shards
        require(
            None in (parts, shards) or parts == shards,
            f"accumulate_steps={parts} and elastic_shards={shards} are two words for "
            "the parts of a batch; leave one out",
        )
        if parts is not None:
            object.__setattr__(self, "elastic_shards", parts)
            object.__setattr__(self, "accumulate_steps", None)
        return "elastic_shards" if parts is None else "accumulate_steps"

    def _check_shards(self, word: str) -> None:
        count, batch = self.elastic_shards, self.global_batch
        if count is None:
            return
        named = f"{word}={count}"
        require(count <= batch, f"{named} must be at most global_batch={batch}")
        require(
            batch % count == 0,
            f"{named} does not divide global_batch={batch}; "
            f"global_batch={batch // count * count} would work",
        )
        require(
            not self.model.sync_batch_norm,
            f"{named} cannot be combined with `sync_batch_norm`: each shard is "
            "normalised alone; leave one out",
        )
        require(
            self.deterministic,
            f"{named} promises equal bits, which deterministic=False does not; leave "
            "one out",
        )

    def to_json(self) -> dict[str, Any]:
        """Converts the config to nested plain values, with a version."""
        fields = to_plain(dataclasses.asdict(self))
        if text := self.model.architecture:
            fields["model"]["architecture"] = _sha256(text)
        return {"version": VERSION, **fields}

    @staticmethod
    def complete_json(fields: dict[str, Any]) -> dict[str, Any]:
        """Adds the defaults of options that an older run does not name."""
        return _with_defaults(fields, Config().to_json())

    @classmethod
    def from_json(
        cls, fields: dict[str, Any], architecture: str | None = None
    ) -> "Config":
        """The Config that `to_json` described; `architecture` is the text of its hash.

        Raises:
            InvalidConfig: another version; a field is missing, unknown or out of range.
        """
        require(isinstance(fields, dict), f"its config is {fields!r:.60}")
        version = fields.get("version", 1)
        require(
            version == VERSION,
            f"its config is of version {version!r:.60}, this release reads version "
            f"{VERSION}; use the release that made it",
        )
        config = from_plain(cls, {k: v for k, v in fields.items() if k != "version"})
        sha256 = config.model.architecture
        require(
            sha256 is None or (architecture and _sha256(architecture) == sha256),
            "its model.json is missing or of another network; restore it",
        )
        model = dataclasses.replace(config.model, architecture=architecture)
        return dataclasses.replace(config, model=model) if sha256 else config


def _with_defaults(found: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **found}
    for name, default in defaults.items():
        if isinstance(default, dict) and default and isinstance(found.get(name), dict):
            filled[name] = _with_defaults(found[name], default)
    return filled


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
