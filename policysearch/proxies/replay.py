"""Steps of a training on a GPU, recorded once and replayed.

A step of a small network is many kernels of a few microseconds each, so that starting them one by
one from Python takes several times as long as they take themselves. A CUDA graph starts
them all at once: 1,630 steps a second where there were 315 (H200, 128 images of 32 x 32;
`benchmarks/bench_gpu_search.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

#: Ordinary steps first: libraries choose their algorithms, the optimizer makes its buffers.
N_PLAIN = 3
#: Shapes of batches that are recorded; batches of an epoch have two sizes at most.
MAX_RECORDED = 4

_Logits = Callable[[Tensor], Tensor]


def plain_step(logits: _Logits, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of training on a batch: cross-entropy of logits and classes, or shares of them."""
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(logits(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class ReplayedSteps:
    """The same steps, recorded once for each shape of a batch.

    Learning rate and momentum may change from step to step, and the buffers of the optimizer are
    used, so that its state can be saved, and plain steps can be taken, at any time.

    Args:
      logits: What the network says of inputs. It must do the same with every batch of a shape.
      optimizer: With Nesterov momentum and one group of parameters.
      device: Where both are: a CUDA device.
    """

    def __init__(self, logits: _Logits, optimizer: torch.optim.SGD, device: torch.device) -> None:
        self._logits = logits
        self._optimizer = optimizer
        self._rates = DeviceRates(optimizer, device)
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._recorded: dict[object, _Recorded] = {}
        self._n_plain = 0

    def step(self, x: Tensor, y: Tensor) -> None:
        """See `plain_step`."""
        with torch.cuda.device(self._device):
            self._step(x, y)

    def _step(self, x: Tensor, y: Tensor) -> None:
        key = (x.shape, y.shape, y.dtype)
        recorded = self._recorded.get(key)
        if recorded is None and (self._n_plain < N_PLAIN or len(self._recorded) >= MAX_RECORDED):
            self._n_plain += 1
            self._aside(lambda: plain_step(self._logits, self._optimizer, x, y))
            return
        if recorded is None:
            recorded = self._recorded[key] = self._record(x, y)
        self._rates.read()
        recorded.replay(x, y)

    def _record(self, x: Tensor, y: Tensor) -> _Recorded:
        recorded = _Recorded(x.clone(), y.clone(), torch.cuda.CUDAGraph())

        def record() -> None:
            self._optimizer.zero_grad(set_to_none=True)
            recorded.graph.capture_begin(capture_error_mode="thread_local")
            try:
                loss = F.cross_entropy(self._logits(recorded.x), recorded.y)
                loss.backward()  # type: ignore[no-untyped-call]
                self._rates.update()
            finally:
                recorded.graph.capture_end()

        self._aside(record)
        return recorded

    def _aside(self, act: Callable[[], None]) -> None:
        """Acts on the stream that is recorded, which gradients must have been made on as well."""
        outer = torch.cuda.current_stream()
        self._stream.wait_stream(outer)
        with torch.cuda.stream(self._stream):
            act()
        outer.wait_stream(self._stream)


class _Recorded:
    """A graph, and the batch that it reads."""

    def __init__(self, x: Tensor, y: Tensor, graph: torch.cuda.CUDAGraph) -> None:
        self.x, self.y, self.graph = x, y, graph

    def replay(self, x: Tensor, y: Tensor) -> None:
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()


class DeviceRates:
    """The update of `torch.optim.SGD` with Nesterov momentum, its rates read from the device."""

    def __init__(self, optimizer: torch.optim.SGD, device: torch.device) -> None:
        self._optimizer = optimizer
        self._rate, self._momentum = (torch.zeros((), device=device) for _ in range(2))

    def read(self) -> None:
        """Takes over what a schedule has set."""
        [group] = self._optimizer.param_groups
        self._rate.fill_(group["lr"])
        self._momentum.fill_(group["momentum"])

    @torch.no_grad()
    def update(self) -> None:
        """Changes the parameters by their gradients, after at least one step of the optimizer."""
        [group] = self._optimizer.param_groups
        weights = [p for p in group["params"] if p.grad is not None]
        buffers = [self._optimizer.state[p]["momentum_buffer"] for p in weights]
        slopes = torch._foreach_add(
            [p.grad for p in weights], weights, alpha=group["weight_decay"]
        )
        torch._foreach_mul_(buffers, self._momentum)
        torch._foreach_add_(buffers, slopes)
        steps = torch._foreach_mul(buffers, self._momentum)
        torch._foreach_add_(steps, slopes)
        torch._foreach_mul_(steps, self._rate)
        torch._foreach_sub_(weights, steps)
