"""Manifests of a job for every scheduler, and what a platform makes of them."""

import json

from absl import flags

from launch import kubernetes
from launch.platforms import vertex

IMAGE = "--image=registry.example/trainer:1"
COMMON = ["--name=cnn", "--workers=3", IMAGE, "--env=A=$(B) c", "--max_restarts=4"]
RESOURCES = ["--cpus=4", "--memory=16Gi", "--gpus=2"]
CLUSTER = [*COMMON, *RESOURCES, "--volume=runs:/runs", "--volume=data:/data"]
TRAINER = ["--epochs=3", "--grace_secs=45", "--data_dir=/data"]
VERTEX = [
    "--nfs=10.0.0.2:/share:runs",
    "--network=projects/12/global/networks/default",
    "--name=cnn",
    "--workers=3",
    IMAGE,
    "--gpus=1",
]
KINDS = ["job", "jobset", "trainjob", "tfjob"]
HOSTS = {
    "job": "cnn-{}.cnn:2222",
    "jobset": "cnn-node-0-{}.cnn:2222",
    "trainjob": "cnn-node-0-{}.cnn:29400",
    "tfjob": "cnn-worker-{}.default.svc:2222",
}


def documents(kind, *more, trainer=TRAINER):
    values = flags.FlagValues()
    kubernetes.define(values)
    values(["", f"--kind={kind}", *CLUSTER, *more])
    return kubernetes.build_manifests(values, list(trainer))


def pod_template(kind):
    """The PodTemplateSpec inside the last or only workload of `kind`."""
    found = documents(kind)
    match kind:
        case "job":
            return found[1]["spec"]["template"]
        case "jobset":
            spec = found[0]["spec"]
        case "trainjob":
            spec = found[0]["spec"]["template"]["spec"]
        case "tfjob":
            return found[0]["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    return spec["replicatedJobs"][0]["template"]["spec"]["template"]


def custom_job(*more):
    values = flags.FlagValues()
    vertex.define(values)
    values(["", *VERTEX, *more])
    return vertex.build_custom_job(values, list(TRAINER))


def injected(kind, index):
    """What the platform adds for worker `index`, and the name it has for the job."""
    found = documents(kind)
    if kind == "job":
        return {"JOB_COMPLETION_INDEX": str(index)}, found[1]["metadata"]["name"]
    if kind == "jobset":
        return {"JOB_COMPLETION_INDEX": str(index)}, found[0]["metadata"]["name"]
    name = found[-1]["metadata"]["name"]
    if kind == "trainjob":
        return {
            "JOB_COMPLETION_INDEX": str(index),
            "PET_NNODES": str(found[1]["spec"]["trainer"]["numNodes"]),
            "PET_NPROC_PER_NODE": "1",
            "PET_NODE_RANK": str(index),
            "PET_MASTER_ADDR": f"{name}-node-0-0.{name}",
            "PET_MASTER_PORT": "29400",
        }, name
    count = found[0]["spec"]["tfReplicaSpecs"]["Worker"]["replicas"]
    workers = [f"{name}-worker-{i}.default.svc:2222" for i in range(count)]
    task = {"type": "worker", "index": index}
    config = {"cluster": {"worker": workers}, "task": task, "environment": "cloud"}
    return {"TF_CONFIG": json.dumps(config)}, name


def environment(kind, index):
    """The whole environment: the manifest's, its label references, the platform's."""
    added, name = injected(kind, index)
    (container,) = pod_template(kind)["spec"]["containers"]
    written = arrived(container, {})[1]
    for variable in container["env"]:
        if "valueFrom" in variable:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            assert path == "metadata.labels['jobset.sigs.k8s.io/jobset-name']"
            written[variable["name"]] = name
    return written | added


def expand(text: str, variables: dict[str, str]) -> str:
    """Kubernetes' `Expand`, third_party/forked/golang/expansion/expand.go."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            out.append("$")
            at += 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            out.append(variables.get(name, f"$({name})"))
            at = end + 1
        else:
            out.append(text[at : at + 2])
            at += 2
    return "".join(out)


def arrived(container: dict, platform: dict[str, str]) -> tuple[list, dict]:
    """Arguments and environment that a container's process gets.

    Variables are expanded in their order, each with those before it.
    """
    variables = dict(platform)
    for variable in container["env"]:
        if "value" in variable:
            value = expand(variable["value"], variables)
            variables[variable["name"]] = value
    return [expand(word, variables) for word in container["args"]], variables
