"""Finds free TCP ports, and waits until the workers of a job reach each other."""

import contextlib
import random
import socket
import time
from collections.abc import Callable

from launch.command_line import UsageError
from trainer.contract import ClusterSpec

RETRY_SECS = 0.2
_CANDIDATES = range(20_000, 32_768)  # Linux' ephemeral ports start at 32,768
_READ_SECS = 2.0  # a peer sends its index at once; other clients do not
_GO = b"go\n"


class PeersError(Exception):
    """Peers that could not be reached in time; the message names them."""


def free_ports(count: int) -> list[int]:
    """Finds `count` different ports of 127.0.0.1 that nobody listens on.

    They are not ephemeral ports: TensorFlow opens its port seconds later, and until
        then
    the system could give an ephemeral port to any connection, even to that of a worker
    that connects to its peer.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(_CANDIDATES, len(_CANDIDATES)):
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise UsageError(f"--workers={count}: no free ports in {_CANDIDATES}; lower it")


def wait_for_peers(
    cluster: ClusterSpec,
    *,
    limit_secs: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Waits until each worker has reached the ports of all others.

    TensorFlow waits for a missing peer for ever. Each worker listens on its own port,
    so a connection proves that it can be reached; the chief releases all workers when
    all have reported that they reached the others.

    Raises:
      PeersError: `limit_secs` have passed, or this worker's own port is in use.
    """
    with _listen(cluster) as listener:
        rendezvous = _Rendezvous(cluster, limit_secs, clock)
        for index in range(1, len(cluster.workers)):
            if index != cluster.index:
                rendezvous.connect(index).close()
        if cluster.index == 0:
            rendezvous.release_all(listener)
        else:
            rendezvous.await_release()


class _Rendezvous:
    """Connections of one worker to the others, with a time limit."""

    def __init__(
        self, cluster: ClusterSpec, limit_secs: float, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._limit_secs = limit_secs
        self._clock = clock
        self._deadline = clock() + limit_secs

    def connect(self, index: int) -> socket.socket:
        """Connects to worker `index`, with retries."""
        address = self._cluster.workers[index]
        while (connection := _connect(address)) is None:
            self._retry([index], "could not be reached")
        return connection

    def release_all(self, listener: socket.socket) -> None:
        """Waits, as the chief, for every worker, then releases all of them."""
        absent = set(range(1, len(self._cluster.workers)))
        listener.settimeout(RETRY_SECS)
        with contextlib.ExitStack() as held:
            peers = {}
            while absent:
                connection = _accept(listener)
                index = (
                    _read_index(held.enter_context(connection)) if connection else None
                )
                if index is None:
                    self._retry(sorted(absent), "did not come")
                else:
                    peers[index] = (
                        connection  # a restarted worker replaces its connection
                    )
                    absent.discard(index)
            for index, connection in peers.items():
                try:
                    connection.sendall(_GO)
                except OSError as error:
                    raise self._describe_missing([index], "left again") from error

    def await_release(self) -> None:
        """Reports, as a worker, to the chief until it is released.

        Any other answer is from TensorFlow of an attempt that has not ended yet.
        """
        while not self._ask_chief():
            self._retry([0], "did not answer")

    def _ask_chief(self) -> bool:
        with self.connect(0) as chief, contextlib.suppress(OSError):
            chief.settimeout(max(RETRY_SECS, self._deadline - self._clock()))
            chief.sendall(f"worker {self._cluster.index}\n".encode())
            return chief.recv(len(_GO)) == _GO
        return False

    def _retry(self, indices: list[int], what: str) -> None:
        """Waits for a moment; raises once the limit is exceeded."""
        if self._clock() >= self._deadline:
            raise self._describe_missing(indices, what)
        time.sleep(RETRY_SECS)

    def _describe_missing(self, indices: list[int], what: str) -> PeersError:
        names = ", ".join(f"worker {i} at {self._cluster.workers[i]}" for i in indices)
        return PeersError(
            f"{names} {what} within {self._limit_secs:g} s; see that worker's log, "
            "the network between them, or raise --peers_secs"
        )


def _listen(cluster: ClusterSpec) -> socket.socket:
    """Opens the port that TensorFlow will open later, on all interfaces."""
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
            "end the process that uses it"
        ) from error


def _connect(address: str) -> socket.socket | None:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), _READ_SECS)
    except OSError:  # the peer or its host name does not exist yet
        return None


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except TimeoutError:
        return None


def _read_index(connection: socket.socket) -> int | None:
    """Reads the index that a worker sends; None from other clients."""
    connection.settimeout(_READ_SECS)
    with contextlib.suppress(OSError, ValueError):
        word, _, index = connection.recv(64).decode().strip().partition(" ")
        return int(index) if word == "worker" else None
    return None
