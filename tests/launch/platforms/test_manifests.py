"""Manifests have the platforms' form: their own schemas, where they are installed.

The packages that carry the schemas are in requirements-dev.txt.
"""

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api import models

from launch import kubernetes
from launch.platforms import vertex
from tests.support.manifests import (
    CLUSTER,
    KINDS,
    TRAINER,
    custom_job,
    documents,
    pod_template,
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pod_keeps_the_contract(kind):
    spec = pod_template(kind)["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] > 45
    assert spec.get("restartPolicy", "Never") == "Never"
    assert container["command"] == ["python", "-m", "launch.worker", "--"]
    assert container["args"] == [
        *TRAINER,
        "--run_dir=/runs/cnn",
        "--strategy=multi_worker",
        "--threads=4",
    ]
    assert {"name": "A", "value": "$$(B) c"} in container["env"]
    assert container["resources"]["limits"] == {
        "cpu": "4",
        "memory": "16Gi",
        "nvidia.com/gpu": "2",
    }
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"/runs", "/data", "/dev/shm"}


@pytest.mark.parametrize(
    ("cpus", "threads"), [("4", 4), ("2.5", 2), ("500m", 1), ("2500m", 2), (".5", 1)]
)
def test_a_pod_s_cores_are_its_threads(cpus, threads):
    for kind in KINDS:
        text = kubernetes.dump_yaml(documents(kind, f"--cpus={cpus}"))
        assert f'"--threads={threads}"' in text
        text = kubernetes.dump_yaml(documents(kind, trainer=[*TRAINER, "--threads=3"]))
        assert text.count("--threads") == 1


@pytest.mark.parametrize(
    ("machine", "threads"),
    [
        ("n1-standard-8", 8),
        ("n2-highmem-2", 2),
        ("c3-standard-8-lssd", 8),
        ("n2-custom-4-8192", 4),
        ("custom-6-4096", 6),
        ("m1-ultramem-40", 40),
        ("a2-highgpu-1g", None),
        ("e2-small", None),
    ],
)
def test_a_machine_type_s_cores_are_its_threads(machine, threads):
    assert vertex.count_vcpus(machine) == threads
    pool = custom_job(f"--machine={machine}")["jobSpec"]["workerPoolSpecs"][0]
    words = pool["containerSpec"]["args"]
    found = [w for w in words if "threads" in w]
    assert found == ([] if threads is None else [f"--threads={threads}"])


def test_the_exit_codes_that_end_a_job():
    """1 and 2 end it everywhere; everything else starts the group again."""
    job = documents("job")[1]["spec"]
    jobset = documents("jobset")[0]["spec"]
    inner = jobset["replicatedJobs"][0]["template"]["spec"]
    for spec in (job, inner):
        rule = spec["podFailurePolicy"]["rules"][0]
        assert rule["action"] == "FailJob"
        assert rule["onExitCodes"] == {"operator": "In", "values": [1, 2]}
    assert job["backoffLimitPerIndex"] == jobset["failurePolicy"]["maxRestarts"] == 4
    assert inner["backoffLimit"] == 0
    assert jobset["failurePolicy"]["rules"] == [
        {
            "name": "permanent",
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],
        }
    ]
    worker = documents("tfjob")[0]["spec"]["tfReplicaSpecs"]["Worker"]
    assert worker["restartPolicy"] == "ExitCode"


@pytest.mark.parametrize("kind", ["job"])
def test_built_in_kinds_have_kubernetes_own_form(kind):
    for document in documents(kind):
        for version in ("1.29", "1.33"):
            kubernetes_validate.validate(document, version, strict=True)


def test_workers_of_a_study_are_pods_that_take_its_trials():
    """They need no names, and launch.sweep watches its trials itself."""
    (job,) = documents(
        "job", "--study", trainer=["--study_dir=/runs/lr", "--workers=2"]
    )
    kubernetes_validate.validate(job, "1.33", strict=True)
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 3
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "launch.sweep"]
    assert container["args"] == ["--study_dir=/runs/lr", "--workers=2"]
    assert not {"livenessProbe", "ports"} & container.keys()


