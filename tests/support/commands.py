import json
import os
import pathlib
import re
import subprocess
import sys

from tests.support import forked_commands
from tests.support.forked_commands import ROOT

PROGRESS = re.compile(
    r"^(.*(\(\d+:[\d:]+ so far\)| of [\d,]+ \w+  ETA .*)|loading TensorFlow)$\n",
    re.MULTILINE,
)
# Seconds-long: a narrow network, small batches, few steps.
TINY = [
    "--dataset=digits",
    "--augment=crop",
    "--model_kwargs=width=0.25",
    "--global_batch=32",
    "--train_steps=24",
    "--warmup_epochs=0.1",
    "--eval_every_epochs=0.2",
    "--log_every_steps=5",
]

# Instead of cnn: soon traced, with batch statistics and dropout.
BLOCK = ["--model=tests/support/nets.py:block"]
BLOCK += ["--model_kwargs=width=0.25,dropout=0.2"]


# Variables that Python, the linker, TensorFlow or its libraries read when they start.
READ_EARLY = ("PYTHON", "LD_", "TF_", "KERAS_", "OMP_", "ONEDNN_", "CUDA_")


def run_command(
    module: str,
    *words: str,
    check: bool = False,
    fresh: bool = False,
    env: dict[str, str] | None = None,
    **kwargs,
) -> subprocess.CompletedProcess:
    """Runs `python -m module words` and returns what it printed.

    By an interpreter that begins anew if `fresh`, with `kwargs` of subprocess.run or
    with variables in `env` that are read at its start or by TensorFlow's import, else
    in a fork, see forked_commands. How far long phases were, which depends on the
    machine, is left out of its stderr.
    """
    changed = set() if env is None else set(env.items()) ^ set(os.environ.items())
    early = any(name.startswith(READ_EARLY) for name, _ in changed)
    if not (fresh or kwargs or early):
        done = forked_commands.run(module, *words, timeout=240, env=env)
    else:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            env=env,
            **kwargs,
        )
    done.stderr = PROGRESS.sub("", done.stderr)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def run_trainer(
    data_dir, run_dir, *words: str, **kwargs
) -> subprocess.CompletedProcess:
    """Runs the trainer for seconds; later flags override the tiny ones."""
    where = [f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    return run_command("trainer.main", *TINY, *where, *words, **kwargs)


def result(run_dir) -> dict:
    """result.json of a finished run."""
    return json.loads((pathlib.Path(run_dir) / "result.json").read_text())
