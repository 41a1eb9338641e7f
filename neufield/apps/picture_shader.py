"""GLSL (ES 3.00, of WebGL 2) that computes a picture's field: a grid's levels, then layers of ReLUs.

Numbers come from two textures: the grid's table, an entry a texel, in half precision; and the network's matrices and
biases, four float32 numbers a texel, row after row filled up to fours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from neufield.encodings import Grid
from neufield.functional.grid_levels import PRIMES, GridLevel
from neufield.networks import MLP

WIDTH = 2048  # texels of a texture's row, which every WebGL 2 has
_SWIZZLES = {1: "r", 2: "rg", 4: "rgba"}
_LAST = {"none": "v", "relu": "max(v, 0.)", "sigmoid": "1. / (1. + exp(-v))", "tanh": "tanh(v)"}
FEATURES, OUTPUTS = tuple(_SWIZZLES), tuple(_LAST)


def shader(grid: Grid, network: MLP) -> str:
    """The function ``vec4 field(vec2 x)``, x in the order of the field's axes, and what it needs."""
    spec = grid.spec
    fours = -(-grid.out_dim // 4)
    widest = -(-max(grid.out_dim, network.width) // 4)
    levels = "\n".join(_level(level, i * spec.n_features_per_level, spec.n_features_per_level)
                       for i, level in enumerate(spec.levels))  # fmt: skip
    layers, begin = [], 0
    for i, (n_out, n_in) in enumerate(_shapes(network)):
        last = i == network.n_hidden_layers
        layers.append(f"  layer(a, b, {begin}, {n_in}, {n_out});")
        layers.append(f"  for (int i = 0; i < {n_out}; ++i) {{ vec4 v = b[i]; "
                      f"a[i] = {_LAST[network.output_activation if last else 'relu']}; }}")  # fmt: skip
        begin += 4 * n_out * n_in + n_out
    weight = "u * u * (3. - 2. * u)" if spec.interpolation == "smoothstep" else "u"
    return f"""
uniform highp sampler2D table, numbers;
vec4 number(int i) {{ return texelFetch(numbers, ivec2(i % {WIDTH}, i / {WIDTH}), 0); }}
vec4 entry(uint i) {{ return texelFetch(table, ivec2(int(i) % {WIDTH}, int(i) / {WIDTH}), 0); }}
uint row(uvec2 c, uint res, uint size, bool hashed) {{
  return hashed ? ((c.x * {PRIMES[0]}u) ^ (c.y * {PRIMES[1]}u)) & (size - 1u) : (c.x + c.y * res) % size;
}}
vec4 level(vec2 x, float scale, uint res, uint size, uint offset, bool hashed) {{
  vec2 p = x * scale + .5, u = p - floor(p);
  uvec2 c = uvec2(floor(p));
  vec2 w = {weight};
  vec4 below = mix(entry(offset + row(c, res, size, hashed)),
                   entry(offset + row(c + uvec2(1, 0), res, size, hashed)), w.x);
  vec4 above = mix(entry(offset + row(c + uvec2(0, 1), res, size, hashed)),
                   entry(offset + row(c + 1u, res, size, hashed)), w.x);
  return mix(below, above, w.y);
}}
void layer(vec4 a[{widest}], out vec4 b[{widest}], int begin, int n, int m) {{
  for (int i = 0; i < m; ++i) {{
    vec4 sum = number(begin + 4 * m * n + i);
    for (int k = 0; k < n; ++k) {{
      int at = begin + 4 * i * n + k;
      sum += vec4(dot(number(at), a[k]), dot(number(at + n), a[k]),
                  dot(number(at + 2 * n), a[k]), dot(number(at + 3 * n), a[k]));
    }}
    b[i] = sum;
  }}
}}
vec4 field(vec2 x) {{
  vec4 a[{widest}], b[{widest}];
  for (int i = 0; i < {fours}; ++i) a[i] = vec4(0.);
{levels}
{chr(10).join(layers)}
  return a[0];
}}
"""


def network_numbers(network: MLP) -> Tensor:
    """The texels (n, 4) of the network, as :func:`shader` reads them."""
    found = []
    for layer in network.layers:
        assert isinstance(layer, torch.nn.Linear)
        rows, columns = layer.weight.shape
        found.append(pad(layer.weight.detach(), (0, -columns % 4, 0, -rows % 4)).flatten())
        bias = torch.zeros(rows) if layer.bias is None else layer.bias.detach()
        found.append(pad(bias, (0, -rows % 4)))
    return torch.cat(found).float().view(-1, 4)


def _shapes(network: MLP) -> Sequence[tuple[int, int]]:
    """The outputs and inputs of each matrix, in fours."""
    widths = [network.in_dim, *[network.width] * network.n_hidden_layers, network.out_dim]
    fours = [-(-width // 4) for width in widths]
    return list(zip(fours[1:], fours[:-1], strict=True))


def _level(level: GridLevel, begin: int, features: int) -> str:
    """The statement that fills a level's features in, from the ``begin``th on."""
    call = (
        f"level(x, {level.scale!r}, {level.resolution}u, {level.size}u, {level.offset}u, {str(level.hashed).lower()})"
    )
    place = "rgba"[begin % 4 : begin % 4 + features]
    return f"  a[{begin // 4}].{place} = {call}.{_SWIZZLES[features]};"
