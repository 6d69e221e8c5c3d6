"""Processes of TensorFlow Lite Micro: Ctrl-C is the business of their parent."""

import signal
import time

import pytest

from export.microcontroller.tflm import interpreter


def test_ctrl_c_reaches_no_process_and_all_are_killed():
    with pytest.raises(KeyboardInterrupt), interpreter._processes(1) as pool:
        asked = pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert signal.SIGINT in asked.result()
        pool.submit(time.sleep, 600)
        raise KeyboardInterrupt
