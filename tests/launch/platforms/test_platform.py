"""TF_CONFIG of every platform, from exactly the variables that it injects."""

import json
import tracemalloc

import pytest

from launch.platforms import platform_registry, slurm
from launch.platforms.kubernetes import tfjob
from trainer.contract import ClusterSpec

JOB = {"LAUNCH_JOB": "cnn", "LAUNCH_WORKERS": "3", "LAUNCH_PORT": "2222"}
INDEXED = {**JOB, "JOB_COMPLETION_INDEX": "1"}
JOBSET = {**INDEXED, "LAUNCH_JOB": "node", "LAUNCH_JOBSET": "cnn"}
TRAINJOB = {
    "JOB_COMPLETION_INDEX": "1",
    "PET_NNODES": "3",
    "PET_NPROC_PER_NODE": "auto",
    "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "cnn-node-0-0.cnn",
    "PET_MASTER_PORT": "29400",
}
SLURM = {
    "SLURM_JOB_ID": "1234",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NODELIST": "node[9-11]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
    "SLURM_DISTRIBUTION": "block",
}
TFJOB = {
    "TF_CONFIG": json.dumps(
        {
            "cluster": {"worker": ["a-worker-0.ns.svc:2222", "a-worker-1.ns.svc:2222"]},
            "task": {"type": "worker", "index": 1},
            "environment": "cloud",
        }
    )
}
POOLS = {
    "cluster": {
        "workerpool0": ["cmle-training-workerpool0-ab-0:2222"],
        "workerpool1": [f"cmle-training-workerpool1-ab-{i}:2222" for i in range(2)],
    },
    "environment": "cloud",
    "task": {"type": "workerpool1", "index": 1},
}
VERTEX = {"CLUSTER_SPEC": json.dumps(POOLS), "TF_CONFIG": "{}"}


@pytest.mark.parametrize(
    ("environment", "workers", "index"),
    [
        (INDEXED, ["cnn-0.cnn:2222", "cnn-1.cnn:2222", "cnn-2.cnn:2222"], 1),
        (JOBSET, [f"cnn-node-0-{i}.cnn:2222" for i in range(3)], 1),
        (TRAINJOB, [f"cnn-node-0-{i}.cnn:29400" for i in range(3)], 1),
        (SLURM, [f"node{i}:19744" for i in (9, 10, 11)], 2),
        (TFJOB, ["a-worker-0.ns.svc:2222", "a-worker-1.ns.svc:2222"], 1),
        (
            VERTEX,
            [POOLS["cluster"]["workerpool0"][0], *POOLS["cluster"]["workerpool1"]],
            2,
        ),
    ],
    ids=["job", "jobset", "trainjob", "slurm", "tfjob", "vertex"],
)
def test_each_platform(environment, workers, index):
    cluster = platform_registry.read_cluster(environment)
    assert cluster == ClusterSpec(workers=tuple(workers), index=index)
    assert json.loads(cluster.to_json()) == {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
    }


def test_every_task_of_a_job_sees_the_same_workers_and_another_index():
    clusters = [
        platform_registry.read_cluster({**SLURM, "SLURM_PROCID": str(task)})
        for task in range(3)
    ]
    assert len({cluster.workers for cluster in clusters}) == 1
    assert [cluster.index for cluster in clusters] == [0, 1, 2]


def test_several_slurm_tasks_a_node_get_ports_of_their_own():
    environment = {
        **SLURM,
        "SLURM_STEP_NODELIST": "b,a",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }
    assert slurm.PLATFORM.read_cluster(environment).workers == (
        "b:19744",
        "b:19745",
        "a:19744",
    )


def test_slurm_ports_stay_below_the_ephemeral_ones():
    for job in (0, 1023, 1024, 4_000_000_000):
        workers = slurm.PLATFORM.read_cluster(
            {**SLURM, "SLURM_JOB_ID": str(job)}
        ).workers
        assert 1024 < int(workers[0].rpartition(":")[2]) <= 32_767 - 15


