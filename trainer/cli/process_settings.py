"""Settings of a process that runs a command; the library itself sets none."""

import logging
import os


def configure_process() -> None:
    """Sets the environment variables and log levels that every command needs.

    Call it before TensorFlow, Keras or matplotlib is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ["MPLBACKEND"] = "Agg"  # pictures are files; there may be no display
    if os.path.expanduser("~") == "~":  # no home, as of a container's user
        place = f"{os.environ.get('TMPDIR', '/tmp')}/.keras-{os.getuid()}"
        os.environ.setdefault("KERAS_HOME", place)  # Keras would make a folder called ~
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
