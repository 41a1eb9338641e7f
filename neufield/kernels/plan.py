"""Plans who computes an op: a program is what a step calls, held as long as nothing it rests on changes.

What a program rests on: the parts of the modules (which ones, their arguments, their hooks), the types, devices and
shapes of their tensors, the backend, the device, and the precision that autocast asks for. :class:`Held` looks at all
of it in some microseconds, where asking the parts and the kernels takes a hundred.
"""

import contextlib
import dataclasses
import itertools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from neufield.core.errors import BackendError
from neufield.core.rays import Rays, RenderOutput
from neufield.core.torch_transforms import plain_only
from neufield.core.wrappers import watched
from neufield.kernels import field, radiance
from neufield.kernels.field.spec import FieldKernel, FieldSpec, matmul_precision
from neufield.kernels.ops import FieldOp, MarchOp, RadianceOp
from neufield.kernels.radiance.spec import RadianceKernel, RadianceSpec

Reasons = list[str]


@dataclasses.dataclass(frozen=True)
class FieldProgram:
    """A kernel, and what it is called with."""

    kernel: FieldKernel
    spec: FieldSpec
    op: FieldOp

    def evaluate(self, x: Tensor) -> Tensor:
        """Points or features (N, .) -> (N, out_dim), before the network's output activation."""
        with _without_autocast(x):
            return self.kernel.evaluate(x, self.op.table, self.op.network.params(), self.spec)

    def fused_loss(self, x: Tensor, target: Tensor, weight: Tensor | None, loss: str) -> tuple[Tensor, Tensor]:
        """See :meth:`FieldKernel.fused_loss`."""
        with _without_autocast(x):
            params = self.op.network.params()
            return self.kernel.fused_loss(x, self.op.table, params, target, weight, loss, self.spec)


@dataclasses.dataclass(frozen=True)
class RadianceProgram:
    """A kernel along rays, and what it is called with."""

    kernel: RadianceKernel
    spec: RadianceSpec
    op: RadianceOp
    march: MarchOp

    def render_rays(self, rays: Rays, jitter: Tensor, code: Tensor | None) -> RenderOutput:
        """See :meth:`RadianceKernel.render_rays`; ``code`` (N, k) is what the color network knows of each ray."""
        op = self.op
        assert op.geometry.table is not None
        with _without_autocast(rays.near):
            params, color_params = op.geometry.network.params(), op.color.params()
            seen = rays.directions[:, :0] if code is None else code
            return self.kernel.render_rays(
                rays, jitter, self.march.occupied, seen, op.geometry.table, params, color_params, self.spec
            )


ProgramT = TypeVar("ProgramT", FieldProgram, RadianceProgram)


def plan_field(op: FieldOp, device: torch.device, backend: str = "auto") -> FieldProgram | Reasons:
    """The first kernel that can compute ``op`` on ``device``, or the one that ``backend`` names; or why there is none.

    Raises ArgumentError where the op's tensors do not fit each other.
    """
    dtype = op.network.weights[0].dtype
    if op.table is not None and op.table.dtype != dtype:
        return ["the encoding and the network are of different types."]
    spec, reasons = op.spec(device), []
    for kernel in field.KERNELS:
        if backend in ("auto", kernel.name):
            obstacles = kernel.obstacles(spec, device, dtype)
            if not obstacles:
                return FieldProgram(kernel, spec, op)
            reasons += obstacles
    return reasons or [f"no fused kernel is called '{backend}'."]


