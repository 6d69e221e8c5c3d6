"""Prints the body of a Vertex AI CustomJob."""

import json
import re
import sys
from collections.abc import Sequence

from absl import flags

from launch import cli
from launch.platforms import job_spec
from launch.platforms.expansion import literal
from launch.platforms.job_spec import Job
from launch.trainer_command import TrainerCommand, for_scheduler

USAGE = """launch.vertex: prints the body of a Vertex AI CustomJob.

    python -m launch.vertex --name=NAME --image=IMAGE --nfs=SERVER:/EXPORT:NAME \\
        --network=NETWORK [flags] -- TRAINER FLAGS > job.json

Post it to projects/PROJECT/locations/REGION/customJobs. The run is kept on the NFS
share: a bucket mounted as a directory cannot replace files at once, as checkpoints do.
"""

# https://cloud.google.com/compute/docs/machine-resource: -8-lssd has local disks, and a
# custom type is vCPUs and MiB. Of a2-highgpu-1g and e2-small the name does not tell.
_SIZED = r"(?:standard|high[a-z]+|[a-z]+mem)-([0-9]+)(?:-[a-z]+)?"
_VCPUS = rf"(?:[a-z0-9]+-)?(?:{_SIZED}|custom-([0-9]+)-.*)"
_NFS = (r"[A-Za-z0-9.-]+", r"/[^\s:]*", r"[A-Za-z0-9_-]+")
_NETWORK = r"projects/[0-9]+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the body."""
    return cli.run(USAGE, define, _print, arguments)


def _print(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    print(json.dumps(custom_job(values, trainer_flags), indent=2))
    return 0


def custom_job(values: flags.FlagValues, trainer_flags: list[str]) -> dict:
    """A CustomJob: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJob.

    Raises:
      UsageError: a flag is missing or not of its form.
    """
    wanted = job_spec.read(values)
    if values.nfs is None or values.network is None:
        raise cli.UsageError(
            "--nfs or --network is missing; a run must outlive its machines: "
            "--nfs=SERVER:/EXPORT:NAME --network=projects/NUMBER/global/networks/NAME"
        )
    _check_names(values)
    server, export, name = job_spec.fields(
        values.nfs, "nfs", "SERVER:/EXPORT:NAME", _NFS
    )
    training = for_scheduler(
        trainer_flags,
        default_run_dir=f"/mnt/nfs/{name}/{wanted.name}",
        threads=threads(values.machine),
    )
    pool = _pool(values, wanted, training)
    pool["nfsMounts"] = [{"server": server, "path": export, "mountPoint": name}]
    pools = [{**pool, "replicaCount": 1}]  # the first pool is the chief alone
    if wanted.workers > 1:
        pools.append({**pool, "replicaCount": wanted.workers - 1})
    return {
        "displayName": wanted.name,
        "jobSpec": {
            "workerPoolSpecs": pools,
            "network": values.network,
            "scheduling": {
                "timeout": f"{values.max_hours * 3600}s",
                "restartJobOnWorkerRestart": True,
                "strategy": "SPOT" if values.spot else "STANDARD",
            },
        },
    }


def _check_names(values: flags.FlagValues) -> None:
    """Raises UsageError unless network, machine and accelerator are of their form."""
    forms = {
        "network": ("projects/NUMBER/global/networks/NAME", _NETWORK),
        "machine": ("n1-standard-8", r"[a-z0-9-]+"),
        "accelerator": ("NVIDIA_TESLA_T4", r"[A-Z0-9_]+"),
    }
    for name, (example, pattern) in forms.items():
        job_spec.fields(values[name].value, name, example, [pattern])


def threads(machine: str) -> int | None:
    """vCPUs of a machine type whose name tells them, such as n1-standard-8."""
    match = re.fullmatch(_VCPUS, machine)
    return int(match[1] or match[2]) if match else None


def _pool(values: flags.FlagValues, wanted: Job, training: TrainerCommand) -> dict:
    machine: dict[str, object] = {"machineType": values.machine}
    if wanted.gpus:
        machine["acceleratorType"] = values.accelerator
        machine["acceleratorCount"] = wanted.gpus
    return {
        "machineSpec": machine,
        "containerSpec": {
            "imageUri": wanted.image,
            "command": list(job_spec.COMMAND),
            "args": [literal(argument) for argument in training.arguments],
            "env": [
                {"name": name, "value": literal(value)}
                for name, value in wanted.environment.items()
            ],
        },
    }


if __name__ == "__main__":
    sys.exit(main())
