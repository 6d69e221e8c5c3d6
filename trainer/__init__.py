"""Trains small image classifiers exactly, on one device or many.

In a script or notebook::

    import trainer

    data = trainer.data.from_tfds("cifar10")
    result = trainer.train(trainer.Config(epochs=5), data, run_dir="runs/mine")
    print(result.test_accuracy, result.test_accuracy_interval)
    probabilities = trainer.load("runs/mine").predict(images)
    report = trainer.evaluate("runs/mine", data)
    artifact = trainer.export_tflite("runs/mine", data, quantize=True)

On the command line: ``python -m trainer.main --strategy=mirrored``. Modules are
imported when they are used, as importing TensorFlow takes seconds.
"""

import _signal  # signal itself takes time to import, and Ctrl-C may come before
import importlib
import os
import sys


def _find_command() -> str | None:
    """The name of the command that this process runs; None in a script or notebook.

    It is known while its package is being imported: trainer.main, or, of an installed
    command, the name of the script.
    """
    words = sys.orig_argv
    if "-m" in words[:-1]:
        module = words[words.index("-m") + 1]
        ours = module.split(".")[0] in ("trainer", "eval", "export", "launch")
        return module if ours else None
    script = os.path.basename(sys.argv[0]) if sys.argv else ""
    ours = script.split("-")[0] == "trainer" and "." not in script  # no script.py
    return script if ours else None


def _end_at_once(number: int, _frame: object) -> None:
    """Ends a command with one line, as KeyboardInterrupt would show a traceback."""
    _signal.signal(number, _signal.SIG_IGN)  # a second one would say it again
    try:
        os.write(2, f"{_find_command()}: stopped by SIGINT\n".encode())
    finally:
        os._exit(128 + number)


if _find_command():
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _end_at_once)  # until trainer.cli.command does
    # A launcher blocks it, as Python itself would show a traceback while it starts.
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGINT})

# name -> module:attribute, or a module. What is in eval and export stands above this
# package; its names are offered here because this is where a user looks for them.
_EXPORTS = {
    "Config": "trainer.config.schema:Config",
    "RunConfig": "trainer.config.run_config:RunConfig",
    "DataConfig": "trainer.config.schema:DataConfig",
    "ModelConfig": "trainer.config.schema:ModelConfig",
    "OptimConfig": "trainer.config.schema:OptimConfig",
    "Augment": "trainer.config.enums:Augment",
    "EvalTta": "trainer.config.enums:EvalTta",
    "Flip": "trainer.config.enums:Flip",
    "OptimizerName": "trainer.config.enums:OptimizerName",
    "Precision": "trainer.config.enums:Precision",
    "Resize": "trainer.config.enums:Resize",
    "Resume": "trainer.config.enums:Resume",
    "Schedule": "trainer.config.enums:Schedule",
    "Strategy": "trainer.config.enums:Strategy",
    "train": "eval.library:train",
    "load": "eval.library:load",
    "evaluate": "eval.evaluation:evaluate",
    "compare": "eval.evaluation:compare",
    "export_tflite": "export.exporting:export_tflite",
    "export_saved_model": "export.exporting:export_saved_model",
    "export_onnx": "export.exporting:export_onnx",
    "export_micro": "export.exporting:export_micro",
    "export_web": "export.exporting:export_web",
    "benchmark": "export.exporting:benchmark",
    "data": "trainer.data",
    "layers": "trainer.models.layers",
    "callbacks": "trainer.training.callbacks",
}


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
