"""PyTorch's training step on one constant batch.

python -m benchmarks.torch_side  # answers requests of benchmarks.subprocess_peer
"""

import time

import torch
from torch.nn import functional

from benchmarks import subprocess_peer, synthetic_data, torch_nets


class Step(subprocess_peer.Net):
    """Forward, backward and update of `name`, as PyTorch recommends.

    It uses channels last, and for bfloat16 autocast around the forward pass. On a GPU,
    if there is one, float32 is float32 as on our side, not TensorFloat-32, and cuDNN
    chooses its algorithms by measuring them. If `compiled`, torch.compile compiles it.
    """

    def __init__(
        self,
        *,
        name: str,
        precision: str,
        batch: int,
        threads: int,
        side: int = 32,
        compiled: bool = False,
    ) -> None:
        torch.set_num_threads(threads)
        self._on_gpu = torch.cuda.is_available()
        self._device = "cuda" if self._on_gpu else "cpu"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        images, labels = synthetic_data.examples(batch, side)
        scaled = (torch.from_numpy(images).float() - 128) / 128
        layout = torch.channels_last
        images = scaled.permute(0, 3, 1, 2).to(self._device)
        self._x = images.contiguous(memory_format=layout)
        self._y = torch.from_numpy(labels).to(self._device)
        net = torch_nets.NETS[name]().to(self._device, memory_format=layout).train()
        learnt = [p for p in net.parameters() if p.requires_grad]
        self._net = torch.compile(net) if compiled else net
        self._optimizer = torch.optim.SGD(
            learnt, lr=0.01, momentum=0.9, nesterov=True, fused=True
        )
        self._wide = precision == "float32"

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        if self._on_gpu:
            torch.cuda.synchronize()
        return steps * len(self._x) / (time.perf_counter() - start)

    def peak_bytes(self) -> int | None:
        """The most GPU memory in use at once since `speed` began; None: on a CPU."""
        return torch.cuda.max_memory_allocated() if self._on_gpu else None

    def _step(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=not self._wide):
            logits = self._net(self._x)
        functional.cross_entropy(logits.float(), self._y).backward()
        self._optimizer.step()


if __name__ == "__main__":
    subprocess_peer.serve(Step)
