"""TF_CONFIG, worked out from what each platform puts into a worker's environment.

>>> job = {"LAUNCH_JOB": "a", "LAUNCH_WORKERS": "2", "LAUNCH_PORT": "2222"}
>>> indexed_job({**job, "JOB_COMPLETION_INDEX": "1"}).workers
('a-0.a:2222', 'a-1.a:2222')

TensorFlow's own resolvers cannot be used: SLURM's needs nvidia-smi and sorts node10
before node2, Kubernetes' cannot know the task's index. One pure function a platform; a
variable that starts with LAUNCH_ was written into the manifest by our renderers.
"""

import enum
import re
from collections.abc import Callable

from launch.platforms import slurm as platforms_slurm
from launch.platforms.environment import Environment, integer, text
from trainer.contract import MAX_HOST_CHARS, TF_CONFIG, Cluster, read_cluster

SLURM_FIRST_PORT = 16_384  # below Linux' ephemeral ports, which start at 32,768
SLURM_PORTS_PER_JOB = 16
SLURM_PORT_BLOCKS = 1_024
MAX_WORKERS = platforms_slurm.MAX_HOSTS


class Platform(enum.Enum):
    """Who placed this process."""

    VERTEX = "vertex"
    TFJOB = "tfjob"
    TRAINJOB = "trainjob"
    JOBSET = "jobset"
    INDEXED_JOB = "indexed_job"
    SLURM = "slurm"


# In this order: Vertex sets TF_CONFIG too, and TrainJob and JobSet are Indexed Jobs.
DETECTION_VARS = {
    Platform.VERTEX: "CLUSTER_SPEC",
    Platform.TFJOB: TF_CONFIG,
    Platform.TRAINJOB: "PET_NODE_RANK",
    Platform.JOBSET: "LAUNCH_JOBSET",
    Platform.INDEXED_JOB: "JOB_COMPLETION_INDEX",
    Platform.SLURM: "SLURM_PROCID",
}


def detect(environment: Environment) -> Platform:
    """The platform whose mark is in `environment`.

    Raises:
      ValueError: none of them is.
    """
    for platform, mark in DETECTION_VARS.items():
        if environment.get(mark):
            return platform
    raise ValueError(
        f"no scheduler found: none of {', '.join(DETECTION_VARS.values())} is set; "
        "on one machine use launch.local"
    )


def cluster(environment: Environment) -> Cluster:
    """This worker's cluster, on whichever platform it runs.

    Raises:
      ValueError: no platform, or one whose variables do not fit together.
    """
    platform = detect(environment)
    try:
        return _READERS[platform](environment)
    except ValueError as error:
        raise ValueError(f"{platform.value}: {error}") from error


def slurm(environment: Environment) -> Cluster:
    """One worker for each task of an `srun` step; https://slurm.schedmd.com/srun.html.

    The port follows from the job's id, so that two jobs on one node do not meet.
    """
    hosts = platforms_slurm.expand(
        environment.get("SLURM_STEP_NODELIST") or text(environment, "SLURM_NODELIST")
    )
    spread = environment.get("SLURM_DISTRIBUTION", "block").partition(":")[0]
    if spread.partition(",")[0] != "block":
        raise ValueError(
            f"SLURM_DISTRIBUTION={spread} numbers tasks across nodes; "
            "start srun with --distribution=block"
        )
    tasks = _tasks_per_node(
        environment.get("SLURM_STEP_TASKS_PER_NODE")
        or environment.get("SLURM_TASKS_PER_NODE")
        or f"1(x{len(hosts)})"
    )
    if len(tasks) != len(hosts) or max(tasks) > SLURM_PORTS_PER_JOB:
        raise ValueError(
            f"{len(hosts)} nodes with {len(tasks)} task counts up to {max(tasks)}: "
            f"one count a node, each at most {SLURM_PORTS_PER_JOB}"
        )
    block = integer(environment, "SLURM_JOB_ID") % SLURM_PORT_BLOCKS
    port = SLURM_FIRST_PORT + block * SLURM_PORTS_PER_JOB
    return Cluster(
        workers=tuple(
            f"{host}:{port + local}"
            for host, count in zip(hosts, tasks, strict=True)
            for local in range(count)
        ),
        index=integer(environment, "SLURM_PROCID"),
    )


