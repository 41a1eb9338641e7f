"""What the numbers are called, in logs and for people, and which way is better."""

from collections.abc import Mapping

from neufield.core.metrics import Metric

PSNR = Metric("psnr", "PSNR", "dB", digits=2)
SSIM = Metric("ssim", "SSIM")
LPIPS = Metric("lpips", "LPIPS", higher_is_better=False)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (PSNR, SSIM, LPIPS)}


def describe(values: Mapping[str, float | None]) -> str:
    """Those of ``values`` that have a name for people: "PSNR 33.51 dB, SSIM 0.9712"."""
    known = [(METRICS[name], value) for name, value in values.items() if name in METRICS]
    return ", ".join(f"{metric.title} {metric.text(value)}" for metric, value in known)
