"""Vertex AI: custom jobs and their worker pools."""

import re
from typing import Any

from absl import flags

from launch.command_line import UsageError
from launch.platforms import job_spec
from launch.platforms.job_spec import TrainingJob, escape_dollars
from launch.platforms.platform import Environment, read_text
from launch.trainer_command import TrainerCommand, for_scheduler
from trainer.contract import TF_CONFIG, ClusterSpec, read_cluster

_POOLS = ["workerpool0", "workerpool1"]
# https://cloud.google.com/compute/docs/machine-resource: -8-lssd has local disks, and a
# custom type is vCPUs and MiB. Of a2-highgpu-1g and e2-small the name does not tell.
_SIZED = r"(?:standard|high[a-z]+|[a-z]+mem)-([0-9]+)(?:-[a-z]+)?"
_VCPUS = rf"(?:[a-z0-9]+-)?(?:{_SIZED}|custom-([0-9]+)-.*)"
_NFS = (r"[A-Za-z0-9.-]+", r"/[^\s:]*", r"[A-Za-z0-9_-]+")
_NETWORK = r"projects/[0-9]+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?"


class VertexAI:
    """Vertex AI's CLUSTER_SPEC: the primary replica, then the second pool.

    https://cloud.google.com/vertex-ai/docs/training/distributed-trainer
    """

    name = "vertex"
    title = "Vertex AI"
    detection_variable = "CLUSTER_SPEC"
    own_variables = ("CLUSTER_SPEC", TF_CONFIG)

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads CLUSTER_SPEC."""
        text = read_text(environment, self.detection_variable)
        return read_cluster(text, self.detection_variable, _POOLS)


PLATFORM = VertexAI()


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    job_spec.define(values)
    container = {"flag_values": values, "module_name": "Container"}
    flags.DEFINE_string(
        "nfs", None, "SERVER:/EXPORT:NAME, mounted at /mnt/nfs/NAME.", **container
    )
    flags.DEFINE_string(
        "network",
        None,
        "projects/NUMBER/global/networks/NAME, where the NFS server is.",
        **container,
    )
    resources = {"flag_values": values, "module_name": "Resources"}
    flags.DEFINE_string("machine", "n1-standard-8", "Machine type.", **resources)
    flags.DEFINE_string(
        "accelerator", "NVIDIA_TESLA_T4", "Type of the --gpus.", **resources
    )
    flags.DEFINE_integer(
        "max_hours", 168, "The job ends after it.", lower_bound=1, **resources
    )
    flags.DEFINE_bool("spot", False, "Cheaper machines that may be taken.", **resources)


def build_custom_job(
    values: flags.FlagValues, trainer_flags: list[str]
) -> dict[str, Any]:
    """Builds a CustomJob.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJob

    Raises:
      UsageError: a flag is missing or has a wrong form.
    """
    job = job_spec.read_job(values)
    if values.nfs is None or values.network is None:
        raise UsageError(
            "--nfs or --network is missing; a run must outlive its machines: "
            "--nfs=SERVER:/EXPORT:NAME --network=projects/NUMBER/global/networks/NAME"
        )
    _require_names(values)
    form = "SERVER:/EXPORT:NAME"
    server, export, name = job_spec.split_fields(values.nfs, "nfs", form, _NFS)
    trainer = for_scheduler(
        trainer_flags,
        default_run_dir=f"/mnt/nfs/{name}/{job.name}",
        threads=count_vcpus(values.machine),
    )
    mount = {"server": server, "path": export, "mountPoint": name}
    pool = {**_build_pool(values, job, trainer), "nfsMounts": [mount]}
    pools = [{**pool, "replicaCount": 1}]  # the first pool is the chief alone
    if job.workers > 1:
        pools.append({**pool, "replicaCount": job.workers - 1})
    return {
        "displayName": job.name,
        "jobSpec": {
            "workerPoolSpecs": pools,
            "network": values.network,
            "scheduling": _build_scheduling(values),
        },
    }


def _require_names(values: flags.FlagValues) -> None:
    """Raises UsageError if network, machine or accelerator has a wrong form."""
    forms = {
        "network": ("projects/NUMBER/global/networks/NAME", _NETWORK),
        "machine": ("n1-standard-8", r"[a-z0-9-]+"),
        "accelerator": ("NVIDIA_TESLA_T4", r"[A-Z0-9_]+"),
    }
    for name, (example, pattern) in forms.items():
        job_spec.split_fields(values[name].value, name, example, [pattern])


def count_vcpus(machine: str) -> int | None:
    """Reads the number of vCPUs from the name of a machine type: n1-standard-8."""
    match = re.fullmatch(_VCPUS, machine)
    return int(match[1] or match[2]) if match else None


def _build_scheduling(values: flags.FlagValues) -> dict[str, Any]:
    return {
        "timeout": f"{values.max_hours * 3600}s",
        "restartJobOnWorkerRestart": True,
        "strategy": "SPOT" if values.spot else "STANDARD",
    }


def _build_pool(
    values: flags.FlagValues, job: TrainingJob, trainer: TrainerCommand
) -> dict[str, Any]:
    machine: dict[str, Any] = {"machineType": values.machine}
    if job.gpus:
        machine["acceleratorType"] = values.accelerator
        machine["acceleratorCount"] = job.gpus
    return {
        "machineSpec": machine,
        "containerSpec": {
            "imageUri": job.image,
            "command": list(job_spec.COMMAND),
            "args": [escape_dollars(argument) for argument in trainer.arguments],
            "env": [
                {"name": name, "value": escape_dollars(value)}
                for name, value in job.environment.items()
            ],
        },
    }
