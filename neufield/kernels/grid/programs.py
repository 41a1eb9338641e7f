"""The grid's programs in Triton: one for each of the three operators; :mod:`.cell_programs` has what they call.

A program takes BLOCK points in GROUP levels. Blocks are the faster axis of the launch, so that all programs at work
read (or add to) the same few levels, which then stay in the L2 cache; GROUP * F numbers of a point are a sector of
memory (32 bytes), so that rows of features are written without being read first.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl

from neufield.kernels.gpu import Variant
from neufield.kernels.grid import sorted_programs
from neufield.kernels.grid.cell_programs import add_gradient, gradient, interpolate, read_level, read_points
from neufield.kernels.grid.launch_shapes import constants, shape
from neufield.kernels.grid.spec import GridSpec


@triton.jit(do_not_specialize=["n"])
@no_type_check
def gather(
    x,
    table,
    v,
    levels,
    out,
    n,
    n_levels,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    ALONG: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """``out`` (n, n_levels * F): the features of points ``x`` (n, DIM), or their derivative along ``v`` (n, DIM)."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    point = tl.arange(0, BLOCK)[:, None]
    level = tl.program_id(1) * GROUP + tl.arange(0, GROUP)[None, :]
    live = point < n - start
    mask = live & (level < n_levels)
    at = read_points(x + start * DIM, point, live, DIM)
    along = ()
    if ALONG:
        along = read_points(v + start * DIM, point, live, DIM)
    record = read_level(levels, tl.minimum(level, n_levels - 1))
    features = interpolate(table, at, record, mask, DIM, F, INTERPOLATION, HASHED, along, ALONG)
    columns = tl.expand_dims((point * n_levels + level) * F, -1) + tl.arange(0, F)
    tl.store(out + start * n_levels * F + columns, features, mask=tl.expand_dims(mask, -1))


@triton.jit(do_not_specialize=["n"])
@no_type_check
def scatter(
    x,
    g,
    v,
    levels,
    by_table,
    n,
    n_levels,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    ALONG: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Adds to ``by_table`` what the gradient ``g`` (n, n_levels * F) of ``gather`` is to the table."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    point = tl.arange(0, BLOCK)[:, None]
    level = tl.program_id(1) * GROUP + tl.arange(0, GROUP)[None, :]
    live = point < n - start
    mask = live & (level < n_levels)
    at = read_points(x + start * DIM, point, live, DIM)
    along = ()
    if ALONG:
        along = read_points(v + start * DIM, point, live, DIM)
    record = read_level(levels, tl.minimum(level, n_levels - 1))
    columns = tl.expand_dims((point * n_levels + level) * F, -1) + tl.arange(0, F)
    slope = tl.load(g + start * n_levels * F + columns, mask=tl.expand_dims(mask, -1), other=0.0)
    add_gradient(by_table, at, record, slope, mask, DIM, F, INTERPOLATION, HASHED, along, ALONG)


@triton.jit(do_not_specialize=["n"])
@no_type_check
def contract(
    x,
    table,
    g,
    v,
    levels,
    out,
    n,
    n_levels,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    ALONG: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """``out`` (groups, n, DIM): what the gradient ``g`` of ``gather`` is to the points, group by group of levels."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    point = tl.arange(0, BLOCK)[:, None]
    level = tl.program_id(1) * GROUP + tl.arange(0, GROUP)[None, :]
    live = point < n - start
    mask = live & (level < n_levels)
    at = read_points(x + start * DIM, point, live, DIM)
    along = ()
    if ALONG:
        along = read_points(v + start * DIM, point, live, DIM)
    record = read_level(levels, tl.minimum(level, n_levels - 1))
    columns = tl.expand_dims((point * n_levels + level) * F, -1) + tl.arange(0, F)
    slope = tl.load(g + start * n_levels * F + columns, mask=tl.expand_dims(mask, -1), other=0.0)
    totals = gradient(table, at, record, slope, mask, DIM, F, INTERPOLATION, HASHED, along, ALONG)
    rows = out + (tl.program_id(1).to(tl.int64) * n + start) * DIM + point * DIM
    for j in tl.static_range(DIM):
        tl.store(rows + j, tl.expand_dims(tl.sum(totals[j], axis=1), 1), mask=live)


def variants() -> list[Variant]:
    """All that a training step may launch in the workloads W (2-D pictures) and V (3-D, as the radiance presets)."""
    image = GridSpec(2, log2_hashmap_size=15, per_level_scale=1.5)
    volume = GridSpec(3, per_level_scale=1.447)
    plain = [_variant(program, spec) for spec in (image, volume) for program in (gather, scatter)]
    pull = [
        _variant(contract, volume),
        *[_variant(program, volume, along=True) for program in (gather, scatter, contract)],
    ]
    return [*plain, *pull, _variant(gather, volume, "*fp16"), *sorted_programs.variants(volume)]


def _variant(program: Any, spec: GridSpec, table: str = "*fp32", along: bool = False) -> Variant:
    types = {"table": table, "levels": "*i32", "n": "i32", "n_levels": "i32"}
    known = constants(spec) | shape(spec) | {"ALONG": along}
    name = f"grid {program.__name__}, {spec.dim}-D, {table.strip('*')} table{', along' if along else ''}"
    signature = {name: types.get(name, "*fp32") for name in program.arg_names if name not in known}
    return Variant(name, program, signature, known)
