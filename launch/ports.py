"""TCP ports: free ones here, and the wait until a job's workers reach each other."""

import contextlib
import socket
import time
from collections.abc import Callable

from launch.tf_config import Cluster

RETRY_SECS = 0.2
_READ_SECS = 2.0  # a peer says who it is at once; whoever does not is none
_GO = b"go\n"


class PeersError(Exception):
    """Some peers did not come in time; the text names them."""


def free(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def meet(
    cluster: Cluster,
    *,
    limit_secs: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Returns on every worker once each has reached the ports of all others.

    TensorFlow waits without end for a peer that never comes. Each worker listens on
    its own port, so a connection alone proves the way there; the chief lets all go
    when all have said that they reached the others.

    Raises:
      PeersError: not within `limit_secs`, or this worker's own port is taken.
    """
    deadline = clock() + limit_secs
    with _listen(cluster) as listener:
        missing = _Missing(cluster, limit_secs)
        for index in range(1, len(cluster.workers)):
            if index != cluster.index:
                _reach(cluster, index, deadline, clock, missing).close()
        if cluster.index == 0:
            _gather(cluster, listener, deadline, clock, missing)
        else:
            _ask(cluster, deadline, clock, missing)


class _Missing:
    """The error for peers that did not come."""

    def __init__(self, cluster: Cluster, limit_secs: float) -> None:
        self._workers = cluster.workers
        self._limit_secs = limit_secs

    def __call__(self, indices: list[int], what: str) -> PeersError:
        names = ", ".join(f"worker {i} at {self._workers[i]}" for i in indices)
        return PeersError(
            f"{names} {what} within {self._limit_secs:g} s; see that worker's log, "
            "the network between them, or raise --peers_secs"
        )


def _listen(cluster: Cluster) -> socket.socket:
    """The port that TensorFlow will open later, on all interfaces."""
    address = ("", int(cluster.workers[cluster.index].rpartition(":")[2]))
    queue = max(16, len(cluster.workers))
    try:
        if not socket.has_dualstack_ipv6():
            return socket.create_server(address, backlog=queue)
        return socket.create_server(
            address, family=socket.AF_INET6, backlog=queue, dualstack_ipv6=True
        )
    except OSError as error:
        raise PeersError(
            f"port {address[1]} cannot be opened here ({error.strerror}); "
            "end what holds it"
        ) from error


def _connect(address: str) -> socket.socket | None:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), _READ_SECS)
    except OSError:  # not up yet, or its name not yet known
        return None


def _reach(cluster, index, deadline, clock, missing) -> socket.socket:
    """A connection to worker `index`, tried again until the deadline."""
    while (connection := _connect(cluster.workers[index])) is None:
        if clock() >= deadline:
            raise missing([index], "could not be reached")
        time.sleep(RETRY_SECS)
    return connection


def _gather(cluster, listener, deadline, clock, missing) -> None:
    """The chief: hears from every worker, then lets them all go."""
    absent = set(range(1, len(cluster.workers)))
    with contextlib.ExitStack() as held:
        peers = {}
        while absent:
            if clock() >= deadline:
                raise missing(sorted(absent), "did not come")
            listener.settimeout(RETRY_SECS)
            with contextlib.suppress(TimeoutError):
                connection = held.enter_context(listener.accept()[0])
                index = _hear(connection)
                if index is not None:
                    peers[index] = connection  # a worker started again replaces itself
                    absent.discard(index)
        for index, connection in peers.items():
            try:
                connection.sendall(_GO)
            except OSError as error:
                raise missing([index], "left again") from error


def _hear(connection: socket.socket) -> int | None:
    """The index that a worker says; None from anybody else."""
    connection.settimeout(_READ_SECS)
    with contextlib.suppress(OSError, ValueError):
        word, _, index = connection.recv(64).decode().strip().partition(" ")
        return int(index) if word == "worker" else None
    return None


def _ask(cluster, deadline, clock, missing) -> None:
    """A worker: says that it is there until the chief of this attempt lets it go.

    Whatever else answers is the TensorFlow of an attempt that has not ended yet.
    """
    while True:
        with _reach(cluster, 0, deadline, clock, missing) as chief:
            chief.settimeout(max(RETRY_SECS, deadline - clock()))
            with contextlib.suppress(OSError):
                chief.sendall(f"worker {cluster.index}\n".encode())
                if chief.recv(len(_GO)) == _GO:
                    return
        if clock() >= deadline:
            raise missing([0], "did not answer")
        time.sleep(RETRY_SECS)