@pytest.mark.parametrize("kind", ["jobset", "trainjob", "tfjob"])
def test_pods_of_custom_kinds_have_kubernetes_own_form(kind):
    document = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "x"},
        "template": pod_template(kind),
    }
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_jobset_and_trainer_have_their_own_form():
    """Read and written again by the models that are generated from the CRDs."""
    forms = {
        "JobSet": models.JobsetV1alpha2JobSet,
        "TrainingRuntime": models.TrainerV1alpha1TrainingRuntime,
        "TrainJob": models.TrainerV1alpha1TrainJob,
    }
    for document in documents("jobset") + documents("trainjob"):
        again = forms[document["kind"]].from_dict(document).to_dict()
        assert kept(document, again) == document


def kept(document, again):
    """`again` without the defaults that a model adds; what it did not know is gone."""
    if isinstance(document, dict):
        return {k: kept(v, again[k]) for k, v in document.items() if k in again}
    if isinstance(document, list):
        return [kept(*pair) for pair in zip(document, again, strict=True)]
    return again


TFJOB_FIELDS = {  # https://www.kubeflow.org/docs/components/trainer/legacy-v1/reference/
    "spec": {"runPolicy", "successPolicy", "tfReplicaSpecs", "enableDynamicWorker"},
    "runPolicy": {
        "activeDeadlineSeconds",
        "backoffLimit",
        "cleanPodPolicy",
        "managedBy",
        "schedulingPolicy",
        "suspend",
        "ttlSecondsAfterFinished",
    },
    "Worker": {"replicas", "restartPolicy", "template"},
}


def test_a_tfjob_has_its_own_form():
    spec = documents("tfjob")[0]["spec"]
    assert set(spec) <= TFJOB_FIELDS["spec"]
    assert set(spec["runPolicy"]) <= TFJOB_FIELDS["runPolicy"]
    assert spec["runPolicy"]["cleanPodPolicy"] in {"All", "Running", "None"}
    assert spec["successPolicy"] in {"", "AllWorkers"}
    assert set(spec["tfReplicaSpecs"]["Worker"]) <= TFJOB_FIELDS["Worker"]
    (container,) = pod_template("tfjob")["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]


POOL_FIELDS = {"machineSpec", "replicaCount", "containerSpec", "nfsMounts", "diskSpec"}


def test_a_custom_job_has_vertex_own_form():
    """https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec"""
    body = custom_job()
    assert set(body) == {"displayName", "jobSpec"}
    first, second = body["jobSpec"]["workerPoolSpecs"]
    assert (first["replicaCount"], second["replicaCount"]) == (1, 2)
    for pool in (first, second):
        assert set(pool) <= POOL_FIELDS
        assert set(pool["containerSpec"]) == {"imageUri", "command", "args", "env"}
        assert pool["machineSpec"]["acceleratorCount"] == 1
        assert "--run_dir=/mnt/nfs/runs/cnn" in pool["containerSpec"]["args"]
    assert body["jobSpec"]["scheduling"]["restartJobOnWorkerRestart"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_text_is_the_manifest(kind, capsys):
    arguments = [f"--kind={kind}", *CLUSTER, "--namespace=ml", "--", *TRAINER]
    assert kubernetes.main(arguments) == 0
    expected = documents(kind)
    for document in expected:
        document["metadata"]["namespace"] = "ml"
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == expected


def test_yaml_keeps_every_text():
    texts = [
        "",
        "a",
        "yes",
        "No",
        "~",
        "null",
        "1",
        "1e3",
        "0x1",
        "a: b",
        "a:b",
        "#",
        "- a",
    ]
    texts += ["a #b", "'", '"', "\\", "\n", "\t a", " a ", "é", "\x7f", "\u2028", "😀"]
    texts += [
        "2026-01-01",
        "1:30",
        "=",
        "<<",
        "on",
        "!x",
        "&x",
        "*x",
        "%",
        "@",
        "`",
        "{",
        "[",
    ]
    value = {
        "texts": texts,
        "empty": [{}, [], {"a": []}],
        "deep": [[1, [True]], {"b": 2}],
    }
    assert yaml.safe_load(kubernetes.dump_yaml([value])) == value
    assert yaml.safe_load(
        kubernetes.dump_yaml([dict.fromkeys(texts, 1)])
    ) == dict.fromkeys(texts, 1)
