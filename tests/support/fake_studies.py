"""Studies as launch.sweep writes them, without any training."""

import json
import math
import pathlib
import random

IMAGES = 144


def write(
    path: pathlib.Path, *, configurations=8, seeds=3, effect=0.05, planned=None
) -> pathlib.Path:
    """A study in which the learning rate matters and the width does not."""
    numbers, draws = range(configurations * seeds), random.Random(7)
    objectives = [
        {"name": "accuracy", "direction": "maximize"},
        {"name": "seconds", "direction": "minimize"},
    ]
    definition = {
        "version": 1,
        "name": path.name,
        "space": {"learning_rate": {"type": "float", "range": [1e-4, 1e-1]}},
        "sampler": "random",
        "pruner": "none",
        "objectives": objectives,
        "seeds": seeds,
        "trials": planned or len(numbers),
        "trainer_flags": ["--dataset=digits"],
        "storage": "sqlite:///study.db",
        "created": "2026-11-27T14:00:00Z",
    }
    rows = [_trial(path, n, seeds, effect, draws) for n in numbers]
    table = {"version": 1, "objectives": objectives, "trials": rows}
    _write(path / "study.json", definition)
    _write(path / "trials.json", table | {"table_sha256": "0" * 64, "winner": None})
    return path


def _trial(path, number: int, seeds: int, effect: float, draws: random.Random) -> dict:
    configuration = number // seeds
    rate = 10 ** (-4 + 3 * ((configuration * 5) % 8) / 7)
    width = [0.5, 1.0, 2.0][configuration % 3]
    score = 0.9 - effect * abs(math.log10(rate) + 2) + draws.gauss(0, 0.004)
    run = path / "trials" / str(number)
    lines = [
        {"split": "validation", "epoch": e, "step": e, "accuracy": score - 0.3 / e**2}
        for e in (1.0, 2.0, 4.0)
    ]
    accuracy = lines[-1]["accuracy"]
    options = {"optim": {"learning_rate": rate}, "seed": number % seeds}
    _write(run / "config.json", {"config": options, "run": {}, "data": {"name": "d"}})
    _write(run / "environment.json", {"commit": "abc", "packages": {"keras": "3"}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    return {
        "number": number,
        "configuration": configuration,
        "seed": number % seeds,
        "flags": {"learning_rate": rate, "model_kwargs.width": width},
        "state": "complete",
        "epochs": 4.0,
        "steps": 4,
        "validation_accuracy": accuracy,
        "best_validation_accuracy": accuracy,
        "validation_images": IMAGES,
        "validation_accuracy_interval": [accuracy - 0.05, accuracy + 0.05],
        "values": {"accuracy": accuracy, "seconds": 3.0 * width + number / 100},
        "pareto": False,
        "seconds": 3.0 * width,
        "weights_sha256": f"{number:064x}",
        "reason": None,
        "run_dir": f"trials/{number}",
    }


def _write(path: pathlib.Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
