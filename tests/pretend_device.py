"""A second device for tests on machines that have none: tensors that only say they are elsewhere.

Within `PretendDevice()` the device `cuda` exists: its tensors lie in host memory and compute
there, but mixing them with those of the CPU, or reading them from numpy, fails as it does on a
GPU. Code of torch below its Python functions sees the CPU. It shows that code moves what it must
move, not that kernels of a GPU give the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda")

#: Functions that may have indices of the CPU beside a tensor that is elsewhere.
_INDEXED = {"__getitem__", "__setitem__", "index_put_", "index_put"}
#: Functions whose tensors may lie apart.
_COPYING = {"to", "copy_", "cpu", "cuda", "__set__", "_has_compatible_shallow_copy_type"}
_READING = {"numpy", "__array__", "__dlpack__", "data_ptr"}


def is_away(x: Any) -> bool:
    """Whether a tensor says that it lies on the other device."""
    return getattr(x, "_away", False)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _means_away(value: Any) -> bool | None:
    """What a device says; `None` where it is no device."""
    if isinstance(value, torch.device):
        return value.type == "cuda"
    if isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda"):
        return value.startswith("cuda")
    return None


class PretendDevice(TorchFunctionMode):
    """See the module."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        with torch._C.DisableTorchFunction():
            if name == "__get__":
                return self._attribute(func, args)
            given = [*_tensors(args), *_tensors(kwargs)]
            self._check(name, args, given)
            wanted, args, kwargs = self._without_device(name, args, kwargs)
        if name in _READING and any(map(is_away, given)):
            raise TypeError(f"can't convert cuda:0 device type tensor to numpy ({name})")
        out = func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            if name == "__set__":
                if isinstance(args[1], Tensor):  # `x.data = other`
                    args[0]._away = is_away(args[1])
                return out
            away = wanted
            if away is None:
                away = any(is_away(x) for x in given)
            for x in _tensors(out):
                same = any(x is other for other in given)
                if same and wanted is not None and is_away(x) != wanted:
                    x = x.clone()  # moved: another tensor
                    x._away = wanted
                    return x
                if not same or name != "to":
                    x._away = away
        return out

    def _attribute(self, func: Callable[..., Any], args: Any) -> Any:
        owner = getattr(func, "__self__", None)
        attribute = getattr(owner, "__name__", "")
        x = args[0]
        if attribute == "device" and is_away(x):
            return DEVICE
        if attribute == "is_cuda":
            return is_away(x)
        if attribute == "is_cpu":
            return not is_away(x)
        out = func(*args)
        for part in _tensors(out):
            part._away = is_away(x)
        return out

    def _check(self, name: str, args: Any, given: list[Tensor]) -> None:
        if name in _COPYING or name in _READING:
            return
        if name in _INDEXED:
            target = args[0]
            index = [*_tensors(args[1])]
            if not is_away(target) and any(is_away(x) and x.ndim for x in index):
                raise RuntimeError("indices should be on cpu: the indexed tensor is")
            values = [*_tensors(args[2:])]
            if any(v.ndim and is_away(v) != is_away(target) for v in values):
                raise RuntimeError(f"{name}: values and target on two devices")
            return
        sides = {is_away(x) for x in given if x.ndim}
        if any(is_away(x) for x in given if not x.ndim) and False in sides:
            sides.add(True)
        if len(sides) > 1:
            raise RuntimeError(
                f"{name}: expected all tensors on one device, found cpu and cuda:0 "
                f"({[(tuple(x.shape), is_away(x)) for x in given]})"
            )

    def _without_device(self, name: str, args: Any, kwargs: Any) -> tuple[bool | None, Any, Any]:
        wanted = None
        if name == "cpu":
            return False, args, kwargs
        if name == "cuda":
            return True, args, kwargs
        if "device" in kwargs:
            wanted = _means_away(kwargs["device"])
            if wanted:
                kwargs["device"] = "cpu"
        if name == "to":
            args = list(args)
            for i, value in enumerate(args[1:], 1):
                said = _means_away(value)
                if isinstance(value, Tensor):
                    said = is_away(value)
                if said is not None:
                    wanted = said
                    if not isinstance(value, Tensor):
                        args[i] = "cpu"
        if wanted is None and name in ("set_", "from_numpy"):
            wanted = False
        return wanted, tuple(args), kwargs
