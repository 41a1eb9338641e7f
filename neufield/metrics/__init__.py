"""How good a field is, in numbers: what they are called, how they are computed, and how each tool judges pictures."""

from neufield.metrics.names import LPIPS, METRICS, PSNR, SSIM, describe
from neufield.metrics.perceptual import Distance, Network, load_lpips
from neufield.metrics.protocols import PROTOCOLS, Protocol, average, protocol, score, score_all_protocols
from neufield.metrics.similarity import SsimBands, psnr, ssim

__all__ = [
    "LPIPS",
    "METRICS",
    "PROTOCOLS",
    "PSNR",
    "SSIM",
    "Distance",
    "Network",
    "Protocol",
    "SsimBands",
    "average",
    "describe",
    "load_lpips",
    "protocol",
    "psnr",
    "score",
    "score_all_protocols",
    "ssim",
]
