"""Starts a training: connects devices and workers, loads data, builds the session."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from trainer.config.enums import Strategy
from trainer.config.run_config import RunConfig
from trainer.config.schema import PENDING, Config
from trainer.data.dataset import Dataset, Splits
from trainer.data.loading import load_dataset
from trainer.distillation import teacher
from trainer.distributed import agreement, environment, shares, strategy
from trainer.distributed.error_translation import translate_lost_peers
from trainer.distributed.heartbeat import Heartbeat
from trainer.distributed.shutdown import StopRequest
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput
from trainer.models import architecture
from trainer.models.lookup import own_network
from trainer.models.lookup.own_network import NetworkFile
from trainer.monitoring.monitor import Monitor
from trainer.monitoring.native_output import suppress_native_stderr
from trainer.monitoring.progress import CONSOLE, PhaseTimer
from trainer.rundir.layout import SOURCE, Run
from trainer.rundir.metadata import RunMetadata
from trainer.training import network
from trainer.training.loop import Callback
from trainer.training.session import TrainingSession
from trainer.training.timetable import Timetable, build_timetable

PHASES = {  # what the console shows; a phase that is missing here shows its name
    "devices": "looking for devices",
    "data": "reading the data set",
    "build": "building the network",
    "teach": "asking the teacher",
    "compile": "compiling the first call",
    "train": "training",
    "evaluate": "evaluating the validation rows",
    "save": "saving a checkpoint",
    "test": "testing",
}


@dataclasses.dataclass(frozen=True)
class ScriptInputs:
    """What a script gives in place of the names in a config.

    Attributes:
        splits: the data; None: those that the config names.
        network: a function or a Keras model; None: the one that the config names.
        callbacks: called after the toolkit's own, on every worker, as Keras calls
            callbacks; only the wait for signals comes later.
    """

    splits: Splits | None = None
    network: Any = None
    callbacks: Sequence[Callback] = ()


NO_SCRIPT = ScriptInputs()


def train(
    run: Run,
    config: Config,
    run_config: RunConfig,
    request: StopRequest,
    *,
    script: ScriptInputs = NO_SCRIPT,
    flags_text: str = "",
) -> dict[str, Any] | None:
    """Starts or resumes the training in `run`.

    Args:
        run: the run directory.
        config: the options that decide the numbers.
        run_config: the options that say where and how the training runs.
        request: receives the stop signals.
        script: what a script gives; by default `config` names data and network.
        flags_text: the flags of the command, kept in flags.txt.

    Returns:
        The content of result.json; None on workers other than the chief and after a dry
        run.
    """
    worker, workers = strategy.worker_index(run_config)
    folder, hang_secs = run.path / "workers", run_config.hang_secs
    heartbeat = Heartbeat(folder, worker, workers, hang_secs)
    with _leaving_no_sign(heartbeat, run_config):
        with translate_lost_peers(worker, workers, heartbeat):
            session = build_session(run, config, run_config, request, heartbeat, script)
        with contextlib.closing(session.monitor.progress), session.translated_errors():
            record, rows = session.dataset.recorded(), session.dataset.learnt
            agreement.check_data(session.cluster, record, rows)
            if run_config.dry_run:
                session.dry_run()
                return None
            return session.train(flags_text, script.callbacks)


@contextlib.contextmanager
def _leaving_no_sign(heartbeat: Heartbeat, run_config: RunConfig) -> Iterator[None]:
    """Removes the heartbeat after wrong usage or a dry run, which write nothing."""
    refused = False
    try:
        yield
    except InvalidInput:
        refused = True
        raise
    finally:
        if refused or run_config.dry_run:
            heartbeat.remove()


def build_session(
    run: Run,
    config: Config,
    run_config: RunConfig,
    request: StopRequest,
    heartbeat: Heartbeat,
    script: ScriptInputs = NO_SCRIPT,
) -> TrainingSession:
    """Connects devices, loads data, compiles the step; writes heartbeats only."""
    timer = PhaseTimer(show=lambda name: CONSOLE.phase(PHASES.get(name, name)))
    monitor = Monitor(timer, CONSOLE, heartbeat)
    threads, cluster = _connect(config, run_config, monitor)
    request.install()  # again: TensorFlow replaces the handler of SIGTERM
    shares.check_shares(config, cluster.replicas)
    with timer.phase("data"):
        dataset = _load_data(config, run_config, script)
    timetable = _timetable(config, run_config, dataset)
    teacher.check_teacher_run(run, config, run_config, dataset.recorded())
    file = own_network.reopen_network(config.model, run_config.model_file)
    with timer.phase("build"):
        config = _describe_network(config, dataset, file, script.network, cluster)
        config = adopt_network(run, config)
    with suppress_native_stderr(), timer.phase("build"):
        built = network.build_network(config, run_config, cluster, dataset, timetable)
        evaluator = network.build_evaluator(config, run_config, cluster, dataset)
    metadata = _metadata(config, run_config, dataset, cluster, threads, file)
    return TrainingSession(
        run=run,
        metadata=dataclasses.replace(metadata, pretrained=built.pretrained),
        request=request,
        monitor=monitor,
        cluster=cluster,
        dataset=dataset,
        timetable=timetable,
        state=built.state,
        images=built.images,
        input_choice=built.input_choice,
        train_step=built.train_step,
        evaluator=evaluator,
    )


def _load_data(config: Config, run_config: RunConfig, script: ScriptInputs) -> Dataset:
    if script.splits is not None:
        test = run_config.test
        splits = script.splits if test else script.splits.without_test()
        return splits.hold_out(config.data.validation_fraction)
    return load_dataset(config, run_config, say=CONSOLE.say)


def _metadata(
    config: Config,
    run_config: RunConfig,
    dataset: Dataset,
    cluster: Cluster,
    threads: int,
    file: NetworkFile | None,
) -> RunMetadata:
    found = environment.describe(threads)
    key = environment.reproducibility_key(run_config.strategy.value, cluster, found)
    source = None
    if file is not None and file.sha256 == config.model.source_sha256:
        source = file.path.name, file.content  # a changed file would not be its own
    return RunMetadata(config, run_config, dataset.recorded(), found, key, source)


def _describe_network(
    config: Config,
    dataset: Dataset,
    file: NetworkFile | None,
    given: Any,
    cluster: Cluster,
) -> Config:
    """Describes a network that is no function of ours, the same one on every worker."""
    if config.model.architecture != PENDING:
        return config
    try:
        config = network.describe_network(config, dataset, file, given)
    except InvalidInput:
        with contextlib.suppress(InvalidInput):  # the other workers are told
            agreement.check_architecture(cluster, None)
        raise
    agreement.check_architecture(cluster, config.model.architecture)
    return config


def adopt_network(run: Run, config: Config) -> Config:
    """Compares the network of `config`, which was built, with that of `run`.

    Returns `config` with the source file that `run` was started with: another one is no
    hindrance where it builds the same network.

    Raises:
        InvalidInput: `run` was started with another network.
    """
    if not run.exists or config.model.architecture is None:
        return config
    theirs, ours = run.config().model, config.model
    before, now = theirs.architecture, ours.architecture
    if before is not None and before != now:
        there = f"{run.path / SOURCE} has its file; " if theirs.source_sha256 else ""
        raise InvalidInput(
            f"model={ours.name} builds another network than {run.path} was started "
            f"with (its != yours: {architecture.explain_difference(before, now)});\n"
            f"{there}use its own network, or another `run_dir`"
        )
    if theirs.source_sha256 != ours.source_sha256:
        CONSOLE.say(
            f"{ours.name} has changed since {run.path} was started, and builds the "
            "same network: going on"
        )
    model = dataclasses.replace(ours, source_sha256=theirs.source_sha256)
    return dataclasses.replace(config, model=model)


def _connect(
    config: Config, run_config: RunConfig, monitor: Monitor
) -> tuple[int, Cluster]:
    """Sets the threads and connects the cluster once all workers agree."""
    timer, heartbeat = monitor.timer, monitor.heartbeat
    with suppress_native_stderr(), timer.phase("devices"):
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        threads = strategy.set_threads(run_config.threads)
    if run_config.strategy is Strategy.MULTI_WORKER:
        heartbeat.wait_for_peers(agreement.facts(config, run_config), monitor.say)
    with suppress_native_stderr(), timer.phase("devices"):
        cluster = strategy.connect(run_config)
    heartbeat.write("start")
    return threads, cluster


def _timetable(config: Config, run_config: RunConfig, dataset: Dataset) -> Timetable:
    try:
        return build_timetable(config, run_config, len(dataset.learnt))
    except ValueError as error:
        raise InvalidInput(str(error)) from error
