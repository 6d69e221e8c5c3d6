"""PyTorch's training step on one constant batch.

python -m benchmarks.torch_side  # answers requests of benchmarks.subprocess_peer
"""

import time

import torch
from torch.nn import functional

from benchmarks import subprocess_peer, synthetic_data, torch_nets


class Step:
    """Forward, backward and update of `name`, as PyTorch recommends for CPUs.

    It uses channels last, and for bfloat16 autocast around the forward pass.
    """

    def __init__(
        self, *, name: str, precision: str, batch: int, threads: int, side: int = 32
    ) -> None:
        torch.set_num_threads(threads)
        images, labels = synthetic_data.examples(batch, side)
        scaled = (torch.from_numpy(images).float() - 128) / 128
        layout = torch.channels_last
        self._x = scaled.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        self._y = torch.from_numpy(labels)
        self._net = torch_nets.NETS[name]().to(memory_format=layout).train()
        learnt = [p for p in self._net.parameters() if p.requires_grad]
        self._optimizer = torch.optim.SGD(
            learnt, lr=0.01, momentum=0.9, nesterov=True, fused=True
        )
        self._wide = precision == "float32"

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        return steps * len(self._x) / (time.perf_counter() - start)

    def _step(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=not self._wide):
            logits = self._net(self._x)
        functional.cross_entropy(logits.float(), self._y).backward()
        self._optimizer.step()


if __name__ == "__main__":
    subprocess_peer.serve(Step)
