"""Prints the manifests of a job for Kubernetes."""

import enum
import sys
from collections.abc import Sequence
from typing import assert_never

from absl import flags

from launch import cli, yaml
from launch.platforms import job_spec, pod
from launch.platforms.pod import Pod

USAGE = """launch.kubernetes: prints the manifests of a job for Kubernetes.

    python -m launch.kubernetes --kind=jobset --name=NAME --image=IMAGE \\
        --volume=CLAIM:/runs [flags] -- TRAINER FLAGS | kubectl apply -f -

job: an Indexed Job with its headless service, on any cluster from version 1.29 on.
jobset: needs JobSet; the whole group is started again, which TensorFlow needs anyway.
trainjob: needs Kubeflow Trainer 2; a TensorFlow TrainingRuntime comes with it.
tfjob: needs Kubeflow's former Training Operator.
"""

ENDS_THE_JOB = [1, 2]  # exit codes that no restart mends

_STEP_LABEL = "trainer.kubeflow.org/trainjob-ancestor-step"
_JOBSET_LABEL = "jobset.sigs.k8s.io/jobset-name"


class Kind(enum.Enum):
    """What runs the job in the cluster."""

    JOB = "job"
    JOBSET = "jobset"
    TRAINJOB = "trainjob"
    TFJOB = "tfjob"


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    flags.DEFINE_enum(
        "kind",
        None,
        [kind.value for kind in Kind],
        f"What runs it: {', '.join(kind.value for kind in Kind)}.",
        flag_values=values,
        module_name="Job",
    )
    flags.DEFINE_string(
        "namespace",
        None,
        "Kubernetes namespace; kubectl's own without it.",
        flag_values=values,
        module_name="Job",
    )
    job_spec.define(values)
    job_spec.define_restarts(values)
    pod.define(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the manifests."""
    return cli.run(USAGE, define, _print, arguments)


def _print(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    if values.kind is None:
        raise cli.UsageError("--kind is missing: job, jobset, trainjob or tfjob")
    documents = manifests(Kind(values.kind), pod.read(values, trainer_flags))
    if values.namespace is not None:
        job_spec.fields(
            values.namespace, "namespace", "a-name", [r"[a-z0-9][-a-z0-9]{0,62}"]
        )
        for document in documents:
            document["metadata"]["namespace"] = values.namespace
    print(yaml.dump_all(documents), end="")
    return 0


def manifests(kind: Kind, worker: Pod) -> list[dict]:
    """The documents to apply, in their order."""
    match kind:
        case Kind.JOB:
            return [_service(worker), _job(worker)]
        case Kind.JOBSET:
            return [_jobset(worker)]
        case Kind.TRAINJOB:
            return [_training_runtime(worker), _trainjob(worker)]
        case Kind.TFJOB:
            return [_tfjob(worker)]
        case _:
            assert_never(kind)


def _service(worker: Pod) -> dict:
    """Gives the pods their names, before they are ready as well."""
    name = worker.job.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "tensorflow", "port": worker.port}],
        },
    }


def _job(worker: Pod) -> dict:
    """Every restart of the group costs each pod one failure: the limit is per index.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/
    """
    name = worker.job.name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            **_indexed(worker),
            "backoffLimitPerIndex": worker.job.max_restarts,
            "maxFailedIndexes": 0,
            "podFailurePolicy": {"rules": [_permanent(), _disruption()]},
            "template": worker.template(
                container="trainer",
                variables=_variables(worker, LAUNCH_JOB=name),
                subdomain=name,
            ),
        },
    }


def _jobset(worker: Pod) -> dict:
    variables = _variables(worker, LAUNCH_JOB="node")
    path = f"metadata.labels['{_JOBSET_LABEL}']"
    variables.append(
        {"name": "LAUNCH_JOBSET", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    )
    template = worker.template(container="trainer", variables=variables)
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": worker.job.name},
        "spec": _jobset_spec(worker, template, {}),
    }


def _jobset_spec(worker: Pod, template: dict, metadata: dict) -> dict:
    """Any failed pod restarts all, except after an exit code that ends the job.

    https://jobset.sigs.k8s.io/docs/concepts/
    """
    failed = {
        "name": "permanent",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    spec = {
        **_indexed(worker),
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [_permanent()]},
        "template": template,
    }
    return {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "failurePolicy": {"maxRestarts": worker.job.max_restarts, "rules": [failed]},
        "replicatedJobs": [
            {"name": "node", "replicas": 1, "template": {**metadata, "spec": spec}}
        ],
    }


def _training_runtime(worker: Pod) -> dict:
    """TensorFlow for Kubeflow Trainer 2; the policy `torch` numbers the nodes."""
    template = worker.template(container="node", variables=[])
    del template["spec"]["containers"][0]["ports"]  # the policy brings its own
    step = {"metadata": {"labels": {_STEP_LABEL: "trainer"}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {
            "name": worker.job.name,
            "labels": {"trainer.kubeflow.org/framework": "tensorflow"},
        },
        "spec": {
            "mlPolicy": {"numNodes": worker.job.workers, "torch": {}},
            "template": {"spec": _jobset_spec(worker, template, step)},
        },
    }


def _trainjob(worker: Pod) -> dict:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": worker.job.name},
        "spec": {
            "runtimeRef": {"kind": "TrainingRuntime", "name": worker.job.name},
            "trainer": {"numNodes": worker.job.workers, "numProcPerNode": 1},
        },
    }


def _tfjob(worker: Pod) -> dict:
    """ExitCode: below 128 is final, after any other code the pod is started again.

    https://www.kubeflow.org/docs/components/trainer/legacy-v1/user-guides/tensorflow/
    """
    if worker.job.workers < 2:
        raise cli.UsageError(
            f"--workers={worker.job.workers}: a TFJob sets TF_CONFIG for 2 or more "
            "only; use --kind=job"
        )
    template = worker.template(container="tensorflow", variables=[])
    del template["spec"]["restartPolicy"]  # the operator writes its own
    (container,) = template["spec"]["containers"]
    container["ports"][0]["name"] = "tfjob-port"
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": worker.job.name},
        "spec": {
            "runPolicy": {
                "cleanPodPolicy": "Running",
                "backoffLimit": worker.job.max_restarts * worker.job.workers,
            },
            "successPolicy": "AllWorkers",
            "tfReplicaSpecs": {
                "Worker": {
                    "replicas": worker.job.workers,
                    "restartPolicy": "ExitCode",
                    "template": template,
                }
            },
        },
    }


def _indexed(worker: Pod) -> dict:
    count = worker.job.workers
    return {"completionMode": "Indexed", "completions": count, "parallelism": count}


def _permanent() -> dict:
    codes = {"operator": "In", "values": ENDS_THE_JOB}
    return {"action": "FailJob", "onExitCodes": codes}


def _disruption() -> dict:
    """A pod that its node has to give up is no failure of the job."""
    condition = {"type": "DisruptionTarget", "status": "True"}
    return {"action": "Ignore", "onPodConditions": [condition]}


def _variables(worker: Pod, **own: str) -> list[dict]:
    """What launch.worker needs beside the index that Kubernetes gives it."""
    shared = {
        "LAUNCH_WORKERS": str(worker.job.workers),
        "LAUNCH_PORT": str(worker.port),
    }
    return [{"name": name, "value": value} for name, value in (shared | own).items()]


if __name__ == "__main__":
    sys.exit(main())
