"""JobSets: a group of pods that is started again as a whole."""

from typing import Any

from launch.platforms.kubernetes.indexed_job import (
    indexed_completions,
    launch_variables,
    permanent_failure_rule,
    read_numbered_cluster,
)
from launch.platforms.kubernetes.pod import Pod
from launch.platforms.platform import Environment, read_text
from trainer.contract import ClusterSpec

REPLICATED_JOB = "node"
_NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"


class JobSet:
    """A JobSet with one replicated job; pod i answers to `<set>-<job>-0-<i>.<set>`.

    https://jobset.sigs.k8s.io/docs/concepts/
    """

    name = "jobset"
    title = "a JobSet"
    detection_variable = "LAUNCH_JOBSET"
    own_variables = ("LAUNCH_*", "JOB_COMPLETION_*")

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads the variables of the manifest and the index that Kubernetes gives."""
        name = read_text(environment, self.detection_variable)
        job = read_text(environment, "LAUNCH_JOB")
        return read_numbered_cluster(environment, f"{name}-{job}-0-", f".{name}")

    def build_manifests(self, pod: Pod) -> list[dict[str, Any]]:
        """Builds the JobSet."""
        label = {"fieldPath": f"metadata.labels['{_NAME_LABEL}']"}
        variables = [
            *launch_variables(pod, REPLICATED_JOB),
            {"name": self.detection_variable, "valueFrom": {"fieldRef": label}},
        ]
        template = pod.build_template(container="trainer", variables=variables)
        return [
            {
                "apiVersion": "jobset.x-k8s.io/v1alpha2",
                "kind": "JobSet",
                "metadata": {"name": pod.job.name},
                "spec": build_jobset_spec(pod, template, {}),
            }
        ]


PLATFORM = JobSet()


def build_jobset_spec(
    pod: Pod, template: dict[str, Any], metadata: dict[str, Any]
) -> dict[str, Any]:
    """Builds a JobSetSpec of one replicated job.

    Any failed pod restarts all, except after an exit code that ends the job.

    Args:
      pod: how many workers, and how often they may be started again.
      template: the PodTemplateSpec of a worker.
      metadata: of the replicated job.
    """
    failed = {
        "name": "permanent",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    spec = {
        **indexed_completions(pod),
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [permanent_failure_rule()]},
        "template": template,
    }
    job = {"replicas": 1, "template": {**metadata, "spec": spec}}
    return {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "failurePolicy": {"maxRestarts": pod.job.max_restarts, "rules": [failed]},
        "replicatedJobs": [{"name": REPLICATED_JOB, **job}],
    }
