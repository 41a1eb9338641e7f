"""The canonical coordinate networks: hash grid, Fourier features, SIREN, NeRF's octaves, and a compact spectrum."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from neufield.core import exact
from neufield.core.recipe import Cosine, Recipe
from neufield.encodings import BlockDCT, Composite, Frequency, GaussianFourier, Grid, Identity
from neufield.fields import NeuralField
from neufield.networks import MLP, Siren
from neufield.presets.fresh import Axis, evenly
from neufield.presets.registry import preset
from neufield.presets.sizes import GRID, BytesKnob

__all__ = ["compact", "ffn", "growth", "nerf_frequency", "ngp", "siren"]


@preset("ngp", sizes=GRID)
def ngp(
    dim: int = 2,
    out_dim: int = 3,
    shape: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """Instant-NGP (arXiv 2201.05989): 16-level hash grid and a 64x2 ReLU network without biases.

    With a ``shape``, the finest level has one vertex per cell of the longest side (the paper takes half of that for
    images; twice is worth several dB here) and the table has as many entries as the lattice has cells, within
    2^14 .. 2^20. Without, the finest resolution is 2048 and the table 2^19.

    The recipe takes many small steps, and forgets squared gradients sooner (0.95) than the paper (0.99): in the first
    four seconds on a picture these are worth 8 dB and 2 dB (benchmarks/README.md).
    """
    finest = max(shape) if shape else 2048
    cells = math.prod(shape) if shape else 2**19
    encoding = Grid(
        dim,
        log2_hashmap_size=min(20, max(14, (cells - 1).bit_length())),
        per_level_scale=growth(16, finest, 16),
        generator=generator,
    )
    network = MLP(encoding.out_dim, out_dim, bias=False, generator=generator)
    recipe = Recipe(lr=1e-2, beta2=0.95, l2_reg=1e-6, schedule=Cosine(), steps=1500, batch_size=16_384)
    return NeuralField(encoding, network, recipe)


@preset("compact", sizes=[BytesKnob()])
def compact(
    shape: Sequence[int],
    out_dim: int,
    max_bytes: int,
    atoms: int = 64,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """A picture's field whose float16 file is no larger than ``max_bytes``: a spectrum of ``atoms`` cosines per cell.

    A dense grid holds the coefficients, as many cells as the bytes allow; a linear read-out mixes them to channels: a
    block cosine transform with a learned palette rather than a network. Of the constructions tried at the size of a PNG
    it was the only one beyond 36 dB on every Kodak picture (benchmarks/README.md). It is made for the picture's own
    pixels: the field jumps at the edges of its cells, so enlargements may show them and derivatives say little.
    Files below about 10 kB leave no room for it; the field is then larger than the picture.
    """
    height, width = shape
    numbers = max(1024, (max_bytes - 4096) // 2)  # 4 kB for the header
    atoms = min(atoms, max(8, numbers // 64 // 8 * 8))
    cells = max(2, math.isqrt((numbers - 8 * atoms - out_dim * (atoms + 1)) // atoms))  # rows round up to 8
    # Which cosines: by the energy that pictures have at their frequency, 1/f^2, in luma and, far less, in each chroma.
    # A color picture so gets its low frequencies three times, for the read-out to give to luma and chroma.
    energies = (1.0, 0.05, 0.03, 0.05)[:out_dim]
    scale = cells - 1
    ranked = sorted(
        (-energy / ((i * scale / 2 / height) ** 2 + (j * scale / 2 / width) ** 2 + 1e-4), i, j)
        for i in range(height // scale + 1)  # up to the frequency at which pixels alternate
        for j in range(width // scale + 1)
        for energy in energies
    )
    orders = [(i, j) for _, i, j in ranked[:atoms]]
    grid = Grid(
        2,
        n_levels=1,
        n_features_per_level=len(orders),
        base_resolution=cells,
        per_level_scale=1.0,
        storage="dense",
        interpolation="nearest",
        generator=generator,
    )
    encoding = Composite([grid, BlockDCT(2, float(scale), orders)], starts=[0, 0], reduction="product")
    network = MLP(encoding.out_dim, out_dim, n_hidden_layers=0, generator=generator)
    return NeuralField(encoding, network, Recipe(lr=3e-2, steps=400, storage="float16"))


@preset("ffn", fresh=Axis("encoding.sigma", evenly(1, 20, 2.0)))
def ffn(
    dim: int = 2,
    out_dim: int = 3,
    sigma: float = 10.0,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """Gaussian Fourier features (arXiv 2006.10739): 256 frequencies of ``sigma`` cycles per box, 256x3 ReLU, sigmoid.

    Adam with the usual second-moment decay of 0.999, and three times the paper's rate: better at every length tried
    (benchmarks/README.md). The output lies in [0, 1]; for other ranges ``--set network.output_activation=none``.
    """
    encoding = GaussianFourier(dim, sigma=sigma, generator=generator)
    network = MLP(encoding.out_dim, out_dim, 256, 3, output_activation="sigmoid", generator=generator)
    return NeuralField(encoding, network, Recipe(lr=3e-3, beta2=0.999, epsilon=1e-8, steps=1000))


@preset("siren", fresh=Axis("network.omega_0", evenly(1, 20, 10.0)))
def siren(
    dim: int = 2,
    out_dim: int = 3,
    omega_0: float = 30.0,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """SIREN (arXiv 2006.09661): a first sine layer and three more of width 256, omega 30, targets read as [-1, 1].

    The rate is the best of those tried on a picture (benchmarks/README.md); the paper takes a tenth of it.
    """
    network = Siren(dim, out_dim, omega_0=omega_0, output_activation="signed_to_unit", generator=generator)
    return NeuralField(Identity(dim), network, Recipe(lr=1e-3, beta2=0.999, epsilon=1e-8, steps=1000))


@preset("nerf_frequency")
def nerf_frequency(
    dim: int = 3,
    out_dim: int = 4,
    generator: torch.Generator | None = None,
) -> NeuralField:
    """NeRF's network (arXiv 2003.08934): octaves of sines and a 256x8 ReLU network with a skip into hidden layer 5.

    Ten octaves, and one more because our box is [0, 1] where the paper's is [-1, 1].
    """
    encoding = Frequency(dim, n_frequencies=11)
    network = MLP(encoding.out_dim, out_dim, 256, 8, skips=[5], generator=generator)
    return NeuralField(encoding, network, Recipe(lr=5e-4, beta2=0.999, epsilon=1e-8, steps=1000))


def growth(coarsest: int, finest: int, n_levels: int) -> float:
    """The ``per_level_scale`` that leads from ``coarsest`` to ``finest`` in ``n_levels`` (arXiv 2201.05989, eq. 3)."""
    return max(1.0, exact.power(Fraction(finest) / Fraction(coarsest), Fraction(1, max(1, n_levels - 1))))
