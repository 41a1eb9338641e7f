"""``neufield export --to html``: a page that computes a picture's field itself, to zoom into without an end.

One file that any browser with WebGL 2 opens, without a server and without us: numbers, compressed, and a shader.
"""

import base64
import html
import json
import zlib
from pathlib import Path

import torch

from neufield.apps.console import Terminal
from neufield.apps.load_field import load_field
from neufield.apps.options import ExportAny
from neufield.apps.picture_shader import FEATURES, OUTPUTS, WIDTH, network_numbers, shader
from neufield.core.errors import ConfigError, DataError
from neufield.core.files import write_atomically
from neufield.encodings import Grid
from neufield.field_files import load_signal
from neufield.fields import NeuralField
from neufield.formats.pixels import ImageFacts
from neufield.networks import MLP
from neufield.signals.exporters import image_facts

_ROWS = 8192  # of a texture, which today's machines have; WebGL 2 itself promises 2048


def export_page(options: ExportAny, path: Path, out: Path, console: Terminal) -> None:
    """Write the page of the picture's field in ``path``."""
    info = load_signal(path)
    if info.kind != "image":
        raise ConfigError(
            f"{path} holds no picture, but a page shows pictures alone so far; write --to onnx, or render it"
        )
    field = load_field(path, "cpu", options.backend)
    page = picture_page(field, image_facts(info, str(path)), info.name)
    write_atomically(out, lambda temporary: Path(temporary).write_text(page, encoding="utf-8"))
    console.print(f"{out}: {len(page.encode()):,} bytes, for any browser with WebGL 2", soft_wrap=True)


def picture_page(field: object, facts: ImageFacts, name: str) -> str:
    """The page's HTML; raises ConfigError for a field that its shader does not compute."""
    lacking = (
        "a page computes a grid and a perceptron of ReLUs (presets ngp and compact): fit or distill to one of these"
    )
    if not isinstance(field, NeuralField):
        raise ConfigError(lacking)
    grid, network = field.encoding, field.network
    if not isinstance(grid, Grid) or not isinstance(network, MLP) or grid.in_dim != 2:
        raise ConfigError(lacking)
    plain = network.op() is not None and network.n_hidden_layers > 0 and network.activation == "relu"
    known = network.output_activation in OUTPUTS and network.out_dim <= 4
    if not (plain and known and grid.spec.n_features_per_level in FEATURES and grid.spec.interpolation != "nearest"):
        raise ConfigError(lacking)
    if facts.transfer == "linear":
        raise ConfigError("the picture is in linear light without a bound, which a page does not show; render it")
    if grid.spec.n_entries > WIDTH * _ROWS:
        raise DataError(
            f"the grid has {grid.spec.n_entries:,} entries, but a texture {WIDTH * _ROWS:,}; fit a smaller one"
        )
    data = {
        "table": _coded(grid.table.detach().clamp(-65_504, 65_504).half()),
        "numbers": _coded(network_numbers(network)),
        "features": grid.spec.n_features_per_level,
        "width": facts.width,
        "height": facts.height,
        "channels": network.out_dim,
    }
    replaced = {
        "TITLE": html.escape(name),
        "DATA": json.dumps(data),
        "SHADER": shader(grid, network),
        "ROW": str(WIDTH),
    }
    page = _PAGE
    for key, text in replaced.items():
        page = page.replace(f"@{key}@", text)
    return page


