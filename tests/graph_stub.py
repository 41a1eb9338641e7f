"""A stand-in for CUDA graphs on the CPU: what torch is told while work is recorded, told again at each replay.

Like a capture it keeps addresses and numbers as they were, does nothing while it records (what was changed is put
back), and refuses to hand a value to Python. Operators of one thread only: a backward pass on the CPU is.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from neufield.fitting.steps import Recorder, Work


class _Told(TorchDispatchMode):
    """Remembers each operator with its arguments and results, and what memory it changed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for argument, value in zip(func._schema.arguments, [*args, *kwargs.values()], strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self.before.setdefault(tensor.data_ptr(), (tensor, tensor.clone()))
        results = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, results))
        return results


class Stub(Recorder):
    """``warmed`` and ``replayed`` count."""

    def __init__(self) -> None:
        self.warmed = self.replayed = 0

    def warm_up(self, work: Work) -> None:
        self.warmed += 1
        work()

    def record(self, work: Work) -> Work:
        told = _Told()
        try:
            with told:
                work()
        finally:
            with torch.no_grad():
                for tensor, value in told.before.values():
                    tensor.copy_(value)

        @torch.no_grad()
        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, results in told.calls:
                again = func(*tree_map_only(Tensor, Tensor.detach, args), **kwargs)
                for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.detach().copy_(new)

        return replay
