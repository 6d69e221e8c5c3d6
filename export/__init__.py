"""Exports a run to verified files that classify raw pixels.

Synopsis::

    python -m export.saved_model        # runs/latest/export/saved_model/1/
    python -m export.tflite --quantize  # runs/latest/export/model_int8.tflite
    python -m export.bench              # every format side by side
    python -m export.onnx               # runs/latest/export/model_float32.onnx
    python -m export.web                # a page that runs in a browser
    python -m export.micro              # C source for microcontrollers
"""

import trainer.contract  # noqa: F401  handles Ctrl-C while a command is imported
