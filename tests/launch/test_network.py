"""Manifests executed: every pod a host of its own, with the names Kubernetes gives.

A pod is a network namespace on a virtual switch, its names are in an /etc/hosts of its
own, and its container's command and environment are the manifest's.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.launch_jobs import install_trainer, output_of
from tests.support.manifests import HOSTS, KINDS, environment, pod_template

PODS = 3

TRAINER = """
import json, os, pathlib, socket, sys
config = json.loads(os.environ["TF_CONFIG"])
index, workers = config["task"]["index"], config["cluster"]["worker"]
host, port = workers[0].split(":")
if index == 0:
    with socket.create_server(("", int(port))) as server:
        server.settimeout(20)
        came = sorted(server.accept()[0].recv(1)[0] for _ in workers[1:])
        pathlib.Path("came").write_text(json.dumps([came, sys.argv[1:]]))
else:
    for _ in range(100):
        try:
            with socket.create_connection((host, int(port)), 1) as chief:
                chief.sendall(bytes([index]))
            break
        except OSError:
            import time; time.sleep(0.1)
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def switch():
    """Namespaces lt0, lt1, … with addresses 10.77.0.1, … on one virtual switch."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need iproute2 and root")
    names = [f"lt{index}" for index in range(PODS)]
    with contextlib.ExitStack() as made:
        try:
            for name in ("ltswitch", *names):
                ip("netns", "add", name)
                made.callback(ip, "netns", "del", name)
            ip("-n", "ltswitch", "link", "add", "br0", "type", "bridge")
            ip("-n", "ltswitch", "link", "set", "br0", "up")
            for index, name in enumerate(names):
                plug(index, name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not permitted: {error.stderr}")
        yield names


def plug(index, name):
    ends = [f"e{index}", "netns", name, "type", "veth", "peer", "name", f"s{index}"]
    ip("link", "add", *ends, "netns", "ltswitch")
    ip("-n", "ltswitch", "link", "set", f"s{index}", "master", "br0", "up")
    ip("-n", name, "addr", "add", f"10.77.0.{index + 1}/24", "dev", f"e{index}")
    for device in (f"e{index}", "lo"):
        ip("-n", name, "link", "set", device, "up")


def hosts_file(path, kind):
    """The names of all pods of a job of this kind."""
    names = [HOSTS[kind].format(index).partition(":")[0] for index in range(PODS)]
    lines = [f"10.77.0.{index + 1} {name}\n" for index, name in enumerate(names)]
    path.write_text("127.0.0.1 localhost\n" + "".join(lines))
    return path


def start(kind, index, folder):
    """The container of pod `index`: its command, its arguments, its environment."""
    (container,) = pod_template(kind)["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    assert command[0] == "python"
    inside = f'mount --bind {folder}/hosts /etc/hosts && exec {sys.executable} "$@"'
    namespaces = ["ip", "netns", "exec", f"lt{index}", "unshare", "-m", "sh", "-c"]
    return subprocess.Popen(
        [*namespaces, inside, "sh", *command[1:]],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        | environment(kind, index),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_pods_meet_over_a_network_and_become_the_trainer(switch, tmp_path, kind):
    hosts_file(tmp_path / "hosts", kind)
    install_trainer(tmp_path, TRAINER)
    pods = [start(kind, index, tmp_path) for index in range(PODS)]
    for pod in pods:
        output = pod.communicate(timeout=60)[0].decode()
        assert pod.returncode == 0, output
    came, arguments = json.loads((tmp_path / "came").read_text())
    assert came == [1, 2]
    assert "--run_dir=/runs/cnn" in arguments


@pytest.mark.slow
def test_pods_train_over_a_network(switch, tmp_path):
    """The same with TensorFlow: the result is that of a job on one machine."""
    hosts_file(tmp_path / "hosts", "job")
    flags = ["--dataset=digits", f"--data_dir={tmp_path}/data", "--train_steps=12"]
    flags += ["--global_batch=48", "--model_kwargs=width=0.25", "--warmup_epochs=0"]
    prepare = [sys.executable, "-m", "trainer.prepare", *flags[:2]]
    subprocess.run(prepare, cwd=ROOT, check=True)
    results = []
    for run_dir, starts in (
        (tmp_path / "pods", lambda run_dir: pods(tmp_path, [*flags, run_dir])),
        (tmp_path / "local", lambda run_dir: local([*flags, run_dir])),
    ):
        for process in starts(f"--run_dir={run_dir}"):
            output = output_of(process)
            assert process.returncode == 0, output
        results.append(json.loads((run_dir / "result.json").read_text()))
    assert results[0]["rows_sha256"] == results[1]["rows_sha256"]


def pods(folder, flags):
    started = []
    for index in range(PODS):
        inside = f'mount --bind {folder}/hosts /etc/hosts && exec "$@"'
        command = ["ip", "netns", "exec", f"lt{index}", "unshare", "-m", "sh", "-c"]
        command += [inside, "sh", sys.executable, "-m", "launch.worker", "--"]
        started.append(
            subprocess.Popen(
                [*command, "--strategy=multi_worker", *flags],
                cwd=ROOT,
                env=dict(os.environ) | environment("job", index),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
    return started


def local(flags):
    command = [sys.executable, "-m", "launch.local", f"--workers={PODS}", "--", *flags]
    return [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    ]
