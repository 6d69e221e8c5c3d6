"""TF_CONFIG has one reader: launch and trainer refuse the same texts, in one line."""

import json
import os
import random

import pytest

from launch import worker
from launch.platforms.kubernetes import tfjob
from tests.support.commands import TINY, run_command
from trainer.contract import ClusterSpec
from trainer.distributed import tf_config
from trainer.errors import InvalidInput

WORKERS = {"worker": ["127.0.0.1:2222", "127.0.0.1:2223"]}
TASK = {"type": "worker", "index": 0}


def config(**cluster):
    return {"cluster": WORKERS | cluster, "task": TASK}


MALFORMED = {
    "a chief beside the workers": config(chief=["127.0.0.1:2224"]),
    "ps": config(ps=["127.0.0.1:2224"]),
    "an evaluator": config(evaluator=["127.0.0.1:2224"]),
    "a text for a list": config(worker="127.0.0.1:2222"),
    "no port": config(worker=["127.0.0.1", "127.0.0.1:2223"]),
    "port 0": config(worker=["127.0.0.1:0"]),
    "a port that is none": config(worker=["127.0.0.1:grpc"]),
    "a number": config(worker=[2222]),
    "one address twice": config(worker=["127.0.0.1:2222"] * 2),
    "a URL": config(worker=["http://127.0.0.1:2222"]),
    "an IPv6 address without brackets": config(worker=["::1:2222"]),
    "no worker": config(worker=[]),
    "an index without a worker": {"cluster": WORKERS, "task": TASK | {"index": 2}},
    "an index below zero": {"cluster": WORKERS, "task": TASK | {"index": -1}},
    "true for an index": {"cluster": WORKERS, "task": TASK | {"index": True}},
    "a fraction for an index": {"cluster": WORKERS, "task": TASK | {"index": 0.5}},
    "another type": {"cluster": WORKERS, "task": TASK | {"type": "evaluator"}},
    "no type": {"cluster": WORKERS, "task": {"index": 0}},
    "no task": {"cluster": WORKERS},
    "a list for a cluster": {"cluster": [WORKERS], "task": TASK},
    "nothing": {},
}
TEXTS = {name: json.dumps(value) for name, value in MALFORMED.items()} | {
    "a list": "[]",
    "no JSON": "{",
    "empty": "",
    "too deep": "[" * 100_000,
    "a number of many digits": "1" * 10_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_trainer_names_what_is_wrong_in_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InvalidInput, match=r"^TF_CONFIG does not [^\n]+$"):
        tf_config.read_task()


@pytest.mark.parametrize("name", ["a chief beside the workers", "a text for a list"])
def test_it_is_found_before_anything_waits_or_is_written(tmp_path, name):
    words = [*TINY, "--strategy=multi_worker", f"--run_dir={tmp_path / 'run'}"]
    environment = {**os.environ, "TF_CONFIG": TEXTS[name]}
    done = run_command("trainer.main", *words, env=environment)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_the_launcher_takes_the_trainer_takes(monkeypatch, capsys):
    """And where launch makes a chief worker 0, the trainer gets it as worker 0."""
    chief = {"cluster": {"chief": ["c:1"]} | WORKERS, "task": TASK}
    environment = {"TF_CONFIG": json.dumps(chief)}
    assert worker.main(["--print_config"], environment) == 0
    monkeypatch.setenv("TF_CONFIG", capsys.readouterr().out)
    assert tf_config.read_task() == ClusterSpec(
        workers=("c:1", *WORKERS["worker"]), index=1
    )


def test_bracketed_addresses_and_indices_as_texts():
    for host in ("[::1]", "[fe80::1%eth0]", "node-1.svc", "10.0.0.1"):
        given = {"cluster": {"worker": [f"{host}:1"]}, "task": TASK | {"index": "0"}}
        found = tfjob.PLATFORM.read_cluster({"TF_CONFIG": json.dumps(given)})
        assert found == ClusterSpec(workers=(f"{host}:1",), index=0)


def mutated(value, dice):
    """`value` with something in it replaced, dropped or added."""
    if dice.random() < 0.2:
        others = (None, 0, -1, 1e999, True, "", "a\nb", "\ud800", [], {}, [[]], "ps")
        return dice.choice(others)
    if isinstance(value, dict):
        items = [(k, mutated(v, dice)) for k, v in value.items() if dice.random() < 0.9]
        if dice.random() < 0.1:
            items.append((dice.choice(["ps", "chief", "x\ny", ""]), ["a:1"]))
        return dict(items)
    if isinstance(value, list):
        return [mutated(item, dice) for item in value if dice.random() < 0.9]
    if isinstance(value, str) and dice.random() < 0.5:
        at = dice.randrange(len(value) + 1)
        return value[:at] + dice.choice(":[]\n\0１ /é") + value[at:]
    return value


def test_any_text_is_a_cluster_or_one_line(monkeypatch):
    """Launch and trainer agree on each, and what is taken can be read again."""
    taken, dice = 0, random.Random(0)
    for _ in range(5_000):
        text = json.dumps(mutated(config(), dice))
        if dice.random() < 0.1:
            text = text[: dice.randrange(len(text))]
        environment = {"TF_CONFIG": text}
        try:
            found = tfjob.PLATFORM.read_cluster(environment)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1, text
            monkeypatch.setenv("TF_CONFIG", text.replace("\0", ""))
            with pytest.raises(InvalidInput, match=r"^[^\n]+$"):
                tf_config.read_task()
        else:
            taken += 1
            assert tfjob.PLATFORM.read_cluster({"TF_CONFIG": found.to_json()}) == found
    assert 50 < taken < 4_000
