"""What an import costs, and what works where nothing but torch is installed; each in a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_a_new_process(code: str) -> dict:
    """What ``code`` leaves in ``answer``, from an interpreter that has imported nothing of ours."""
    program = f"import json, sys, time\n{code}\nprint(json.dumps(answer))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(result.stdout)


def test_import_neufield_alone_costs_next_to_nothing() -> None:
    code = "start = time.process_time()\nimport neufield\nseconds = time.process_time() - start\n"
    code += "answer = {'seconds': seconds, 'modules': list(sys.modules)}"
    answer = in_a_new_process(code)
    assert "torch" not in answer["modules"]
    # Measured 0.02 s of a processor's time; by the clock it is the neighbors', too.
    assert answer["seconds"] < 0.5


def test_the_library_adds_under_a_second_to_torch_and_loads_no_app() -> None:
    code = (
        "start = time.process_time()\nimport torch\nmiddle = time.process_time()\nimport neufield as nf\n"
        "nf.encodings, nf.fields, nf.presets, nf.fit, nf.load, nf.save, nf.Recipe\n"
        "seconds = time.process_time() - middle\n"
        "answer = {'torch': middle - start, 'neufield': seconds, 'modules': list(sys.modules)}"
    )
    answer = in_a_new_process(code)
    # Measured 0.4 to 0.5 s of a processor's time, beside 2 s for torch itself; by the clock it is the neighbors', too.
    assert answer["neufield"] < 1.0
    loaded = {module.partition(".")[0] for module in answer["modules"]}
    assert "torch" in loaded
    apps = {"tyro", "rich", "OpenImageIO", "PIL", "matplotlib", "scipy", "skimage", "beartype", "hypothesis"}
    assert loaded & apps == set()
    assert not any(module.startswith("neufield.apps") for module in answer["modules"])


# What a computer with nothing but torch has not; numpy, jaxtyping (in every signature) and safetensors come along.
ABSENT = (
    "tyro", "rich", "PIL", "OpenImageIO", "av", "pycolmap", "viser", "nerfacc", "tinycudann", "triton",
    "lpips", "torchvision", "scipy", "skimage", "matplotlib", "beartype", "hypothesis",
)  # fmt: skip
BARE = f"""
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import tempfile, torch
import neufield as nf
"""


def test_the_library_trains_saves_and_loads_where_only_torch_is() -> None:
    code = """
from neufield.renderers import Box, OccupancyGrid, render_rays
from neufield.core.rays import Rays
field = nf.presets.ngp(dim=2, out_dim=3, shape=(8, 8))
state = nf.fit(field, nf.signals.Array(torch.rand(8, 8, 3)), nf.Recipe(steps=2, batch_size=16))
with tempfile.TemporaryDirectory() as folder:
    nf.save(field, folder + "/field.safetensors")
    same = torch.equal(nf.load(folder + "/field.safetensors")(torch.zeros(1, 2)), field(torch.zeros(1, 2)))
ray = torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, -1.0]])
box = Box([-1, -1, -1], [1, 1, 1])
radiance = nf.presets.radiance.ngp(resolution=8)
rays = Rays(*ray, *box.near_far(*ray))
view = render_rays(radiance, OccupancyGrid(box, render_step_size=0.5), rays, background=torch.ones(1, 3))
rooms = [getattr(nf, name) for name in nf.__all__]
answer = {"steps": state.step, "same": same, "shape": list(view.rgb.shape)}
"""
    assert in_a_new_process(BARE + code) == {"steps": 2, "same": True, "shape": [1, 3]}


def test_a_picture_where_no_package_reads_one_is_a_sentence() -> None:
    code = """
try:
    nf.signals.Image
except nf.NeufieldError as error:
    answer = str(error)
"""
    said = in_a_new_process(BARE + code)
    assert re.fullmatch(r"signals\.Image needs (\w+), which is not installed; pip install \w+", said)
