"""What an encoding can memorise and what it keeps near: numbers of its features, before anything is trained."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding

_NEAR = 0.1  # arXiv 2107.02561 calls two points near while their product is above this share of a point's own


def line(encoding: Encoding, n: int = 1000, axis: int = 0) -> Float[Tensor, "n out_dim"]:
    """The features, without a gradient, of ``n`` cell centers along ``axis`` through the middle of the unit box."""
    points = torch.full((n, encoding.in_dim), 0.5)
    points[:, axis] = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    with torch.no_grad():
        return encoding(points)


def stable_rank(features: Float[Tensor, "n k"]) -> float:
    """||X||_F^2 / ||X||_2^2 of ``features``, in [1, min(n, k)]: how many samples a linear map can tell apart.

    arXiv 2107.02561, section 3: memorising needs about as much as there are samples. A circulant Gaussian has
    1 / (2 sqrt(pi) width), up to n. Random Fourier features approach sqrt(2 pi) sigma only for sigma >> 1 and many
    draws per unit of frequency; a few hundred have much less, so measure.
    """
    rows = features.double()
    gram = rows @ rows.t() if rows.shape[0] <= rows.shape[1] else rows.t() @ rows
    return float(gram.trace() / torch.linalg.eigvalsh(gram)[-1])


def distance_preservation(features: Float[Tensor, "n k"]) -> float:
    """Half the share of displacements that stay near, in (0, 0.5], of ``features`` equally spaced along a line.

    Near is a product with the middle row above a tenth of that row's own (arXiv 2107.02561, section 3). A Gaussian has
    2 width sqrt(ln 10), rounded to 1 / (2 n), so that stable rank times distance preservation is sqrt(ln 10 / pi) =
    0.856 whatever its width: the trade-off.
    """
    rows = features.double()
    middle = rows[len(rows) // 2]
    near = rows @ middle > _NEAR * middle.square().sum()
    return float(near.double().mean()) / 2
