"""One small trained run for all tests of export, and that run opened."""

import atexit
import functools
import pathlib
import shutil
import tempfile

from absl import flags

from export import export_flags
from export.artifact import artifact, inputs
from export.artifact.number_formats import Io, Scheme
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from tests.support import commands
from tests.support.session_cache import SessionCache

# 95 % of the test digits in a few seconds; enough validation rows for a temperature.
FLAGS = [
    "--augment=none",
    "--model_kwargs=dropout=0",
    "--epochs=2.5",
    "--learning_rate=0.005",
    "--warmup_epochs=0.2",
    "--model_kwargs=width=0.25",
    "--global_batch=32",
    "--dataset=digits",
    "--validation_fraction=0.2",
]


@functools.cache
def run() -> pathlib.Path:
    """A finished run of a narrow cnn; this process' own, to be exported into."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="export-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    trained = SessionCache.current.get_or_build("narrow", _train)
    return pathlib.Path(shutil.copytree(trained, root / "run"))


def _train(path: pathlib.Path) -> None:
    where = [f"--data_dir={data()}", f"--run_dir={path}"]
    commands.run_command("trainer.main", *FLAGS, *where, check=True)


def data() -> pathlib.Path:
    """The digits, which the run learnt from."""
    return SessionCache.current.digits()


def parsed(define, *words: str) -> flags.FlagValues:
    """The flags of `define` with `words` of a command line."""
    values = define(flags.FlagValues())
    values(["command", *words])
    return values


@functools.cache
def opened(*words: str) -> inputs.ExportInputs:
    """The run, opened for export."""
    return open_inputs(f"--run_dir={run()}", *words)


@functools.cache
def exported(scheme: Scheme, io: Io) -> artifact.Artifact:
    """A .tflite beside this process' own run, converted and verified once a session.

    The tiny network sees 360 images only: one is worth 0.3 points.
    """
    own = opened("--max_accuracy_drop=0.02")

    def make(path: pathlib.Path) -> None:
        path.mkdir()
        made = tflite_writer.write_tflite(own, TFLiteOptions(scheme, io))
        for file in own.folder.glob(f"{made.path.name}*"):
            shutil.copy2(file, path)

    name = f"export-{scheme.value}-{io.value}"
    kept = SessionCache.current.get_or_build(name, make)
    shutil.copytree(kept, own.folder, dirs_exist_ok=True)
    (found,) = kept.glob("*.tflite")
    return artifact.load_artifact(own.folder / found.name)


def open_inputs(*words: str) -> inputs.ExportInputs:
    """The run that the words of a command line name, opened for export."""
    values = parsed(export_flags.define_with_kernels, *words)
    return inputs.open_inputs(export_flags.parse_request(values))


def copied(folder: pathlib.Path) -> pathlib.Path:
    """A copy of the run in `folder`, without what was exported, to be damaged."""
    left_out = shutil.ignore_patterns("export", "calibration.json")
    return pathlib.Path(shutil.copytree(run(), folder / "run", ignore=left_out))
