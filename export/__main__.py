"""Lists the commands of this package: python -m export."""

from trainer.cli import command_list

command_list.show(
    "export",
    {
        "tflite": "writes a run as a .tflite file; --quantize: integers only",
        "onnx": "writes a run as ONNX for ONNX Runtime",
        "saved_model": "writes a run as a SavedModel for TensorFlow Serving",
        "web": "writes a run as a page that classifies pictures in a browser",
        "micro": "writes a run as C source for microcontrollers",
        "sign": "signs exports, and lists what they were made with",
        "verify": "verifies the signatures of exports",
        "bench": "measures every format of a run side by side",
    },
)
