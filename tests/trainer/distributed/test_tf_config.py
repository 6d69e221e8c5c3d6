"""A name of a worker that has no address ends the command: TensorFlow would wait."""

import json
import time

import pytest

from tests.support.commands import TINY, run_command
from trainer.contract import EXIT_PEER_LOST, ClusterSpec
from trainer.distributed import tf_config
from trainer.errors import PeerLost

NOBODY = "nobody.invalid:2222"  # RFC 6761: never resolved


def test_names_that_are_known_take_no_time():
    cluster = ClusterSpec(workers=("localhost:1", "127.0.0.1:2", "[::1]:3"), index=0)
    start = time.monotonic()
    tf_config.wait_for_names(cluster)
    assert time.monotonic() - start < tf_config.RESOLVE_SECS


def test_a_name_without_an_address_is_named(monkeypatch):
    monkeypatch.setattr(tf_config, "RESOLVE_SECS", 0.2)
    cluster = ClusterSpec(workers=("localhost:1", NOBODY), index=0)
    with pytest.raises(PeerLost, match=f"worker 1 of TF_CONFIG, {NOBODY}, has no"):
        tf_config.wait_for_names(cluster)


@pytest.mark.slow  # its patience
def test_a_worker_whose_own_name_is_unknown_ends(data_dir, tmp_path, monkeypatch):
    task = {"type": "worker", "index": 0}
    cluster = {"cluster": {"worker": [NOBODY]}, "task": task}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    words = [*TINY, "--strategy=multi_worker", f"--data_dir={data_dir}"]
    done = run_command("trainer.main", *words, f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == EXIT_PEER_LOST
    assert NOBODY in done.stderr and "Traceback" not in done.stderr
