"""Indexed Jobs of plain Kubernetes, with a headless service."""

from typing import Any

from launch.platforms.kubernetes.pod import Pod
from launch.platforms.platform import (
    MAX_HOSTS,
    Environment,
    number_addresses,
    read_integer,
    read_text,
)
from trainer.contract import EXIT_FAILED, EXIT_WRONG_USAGE, ClusterSpec

PERMANENT_EXIT_CODES = [EXIT_FAILED, EXIT_WRONG_USAGE]


class IndexedJob:
    """A Job with `completionMode: Indexed`; pod i answers to `<job>-<i>.<service>`.

    https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/
    """

    name = "job"
    title = "a Kubernetes Indexed Job"
    detection_variable = "JOB_COMPLETION_INDEX"
    own_variables = ("LAUNCH_*", "JOB_COMPLETION_*")

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads the variables of the manifest and the index that Kubernetes gives."""
        job = read_text(environment, "LAUNCH_JOB")
        return read_numbered_cluster(environment, f"{job}-", f".{job}")

    def build_manifests(self, pod: Pod) -> list[dict[str, Any]]:
        """Builds the job, and the service that gives its pods their names.

        Workers of a study need no names.
        """
        return [*([] if pod.is_study else [_build_service(pod)]), _build_job(pod)]


PLATFORM = IndexedJob()


def read_numbered_cluster(
    environment: Environment, before: str, after: str
) -> ClusterSpec:
    """Reads a cluster whose host names differ only in their index.

    Raises:
      ValueError: a variable is missing or has a wrong form.
    """
    port = read_integer(environment, "LAUNCH_PORT")
    count = read_integer(environment, "LAUNCH_WORKERS", highest=MAX_HOSTS)
    return ClusterSpec(
        workers=number_addresses(before, after, count=count, port=port),
        index=read_integer(environment, "JOB_COMPLETION_INDEX"),
    )


def indexed_completions(pod: Pod) -> dict[str, Any]:
    """Builds fields of a JobSpec: one pod for each worker, with its index."""
    count = pod.job.workers
    return {"completionMode": "Indexed", "completions": count, "parallelism": count}


def permanent_failure_rule() -> dict[str, Any]:
    """Builds the rule of a podFailurePolicy that says which exit codes end a job."""
    codes = {"operator": "In", "values": PERMANENT_EXIT_CODES}
    return {"action": "FailJob", "onExitCodes": codes}


def launch_variables(pod: Pod, job: str) -> list[dict[str, Any]]:
    """Builds the EnvVars that a worker needs in addition to its index."""
    named = {
        "LAUNCH_WORKERS": str(pod.job.workers),
        "LAUNCH_PORT": str(pod.port),
        "LAUNCH_JOB": job,
    }
    return [{"name": name, "value": value} for name, value in named.items()]


def _build_service(pod: Pod) -> dict[str, Any]:
    """Builds a service that also resolves pods that are not ready yet."""
    name = pod.job.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "tensorflow", "port": pod.port}],
        },
    }


def _build_job(pod: Pod) -> dict[str, Any]:
    """Builds the job; a restart of the group counts as one failure of each index.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/
    """
    name = pod.job.name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            **indexed_completions(pod),
            "backoffLimitPerIndex": pod.job.max_restarts,
            "maxFailedIndexes": 0,
            "podFailurePolicy": {
                "rules": [permanent_failure_rule(), _disruption_rule()]
            },
            "template": pod.build_template(
                container="trainer",
                variables=[] if pod.is_study else launch_variables(pod, name),
                **({} if pod.is_study else {"subdomain": name}),
            ),
        },
    }


def _disruption_rule() -> dict[str, Any]:
    """Builds the rule that a disruption of a pod is no failure of the job."""
    condition = {"type": "DisruptionTarget", "status": "True"}
    return {"action": "Ignore", "onPodConditions": [condition]}
