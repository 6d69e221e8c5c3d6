"""Limits of flags: what a value has to be, said in one sentence."""

import dataclasses
import math
import re
import typing
from typing import Any

from trainer.config.enums import (
    Activation,
    Augment,
    EvalTta,
    Flip,
    OptimizerName,
    Precision,
    Resume,
    Schedule,
    Strategy,
)
from trainer.config.serialization import misfit, to_plain


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition`."""
    if not condition:
        raise ValueError(message)


def positive(**values: float | None) -> None:
    """Raises ValueError unless every flag's value is None or finite and above 0."""
    for name, value in values.items():
        good = value is None or 0 < value < math.inf
        require(good, f"--{name}={value} must be a finite number above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Distillation (Hinton et al. 2015).

    The teacher is named by the hash of its weights, which decide the numbers, and not
    by its directory, which is of one machine.

    Attributes:
        weights_sha256: of the teacher's result.json.
        weight: part of the loss that is the teacher's; the labels have the rest.
        temperature: what logits are divided by before they are compared.
    """

    weights_sha256: str
    weight: float = 0.9
    temperature: float = 2.0

    def __post_init__(self) -> None:
        check_teacher(self.weight, self.temperature)
        if not re.fullmatch(r"[0-9a-f]{64}", self.weights_sha256):
            raise ValueError(f"--teacher: {self.weights_sha256!r} is no SHA-256")


def check_teacher(weight: float, temperature: float) -> None:
    """Raises ValueError unless both are in range."""
    if not 0 <= weight <= 1:
        raise ValueError(f"--teacher_weight={weight} must be within 0 to 1")
    if not 0.1 <= temperature <= 100:
        raise ValueError(
            f"--teacher_temperature={temperature} must be within 0.1 to 100"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples are learnt from, and how they are varied."""

    dataset: str = "cifar10"
    validation_fraction: float = 0.1  # of train, stratified, the same for every seed
    augment: Augment = Augment.FLIP_CROP
    crop_pixels: int = 4  # largest shift of a crop in each direction
    flip: Flip = Flip.RANDOM
    small_pixels: int | None = None  # side of the images of the first steps
    small_part: float = 0.5  # of the steps, where small_pixels is set

    def __post_init__(self) -> None:
        require(
            self.dataset.strip() == self.dataset and self.dataset != "",
            f"--dataset={self.dataset!r} must name a TFDS data set, e.g. cifar10",
        )
        require(
            0 <= self.validation_fraction <= 0.5,
            f"--validation_fraction={self.validation_fraction} must be within 0 to 0.5",
        )
        require(
            0 <= self.crop_pixels <= 8,
            f"--crop_pixels={self.crop_pixels} must be within 0 to 8",
        )
        require(
            self.flip is Flip.RANDOM
            or self.augment not in (Augment.NONE, Augment.CROP),
            f"--flip={self.flip.value} needs an --augment that mirrors, got "
            f"--augment={self.augment.value}; leave --flip out",
        )
        require(
            self.crop_pixels == DataConfig.crop_pixels
            or self.augment not in (Augment.NONE, Augment.FLIP),
            f"--crop_pixels={self.crop_pixels} needs an --augment that crops, got "
            f"--augment={self.augment.value}; leave --crop_pixels out",
        )
        self._check_small()

    def _check_small(self) -> None:
        small = self.small_pixels
        require(
            small is None or small >= 16,
            f"--small_pixels={small} must be at least 16; leave it out for full size",
        )
        require(
            0 < self.small_part <= 1,
            f"--small_part={self.small_part} must be above 0 and at most 1",
        )
        require(
            small is not None or self.small_part == DataConfig.small_part,
            f"--small_part={self.small_part} belongs to --small_pixels=N; add it",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network, how wide, how much dropout (None: the model's own)."""

    name: str = "cnn"
    width: float = 1.0
    dropout: float | None = None
    sync_batch_norm: bool = False
    whiten: bool = True  # speednet's first convolution is computed, not trained
    activation: Activation = Activation.RELU  # speednet's, after normalisations

    def __post_init__(self) -> None:
        positive(model_width=self.width)
        require(self.width <= 64, f"--model_width={self.width} must be at most 64")
        require(
            self.dropout is None or 0 <= self.dropout < 1,
            f"--dropout={self.dropout} must be at least 0 and below 1",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights move. Rates are per global batch; None means off, or what is said."""

    name: OptimizerName = OptimizerName.ADAMW
    momentum: float | None = None  # None: SGD's 0.9, Muon's 0.6
    other_learning_rate: float = 1.66  # Muon's, of what is no convolution
    bias_rate_factor: float = 1.0  # how much faster biases and offsets move
    learning_rate: float = 0.002  # the highest of the schedule
    schedule: Schedule = Schedule.COSINE
    warmup_epochs: float | None = None  # None: one, or a part of the steps if fewer
    weight_decay: float = 0.05  # times the rate; Muon decays all, others kernels
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # of the reduced gradient
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        positive(
            learning_rate=self.learning_rate,
            clip_norm=self.clip_norm,
            other_learning_rate=self.other_learning_rate,
            bias_rate_factor=self.bias_rate_factor,
        )
        require(
            self.name is OptimizerName.MUON
            or self.other_learning_rate == OptimConfig.other_learning_rate,
            f"--other_learning_rate={self.other_learning_rate} belongs to "
            "--optimizer=muon; leave it out",
        )
        for name in ("warmup_epochs", "weight_decay"):
            value = getattr(self, name)
            good = value is None or 0 <= value < math.inf
            require(good, f"--{name}={value} must be a finite number, at least 0")
        for name in ("momentum", "label_smoothing", "ema_decay"):
            value = getattr(self, name)
            require(
                value is None or 0 <= value < 1,
                f"--{name}={value} must be at least 0 and below 1",
            )
        require(
            self.momentum is None or self.name is not OptimizerName.ADAMW,
            f"--momentum={self.momentum} belongs to --optimizer=sgd or muon, got "
            f"--optimizer={self.name.value}; leave --momentum out",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the numbers of a run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    teacher: TeacherConfig | None = None
    global_batch: int = 256  # images per step, over all replicas
    elastic_shards: int | None = None  # parts of a batch on any number of replicas
    epochs: float = 30.0
    train_steps: int | None = None  # overrides epochs
    precision: Precision = Precision.FLOAT32
    jit_compile: bool = False
    seed: int = 0
    deterministic: bool = True

    def __post_init__(self) -> None:
        limit = f"--global_batch={self.global_batch} must be at most {2**20}"
        require(self.global_batch <= 2**20, limit)
        positive(
            global_batch=self.global_batch,
            epochs=self.epochs,
            train_steps=self.train_steps,
        )
        self._check_shards()
        require(
            0 <= self.seed < 2**31,
            f"--seed={self.seed} must be at least 0 and below 2147483648",
        )
        self._check_pairs()
        self._check_model()
        require(
            self.train_steps is not None
            or (self.optim.warmup_epochs or 0) < self.epochs,
            f"--warmup_epochs={self.optim.warmup_epochs} must be less than "
            f"--epochs={self.epochs}; lower --warmup_epochs",
        )

    def _check_pairs(self) -> None:
        require(
            self.teacher is None or self.data.augment is not Augment.FLIP_CROP_CUTOUT,
            "--teacher needs views that can be counted, which "
            "--augment=flip_crop_cutout has not; use --augment=flip_crop",
        )
        require(
            not (self.jit_compile and self.deterministic),
            "--jit_compile needs --nodeterministic: XLA has no deterministic gradient "
            "of max-pooling",
        )
        require(
            not (self.jit_compile and self.model.sync_batch_norm),
            "--jit_compile cannot be combined with --sync_batch_norm: XLA's part of "
            "the step holds no exchange between replicas; leave one out",
        )
        require(
            not (self.data.small_pixels and self.model.sync_batch_norm),
            "--small_pixels cannot be combined with --sync_batch_norm: replicas cannot "
            "exchange numbers inside the choice of a size; leave one out",
        )
        require(
            self.data.flip is Flip.RANDOM or self.teacher is None,
            "--flip=alternating cannot be combined with --teacher, whose answers are "
            "found by the views that are drawn; leave one out",
        )

    def _check_model(self) -> None:
        """What one network has and another has not."""
        model = self.model
        require(
            model.name != "speednet" or not model.dropout,
            f"--dropout={model.dropout} has no place in --model=speednet, which "
            "has no dropout; leave it out",
        )
        require(
            not (model.sync_batch_norm and model.name == "cnn"),
            "--sync_batch_norm has no place in --model=cnn, which normalises nothing; "
            "leave it out",
        )
        gelu = model.activation is Activation.GELU
        for flag, given in {"nowhiten": not model.whiten, "activation": gelu}.items():
            require(
                not given or model.name == "speednet",
                f"--{flag} belongs to --model=speednet, got --model={model.name}; "
                "leave it out",
            )

    def _check_shards(self) -> None:
        count, batch = self.elastic_shards, self.global_batch
        if count is None:
            return
        named = f"--elastic_shards={count}"
        require(1 <= count <= batch, f"{named} must be within 1 to {batch}")
        fits = f"--global_batch={batch // count * count}"
        text = f"{named} does not divide --global_batch={batch}; {fits} would work"
        require(batch % count == 0, text)
        text = f"{named} cannot be combined with --sync_batch_norm: shards normalise"
        require(not self.model.sync_batch_norm, f"{text} alone; leave one out")
        text = f"{named} promises bits, which --nodeterministic lets differ; leave one"
        require(self.deterministic, f"{text} out")

    def to_json(self) -> dict[str, Any]:
        """Plain nested dictionaries, enums as their values.

        ReLU is not named: runs from before there was a choice go on and are rechecked.
        """
        fields = to_plain(dataclasses.asdict(self))
        if self.model.activation is Activation.RELU:
            del fields["model"]["activation"]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Config":
        """The Config that `to_json` described.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        try:
            return cls._of(fields)
        except ValueError as error:
            raise ValueError(f"not a config of this version: {error}") from error

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> "Config":
        kinds = {"data": dict, "model": dict, "optim": dict}
        if wrong := misfit(fields, kinds | {"precision": str}):
            raise ValueError(wrong)
        data, model, optim = (dict(fields[k]) for k in kinds)
        rest = {k: v for k, v in fields.items() if k not in kinds}
        named = [(data, "augment", Augment), (optim, "name", OptimizerName)]
        named += [(optim, "schedule", Schedule), (rest, "precision", Precision)]
        for part, name, kind in named:
            if wrong := misfit(part, {name: str}):
                raise ValueError(wrong)
            part[name] = kind(part[name])
        if "flip" in data:  # runs before it had been thought of have none
            data["flip"] = Flip(data["flip"])
        if "activation" in model:
            model["activation"] = Activation(model["activation"])
        if rest.get("teacher") is not None:
            if wrong := misfit(rest, {"teacher": dict}):
                raise ValueError(wrong)
            rest["teacher"] = _made(TeacherConfig, rest["teacher"])
        return _made(
            cls,
            rest
            | {
                "data": _made(DataConfig, data),
                "model": _made(ModelConfig, model),
                "optim": _made(OptimConfig, optim),
            },
        )


def _made(kind: type, fields: dict[str, Any]) -> Any:
    """The dataclass `kind` of `fields`, which must be its own and of its types."""
    shape = typing.get_type_hints(kind)
    if unknown := fields.keys() - shape.keys():
        raise ValueError(f"{sorted(unknown)[0]!r:.60} is no field of this version")
    needed = [
        f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING
    ]
    shape = {k: v for k, v in shape.items() if k in fields or k in needed}
    if wrong := misfit(fields, shape):
        raise ValueError(wrong)
    return kind(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run goes and how it is carried out; may change when it is resumed."""

    strategy: Strategy = Strategy.ONE_DEVICE
    logical_devices: int | None = None  # splits the CPU into as many replicas
    threads: int | None = None  # None: every core, or a container's quota if less
    data_dir: str | None = None  # None: TFDS's own
    teacher: str | None = None  # where the run with Config's weights_sha256 is
    run_dir: str | None = None  # None: a new directory under runs_root
    runs_root: str = "runs"
    resume: Resume = Resume.AUTO
    checkpoint_every_steps: int | None = None  # None: at most a minute of work at risk
    keep_checkpoints: int = 3
    eval_every_epochs: float = 1.0
    eval_tta: EvalTta = EvalTta.NONE  # of validation and test; weights do not feel it
    log_every_steps: int = 50
    steps_per_call: int | None = None  # None: calls of about a second
    profile_steps: tuple[int, int] | None = None  # first and last step of a profile
    grace_secs: float = 30.0  # from a signal to the end, at most
    hang_secs: float = 30.0  # without progress of a worker among several
    dry_run: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        positive(
            logical_devices=self.logical_devices,
            threads=self.threads,
            checkpoint_every_steps=self.checkpoint_every_steps,
            keep_checkpoints=self.keep_checkpoints,
            eval_every_epochs=self.eval_every_epochs,
            log_every_steps=self.log_every_steps,
            steps_per_call=self.steps_per_call,
            grace_secs=self.grace_secs,
            hang_secs=self.hang_secs,
        )
        for name, limit in (("logical_devices", 64), ("threads", 1024)):
            value = getattr(self, name) or 1
            require(value <= limit, f"--{name}={value} must be at most {limit}")
        require(
            (self.logical_devices or 1) == 1 or self.strategy is Strategy.MIRRORED,
            f"--logical_devices={self.logical_devices} needs --strategy=mirrored, got "
            f"--strategy={self.strategy.value}",
        )
        require(
            self.run_dir is not None or self.resume is not Resume.MUST,
            "--resume=must needs the --run_dir to resume",
        )
        require(
            self.run_dir is not None or self.strategy is not Strategy.MULTI_WORKER,
            "--strategy=multi_worker needs --run_dir, the same one for every worker",
        )
        self._check_profile()

    def _check_profile(self) -> None:
        if self.profile_steps is not None:
            first, last = self.profile_steps
            require(
                2 <= first <= last,  # the first step compiles
                f"--profile_steps={first}:{last} must be FIRST:LAST with "
                "2 <= FIRST <= LAST, e.g. 10:20",
            )
