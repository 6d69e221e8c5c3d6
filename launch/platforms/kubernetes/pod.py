"""Pod, shared by all kinds of Kubernetes jobs."""

import dataclasses
import math
from typing import Any, Protocol, runtime_checkable

from absl import flags

from launch.command_line import UsageError
from launch.platforms import job_spec, study_job
from launch.platforms.job_spec import TrainingJob, escape_dollars
from launch.platforms.platform import Platform
from launch.trainer_command import TrainerCommand, for_scheduler
from trainer.contract import HEARTBEAT_VARIABLE

END_MARGIN_SECS = 30  # in addition to the grace period, for the exit of the process
HEARTBEAT = "/tmp/heartbeat.json"
PROBE_SECS = 60
MAX_THREADS = 1024  # limit of the trainer

_CLAIM_AND_PATH = (r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", r"/[^\s:,]*[^\s:,/]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pod:
    """A TrainingJob with options of Kubernetes; `volumes` are (claim, path)."""

    job: TrainingJob
    trainer: TrainerCommand
    resources: dict[str, str]
    volumes: list[tuple[str, str]]
    port: int
    hang_secs: float
    is_study: bool = False  # launch.sweep watches its trials itself

    def build_template(
        self, *, container: str, variables: list[dict[str, Any]], **spec: object
    ) -> dict[str, Any]:
        """Builds a PodTemplateSpec.

        Args:
          container: its name; some operators require a certain name.
          variables: EnvVars with the index of the worker.
          **spec: further fields of the pod.
        """
        volumes = [
            {"name": f"volume-{i}", "persistentVolumeClaim": {"claimName": claim}}
            for i, (claim, _) in enumerate(self.volumes)
        ]
        mounts = [
            {"name": f"volume-{i}", "mountPath": path}
            for i, (_, path) in enumerate(self.volumes)
        ]
        if self.job.gpus > 1:  # NCCL talks through shared memory; the default is 64 MiB
            volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
            mounts.append({"name": "shm", "mountPath": "/dev/shm"})
        return {
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": self.trainer.grace_secs
                + END_MARGIN_SECS,
                **spec,
                "containers": [self._build_container(container, variables, mounts)],
                "volumes": volumes,
            }
        }

    def _build_container(
        self, name: str, variables: list[dict[str, Any]], mounts: list[dict[str, Any]]
    ) -> dict[str, Any]:
        beat = {} if self.is_study else {HEARTBEAT_VARIABLE: HEARTBEAT}
        command = study_job.COMMAND if self.is_study else job_spec.COMMAND
        return {
            "name": name,
            "image": self.job.image,
            "command": list(command),
            "args": [escape_dollars(argument) for argument in self.trainer.arguments],
            "env": [
                {"name": key, "value": escape_dollars(value)}
                for key, value in (self.job.environment | beat).items()
            ]
            + variables,
            "resources": {"limits": self.resources, "requests": self.resources},
            "volumeMounts": mounts,
            **({} if self.is_study else self._build_watch()),
        }

    def _build_watch(self) -> dict[str, Any]:
        """Builds how the other workers and the kubelet reach a worker."""
        return {
            "ports": [{"name": "tensorflow", "containerPort": self.port}],
            "livenessProbe": self._build_probe(),
        }

    def _build_probe(self) -> dict[str, Any]:
        """Builds a probe that fails if the heartbeat has not changed for a minute.

        The kubelet measures the time, so changing a clock never looks like a hang.
        """
        seen = f"{HEARTBEAT}.seen"
        same = f"cmp -s {HEARTBEAT} {seen}"
        changed = f"test ! -e {HEARTBEAT} || {{ ! {same} && cp {HEARTBEAT} {seen}; }}"
        return {
            "exec": {"command": ["sh", "-c", escape_dollars(changed)]},
            "periodSeconds": PROBE_SECS,
            "timeoutSeconds": 10,
            "failureThreshold": math.ceil(self.hang_secs / PROBE_SECS),
        }


@runtime_checkable
class ManifestPlatform(Platform, Protocol):
    """A platform that takes Kubernetes manifests."""

    def build_manifests(self, pod: Pod) -> list[dict[str, Any]]:
        """Builds the documents to apply, in their order."""


def define(values: flags.FlagValues) -> None:
    """Declares the flags of Kubernetes."""
    flags.DEFINE_integer(
        "port",
        2222,
        "Where workers reach each other.",
        lower_bound=1024,
        upper_bound=65_535,
        flag_values=values,
        module_name="Job",
    )
    flags.DEFINE_float(
        "hang_secs",
        900.0,
        "Without progress for so many seconds, in whole minutes, a worker is ended.",
        lower_bound=60.0,
        flag_values=values,
        module_name="Job",
    )
    flags.DEFINE_multi_string(
        "volume",
        [],
        "CLAIM:/PATH, a PersistentVolumeClaim that all workers can write. The first "
        "one keeps the runs; may be repeated.",
        flag_values=values,
        module_name="Container",
    )
    for name, example in (("cpus", "4 or 500m"), ("memory", "16Gi")):
        flags.DEFINE_string(
            name,
            None,
            f"Of each worker, e.g. {example}.",
            flag_values=values,
            module_name="Resources",
        )


def define_study(values: flags.FlagValues) -> None:
    """Declares --study."""
    flags.DEFINE_bool(
        "study",
        False,
        "With --kind=job: the workers take the trials of a study, and what follows "
        "`--` are flags of launch.sweep.",
        flag_values=values,
        module_name="Job",
    )


def read_pod(values: flags.FlagValues, trainer_flags: list[str]) -> Pod:
    """Builds the pod from parsed flags.

    Raises:
      UsageError: a flag is missing or has a wrong form.
    """
    job = job_spec.read_job(values)
    volumes = [
        job_spec.split_fields(text, "volume", "CLAIM:/PATH", _CLAIM_AND_PATH)
        for text in values.volume
    ]
    if not volumes:
        raise UsageError(
            "--volume is missing; a run must outlive its pods: name a "
            "PersistentVolumeClaim, e.g. --volume=runs:/runs"
        )
    paths = [path for _, path in volumes]
    if len(set(paths)) != len(paths):
        raise UsageError("--volume: one path twice; choose another for one of them")
    amounts = {
        "cpu": job_spec.read_quantity(values, "cpus"),
        "memory": job_spec.read_quantity(values, "memory"),
        "nvidia.com/gpu": str(job.gpus) if job.gpus else None,
    }
    return Pod(
        job=job,
        trainer=study_job.read_study_command(trainer_flags)
        if values.study
        else for_scheduler(
            trainer_flags,
            default_run_dir=f"{paths[0]}/{job.name}",
            threads=None if amounts["cpu"] is None else _whole_cores(amounts["cpu"]),
        ),
        resources={key: value for key, value in amounts.items() if value is not None},
        volumes=[(claim, path) for claim, path in volumes],
        port=values.port,
        hang_secs=values.hang_secs,
        is_study=values.study,
    )


def _whole_cores(cpus: str) -> int:
    """Rounds a quantity in Kubernetes' form to whole cores: 2.5 to 2, 500m to 1.

    With more threads than cores of the quota, a process is paused in every period.
    """
    cores = int(cpus[:-1]) / 1000 if cpus.endswith("m") else float(cpus)
    return min(MAX_THREADS, max(1, math.floor(cores)))
