"""A command imports what it uses: of its start, imports are the longest part."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.sources import COMMANDS

EVALUATION = [name for name in COMMANDS if name.startswith(("eval.", "export."))]
UNUSED = {"sklearn", "pandas", "scipy.stats", "matplotlib.pyplot"}


def python(program: str, *words: str) -> list[str]:
    """The words of the last line that a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split() if done.stdout else []


def imported(module: str, *words: str) -> set[str]:
    """What `python -m module words` has imported when it ends."""
    program = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        f"runpy.run_module('{module}', run_name='__main__', alter_sys=True)"
    )
    return set(python(program, *words))


def test_a_training_does_without_what_keras_only_tries(tiny_run):
    assert {"keras", "tensorflow", "trainer.training.start"} <= tiny_run.modules
    assert not UNUSED & tiny_run.modules


@pytest.mark.slow
@pytest.mark.parametrize("module", ["export.tflite", "export.saved_model"])
def test_an_export_starts_without_it_too(run, module):
    modules = imported(module, f"--run_dir={run}")
    assert {"keras", "tensorflow"} <= modules
    assert not (UNUSED - {"scipy.stats"}) & modules


def test_what_was_hidden_can_be_imported_and_what_was_imported_stays():
    python(
        "import gc, sys, matplotlib as before\n"
        "from trainer.monitoring import native_output\n"
        "with native_output.suppress_native_stderr():\n    pass\n"
        "assert 'keras' in sys.modules and not {'sklearn', 'pandas'} & {*sys.modules}\n"
        "assert sys.modules['matplotlib'] is before and gc.isenabled()\n"
        "import keras, matplotlib.pyplot, pandas, sklearn\n"
        "matplotlib.use('Agg')\nmatplotlib.pyplot.plot([1, 2])\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
        "assert model(pandas.DataFrame([[1.0, 2.0]]).to_numpy()).shape == (1, 1)\n"
    )


def test_flags_of_evaluation_and_export_are_read_without_heavy_libraries():
    heavy = {"tensorflow", "keras", "sklearn", "scipy", "pandas", "matplotlib"}
    program = f"import sys, {', '.join(EVALUATION)}\nprint(*sys.modules)"
    assert not heavy & set(python(program))
