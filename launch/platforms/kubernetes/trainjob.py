"""TrainJobs of Kubeflow Trainer 2, and a TensorFlow runtime for them."""

import re
from typing import Any

from launch.platforms.kubernetes.jobset import build_jobset_spec
from launch.platforms.kubernetes.pod import Pod
from launch.platforms.platform import (
    MAX_HOSTS,
    Environment,
    number_addresses,
    read_integer,
    read_text,
)
from trainer.contract import ClusterSpec

_API_VERSION = "trainer.kubeflow.org/v1alpha1"
_STEP_LABEL = "trainer.kubeflow.org/trainjob-ancestor-step"


class TrainJob:
    """A TrainJob whose runtime has the policy `torch`.

    That policy tells a pod how many nodes there are and who is first, whatever numNodes
    the TrainJob asks for; processes a node do not matter, one drives all its GPUs.
    https://www.kubeflow.org/docs/components/trainer/operator-guides/ml-policy/
    """

    name = "trainjob"
    title = "a TrainJob"
    detection_variable = "PET_NODE_RANK"
    own_variables = ("PET_*", "JOB_COMPLETION_*")

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads the variables that the policy `torch` sets."""
        first = read_text(environment, "PET_MASTER_ADDR")
        match = re.fullmatch(r"(.+-0-)0(\.[^.]+.*)", first)
        if match is None:
            raise ValueError(f"PET_MASTER_ADDR={first} is not <job>-node-0-0.<job>")
        port = read_integer(environment, "PET_MASTER_PORT")
        count = read_integer(environment, "PET_NNODES", highest=MAX_HOSTS)
        return ClusterSpec(
            workers=number_addresses(match[1], match[2], count=count, port=port),
            index=read_integer(environment, self.detection_variable),
        )

    def build_manifests(self, pod: Pod) -> list[dict[str, Any]]:
        """Builds the runtime and the TrainJob that refers to it."""
        return [_build_runtime(pod), _build_trainjob(pod)]


PLATFORM = TrainJob()


def _build_runtime(pod: Pod) -> dict[str, Any]:
    """Builds a TensorFlow runtime; the policy `torch` numbers the nodes."""
    template = pod.build_template(container="node", variables=[])
    del template["spec"]["containers"][0]["ports"]  # the policy brings its own
    step = {"metadata": {"labels": {_STEP_LABEL: "trainer"}}}
    return {
        "apiVersion": _API_VERSION,
        "kind": "TrainingRuntime",
        "metadata": {
            "name": pod.job.name,
            "labels": {"trainer.kubeflow.org/framework": "tensorflow"},
        },
        "spec": {
            "mlPolicy": {"numNodes": pod.job.workers, "torch": {}},
            "template": {"spec": build_jobset_spec(pod, template, step)},
        },
    }


def _build_trainjob(pod: Pod) -> dict[str, Any]:
    return {
        "apiVersion": _API_VERSION,
        "kind": "TrainJob",
        "metadata": {"name": pod.job.name},
        "spec": {
            "runtimeRef": {"kind": "TrainingRuntime", "name": pod.job.name},
            "trainer": {"numNodes": pod.job.workers, "numProcPerNode": 1},
        },
    }
