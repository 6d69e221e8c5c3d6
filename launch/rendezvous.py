"""TCP ports: free ones here, and the wait until a job's workers reach each other."""

import contextlib
import random
import socket
import time
from collections.abc import Callable

from launch.command_line import UsageError
from trainer.contract import ClusterSpec

RETRY_SECS = 0.2
_CANDIDATES = range(20_000, 32_768)  # Linux' ephemeral ports start at 32,768
_READ_SECS = 2.0  # a peer says who it is at once; whoever does not is none
_GO = b"go\n"


class PeersError(Exception):
    """Peers that did not come in time; the text names them."""


def free_ports(count: int) -> list[int]:
    """Finds `count` different ports of 127.0.0.1 that nobody listens on.

    They are not ephemeral ones: TensorFlow opens its port seconds later, and until then
    the system could give an ephemeral one to any connection, even to that of a worker
    that looks for its peer.
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

    TensorFlow waits without end for a peer that never comes. Each worker listens on
    its own port, so a connection alone proves the way there; the chief lets all go
    when all have said that they reached the others.

    Raises:
      PeersError: not within `limit_secs`, or this worker's own port is taken.
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
    """One worker's way to the others, until the limit is over."""

    def __init__(
        self, cluster: ClusterSpec, limit_secs: float, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._limit_secs = limit_secs
        self._clock = clock
        self._deadline = clock() + limit_secs

    def connect(self, index: int) -> socket.socket:
        """Connects to worker `index`; tries again and again."""
        address = self._cluster.workers[index]
        while (connection := _connect(address)) is None:
            self._retry([index], "could not be reached")
        return connection

    def release_all(self, listener: socket.socket) -> None:
        """Hears, as the chief, from every worker, then lets them all go."""
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
                    peers[index] = connection  # one that came again replaces itself
                    absent.discard(index)
            for index, connection in peers.items():
                try:
                    connection.sendall(_GO)
                except OSError as error:
                    raise self._describe_missing([index], "left again") from error

    def await_release(self) -> None:
        """Says, as a worker, that it is there until this attempt's chief lets it go.

        Whatever else answers is the TensorFlow of an attempt that has not ended yet.
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
        """Rests for a moment; raises once the limit is over."""
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
            "end what holds it"
        ) from error


def _connect(address: str) -> socket.socket | None:
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), _READ_SECS)
    except OSError:  # not up yet, or its name not yet known
        return None


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except TimeoutError:
        return None


def _read_index(connection: socket.socket) -> int | None:
    """Reads the index that a worker says; None from anybody else."""
    connection.settimeout(_READ_SECS)
    with contextlib.suppress(OSError, ValueError):
        word, _, index = connection.recv(64).decode().strip().partition(" ")
        return int(index) if word == "worker" else None
    return None
