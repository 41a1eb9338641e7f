"""Every operator and every kernel with every argument wrong in every way: a sentence each, and nothing read or written.

``test_arguments`` runs this file in a process of its own: a check that lacks may end it. There the signatures are not
checked by the tests' import hook, which would answer in the place of what a user has.
"""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from cases import seeded
from native_cases import field_inputs, field_spec, grid_inputs, small_grid
from native_radiance_cases import numbers as radiance_numbers
from native_radiance_cases import spec as radiance_spec
from torch import Tensor

from neufield.core.errors import NeufieldError
from neufield.core.rays import Intervals, Rays
from neufield.kernels import field, grid, radiance, volume

N, S, RAYS = 70, 40, 12  # points, intervals, rays
Call = dict[str, Any]  # arguments by name, in the order of the schema


def grid_call(*names: str) -> Call:
    spec = small_grid(3)
    found = grid_inputs(spec, N)
    known = {"x": found["x"], "table": found["table"], "g": found["mix"], "v": found["along"]}
    return {name: known[name] for name in names} | {"spec": spec.text}


def field_call(*names: str) -> Call:
    spec = field_spec("grid", "relu", True, 16, 1, 3)
    found = field_inputs(spec, N)
    known = found | {
        "features": torch.zeros(128 * spec.in_dim), "gy": found["mix"], "target": found["mix"], "weight": torch.ones(N),
        "keep": True, "want_x": True, "want_table": True, "loss": "l2",
    }  # fmt: skip
    return {name: known[name] for name in names} | {"spec": spec.text}


def rays_call() -> Call:
    (rays, jitter, occupied), _ = radiance_numbers(RAYS, radiance_spec())
    known = {"origins": rays.origins, "directions": rays.directions, "near": rays.near, "far": rays.far}
    return known | {"jitter": jitter, "occupied": occupied}


def composite_call() -> Call:
    g = seeded(3)
    starts = torch.arange(S) * 0.1
    return {
        "sigma": torch.rand(S, generator=g), "rgb": torch.rand(S, 3, generator=g), "starts": starts,
        "ends": starts + 0.1, "ray_ids": torch.arange(S) * RAYS // S,
    }  # fmt: skip


def composite_backward_call() -> Call:
    column, sums = torch.rand(S, generator=seeded(4)), torch.rand(RAYS, generator=seeded(5))
    given = {"g_rgb": torch.ones(RAYS, 3), "g_opacity": sums, "g_distance": sums, "g_weights": column}
    return composite_call() | {"weights": column, "light": column} | given | {"placed": True}


def radiance_call() -> Call:
    spec = radiance_spec()
    return rays_call() | radiance_numbers(RAYS, spec)[1] | {"keep": True, "spec": spec.text}


def radiance_backward_call() -> Call:
    spec = radiance_spec()
    call = radiance_call()
    *_, weights, ray_ids, starts, x, _, colors, features, y = torch.ops.neufield.radiance_forward(*call.values())
    settled = {"ray_ids": ray_ids, "starts": starts, "x": x, "features": features, "y": y}
    seen = {name: call[name] for name in ("directions", "seen")} | {"colors": colors, "weights": weights}
    learned = {name: call[name] for name in ("table", "params", "color_params")}
    given = {"grgb": torch.ones(RAYS, 3), "gopacity": torch.ones(RAYS), "gdistance": torch.ones(RAYS)}
    return settled | seen | learned | given | {"gweights": weights, "want_seen": True, "spec": spec.text}


# A right call of every operator. A new one needs a line here.
CALLS: Mapping[str, Callable[[], Call]] = {
    "grid_gather": lambda: grid_call("x", "table", "v"),
    "grid_scatter": lambda: grid_call("x", "g", "v"),
    "grid_contract": lambda: grid_call("x", "table", "g", "v"),
    "field_forward": lambda: field_call("x", "table", "params", "keep"),
    "field_backward": lambda: field_call("x", "table", "params", "features", "gy", "want_x", "want_table"),
    "field_regression": lambda: field_call("x", "table", "params", "target", "weight", "loss"),
    "field_rescale": lambda: {"numbers": torch.ones(4, 5), "scale": torch.tensor(2.0)},
    "march": lambda: rays_call() | {"spec": radiance_spec().march.numbers},
    "composite": lambda: composite_call() | {"n_rays": RAYS},
    "composite_backward": composite_backward_call,
    "radiance_forward": radiance_call,
    "radiance_backward": radiance_backward_call,
}
# What sounds wrong and is right: of fewer, or no points there are fewer values; rays of any precision become float32.
RIGHT = {
    *itertools.product(["field_forward"], ["x"], ["shorter", "longer", "empty"]),
    *itertools.product(["field_rescale"], ["numbers"], ["shorter", "longer", "empty", "narrower", "wider"]),
    *itertools.product(["field_rescale"], ["numbers"], ["nested", "flat"]),
    *itertools.product(["grid_gather", "grid_scatter", "grid_contract"], ["v"], ["none"]),
    *itertools.product(["composite_backward", "radiance_backward"], ["g_weights", "gweights"], ["none"]),
    ("field_regression", "weight", "none"),
    *itertools.product(
        ["march", "radiance_forward", "radiance_backward"],
        ["origins", "directions", "near", "far", "jitter"],
        ["float16", "bfloat16", "float64"],
    ),
}  # fmt: skip
# As shapes go, since Triton's tables may be so.
RIGHT_SOMEWHERE = RIGHT | {*itertools.product(["grid_gather", "grid_contract"], ["table"], ["float16", "bfloat16"])}
DEFAULTED = {
    known.name
    for spec in (grid.GridSpec, field.FieldSpec)
    for known in dataclasses.fields(spec)
    if known.default is not dataclasses.MISSING
} - {"encoding"}