def indexed_job(environment: Environment) -> Cluster:
    """A Kubernetes Job with `completionMode: Indexed` and a headless service.

    Pod i answers to `<job>-<i>.<service>`:
    https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/
    """
    job = text(environment, "LAUNCH_JOB")
    return _numbered(environment, f"{job}-", f".{job}")


def jobset(environment: Environment) -> Cluster:
    """A JobSet with one replicated job.

    Pod i answers to `<set>-<job>-0-<i>.<set>`: https://jobset.sigs.k8s.io/docs/concepts/
    """
    name = text(environment, "LAUNCH_JOBSET")
    job = text(environment, "LAUNCH_JOB")
    return _numbered(environment, f"{name}-{job}-0-", f".{name}")


def trainjob(environment: Environment) -> Cluster:
    """A Kubeflow TrainJob whose runtime has the policy `torch`.

    That policy tells a pod how many nodes there are and who is first, whatever numNodes
    the TrainJob asks for; processes a node do not matter, one drives all its GPUs.
    https://www.kubeflow.org/docs/components/trainer/operator-guides/ml-policy/
    """
    first = text(environment, "PET_MASTER_ADDR")
    match = re.fullmatch(r"(.+-0-)0(\.[^.]+.*)", first)
    if match is None:
        raise ValueError(f"PET_MASTER_ADDR={first} is not <job>-node-0-0.<job>")
    port = integer(environment, "PET_MASTER_PORT")
    count = integer(environment, "PET_NNODES", highest=MAX_WORKERS)
    return Cluster(
        workers=_addresses(match[1], match[2], count=count, port=port),
        index=integer(environment, "PET_NODE_RANK"),
    )


def tfjob(environment: Environment) -> Cluster:
    """The TF_CONFIG that Kubeflow's TFJob writes, its chief made worker 0.

    https://www.kubeflow.org/docs/components/trainer/legacy-v1/user-guides/tensorflow/
    """
    kinds = ["chief", "master", "worker"]
    return read_cluster(text(environment, TF_CONFIG), TF_CONFIG, kinds)


def vertex(environment: Environment) -> Cluster:
    """Vertex AI's CLUSTER_SPEC: the primary replica, then the second pool.

    https://cloud.google.com/vertex-ai/docs/training/distributed-training
    """
    kinds = ["workerpool0", "workerpool1"]
    return read_cluster(text(environment, "CLUSTER_SPEC"), "CLUSTER_SPEC", kinds)


_READERS: dict[Platform, Callable[[Environment], Cluster]] = {
    Platform.VERTEX: vertex,
    Platform.TFJOB: tfjob,
    Platform.TRAINJOB: trainjob,
    Platform.JOBSET: jobset,
    Platform.INDEXED_JOB: indexed_job,
    Platform.SLURM: slurm,
}


def _addresses(before: str, after: str, *, count: int, port: int) -> tuple[str, ...]:
    if len(before) + len(after) > MAX_HOST_CHARS:  # before it is multiplied
        raise ValueError(f"a host name is longer than {MAX_HOST_CHARS}")
    return tuple(f"{before}{index}{after}:{port}" for index in range(count))


def _numbered(environment: Environment, before: str, after: str) -> Cluster:
    """Workers whose host names differ in their index only."""
    port = integer(environment, "LAUNCH_PORT")
    count = integer(environment, "LAUNCH_WORKERS", highest=MAX_WORKERS)
    return Cluster(
        workers=_addresses(before, after, count=count, port=port),
        index=integer(environment, "JOB_COMPLETION_INDEX"),
    )


def _tasks_per_node(spec: str) -> list[int]:
    """`2(x3),1` as [2, 2, 2, 1]."""
    counts: list[int] = []
    for part in spec.split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:\(x([0-9]{1,10})\))?", part)
        if (
            match is None
            or len(counts) + int(match[2] or 1) > platforms_slurm.MAX_HOSTS
        ):
            raise ValueError(f"tasks per node {spec!r} is not of the form 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
