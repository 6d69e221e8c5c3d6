"""RunConfig: where a run goes, how often it reports, on how many replicas."""

import dataclasses

from trainer.choices import EvalTta, Resume, Strategy
from trainer.limits import positive, require


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