def _coded(values: torch.Tensor) -> str:
    return base64.b64encode(zlib.compress(values.contiguous().numpy().tobytes(), 9)).decode()


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>@TITLE@</title>
<style>html,body{margin:0;height:100%;background:#222;overflow:hidden}canvas{width:100vw;height:100vh;display:block;
cursor:grab;touch-action:none}p{color:#eee;font:16px sans-serif;position:fixed;left:1em;bottom:.5em}</style>
<canvas></canvas><p id="said"></p>
<script>
"use strict";
const data = @DATA@;
const vertex = `#version 300 es
void main() { gl_Position = vec4(vec2[](vec2(-1., -1.), vec2(3., -1.), vec2(-1., 3.))[gl_VertexID], 0., 1.); }`;
const fragment = `#version 300 es
precision highp float; precision highp int;
uniform vec2 corner, pixel; uniform float height; out vec4 color;
@SHADER@
void main() {
  vec2 at = corner + vec2(gl_FragCoord.x, height - gl_FragCoord.y) * pixel;
  if (any(lessThan(at, vec2(0.))) || any(greaterThan(at, vec2(1.)))) { color = vec4(vec3(.13), 1.); return; }
  vec4 v = clamp(field(at.yx), 0., 1.);
  int channels = ${data.channels};
  vec3 seen = channels < 3 ? v.rrr : v.rgb;
  float alpha = channels == 2 ? v.g : channels == 4 ? v.a : 1.;
  color = vec4(mix(vec3(.5), seen, alpha), 1.);
}`;
const canvas = document.querySelector("canvas"), said = document.getElementById("said");
const gl = canvas.getContext("webgl2", {alpha: false, antialias: false, preserveDrawingBuffer: true});
let corner = [0, 0], unit = 1, waiting = false, program;  // unit: of the picture's width, a pixel of the screen

async function bytes(text) {
  const raw = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
function texture(place, name, internal, format, type, values, channels) {
  const rows = Math.ceil(values.length / channels / @ROW@), full = new values.constructor(rows * @ROW@ * channels);
  full.set(values);
  gl.activeTexture(gl.TEXTURE0 + place);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.texImage2D(gl.TEXTURE_2D, 0, internal, @ROW@, rows, 0, format, type, full);
  for (const end of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, end, gl.NEAREST);
  gl.uniform1i(gl.getUniformLocation(program, name), place);
}
function compiled(kind, text) {
  const made = gl.createShader(kind);
  gl.shaderSource(made, text); gl.compileShader(made); gl.attachShader(program, made);
  if (!gl.getShaderParameter(made, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(made));
}
function draw() {
  waiting = false;
  const aspect = data.width / data.height;
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.uniform2f(gl.getUniformLocation(program, "corner"), corner[0], corner[1]);
  gl.uniform2f(gl.getUniformLocation(program, "pixel"), unit, unit * aspect);
  gl.uniform1f(gl.getUniformLocation(program, "height"), canvas.height);
  gl.drawArrays(gl.TRIANGLES, 0, 3);
}
function ask() { if (!waiting) { waiting = true; requestAnimationFrame(draw); } }
function whole() {
  canvas.width = Math.round(innerWidth * devicePixelRatio); canvas.height = Math.round(innerHeight * devicePixelRatio);
  unit = Math.max(1 / canvas.width, data.height / data.width / canvas.height);
  const aspect = data.width / data.height;
  corner = [(1 - canvas.width * unit) / 2, (1 - canvas.height * unit * aspect) / 2];
  ask();
}
function zoom(x, y, factor) {
  const aspect = data.width / data.height;
  factor = Math.max(1e-6, unit * factor) / unit;  // beyond, float32 ends
  corner = [corner[0] + x * unit * (1 - factor), corner[1] + y * unit * aspect * (1 - factor)];
  unit *= factor;
  ask();
}
async function begin() {
  if (!gl) throw new Error("this browser has no WebGL 2");
  program = gl.createProgram();
  compiled(gl.VERTEX_SHADER, vertex); compiled(gl.FRAGMENT_SHADER, fragment);
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  gl.useProgram(program);
  const kinds = {1: [gl.R16F, gl.RED], 2: [gl.RG16F, gl.RG], 4: [gl.RGBA16F, gl.RGBA]}[data.features];
  const table = new Uint16Array(await bytes(data.table)), numbers = new Float32Array(await bytes(data.numbers));
  texture(0, "table", ...kinds, gl.HALF_FLOAT, table, data.features);
  texture(1, "numbers", gl.RGBA32F, gl.RGBA, gl.FLOAT, numbers, 4);
  const held = new Map();
  canvas.onpointerdown = event => { held.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); };
  canvas.onpointerup = canvas.onpointercancel = event => held.delete(event.pointerId);
  canvas.onpointermove = event => {
    const before = held.get(event.pointerId), ratio = devicePixelRatio;
    if (!before) return;
    const others = [...held.values()].filter(one => one.pointerId !== event.pointerId);
    if (others.length) {
      const far = one => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      zoom(others[0].clientX * ratio, others[0].clientY * ratio, far(before) / far(event));
    } else {
      corner[0] -= (event.clientX - before.clientX) * ratio * unit;
      corner[1] -= (event.clientY - before.clientY) * ratio * unit * data.width / data.height;
      ask();
    }
    held.set(event.pointerId, event);
  };
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(event.clientX * devicePixelRatio, event.clientY * devicePixelRatio, Math.exp(event.deltaY / 500));
  }, {passive: false});
  canvas.ondblclick = whole;
  addEventListener("resize", whole);
  whole(); draw();
  document.body.dataset.drawn = "yes";
}
begin().catch(error => { said.textContent = "The picture cannot be drawn: " + error.message; });
</script>
"""
