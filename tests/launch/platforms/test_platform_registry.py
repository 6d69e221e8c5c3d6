"""A platform is one new file and one line of the platform_registry."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from launch import worker
from launch.command_line import UsageError
from launch.platforms import platform_registry
from tests.support.commands import ROOT
from tests.support.sources import MOST_FILES

NOMAD = '''
from launch.platforms.platform import number_addresses, read_integer, read_text
from trainer.contract import ClusterSpec


class Nomad:
    """A task group whose allocations are numbered."""

    name = "nomad"
    title = "Nomad"
    detection_variable = "NOMAD_ALLOC_INDEX"
    own_variables = ("NOMAD_*",)

    def read_cluster(self, environment):
        group = read_text(environment, "NOMAD_GROUP_NAME")
        count = read_integer(environment, "NOMAD_GROUP_COUNT", highest=100)
        return ClusterSpec(
            workers=number_addresses(f"{group}-", ".service", count=count, port=2222),
            index=read_integer(environment, self.detection_variable),
        )


PLATFORM = Nomad()
'''


def print_config(folder, variables):
    """What launch.worker of the copy in `folder` works out in such an environment."""
    return subprocess.run(
        [sys.executable, "-m", "launch.worker", "--print_config"],
        cwd=folder,
        env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_platform_is_one_file_and_one_line(tmp_path):
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    (tmp_path / "trainer").mkdir()
    for name in ("__init__", "contract", "streams"):
        shutil.copy(ROOT / "trainer" / f"{name}.py", tmp_path / "trainer")
    variables = {"NOMAD_GROUP_NAME": "cnn", "NOMAD_GROUP_COUNT": "3"}
    variables["NOMAD_ALLOC_INDEX"] = "2"
    before = print_config(tmp_path, variables)
    assert before.returncode == 2
    assert "no scheduler found" in before.stderr

    platforms = tmp_path / "launch" / "platforms"
    (platforms / "nomad.py").write_text(NOMAD)
    assert len(list(platforms.glob("*.py"))) <= MOST_FILES, "make room for the next one"
    registered = (platforms / "platform_registry.py").read_text()
    lines = registered.replace('    "slurm",\n', '    "slurm",\n    "nomad",\n')
    assert len(lines.splitlines()) == len(registered.splitlines()) + 1
    (platforms / "platform_registry.py").write_text(lines)

    after = print_config(tmp_path, variables)
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout) == {
        "cluster": {"worker": [f"cnn-{i}.service:2222" for i in range(3)]},
        "task": {"type": "worker", "index": 2},
    }
    wrong = print_config(tmp_path, variables | {"NOMAD_GROUP_COUNT": "many"})
    assert wrong.returncode == 2
    assert "nomad: NOMAD_GROUP_COUNT='many'" in wrong.stderr


def test_every_platform_has_a_name_and_a_variable_of_its_own():
    for attribute in ("name", "detection_variable"):
        values = [getattr(one, attribute) for one in platform_registry.PLATFORMS]
        assert len(set(values)) == len(values)
    modules = {type(one).__module__ for one in platform_registry.PLATFORMS}
    assert len(modules) == len(platform_registry.PLATFORMS)


def test_every_platform_keeps_its_own_variables_and_stands_in_the_help():
    described = " ".join(worker.USAGE.split())
    for one in platform_registry.PLATFORMS:
        assert one.title in described
        name = one.detection_variable
        with pytest.raises(UsageError, match=f"{name} is set by the scheduler"):
            platform_registry.check_environment(["A=1", f"{name}=2"])
    platform_registry.check_environment(["A=1", "SLURM=2", "MY_SLURM_ID=3"])
