"""TFJobs of Kubeflow's former Training Operator."""

from typing import Any

from launch.command_line import UsageError
from launch.platforms.kubernetes.pod import Pod
from launch.platforms.platform import Environment, read_text
from trainer.contract import TF_CONFIG, ClusterSpec, read_cluster

_TASK_TYPES = ["chief", "master", "worker"]


class TFJob:
    """A TFJob, which writes TF_CONFIG itself; its chief becomes worker 0.

    https://www.kubeflow.org/docs/components/trainer/legacy-v1/user-guides/tensorflow/
    """

    name = "tfjob"
    title = "a TFJob"
    detection_variable = TF_CONFIG
    own_variables = (TF_CONFIG,)

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads TF_CONFIG."""
        text = read_text(environment, self.detection_variable)
        return read_cluster(text, self.detection_variable, _TASK_TYPES)

    def build_manifests(self, pod: Pod) -> list[dict[str, Any]]:
        """Builds the TFJob.

        Its policy ExitCode: a code below 128 is final, after any other one the pod is
        started again.

        Raises:
          UsageError: there is one worker, for which the operator sets no TF_CONFIG.
        """
        workers = pod.job.workers
        if workers < 2:
            raise UsageError(
                f"--workers={workers}: a TFJob sets TF_CONFIG for 2 or more only; "
                "use --kind=job"
            )
        template = pod.build_template(container="tensorflow", variables=[])
        del template["spec"]["restartPolicy"]  # the operator writes its own
        (container,) = template["spec"]["containers"]
        container["ports"][0]["name"] = "tfjob-port"
        replicas = {
            "replicas": workers,
            "restartPolicy": "ExitCode",
            "template": template,
        }
        run_policy = {
            "cleanPodPolicy": "Running",
            "backoffLimit": pod.job.max_restarts * workers,
        }
        return [
            {
                "apiVersion": "kubeflow.org/v1",
                "kind": "TFJob",
                "metadata": {"name": pod.job.name},
                "spec": {
                    "runPolicy": run_policy,
                    "successPolicy": "AllWorkers",
                    "tfReplicaSpecs": {"Worker": replicas},
                },
            }
        ]


PLATFORM = TFJob()
