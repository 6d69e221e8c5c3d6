"""A stand-in for trainer.main in studies: its run directory, its pauses, its stops.

Accuracy is a function of learning rate, width, seed and epoch. Every step is a line of
`steps.log` in the run directory, so that a test sees whether one was trained twice by
two processes at the same time.

    --epochs=N           four steps per epoch, a validation after each
    FAKE_STEP_SECS=S     how long a step takes
    FAKE_FAIL_ABOVE=X    exits 1 where the learning rate is higher
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import signal
import sys
import time

STEPS = 4


def main() -> int:
    options = read_options(sys.argv[1:])
    rate = float(options.get("learning_rate", "0.01"))
    if rate > float(os.environ.get("FAKE_FAIL_ABOVE", "inf")):
        text = f"trainer.main: the loss of step 3 is nan at rate {rate:.3g}"
        print(text, file=sys.stderr)
        return 1
    if "dry_run" in options:
        return 0
    run_dir = pathlib.Path(options["run_dir"])
    if (run_dir / "result.json").exists():
        (run_dir / "started_again").touch()
        return 0
    run_dir.mkdir(parents=True, exist_ok=True)
    if not own(run_dir):
        print(f"trainer.main: {run_dir} is in use by another process")
        return 2
    replace(run_dir / "config.json", options)
    received = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda got, _: received.append(got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        return train(options, run_dir, received)
    finally:
        replace(run_dir / "owner.json", owner(held=False))


def read_options(words) -> dict:
    options = {}
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        if name == "model_kwargs":
            name, _, value = value.partition("=")
        options[name] = value
    return options


def train(options, run_dir, received) -> int:
    epochs = int(options.get("epochs", "4"))
    total = epochs * STEPS
    pause = pause_step(options.get("pause_at"), total)
    state = load(run_dir)
    keep_lines(run_dir / "metrics.jsonl", state["step"])
    while state["step"] < total:
        if pause and state["step"] >= pause:
            return 0
        time.sleep(float(os.environ.get("FAKE_STEP_SECS", "0.01")))
        step = state["step"] + 1
        word = f"{state['hash']}{step}{options.get('learning_rate')}{options['seed']}"
        state = {"step": step, "hash": hashlib.sha256(word.encode()).hexdigest()}
        with open(run_dir / "steps.log", "a") as log:
            log.write(f"{os.getpid()} {step}\n")
        beat(step)
        if step % STEPS == 0:
            validate(options, run_dir, step)
        if received or step % 3 == 0 or step in (pause, total):
            replace(run_dir / "checkpoint.json", state)
        if received and step < total:
            return 128 + received[0]
    finish(options, run_dir, state)
    return 0


def pause_step(fraction, total) -> int | None:
    if fraction is None:
        return None
    step = max(1, math.ceil(float(fraction) * total / STEPS - 0.5)) * STEPS
    return step if step < total else None


def accuracy(options, step) -> float:
    rate = math.log10(float(options.get("learning_rate", "0.01")))
    width = float(options.get("width", "1"))
    luck = int(hashlib.sha256(f"{options['seed']}{rate}".encode()).hexdigest()[:4], 16)
    best = 0.95 - 0.1 * abs(rate + 2) - 0.02 * abs(width - 1) + luck / 65536 / 100
    return round(max(0.0, best - 0.5 * math.exp(-step / STEPS)), 6)


def validate(options, run_dir, step) -> None:
    line = {"version": 1, "step": step, "epoch": step / STEPS, "split": "validation"}
    line |= {"loss": 0.1, "accuracy": accuracy(options, step), "images": 500}
    with open(run_dir / "metrics.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


def finish(options, run_dir, state) -> None:
    result = {
        "finished": True,
        "steps": state["step"],
        "validation_accuracy": accuracy(options, state["step"]),
        "validation_images": 500,
        "train_seconds": 1.5,
        "weights_sha256": state["hash"],
        "tested": "notest" not in options,
    }
    if result["tested"]:
        result |= {"test_accuracy": 0.9, "test_accuracy_interval": [0.87, 0.93]}
    replace(run_dir / "result.json", result)


def keep_lines(path, step) -> None:
    with contextlib.suppress(OSError):
        lines = path.read_text().splitlines()
        kept = [x for x in lines if x.endswith("}") and json.loads(x)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))


def owner(held) -> dict:
    stat = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return {
        "boot_id": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": os.stat("/proc/self/ns/pid").st_ino,
        "pid": os.getpid(),
        "process_start": int(stat[19]),
        "held": held,
    }


def own(run_dir) -> bool:
    """Whether no living process has the directory; as the lease, without its races."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        found = json.loads((run_dir / "owner.json").read_text())
        stat = pathlib.Path(f"/proc/{found['pid']}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        alive = int(fields[19]) == found["process_start"] and fields[0] not in "ZX"
        if found["held"] and alive:
            return False
    replace(run_dir / "owner.json", owner(held=True))
    return True


def load(run_dir) -> dict:
    path = run_dir / "checkpoint.json"
    return json.loads(path.read_text()) if path.exists() else {"step": 0, "hash": ""}


def beat(step) -> None:
    path = pathlib.Path(os.environ["TRAINER_HEARTBEAT_FILE"])
    replace(path, {"step": step, "phase": "train", "time": time.time()})


def replace(path, content) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content))
    os.replace(beside, path)


if __name__ == "__main__":
    sys.exit(main())
