"""A trainer of a few lines that keeps the trainer's contract, for the launcher's tests.

Workers meet over TCP at every step, the first one keeps a checkpoint in the run
directory, signals stop all of them after a checkpoint (128 + n), a lost peer is 175.

    --steps=N --step_secs=S   how long
    --lines=N                 printed at each step
    --fault=WORKER:STEP:WHAT  once: an exit code, `hang`, `mute` or `orphan`
"""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

LOST_PEER = 175
PEER_SECS = 1.0


def main() -> int:
    options = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
    config = json.loads(os.environ["TF_CONFIG"])
    index, workers = config["task"]["index"], config["cluster"]["worker"]
    run_dir = pathlib.Path(options["run_dir"])
    run_dir.mkdir(parents=True, exist_ok=True)
    replace(run_dir / "config.json", options)
    print(f"cores {sorted(os.sched_getaffinity(0))}", options["strategy"])
    if options.get("fault", "").startswith(f"{index}:0:mute"):
        fail(options, run_dir, index, 0)
    beat(0, "start")
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda got, _: received.append(got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        peers = meet(index, workers)
        return train(options, run_dir, index, peers, received)
    except OSError as error:
        print(f"lost a peer: {error}", file=sys.stderr)
        return LOST_PEER


def train(options, run_dir, index, peers, received) -> int:
    state = load(run_dir)
    while state["step"] < int(options["steps"]):
        fail(options, run_dir, index, state["step"])
        time.sleep(float(options.get("step_secs", "0.02")))
        stop = exchange(index, peers, received[0] if received else 0)
        step = state["step"] + 1
        word = hashlib.sha256(f"{state['hash']}{step}".encode()).hexdigest()
        state = {"step": step, "hash": word}
        beat(step, "train")
        for line in range(int(options.get("lines", "0"))):
            print(f"step {step}, line {line}" + "." * 200, flush=True)
        if index == 0 and (stop or step % 5 == 0):
            with contextlib.suppress(*[] if stop else [OSError]):
                replace(run_dir / "checkpoint.json", state)  # or at the next one
        if stop:
            return 128 + stop
    if index == 0:
        replace(run_dir / "result.json", state)
    beat(state["step"], "done")
    return 0


def fail(options, run_dir, index, step) -> None:
    """Does what --fault says, in the first attempt that gets there."""
    worker, at, what = options.get("fault", "-1:0:").split(":")
    done = run_dir / "fault.done"
    if index != int(worker) or step != int(at) or done.exists():
        return
    done.touch()
    if what == "orphan":
        subprocess.Popen(["sleep", "1000"])
        os.kill(os.getpid(), signal.SIGKILL)
    if what in ("hang", "mute"):
        time.sleep(1000)
    print(f"about to exit {what}", file=sys.stderr)
    sys.exit(int(what))


def meet(index: int, workers: list[str]) -> list[socket.socket]:
    """The chief's connections to all others; everybody else's one to the chief."""
    port = int(workers[0].rpartition(":")[2])
    if index == 0:
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(10)
            return [timed(server.accept()[0]) for _ in workers[1:]]
    for _ in range(200):
        try:
            return [timed(socket.create_connection(("127.0.0.1", port), 1))]
        except OSError:
            time.sleep(0.05)
    raise OSError("the chief did not come")


def timed(connection: socket.socket) -> socket.socket:
    connection.settimeout(PEER_SECS)
    return connection


def exchange(index: int, peers: list[socket.socket], stop: int) -> int:
    """Everybody's signal, 0 for none: the collective of a step."""
    if index == 0:
        stop = max([stop, *(receive(peer) for peer in peers)])
    for peer in peers:
        peer.sendall(bytes([stop]))
    return stop if index == 0 else receive(peers[0])


def receive(peer: socket.socket) -> int:
    data = peer.recv(1)
    if not data:
        raise OSError("connection closed")
    return data[0]


def load(run_dir: pathlib.Path) -> dict:
    path = run_dir / "checkpoint.json"
    return json.loads(path.read_text()) if path.exists() else {"step": 0, "hash": ""}


def beat(step: int, phase: str) -> None:
    path = pathlib.Path(os.environ["TRAINER_HEARTBEAT_FILE"])
    replace(path, {"step": step, "phase": phase, "time": time.time()})


def replace(path: pathlib.Path, content: dict) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content))
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