def test_a_chief_is_worker_zero():
    given = {
        "cluster": {"worker": ["w:1"], "chief": ["c:1"]},
        "task": {"type": "worker", "index": 0},
    }
    cluster = tfjob.PLATFORM.read_cluster({"TF_CONFIG": json.dumps(given)})
    assert cluster == ClusterSpec(workers=("c:1", "w:1"), index=1)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("login", ["login"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10]", ["n08", "n09", "n10"]),
        ("a[1,3-4]-ib,b", ["a1-ib", "a3-ib", "a4-ib", "b"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
    ],
)
def test_host_lists(text, hosts):
    assert slurm.expand_hostlist(text) == hosts


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,", "n[1-3", "n1-3]", "n[3-1]", "n[]", "n[a]", "a b", "n[0-99999999]"]
    + ["n[1-60000],m[1-60000]", "n[[1]]", "n[1-60000,1-60000]", "a" * 254]
    + ["n[1-99999999999999999999]", "n[0-999999999999999999]", "n[１-２]"],
)
def test_bad_host_lists(text):
    with pytest.raises(ValueError):
        slurm.expand_hostlist(text)


def test_too_many_hosts_are_refused_before_they_are_made():
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 65536"):
        slurm.expand_hostlist("a[1-60000][1-60000]")
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


BAD = [
    ({}, "no scheduler"),
    ({**INDEXED, "JOB_COMPLETION_INDEX": "3"}, "index 3"),
    ({**INDEXED, "JOB_COMPLETION_INDEX": "-1"}, "whole number"),
    ({**INDEXED, "LAUNCH_WORKERS": ""}, "LAUNCH_WORKERS is not set"),
    ({**INDEXED, "LAUNCH_PORT": "70000"}, "65535"),
    ({**JOBSET, "LAUNCH_JOB": ""}, "LAUNCH_JOB is not set"),
    ({**TRAINJOB, "PET_MASTER_ADDR": "somewhere"}, "PET_MASTER_ADDR=somewhere"),
    ({**TRAINJOB, "PET_MASTER_PORT": ""}, "PET_MASTER_PORT is not set"),
    ({**TRAINJOB, "PET_NNODES": "x"}, "PET_NNODES='x'"),
    ({**SLURM, "SLURM_DISTRIBUTION": "cyclic"}, "--distribution=block"),
    ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, "one count a node"),
    ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "17(x3)"}, "at most 16"),
    ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "two"}, "2(x3),1"),
    ({**SLURM, "SLURM_STEP_NODELIST": "n[1-"}, "host list"),
    ({**SLURM, "SLURM_PROCID": "3"}, "index 3"),
    ({"TF_CONFIG": "{"}, "not JSON"),
    ({"TF_CONFIG": "[1]"}, "not a JSON object"),
    ({"TF_CONFIG": "{}"}, "no object 'cluster'"),
    (
        {
            "TF_CONFIG": TFJOB["TF_CONFIG"].replace(
                '"worker": [', '"ps": ["p:1"], "worker": ['
            )
        },
        "'ps' cannot take part",
    ),
    ({"TF_CONFIG": TFJOB["TF_CONFIG"].replace('"index": 1', '"index": 2')}, "worker 2"),
    ({"TF_CONFIG": TFJOB["TF_CONFIG"].replace("worker-0", "worker-1")}, "share"),
    ({"CLUSTER_SPEC": VERTEX["CLUSTER_SPEC"].replace("pool1", "pool2")}, "workerpool2"),
    ({"CLUSTER_SPEC": '{"cluster": {"workerpool0": 3}}'}, "no list of host:port"),
    *[
        (
            {"TF_CONFIG": f'{{"cluster": {{"worker": {hosts}}}, "task": {task}}}'},
            said,
        )
        for hosts, task, said in (
            ("[1, 2]", '{"type": "worker", "index": 0}', "no list of host:port"),
            ('[["a:1"]]', '{"type": "worker", "index": 0}', "no list of host:port"),
            ('["a:1"]', '{"type": [], "index": 0}', "no task type, got []"),
            ('["a:1"]', '{"type": null, "index": 0}', "no task type, got None"),
            ('["a:1"]', '{"type": "worker", "index": 1e999}', "no task index, got inf"),
        )
    ],
    ({"TF_CONFIG": "[" * 100_000}, "nested too deeply"),
    ({"TF_CONFIG": TFJOB["TF_CONFIG"].replace(":2222", ":２２２２")}, "not host:port"),
    ({**INDEXED, "LAUNCH_JOB": "{x}"}, "not host:port"),
    ({**INDEXED, "LAUNCH_JOB": "a" * 127}, "longer than 253"),
    ({**INDEXED, "LAUNCH_WORKERS": "9999999999"}, "more than 65536"),
    ({**TRAINJOB, "PET_NNODES": "9999999999"}, "more than 65536"),
    ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x60000),1(x60000)"}, "2(x3),1"),
]


@pytest.mark.parametrize(("environment", "text"), BAD)
def test_environments_that_cannot_be_right(environment, text):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        platform_registry.read_cluster(environment)
    assert text in str(caught.value)
