"""The plan names the devices, and what is missing for a GPU that is there."""

from trainer.distributed.devices import describe

H100 = ("NVIDIA H100 80GB HBM3", 85_029_158_912)


def test_a_cpu_says_what_a_gpu_would_need():
    (line,) = describe(["/job:localhost/device:CPU:0"], [], 2)
    assert line.startswith("device: CPU, 2 threads (no NVIDIA GPU is visible; for one")
    assert "tensorflow[and-cuda]==" in line


def test_a_gpu_that_cannot_be_used_is_a_warning_with_the_remedy():
    line, warning = describe(["/device:CPU:0"], [H100], 16)
    assert line == "device: CPU, 16 threads"
    assert warning.startswith("warning: there is an NVIDIA GPU (NVIDIA H100 80GB HBM3)")
    assert "tensorflow[and-cuda]==" in warning


def test_logical_devices_are_asked_for():
    used = ["/device:CPU:0", "/device:CPU:1"]
    (line,) = describe(used, [H100], 2)
    assert line == "device: CPU in 2 logical devices, 2 threads"


def test_gpus_are_named_with_their_memory_and_those_that_rest():
    gpu = ["/device:GPU:0"]
    assert describe(gpu, [H100], 2) == ["device: NVIDIA H100 80GB HBM3, 79.2 GiB"]
    two = ["/device:GPU:0", "/device:GPU:1"]
    assert describe(two, [H100] * 2, 2) == [
        "device: 2 x NVIDIA H100 80GB HBM3, 79.2 GiB"
    ]
    (line,) = describe(gpu, [H100] * 4, 2)
    assert line.endswith("(3 more for strategy=mirrored)")
    assert describe(gpu, [], 2) == ["device: 1 GPU(s)"]
