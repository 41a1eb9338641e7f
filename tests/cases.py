"""One small instance of every public encoding, network and field; a new class adds its line here.

``test_contract`` holds each of them to the contract of :mod:`neufield.core.interfaces`, and fails when one is missing.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jaxtyping
import torch
from torch import Tensor, nn

from neufield.core.interfaces import Encoding, Modulation, Network
from neufield.core.recipe import Recipe, Step
from neufield.core.records import Event
from neufield.encodings import (
    SAPE,
    BlockDCT,
    Composite,
    Frequency,
    GaussianFourier,
    Grid,
    Identity,
    InterpolatedKronecker,
    KPlanes,
    Kronecker,
    OneBlob,
    Permutohedral,
    Progressive,
    RadialFourier,
    ShiftedBasis,
    SphericalHarmonics,
    TriangleWave,
    TriPlane,
)
from neufield.fields import DensityActivation, DensityField, LightField, NeuralField
from neufield.networks import (
    CAM,
    FAN,
    GRKAN,
    KAN,
    MLP,
    ActivationNetwork,
    Bacon,
    FiLM,
    Finer,
    FourierNet,
    Gabor,
    GaborNet,
    Gauss,
    IdentityHead,
    ModulusMaxima,
    ResidualMLP,
    Siren,
    SumOfNetworks,
    Wire,
)

Cases = Mapping[str, Callable[[], nn.Module]]

# Second derivatives by the input vanish wherever they exist; all other cases must show a nonzero one.
PIECEWISE_LINEAR = frozenset(
    {
        "Identity",
        "IdentityHead",
        "Permutohedral",
        "ShiftedBasis-triangle",
        "TriangleWave",
        "Grid-1d",
        "Grid-nearest",
        "MLP-relu",
    }
)


def seeded(seed: int = 0) -> torch.Generator:
    """A generator at its start."""
    return torch.Generator().manual_seed(seed)


def encoding_cases() -> Cases:
    """Every public encoding, the grid once per interpolation and storage."""
    small = {"n_levels": 2, "base_resolution": 2, "per_level_scale": 1.5}
    return {
        "InterpolatedKronecker": lambda: InterpolatedKronecker(shifted(1.2), [4, 3]),
        "Composite": lambda: Composite([Frequency(1, 2), OneBlob(2, 4), Identity(1)], starts=[2, 0, 1]),
        "Composite-product": lambda: Composite([Frequency(1, 2), OneBlob(1, 4)], reduction="product"),
        "Composite-sum": lambda: Composite([Frequency(1, 2), OneBlob(1, 4)], starts=[0, 0], reduction="sum"),
        "Frequency": lambda: Frequency(2, 3),
        "GaussianFourier": lambda: GaussianFourier(3, 5, 2.0, generator=seeded()),
        "Grid-1d": lambda: Grid(1, n_features_per_level=1, **small, generator=seeded()),
        "Grid-2d": lambda: Grid(2, **small, generator=seeded()),
        "Grid-hash": lambda: Grid(3, log2_hashmap_size=3, **small, generator=seeded()),
        "Grid-nearest": lambda: Grid(2, interpolation="nearest", **small, generator=seeded()),
        "Grid-smoothstep": lambda: Grid(2, interpolation="smoothstep", storage="dense", **small, generator=seeded()),
        "Grid-tiled": lambda: Grid(2, 2, 1, base_resolution=3, storage="tiled", generator=seeded()),
        "Kronecker": lambda: shifted(0.6),
        "Kronecker-3d": lambda: Kronecker([ShiftedBasis(1, "gaussian", 3, 0.4)] * 3, 2, "sine", generator=seeded()),
        "BlockDCT": lambda: BlockDCT(2, 3.0, [(0, 0), (1, 2), (3, 0)]),
        "Identity": lambda: Identity(3, 2.0, -1.0),
        "OneBlob": lambda: OneBlob(2, 4),
        "Permutohedral": lambda: Permutohedral(3, 2, 2, 4, 2.0, 1.5, generator=seeded()),
        "KPlanes": lambda: KPlanes([4, 9, 5], 2, generator=seeded()),
        "TriPlane": lambda: TriPlane([5, 4], 1, [1, 2], generator=seeded()),
        "Progressive": lambda: told(Progressive(Frequency(2, 3), 6)),
        "RadialFourier": lambda: RadialFourier(2, 3, 1.5, generator=seeded()),
        "RadialFourier-alone": lambda: RadialFourier(3, 4, 1.5, coordinates=False, generator=seeded()),
        "SAPE": lambda: told(SAPE(RadialFourier(2, 4, 1.5, generator=seeded()), resolution=6, threshold=0.5)),
        "SAPE-axes": lambda: told(SAPE(Frequency(3, 2), 6, resolution=5, threshold=0.5, axes=[2, 0])),
        "SAPE-grid": lambda: told(SAPE(Grid(2, **small, generator=seeded()), 4, resolution=4, threshold=0.5)),
        "ShiftedBasis": lambda: ShiftedBasis(2, n_shifts=4, width=0.3, circulant=True),
        "ShiftedBasis-sine": lambda: ShiftedBasis(3, "sine", 4, 1.3, directions="diagonals"),
        "ShiftedBasis-triangle": lambda: ShiftedBasis(2, "triangle", 4, 0.4, offset=0.3),
        "SphericalHarmonics": lambda: SphericalHarmonics(4),
        "TriangleWave": lambda: TriangleWave(2, 3),
    }


def told(encoding: Encoding) -> Encoding:
    """``encoding`` after 11 steps of a run of 40, whose errors grow from one corner to the other."""
    x = torch.rand(200, encoding.in_dim, generator=seeded(3))
    for step in range(1, 12):
        encoding.on_step(Event(step, step / 40, x, x.mean(-1)))
    return encoding


def network_cases() -> Cases:
    """Every public network; the MLP once with every smooth branch and once as it usually is."""
    return {
        "MLP-CAM": lambda: MLP(3, 2, 4, 2, "tanh", modulation=CAM([3, 2], 2, [2, 0]), generator=seeded()),
        "MLP-FiLM": lambda: MLP(2, 3, 4, 1, "tanh", modulation=FiLM(4, 1, 2, generator=seeded(1)), generator=seeded()),
        "Bacon": lambda: Bacon(2, 1, [2.0, 3.0], 4, [0.5, 0.2, 0.3], [1, 2], "tanh", generator=seeded()),
        "FourierNet": lambda: FourierNet(2, 3, 4, 2, 3.0, generator=seeded()),
        "GaborNet": lambda: GaborNet(2, 3, 4, 2, 3.0, 4.0, "signed_to_unit", generator=seeded()),
        "FAN": lambda: FAN(3, 2, 6, 2, generator=seeded()),
        "FAN-gated": lambda: FAN(2, 1, 5, 1, 0.3, True, True, "sigmoid", generator=seeded()),
        "GRKAN": lambda: GRKAN(4, 2, 6, 2, 2, generator=seeded()),
        "KAN": lambda: KAN(2, 3, 4, 1, 3, generator=seeded()),
        "KAN-quadratic": lambda: KAN(3, 1, 3, 2, 4, 2, False, "sigmoid", generator=seeded()),
        "MLP-relu": lambda: MLP(3, 2, 5, 2, bias=False, generator=seeded()),
        "MLP-skips": lambda: MLP(3, 2, 4, 3, "softplus", "sigmoid", skips=[1, 2], generator=seeded()),
        "MLP-sine": lambda: MLP(2, 3, 4, 1, "sine", generator=seeded()),
        "MLP-linear": lambda: MLP(2, 3, 4, 0, output_activation="tanh", generator=seeded()),
        "IdentityHead": lambda: IdentityHead(3),
        "IdentityHead-tanh": lambda: IdentityHead(2, "tanh"),
        "ResidualMLP": lambda: ResidualMLP(3, 2, 4, 2, generator=seeded()),
        "Siren": lambda: Siren(2, 3, 4, 2, 3.0, 2.0, generator=seeded()),
        "Siren-CAM": lambda: Siren(2, 1, 4, 1, 3.0, 2.0, modulation=CAM([3], 1, [1], 4, "none"), generator=seeded()),
        "Siren-outside": lambda: Siren(2, 1, 4, 1, 3.0, 2.0, bias="outside", generator=seeded()),
        "Siren-FiLM": lambda: Siren(2, 1, 4, 1, 3.0, 2.0, modulation=FiLM(4, 2), generator=seeded()),
        "Siren-small": lambda: Siren(1, 1, 4, 1, 3.0, 2.0, "inside_small", "signed_to_unit", generator=seeded()),
        "Split": lambda: SumOfNetworks(
            Wire(2, 2, 4, 1, 0.0, 1.0, generator=seeded()),
            Siren(2, 2, 3, 1, 2.0, 3.0, generator=seeded(1)),
            "tanh",
        ),
        # The gradient of the detached factor is not that of the function: tests/test_wave_networks.py has it.
        "ActivationNetwork-finer": lambda: ActivationNetwork(
            2, 3, Finer(2.0, 1.5, 0.7, detached=False), 4, 2, "signed_to_unit", generator=seeded()
        ),
        "ActivationNetwork-gabor": lambda: ActivationNetwork(1, 1, Gabor(3.0, 2.0), 4, 1, generator=seeded()),
        "ActivationNetwork-gauss": lambda: ActivationNetwork(3, 2, Gauss(1.0), 4, 1, generator=seeded()),
        "ActivationNetwork-CAM": lambda: ActivationNetwork(
            2, 1, Gauss(1.0), 4, 1, modulation=CAM([3], 2, [1], 4, "none"), generator=seeded()
        ),
        "Wire": lambda: Wire(2, 3, 6, 1, 3.0, 1.5, generator=seeded()),
        "Wire-2": lambda: Wire(2, 1, 6, 2, 2.0, 1.0, 2, ModulusMaxima([2.0], 8), "sigmoid", generator=seeded()),
    }


def modulated_networks() -> dict[str, Callable[[Modulation], Network]]:
    """Every public network that takes a modulation, by its name: how one with three hidden layers of 8 is made."""
    found: dict[str, Callable[[Modulation], Network]] = {}
    for make in network_cases().values():
        case = make()
        names = inspect.signature(type(case)).parameters
        if "modulation" not in names or type(case).__name__ in found:
            continue
        arguments = {name: getattr(case, name) for name in names if name != "generator"} | {"in_dim": 6, "width": 8}
        arguments["n_hidden_layers"] += 3 - hidden_layers(case)
        found[type(case).__name__] = partial(_modulated, type(case), arguments)
    return found


def _modulated(kind: type[Network], arguments: dict[str, object], modulation: Modulation) -> Network:
    return kind(**arguments | {"modulation": modulation})


def hidden_layers(network: Network) -> int:
    """How often a network with as many layers calls its modulation."""
    return len(network.layers) - 1


def field_cases() -> Cases:
    """Every public field."""
    return {
        "DensityField": lambda: DensityField(
            Frequency(3, 2), MLP(12, 1, 4, 1, "tanh", generator=seeded()), DensityActivation("softplus", -1.0, 2.0)
        ),
        "LightField": lambda: LightField(ResidualMLP(27, 3, 4, 1, generator=seeded()), 0.5, 2.0, 3, 1, recipe=Recipe()),
        "NeuralField": lambda: NeuralField(
            Frequency(2, 2),
            MLP(8, 3, 4, 1, "tanh", generator=seeded()),
            Recipe(lr=0.5, lr_factors={"encoding": 2.0}, schedule=Step(start=7), steps=3),
        ),
    }


def shifted(width: float) -> Kronecker:
    """A small Kronecker encoding of two different axes, with shifts ``width`` of a spacing wide."""
    axes = [ShiftedBasis(1, "gaussian", 4, width / 4), ShiftedBasis(1, "gaussian", 3, width / 3, circulant=True)]
    return Kronecker(axes, 2, generator=seeded())


def all_cases() -> Cases:
    """Encodings, networks and fields."""
    return {**encoding_cases(), **network_cases(), **field_cases()}


def points_for(part: nn.Module, *shape: int, seed: int = 1) -> Tensor:
    """Inputs (*shape, in_dim), uniform in (0.05, 0.95)."""
    return torch.rand(*shape, part.in_dim, generator=seeded(seed)) * 0.9 + 0.05


def evaluate(part: nn.Module, inputs: Tensor) -> Tensor:
    """``part`` at ``inputs``; a network is told that they are its points too."""
    return part(inputs, inputs) if isinstance(part, Network) else part(inputs)


def trained(part: nn.Module, inputs: Tensor) -> Tensor:
    """The sum of all that is trained of ``part`` at ``inputs``."""
    if isinstance(part, Network):
        return sum(y.sum() for y in part.outputs(inputs, inputs))
    return part(inputs).sum()


@contextlib.contextmanager
def without_type_checks() -> Iterator[None]:
    """Inside the block signatures are not executed, as outside of tests: our own errors speak."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