def operators() -> list[str]:
    """Those that are registered, whoever registered them."""
    names = torch._C._dispatch_get_all_op_names()
    return sorted({name.split("::")[1].split(".")[0] for name in names if name.startswith("neufield::")})


def wrong_tensors(value: Tensor) -> Iterator[tuple[str, Any]]:
    """By a word for what is wrong with it."""
    if value.ndim:
        yield "shorter", value[:-1].contiguous()
        yield "longer", torch.cat([value, value[:1]])
        yield "empty", value[:0]
    if value.ndim > 1:
        yield "narrower", value[..., :-1].contiguous()
        yield "wider", torch.cat([value, value[..., :1]], dim=-1)
        yield "flat", value.flatten()
    yield "nested", value[None]
    yield "none", None
    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int32, torch.complex64):
        if value.dtype != kind:
            yield str(kind).removeprefix("torch."), value.to(kind)
    yield "meta", value.to("meta")
    if value.dtype == torch.int64:
        yield "negative", value - 1
        yield "beyond", value + RAYS
        yield "far beyond", torch.where(torch.arange(len(value)) == len(value) // 2, 2**62, value)
        yield "out of order", value.flip(0)


def wrong_texts(value: str) -> Iterator[tuple[str, Any]]:
    """A spec's, or a loss's."""
    for text in ("", "{}", "[]", "null", "nonsense", "[" * 100_000, '{"type": {}}', "1" * 5000):
        yield f"{text[:12]!r}", text
    if not value.startswith("{"):
        return
    described = json.loads(value)
    for name, inner in described.items():
        for other in (-1, 0, 1e300, 10**30, 1.5, None, "x", [], {}, True, math.nan):
            # A color's float may be anything, and a flag is one of two.
            same = isinstance(inner, float) and isinstance(other, int | float) and not isinstance(other, bool)
            if (type(other) is type(inner) and (same or isinstance(inner, bool))) or same:
                continue
            if other == inner or (name, other) in (("degree", 0), ("n_hidden_layers", 0), ("encoding", None)):
                continue
            yield f"{name} {other}", json.dumps(described | {name: other})
        if name not in DEFAULTED:
            yield f"no {name}", json.dumps({key: kept for key, kept in described.items() if key != name})
    yield "one more", json.dumps(described | {"other": 1})


def wrong_values(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield from wrong_tensors(value)
    elif isinstance(value, str):
        yield from wrong_texts(value)
    elif isinstance(value, list):
        yield from (("shorter", value[:-1]), ("longer", [*value, 0.0]), ("empty", []))
        for place, other in ((6, 0.0), (6, math.nan), (8, 0.0), (8, 1e9), (8, 1.5), (8, math.nan), (8, 2.0)):
            yield f"{place} {other}", [*value[:place], other, *value[place + 1 :]]
    elif type(value) is int:
        yield from (("negative", -1), ("one less", value - 1))


def cases() -> list[Any]:
    """Of every operator every argument in every wrong way."""
    found = []
    for op, make in CALLS.items():
        call = make()
        for name, value in call.items():
            found += [pytest.param(op, name, kind, id=f"{op}-{name}-{kind}") for kind, _ in wrong_values(value)]
    return found


def run(op: str, call: Call) -> Any:
    if op == "field_rescale" and not torch.cuda.is_available():  # of CUDA only: what its shapes are asked for
        return field.operators._rescale_shape(*call.values())
    return getattr(torch.ops.neufield, op)(*call.values())


def assert_a_sentence(error: BaseException, *names: str) -> None:
    said = str(error)
    assert "\n" not in said
    assert any(re.search(rf"\b{re.escape(name)}\b", said) for name in names), said
    assert len(said) < 500


def test_every_operator_has_a_right_call() -> None:
    assert operators() == sorted(CALLS)


@pytest.mark.parametrize("op", CALLS)
def test_a_right_call_is_taken(op: str) -> None:
    schema = getattr(torch.ops.neufield, op).default._schema
    assert [argument.name for argument in schema.arguments] == list(CALLS[op]())
    run(op, CALLS[op]())


@pytest.mark.parametrize(("op", "name", "kind"), cases())
def test_a_wrong_argument_is_refused(op: str, name: str, kind: str) -> None:
    call = CALLS[op]()
    wrong = dict(wrong_values(call[name]))[kind]
    if (op, name, kind) in RIGHT:
        run(op, call | {name: wrong})
    else:
        with pytest.raises(NeufieldError) as error:
            run(op, call | {name: wrong})
        assert_a_sentence(error.value, op, "spec", "fused", "native", *call)


@pytest.mark.parametrize("op", [op for op in CALLS if op != "field_rescale"])
def test_what_says_the_shapes_refuses_the_same(op: str) -> None:
    """Fake tensors, which torch.compile goes through a program with."""
    call = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in CALLS[op]().items()}
    for name, value in call.items():
        if not isinstance(value, Tensor):
            continue
        for kind, wrong in wrong_tensors(CALLS[op]()[name]):
            numbers = kind in ("negative", "beyond", "far beyond", "out of order")
            if wrong is None or numbers or kind == "meta" or (op, name, kind) in RIGHT_SOMEWHERE:
                continue
            with pytest.raises(NeufieldError) as error:
                getattr(torch.ops.neufield, op)(*(call | {name: wrong.to("meta")}).values())
            assert_a_sentence(error.value, op, *call)


def along(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of intervals, given their parts."""

    def of_parts(sigma, starts, ends, ray_ids, n_rays: int, rgb: Tensor | None = None, **more: Any) -> Any:
        values = (sigma,) if rgb is None else (sigma, rgb)
        return function(*values, Intervals(ray_ids, n_rays, starts, ends), **more)

    return of_parts


def march_of(kernel: volume.MarchKernel, jitter: Tensor, occupied: Tensor, **rays: Tensor) -> Any:
    return kernel.march(Rays(**rays), jitter, occupied, radiance_spec().march)


def kernel_calls() -> dict[str, tuple[Callable[..., Any], Call]]:
    """Every kernel of every op by its methods, and right arguments of these."""
    found: dict[str, tuple[Callable[..., Any], Call]] = {}
    spec, inner = small_grid(3), field_spec("grid", "relu", False, 16, 1, 3)
    points, inputs = grid_call("x", "table"), field_inputs(inner, N)
    del points["spec"]
    for kernel in grid.KERNELS:
        found[f"grid {kernel.name}"] = partial(kernel.encode, spec=spec), points
    own = {name: inputs[name] for name in ("x", "table", "params")}
    taught = own | {"target": inputs["mix"], "weight": torch.ones(N)}
    evaluations = {kernel.name: (kernel.evaluate, kernel.fused_loss) for kernel in field.KERNELS}
    for name, (evaluate, fused_loss) in (evaluations | {"torch": (field.evaluate, field.fused_loss)}).items():
        found[f"field {name}"] = partial(evaluate, spec=inner), own
        found[f"regress {name}"] = partial(fused_loss, loss="l2", spec=inner), taught
    for march in volume.KERNELS:
        found[f"march {march.name}"] = partial(march_of, march), rays_call()
    columns = {name: value for name, value in composite_call().items() if name != "rgb"}
    for composite in volume.COMPOSITE_KERNELS:
        found[f"composite {composite.name}"] = partial(along(composite.composite), n_rays=RAYS), composite_call()
        seen = partial(along(composite.visibility_mask), n_rays=RAYS, early_stop_eps=0.01)
        found[f"visible {composite.name}"] = seen, columns
    return found


KERNEL_CALLS = kernel_calls()


@pytest.mark.parametrize("which", KERNEL_CALLS)
def test_every_kernel_refuses_the_same(which: str) -> None:
    """Also those that torch, tiny-cuda-nn and nerfacc compute; what they take more of is floating point of any size."""
    function, call = KERNEL_CALLS[which]
    alone = which.split()[0] in ("grid", "field")  # points without anything that comes with each
    for name, value in call.items():
        for kind, wrong in wrong_tensors(value):
            channels = name == "rgb" and "triton" not in which and kind in ("narrower", "wider")
            more_points = name == "x" and alone and kind in ("shorter", "longer", "empty")
            bytes_or_mask = name in ("target", "weight") and kind in ("int8", "int32", "complex64")
            precision = kind.startswith(("float", "bfloat")) and value.is_floating_point()
            if wrong is None or bytes_or_mask or channels or more_points or precision:
                continue
            with pytest.raises(NeufieldError) as error:
                function(**(call | {name: wrong}))
            assert_a_sentence(error.value, *call)


def test_every_kernel_of_every_op_was_called() -> None:
    called = {which.split()[1] for which in KERNEL_CALLS}
    everywhere = (*grid.KERNELS, *field.KERNELS, *volume.KERNELS, *volume.COMPOSITE_KERNELS, *radiance.KERNELS)
    assert called == {kernel.name for kernel in everywhere}
