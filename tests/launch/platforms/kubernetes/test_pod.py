"""Workers inside the manifests' pods find each other.

An emulator builds, from the manifest alone, the environment that the platform would
give to each worker, and starts launch.worker in it.
"""

import json
import os
import subprocess
import sys

import pytest

from launch.platforms import platform_registry
from launch.platforms.kubernetes import pod
from tests.support.manifests import (
    HOSTS,
    KINDS,
    custom_job,
    documents,
    environment,
    expand,
    pod_template,
)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_find_each_other(kind):
    """The addresses are those under which the platform makes the pods known."""
    for index in range(3):
        given = environment(kind, index)
        assert platform_registry.detect_platform(given).name == kind
        cluster = platform_registry.read_cluster(given)
        assert cluster.index == index
        assert cluster.workers == tuple(HOSTS[kind].format(i) for i in range(3))
    if kind == "job":
        service = documents("job")[0]
        assert service["metadata"]["name"] == pod_template("job")["spec"]["subdomain"]
        assert service["spec"]["clusterIP"] == "None"


def test_vertex_workers_find_each_other():
    pools = custom_job()["jobSpec"]["workerPoolSpecs"]
    cluster = {
        f"workerpool{p}": [f"host-{p}-{i}:2222" for i in range(pool["replicaCount"])]
        for p, pool in enumerate(pools)
    }
    seen = []
    for pool, hosts in cluster.items():
        for index in range(len(hosts)):
            spec = {"cluster": cluster, "task": {"type": pool, "index": index}}
            seen.append(
                platform_registry.read_cluster({"CLUSTER_SPEC": json.dumps(spec)})
            )
    assert [one.index for one in seen] == [0, 1, 2]
    assert {one.workers for one in seen} == {
        ("host-0-0:2222", "host-1-0:2222", "host-1-1:2222")
    }


def test_a_worker_in_its_pod_prints_its_cluster():
    command = [sys.executable, "-m", "launch.worker", "--print_config"]
    done = subprocess.run(
        command, env=environment("jobset", 2), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == {"type": "worker", "index": 2}


def test_the_probe_sees_changes_and_no_clock(tmp_path):
    """It fails while the content is what it was, however old its time is said to be."""
    (container,) = pod_template("job")["spec"]["containers"]
    probe, beat = container["livenessProbe"], tmp_path / "heartbeat.json"
    words = [expand(word, {}) for word in probe["exec"]["command"]]
    words = [word.replace(pod.HEARTBEAT, str(beat)) for word in words]

    def passes():
        return subprocess.run(words).returncode == 0

    assert passes()  # nothing was written yet
    for content in ("1", "2"):
        beat.write_text(content)
        os.utime(beat, (0, 0))  # 1970
        assert passes()
        assert not passes()
        beat.touch()
        assert not passes()
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 900
