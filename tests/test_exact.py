"""What decides sizes and counts is the nearest number there is, on every machine."""

import itertools
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import held_down
import numpy as np
import pytest
import torch

from neufield.core import exact
from neufield.kernels.grid import GridSpec
from neufield.presets.baselines import growth

# 80-bit numbers are an independent and more precise source, where there are any.
EXTENDED = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no 80-bit numbers here")


def float32(x: float) -> float:
    return float(np.float32(x))


@EXTENDED
def test_exp2_and_log2_are_the_nearest_float32() -> None:
    rng = np.random.default_rng(0)
    for x in rng.uniform(-40, 60, 300).astype(np.float32).tolist():
        assert exact.exp2_float32(x) == float32(np.exp2(np.longdouble(x)))
    for x in rng.uniform(0.1, 1e4, 300).astype(np.float32).tolist():
        assert exact.log2_float32(x) == float32(np.log2(np.longdouble(x)))


def test_results_that_a_number_can_hold_are_that_number() -> None:
    assert [exact.exp2_float32(float(k)) for k in range(-30, 31)] == [2.0**k for k in range(-30, 31)]
    assert [exact.log2(2.0**k) for k in range(-30, 31)] == list(range(-30, 31))
    assert exact.power(Fraction(1, 8), Fraction(1, 3)) == 0.5
    assert exact.power(10, 3) == 1000.0
    assert exact.exp2_float32(500.0) == 2.0**500  # beyond float32's own range nothing is lost either


def test_a_root_lies_between_its_neighbors() -> None:
    """x is the nearest root of r exactly if r lies between the powers of the middles to its two neighbors."""
    for ratio, degree in itertools.product((Fraction(2048, 16), Fraction(521, 16), Fraction(7, 3)), (2, 7, 15)):
        root = exact.power(ratio, Fraction(1, degree))
        below = (Fraction(root) + Fraction(np.nextafter(root, 0))) / 2
        above = (Fraction(root) + Fraction(np.nextafter(root, np.inf))) / 2
        assert below**degree < ratio < above**degree


def test_powers_of_two_are_exact_in_torch() -> None:
    """Octaves are made by ``torch.exp2`` of whole numbers, in every instruction set it chooses among."""
    k = torch.arange(-30, 31)
    for dtype in (torch.float32, torch.float64):
        assert torch.exp2(k.to(dtype)).tolist() == [2.0**i for i in range(-30, 31)]


def test_the_growth_leads_to_the_finest_level_that_was_asked_for() -> None:
    for finest in (512, 768, 2048):
        assert GridSpec(2, per_level_scale=growth(16, finest, 16)).levels[-1].resolution in (finest, finest + 1)


def test_a_level_of_49_or_50_cells_is_one_of_50_everywhere() -> None:
    """log2(1.75) and the power of twice that are such that a last bit decides."""
    spec = GridSpec(2, base_resolution=16, per_level_scale=1.75, log2_hashmap_size=15)
    assert [level.resolution for level in spec.levels][:4] == [16, 28, 49, 86]
    assert [level.scale for level in spec.levels][:3] == [15.0, 27.0, 48.0]


_PROGRAM = """
import json
import sys
from pathlib import Path
import numpy as np
import torch
import neufield as nf
from neufield import presets
from neufield.core.config import describe
from neufield.kernels.grid import GridSpec
from neufield.presets import RadianceFacts, SignalFacts

folder, where = Path(sys.argv[1]), sys.argv[2]
facts = SignalFacts(2, 3, (61, 97), 20_000)
made = {name: presets.find(name)(facts, torch.Generator().manual_seed(0)) for name in presets.names()}
radiance = {name: presets.find(name, "radiance") for name in presets.names("radiance")}
made |= {"radiance_" + name: make(RadianceFacts(32)) for name, make in radiance.items()}
grids = [GridSpec(3, base_resolution=n, per_level_scale=b).levels
         for n in (8, 16, 31) for b in (1.26, 1.3819, 1.4472692, 1.5, 1.75, 1.9)]
def shapes(field):
    return [describe(field), [[name, list(value.shape)] for name, value in field.state_dict().items()]]

larger = {name: make(RadianceFacts(64)) for name, make in radiance.items()}
structures = [
    [[[level.scale, level.resolution, level.size] for level in levels] for levels in grids],
    {name: shapes(field) for name, field in made.items()},
    {name: shapes(field) for name, field in larger.items()},
]
(folder / f"{where}.json").write_text(json.dumps(structures, sort_keys=True))
if where == "here":
    for name, field in made.items():
        nf.save(field, folder / f"{name}.safetensors")
generator = torch.Generator().manual_seed(1)
for path in sorted(folder.glob("*.safetensors")):
    field = nf.load(path)
    with torch.no_grad():
        if path.name.startswith("radiance_"):
            values = field.geometry(torch.rand(257, 3, generator=generator)).sigma
        else:
            values = field(torch.rand(257, 2, generator=generator))
    np.save(path.with_suffix(f".{where}.npy"), values.double().numpy())
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process finds as it is, and what another does with the vector units held down, which reads its files."""
    folder = tmp_path_factory.mktemp("both")
    for where, more in (("here", {}), ("down", held_down.environment())):
        command = [sys.executable, "-c", _PROGRAM, str(folder), where]
        done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder


def test_every_structure_is_the_same_with_the_vector_units_held_down(both: Path) -> None:
    here, down = [json.loads((both / f"{where}.json").read_text()) for where in ("here", "down")]
    assert len(here[1]) > 20
    assert here == down


def test_a_file_written_here_is_the_same_function_with_the_vector_units_held_down(both: Path) -> None:
    errors = {}
    for path in sorted(both.glob("*.here.npy")):
        here, down = np.load(path), np.load(path.with_suffix("").with_suffix(".down.npy"))
        errors[path.name] = np.linalg.norm(down - here) / np.linalg.norm(here)
    assert len(errors) > 20
    # Measured up to 1.1e-6, with AVX2 against none: sums in another order, through sines of 30 times their argument.
    assert not {name: float(error) for name, error in errors.items() if error > 1e-5}
