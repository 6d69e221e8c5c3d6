"""Config: what decides the numbers. RunConfig: where, how often, on how many replicas.

Two runs with equal Configs, data and kind of machine end in the same bits; a resume is
refused when its Config differs and may change everything in RunConfig.
"""

import dataclasses
import enum
import math
from typing import Any

from trainer.choices import (
    Augment,
    EvalTta,
    OptimizerName,
    Precision,
    Resume,
    Schedule,
    Strategy,
)
from trainer.teaching import TeacherConfig


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _positive(**values: float | None) -> None:
    for name, value in values.items():
        good = value is None or 0 < value < math.inf
        _require(good, f"--{name}={value} must be a finite number above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples are learnt from, and how they are varied."""

    dataset: str = "cifar10"
    validation_fraction: float = 0.1  # of train, stratified, the same for every seed
    augment: Augment = Augment.FLIP_CROP
    crop_pixels: int = 4  # largest shift of a crop in each direction

    def __post_init__(self) -> None:
        _require(
            self.dataset.strip() == self.dataset and self.dataset != "",
            f"--dataset={self.dataset!r} must name a TFDS data set, e.g. cifar10",
        )
        _require(
            0 <= self.validation_fraction <= 0.5,
            f"--validation_fraction={self.validation_fraction} must be within 0 to 0.5",
        )
        _require(
            0 <= self.crop_pixels <= 8,
            f"--crop_pixels={self.crop_pixels} must be within 0 to 8",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network, how wide, how much dropout (None: the model's own)."""

    name: str = "cnn"
    width: float = 1.0
    dropout: float | None = None
    sync_batch_norm: bool = False

    def __post_init__(self) -> None:
        _positive(model_width=self.width)
        _require(self.width <= 64, f"--model_width={self.width} must be at most 64")
        _require(
            self.dropout is None or 0 <= self.dropout < 1,
            f"--dropout={self.dropout} must be at least 0 and below 1",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights move. Rates are per global batch; None means off."""

    name: OptimizerName = OptimizerName.ADAMW
    momentum: float | None = None  # SGD's; None there: 0.9
    learning_rate: float = 0.002  # the highest of the schedule
    schedule: Schedule = Schedule.COSINE
    warmup_epochs: float | None = None  # None: one, or a tenth of the steps if fewer
    weight_decay: float = 0.05  # times the rate, off for biases and normalisation
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # of the reduced gradient
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        _positive(learning_rate=self.learning_rate, clip_norm=self.clip_norm)
        for name in ("warmup_epochs", "weight_decay"):
            value = getattr(self, name)
            good = value is None or 0 <= value < math.inf
            _require(good, f"--{name}={value} must be a finite number, at least 0")
        for name in ("momentum", "label_smoothing", "ema_decay"):
            value = getattr(self, name)
            _require(
                value is None or 0 <= value < 1,
                f"--{name}={value} must be at least 0 and below 1",
            )
        _require(
            self.momentum is None or self.name is OptimizerName.SGD,
            f"--momentum={self.momentum} belongs to --optimizer=sgd, got "
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
        _require(self.global_batch <= 2**20, limit)
        _positive(
            global_batch=self.global_batch,
            epochs=self.epochs,
            train_steps=self.train_steps,
        )
        self._check_shards()
        _require(
            0 <= self.seed < 2**31,
            f"--seed={self.seed} must be at least 0 and below 2147483648",
        )
        _require(
            self.teacher is None or self.data.augment is not Augment.FLIP_CROP_CUTOUT,
            "--teacher needs views that can be counted, which "
            "--augment=flip_crop_cutout has not; use --augment=flip_crop",
        )
        _require(
            not (self.jit_compile and self.deterministic),
            "--jit_compile needs --nodeterministic: XLA has no deterministic gradient "
            "of max-pooling",
        )
        _require(
            not (self.jit_compile and self.model.sync_batch_norm),
            "--jit_compile cannot be combined with --sync_batch_norm: XLA's part of "
            "the step holds no exchange between replicas; leave one out",
        )
        _require(
            self.train_steps is not None
            or (self.optim.warmup_epochs or 0) < self.epochs,
            f"--warmup_epochs={self.optim.warmup_epochs} must be less than "
            f"--epochs={self.epochs}; lower --warmup_epochs",
        )

    def _check_shards(self) -> None:
        count, batch = self.elastic_shards, self.global_batch
        if count is None:
            return
        named = f"--elastic_shards={count}"
        _require(1 <= count <= batch, f"{named} must be within 1 to {batch}")
        fits = f"--global_batch={batch // count * count}"
        text = f"{named} does not divide --global_batch={batch}; {fits} would work"
        _require(batch % count == 0, text)
        text = f"{named} cannot be combined with --sync_batch_norm: shards normalise"
        _require(not self.model.sync_batch_norm, f"{text} alone; leave one out")
        text = f"{named} promises bits, which --nodeterministic lets differ; leave one"
        _require(self.deterministic, f"{text} out")

    def to_json(self) -> dict[str, Any]:
        """Plain nested dictionaries, enums as their values."""
        return plain(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Config":
        """The Config that `to_json` described.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        try:
            data, model, optim = (dict(fields[k]) for k in ("data", "model", "optim"))
            rest = {
                k: v for k, v in fields.items() if k not in ("data", "model", "optim")
            }
            data["augment"] = Augment(data["augment"])
            optim["name"] = OptimizerName(optim["name"])
            optim["schedule"] = Schedule(optim["schedule"])
            rest["precision"] = Precision(rest["precision"])
            if rest.get("teacher") is not None:
                rest["teacher"] = TeacherConfig(**rest["teacher"])
            return cls(
                data=DataConfig(**data),
                model=ModelConfig(**model),
                optim=OptimConfig(**optim),
                **rest,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a config of this version: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run goes and how it is carried out; may change when it is resumed."""

    strategy: Strategy = Strategy.ONE_DEVICE
    logical_devices: int | None = None  # splits the CPU into as many replicas
    threads: int | None = None  # None: every core this process may use
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
        _positive(
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
            _require(value <= limit, f"--{name}={value} must be at most {limit}")
        _require(
            (self.logical_devices or 1) == 1 or self.strategy is Strategy.MIRRORED,
            f"--logical_devices={self.logical_devices} needs --strategy=mirrored, got "
            f"--strategy={self.strategy.value}",
        )
        _require(
            self.run_dir is not None or self.resume is not Resume.MUST,
            "--resume=must needs the --run_dir to resume",
        )
        _require(
            self.run_dir is not None or self.strategy is not Strategy.MULTI_WORKER,
            "--strategy=multi_worker needs --run_dir, the same one for every worker",
        )
        self._check_profile()

    def _check_profile(self) -> None:
        if self.profile_steps is not None:
            first, last = self.profile_steps
            _require(
                2 <= first <= last,  # the first step compiles
                f"--profile_steps={first}:{last} must be FIRST:LAST with "
                "2 <= FIRST <= LAST, e.g. 10:20",
            )


def plain(value: Any) -> Any:
    """Nested dictionaries with every enum replaced by its value."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value.value if isinstance(value, enum.Enum) else value


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str = ""
) -> list[str]:
    """The fields in which two nested dictionaries differ, as 'a.b: 1 != 2'."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += differences(mine, other, f"{path}{name}.")
        elif mine != other:
            found.append(f"{path}{name}: {mine!r} != {other!r}")
    return found