def plan_rays(
    op: RadianceOp,
    march: MarchOp,
    device: torch.device,
    backend: str = "auto",
    code_dim: int = 0,
    early_stop_eps: float = 1e-4,
) -> RadianceProgram | Reasons:
    """Find, as :func:`plan_field` does, who renders rays with codes of ``code_dim`` numbers."""
    geometry, color = op.geometry.spec(device), FieldOp(None, op.color).spec(device)
    degree = op.direction.degree
    if color.in_dim != geometry.out_dim + degree**2 + code_dim:
        return ["the color network does not fit."]  # the field will say how
    spec = RadianceSpec(
        march=march.spec,
        geometry=geometry,
        color=color,
        degree=degree,
        density=op.density,
        density_shift=op.density_shift,
        density_scale=op.density_scale,
        color_activation=op.color.output_activation,
        early_stop_eps=early_stop_eps,
    )
    reasons: Reasons = []
    dtypes = {tensor.dtype for tensor in op.tensors}
    for kernel in radiance.KERNELS:
        if backend in ("auto", kernel.name):
            obstacles = [sentence for dtype in dtypes for sentence in kernel.obstacles(spec, device, dtype)]
            if not obstacles:
                return RadianceProgram(kernel, spec, op, march)
            reasons += obstacles
    return reasons or [f"no fused kernel along rays is called '{backend}'."]


class Held(Generic[ProgramT]):
    """The last program that was planned for some modules, or why there was none."""

    def __init__(self) -> None:
        self._last: tuple[Hashable, _Snapshot, ProgramT | Reasons, bool] | None = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """A copy plans anew."""
        return type(self), ()

    def program(
        self,
        parts: Sequence[nn.Module],
        device: torch.device,
        how: Hashable,
        make: Callable[[], ProgramT | Reasons],
    ) -> ProgramT | Reasons:
        """What ``make`` plans for ``parts`` on ``device``; ``how`` is all else that it depends on.

        What torch is doing around the call is looked at each time, and a program that was planned under it not held.
        """
        if torch.compiler.is_compiling() or plain_only():
            return _planned(parts, make)
        key = (device, matmul_precision(device.type), torch.are_deterministic_algorithms_enabled(), how)
        last = self._last
        if last is None or last[0] != key or not last[1].holds(parts):
            snapshot, found = _Snapshot(parts), _planned(parts, make)
            last = self._last = (key, snapshot, found, isinstance(found, list) or snapshot.owns(found.op.tensors))
        return last[2] if last[3] else _planned(parts, make)


def _without_autocast(x: Tensor) -> contextlib.AbstractContextManager:
    """What is computed as one op is in the precision of its spec."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


def _planned(parts: Sequence[nn.Module], make: Callable[[], ProgramT | Reasons]) -> ProgramT | Reasons:
    if watched(*parts):
        return ["there are hooks on its parts, which are called only where these are."]
    return make()


def required(found: ProgramT | Reasons, backend: str, what: str) -> ProgramT | None:
    """The program; None where there is none and no backend was named. A named one never falls back: BackendError."""
    if not isinstance(found, list):
        return found
    if backend != "auto":
        raise BackendError(f"backend '{backend}' cannot run {what} here ({' '.join(found)}); use auto")
    return None


class _Snapshot:
    """All that modules consist of, to see later whether any of it was replaced, hooked, moved or set."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        self._parts = tuple(parts)
        modules = [module for part in parts for module in part.modules()]
        self._dicts = [own for module in modules for own in _dicts(module)]
        self._sizes = list(map(len, self._dicts))
        self._values = list(itertools.chain.from_iterable(map(dict.values, self._dicts)))
        self._tensors = [value for value in self._values if isinstance(value, Tensor)]
        self._kinds = list(map(_kind, self._tensors))
        self._ids = set(map(id, self._tensors))

    def holds(self, parts: Sequence[nn.Module]) -> bool:
        """Whether all is as it was."""
        return (
            len(parts) == len(self._parts)
            and all(map(operator.is_, parts, self._parts))
            and list(map(len, self._dicts)) == self._sizes
            and all(map(operator.is_, itertools.chain.from_iterable(map(dict.values, self._dicts)), self._values))
            and list(map(_kind, self._tensors)) == self._kinds
            and not torch_module._has_any_global_hook()
        )

    def owns(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are the modules' own, and none was computed from them for the occasion."""
        return all(id(tensor) in self._ids for tensor in tensors)


def _dicts(module: nn.Module) -> list[dict]:
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    own = [] if type(module).__module__.startswith("torch.nn.modules") else [module.__dict__]  # which nobody sets there
    return [*own, module._parameters, module._buffers, module._modules, *hooks]


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.device, torch.Size]:
    return tensor.dtype, tensor.device, tensor.shape
