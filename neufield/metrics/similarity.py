"""Similarity of two signals: PSNR from a mean squared error, SSIM from pictures or from bands of their rows."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_WINDOW = 11
_SIGMA = 1.5
_BAND_VALUES = 1 << 17  # fastest of 2^14 .. 2^20 on 2 cores: the float64 moments of a band stay in the cache


def psnr(mse: Float[Tensor, ""] | float, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error >= 0; ``peak`` > 0 is the largest possible value.

    A perfect copy (``mse`` 0) has infinity, an infinite error minus infinity, an undefined one (NaN) stays NaN.
    """
    mse = float(mse)
    if mse == 0:
        return math.inf
    if math.isinf(mse):
        return -math.inf
    return 10 * math.log10(peak * peak / mse)


def ssim(
    a: Float[Tensor, "_ _ _"],
    b: Float[Tensor, "_ _ _"],
    peak: float,
    window: int = _WINDOW,
    sigma: float | None = _SIGMA,
    mirrored: bool = False,
) -> float:
    """Structural similarity in [-1, 1] of two float pictures (H, W, C) whose values span ``peak``.

    Wang et al. 2004: a ``window`` of 11 x 11 pixels, Gaussian with ``sigma`` 1.5 (None: all weights equal), K1 = 0.01,
    K2 = 0.03, population covariance, channel by channel, then the mean over channels and over the positions where the
    whole window lies in the picture; over all pixels if ``mirrored``, where the picture goes on beyond its borders as
    its mirror image (d c b a | a b c d | d c b a). Raises ValueError when the shapes differ or are not (H, W, C).
    """
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}, but both must be the same (H, W, C)")
    if mirrored:
        a, b = _mirror(a, window // 2), _mirror(b, window // 2)
    height, width, channels = a.shape
    total = SsimBands(height, width, channels, peak, window, sigma)
    total.add(a, b)
    return total.value()


class SsimBands:
    """:func:`ssim` of two pictures that arrive as bands of rows, top to bottom, so neither need exist as a whole.

    Keeps only the last ``window - 1`` horizontally filtered rows: the halo that the next band's windows reach into. A
    picture with a side below ``window`` pixels gets the largest odd window that fits.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        peak: float,
        window: int = _WINDOW,
        sigma: float | None = _SIGMA,
    ) -> None:
        if min(height, width, channels) < 1:
            raise ValueError(f"the picture is {height} x {width} x {channels}, but needs at least one value")
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window is {window}, but it must be odd and above 0")
        side = min(window, height, width)
        side -= 1 - side % 2
        offset = torch.arange(side, dtype=torch.float64) - side // 2
        weights = torch.ones_like(offset) if sigma is None else torch.exp(-0.5 * (offset / sigma) ** 2)
        self._weights: list[float] = (weights / weights.sum()).tolist()
        self._shape = (height, width, channels)
        self._constants = ((0.01 * peak) ** 2, (0.03 * peak) ** 2)
        self._halo = torch.empty(4, 0, width - side + 1, channels, dtype=torch.float64)
        self._rows = 0
        self._sum = 0.0

    def add(self, a: Float[Tensor, "_ _ _"], b: Float[Tensor, "_ _ _"]) -> None:
        """The next rows (R, W, C) of both pictures, any R >= 1, floating point."""
        if a.shape != b.shape or a.shape[1:] != self._shape[1:] or self._rows + a.shape[0] > self._shape[0]:
            raise ValueError(
                f"bands of shape {tuple(a.shape)} and {tuple(b.shape)} do not fit a picture {self._shape} "
                f"of which {self._rows} rows are in"
            )
        rows = max(1, _BAND_VALUES // (a.shape[1] * a.shape[2]))
        for top in range(0, a.shape[0], rows):
            self._add_band(a[top : top + rows].double(), b[top : top + rows].double())
        self._rows += a.shape[0]

    def _add_band(self, a: Tensor, b: Tensor) -> None:
        # float64: variances are differences of nearly equal means, and float32 leaves 1e-4 of the constants in them.
        moments = torch.stack((a, b, a * a + b * b, a * b))
        filtered = torch.cat((self._halo, _slide(moments, self._weights, 2)), dim=1)
        reach = len(self._weights) - 1
        if filtered.shape[1] > reach:
            self._sum += float(_similarity(_slide(filtered, self._weights, 1), self._constants).sum())
        self._halo = filtered[:, max(0, filtered.shape[1] - reach) :].clone()

    def value(self) -> float:
        """The mean over all windows; every row must be in."""
        height, width, channels = self._shape
        if self._rows != height:
            raise ValueError(f"only {self._rows} of {height} rows were added; add the others first")
        reach = len(self._weights) - 1
        return self._sum / ((height - reach) * (width - reach) * channels)


def _mirror(picture: Tensor, margin: int) -> Tensor:
    """The picture (H, W, C) with ``margin`` pixels of its mirror image on all sides."""
    for axis in (0, 1):
        size = picture.shape[axis]
        index = torch.arange(-margin, size + margin) % (2 * size)
        picture = picture.index_select(axis, torch.minimum(index, 2 * size - 1 - index).to(picture.device))
    return picture


def _slide(maps: Tensor, weights: list[float], axis: int) -> Tensor:
    """Weighted sum of shifted copies along ``axis``, only where all shifts exist."""
    length = maps.shape[axis] - len(weights) + 1
    total = maps.narrow(axis, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        total.add_(maps.narrow(axis, shift, length), alpha=weight)
    return total


def _similarity(moments: Tensor, constants: tuple[float, float]) -> Tensor:
    """Equation 13 of Wang et al. from the filtered a, b, a^2 + b^2 and ab, stacked on axis 0."""
    mean_a, mean_b, squares, product = moments
    luminance, contrast = constants
    means = mean_a * mean_b
    energy = mean_a * mean_a + mean_b * mean_b
    return ((2 * means + luminance) * (2 * (product - means) + contrast)) / (
        (energy + luminance) * (squares - energy + contrast)
    )
