"""Workers start together or say who is missing."""

import contextlib
import socket
import threading
import time

import pytest

from launch import rendezvous
from trainer.contract import ClusterSpec


def gather(count, *, absent=(), limit_secs=10.0, late_secs=0.0):
    """What each worker got out of `meet`: None or its error."""
    addresses = tuple(f"127.0.0.1:{port}" for port in rendezvous.free_ports(count))
    outcome = {}

    def come(index):
        time.sleep(late_secs if index == count - 1 else 0)
        try:
            rendezvous.wait_for_peers(
                ClusterSpec(workers=addresses, index=index), limit_secs=limit_secs
            )
            outcome[index] = None
        except rendezvous.PeersError as error:
            outcome[index] = str(error)

    threads = [
        threading.Thread(target=come, args=[index])
        for index in range(count)
        if index not in absent
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome, addresses


def test_free_ports_differ_and_are_free():
    found = rendezvous.free_ports(20)
    assert len(set(found)) == 20
    assert max(found) < 32_768
    for port in found:
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_are_let_go_together(count):
    outcome, _ = gather(count, late_secs=0.5)
    assert outcome == dict.fromkeys(range(count))


def test_the_missing_worker_is_named():
    outcome, addresses = gather(3, absent=[2], limit_secs=1.0)
    assert set(outcome) == {0, 1}
    for text in outcome.values():
        assert f"worker 2 at {addresses[2]} could not be reached within 1 s" in text


def test_a_missing_chief_is_named():
    outcome, addresses = gather(2, absent=[0], limit_secs=1.0)
    assert f"worker 0 at {addresses[0]} could not be reached" in outcome[1]


def test_a_taken_port_is_named():
    (port,) = rendezvous.free_ports(1)
    cluster = ClusterSpec(workers=(f"127.0.0.1:{port}",), index=0)
    taken = pytest.raises(rendezvous.PeersError, match=f"port {port} cannot be opened")
    with socket.create_server(("", port)), taken:
        rendezvous.wait_for_peers(cluster, limit_secs=1)


def test_strangers_are_no_workers():
    """A port scanner or a health check does not count as somebody who came."""
    addresses = tuple(f"127.0.0.1:{port}" for port in rendezvous.free_ports(2))
    failures = []

    def chief():
        try:
            rendezvous.wait_for_peers(
                ClusterSpec(workers=addresses, index=0), limit_secs=10
            )
        except rendezvous.PeersError as error:
            failures.append(error)

    thread = threading.Thread(target=chief)
    thread.start()
    host, _, port = addresses[0].rpartition(":")
    time.sleep(0.2)
    # Worker 1's port has to be open before the chief takes any call.
    other = socket.create_server((host, int(addresses[1].rpartition(":")[2])))
    for word in (b"", b"GET / HTTP/1.1\r\n\r\n", b"worker x\n"):
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, port)) as one,
        ):
            one.sendall(word)
    other.close()
    rendezvous.wait_for_peers(ClusterSpec(workers=addresses, index=1), limit_secs=10)
    thread.join()
    assert not failures
