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

import importlib
from typing import Any

from trainer.contract import end_on_interrupt

end_on_interrupt()  # commands only: their own modules are still to be imported

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
    "export_micro": "export.exporting:export_micro",
    "export_web": "export.exporting:export_web",
    "benchmark": "export.exporting:benchmark",
    "data": "trainer.data",
    "layers": "trainer.models.layers",
    "callbacks": "trainer.training.callbacks",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
