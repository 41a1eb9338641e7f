"""Numbers of the grid, computed once by hand-written code and stored."""

import torch

from neufield.kernels.grid import GridSpec

# From references.grid_encode on the points and tables below, written down on the day of the first commit.
# (dim, storage, interpolation) -> features of the two points.
STORED = {
    (1, "hash", "linear"): [
        [0.2564356436, 0.5168316832, 0.6970297030],
        [0.1693069307, 0.3633663366, 0.5336633663],
    ],
    (2, "hash", "linear"): [
        [0.4297029703, 0.5799504950, 0.8205445545],
        [0.2861386139, 0.4839108911, 0.2829207921],
    ],
    (2, "dense", "smoothstep"): [
        [0.4697574257, 0.3626955446, 0.8837642327],
        [0.3169108911, 0.5127326733, 0.4511930693],
    ],
    (2, "tiled", "linear"): [
        [0.4297029703, 0.4193069307, 0.4866336634],
        [0.2891089109, 0.1084158416, 0.6574257426],
    ],
    (3, "hash", "linear"): [
        [0.4469405941, 0.3371707921, 0.5894504950],
        [0.4509900990, 0.7923267327, 0.4017326733],
    ],
    (3, "hash", "smoothstep"): [
        [0.4229306096, 0.3005869286, 0.5521625724],
        [0.4397623762, 0.8779195545, 0.3095866337],
    ],
    (3, "tiled", "nearest"): [
        [0.6930693069, 0.9504950495, 0.5148514851],
        [0.3267326733, 0.8217821782, 0.5148514851],
    ],
    (3, "dense", "nearest"): [
        [0.6930693069, 0.1386138614, 0.3465346535],
        [0.3960396040, 0.2970297030, 0.1683168317],
    ],
    (4, "hash", "linear"): [
        [0.5204003960, 0.3814314109, 0.4996451980],
        [0.6396039604, 0.6836633663, 0.4017326733],
    ],
    (4, "tiled", "smoothstep"): [
        [0.3874415369, 0.6396027954, 0.5686938150],
        [0.7080000000, 0.1046262376, 0.2894084158],
    ],
}


def stored_spec(dim: int, storage: str, interpolation: str) -> GridSpec:
    return GridSpec(dim, 3, 1, 6, 3, 4.0, storage, interpolation)  # powers of 2 are exact in any libm


def stored_table(entries: int) -> torch.Tensor:
    """Row i holds (37 i mod 101) / 101."""
    return (37 * torch.arange(entries, dtype=torch.float64) % 101 / 101).unsqueeze(-1)


def stored_points(dim: int) -> torch.Tensor:
    return torch.tensor([[0.1, 0.625, 0.97, 0.33], [-0.4, 1.75, 12.5, 0.5]], dtype=torch.float64)[:, :dim]
