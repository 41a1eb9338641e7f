"""How rendered pictures are judged: what each tool does between a picture and its PSNR, as data.

The same picture has another number in each tool; a comparison holds only within one protocol. Read in (commit):
bmild/nerf 14c5556, NVlabs/instant-ngp abe236e, nerfstudio-project/nerfstudio 50e0e3c, nerfbaselines/nerfbaselines
cde53bd; paths are beside each entry of :data:`PROTOCOLS`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neufield.core.errors import ConfigError, nearest
from neufield.metrics.perceptual import Distance, Network
from neufield.metrics.similarity import psnr, ssim

Background = Literal["black", "white"]
ColorSpace = Literal["srgb", "linear"]
Rounding = Literal["nearest", "floor"]
Resize = Literal["area", "bilinear", "bicubic"]

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything between a rendered picture and its score. Steps are taken in the order of the fields.

    Args:
        split: of the scene whose pictures are scored.
        every: only every n-th picture of it, from the first on.
        resize: how a ground truth of another size than the picture is brought to it: "area", each stored channel by
            itself; "bilinear" or "bicubic", antialiased with colors weighted by alpha, as Pillow does it, before
            its rounding to 8 bit. None refuses.
        background: what both pictures are put on, in their stored (sRGB) values. None drops the alpha and keeps the
            stored colors of even the most transparent pixels.
        color_space: in which values are compared; pictures come in sRGB.
        clip: to [0, 1].
        rounding: of both pictures to 8 bit, which clips too. "floor" is a plain cast to uint8.
        average: of many pictures, "images": the mean of their PSNRs; "mse": the PSNR of the mean of their errors.
        ssim_window: side in pixels, odd.
        ssim_sigma: of the Gaussian in pixels; None for equal weights.
        ssim_border: "crop" keeps the positions whose window lies in the picture; "mirror" takes all pixels, the picture
            continued by its mirror image.
        ssim_range: span of the values; None takes the larger of the two pictures' own spans.
        ssim_channels: "mean" of the channels' scores, or the one score of the "luminance".
        lpips: its network, None where it is not part of the protocol.
    """

    split: str
    every: int
    resize: Resize | None
    background: Background | None
    color_space: ColorSpace
    clip: bool
    rounding: Rounding | None
    average: Literal["images", "mse"]
    ssim_window: int
    ssim_sigma: float | None
    ssim_border: Literal["crop", "mirror"]
    ssim_range: float | None
    ssim_channels: Literal["mean", "luminance"]
    lpips: Network | None


PROTOCOLS: Mapping[str, Protocol] = {
    # run_nerf.py (render_path: float, per picture, printed; --testskip 8 is the default and paper_configs/ keep it;
    # white_bkgd composites straight RGBA), load_blender.py (half_res: tf.image.resize_area before compositing). The
    # repository computes neither SSIM nor LPIPS: the window is the one of google-research jaxnerf/nerf/utils.py
    # (compute_ssim), the network the one by which nerfbaselines/evaluation.py repeats the paper.
    "nerf": Protocol(
        split="test",
        every=8,
        resize="area",
        background="white",
        color_space="srgb",
        clip=False,
        rounding=None,
        average="images",
        ssim_window=11,
        ssim_sigma=1.5,
        ssim_border="crop",
        ssim_range=1.0,
        ssim_channels="mean",
        lpips="vgg",
    ),
    # scripts/run.py (--test_transforms: black background, linear_to_srgb, clip, PSNR per picture), scripts/common.py
    # (SSIM: luminance of the sRGB values, five taps .120 .234 .292 .234 .120, which is sigma 1.5, over
    # scipy.ndimage.convolve1d's "reflect" border). With --nerf_compatibility, as in the paper: without it the ground
    # truth is blended in linear light (src/render_buffer.cu, overlay_image_kernel) and other numbers result.
    "ingp": Protocol(
        split="test",
        every=1,
        resize=None,
        background="black",
        color_space="srgb",
        clip=True,
        rounding=None,
        average="images",
        ssim_window=5,
        ssim_sigma=1.5,
        ssim_border="mirror",
        ssim_range=1.0,
        ssim_channels="luminance",
        lpips=None,
    ),
    # nerfstudio/models/nerfacto.py (get_image_metrics_and_images: torchmetrics, SSIM without data_range, LPIPS with its
    # default AlexNet), model_components/renderers.py (clamped to [0, 1] at evaluation; "random" renders on black even
    # where the truth is on white), pipelines/base_pipeline.py (mean over pictures), utils/eval_utils.py (test_mode
    # "test"), data/dataparsers/blender_dataparser.py (alpha_color "white"), data/datasets/base_dataset.py (bilinear).
    "nerfstudio": Protocol(
        split="test",
        every=1,
        resize="bilinear",
        background="white",
        color_space="srgb",
        clip=True,
        rounding=None,
        average="images",
        ssim_window=11,
        ssim_sigma=1.5,
        ssim_border="crop",
        ssim_range=None,
        ssim_channels="mean",
        lpips="alex",
    ),
    # nerfbaselines/evaluation.py (both pictures through image_to_srgb to uint8, mean over pictures), utils.py
    # (convert_image_dtype: "round to 8-bit" is a cast, so it rounds down), metrics.py (dm_pix's SSIM),
    # datasets/blender.py (white; its evaluation protocol "nerf" reports LPIPS with VGG beside this AlexNet),
    # datasets/_common.py (Pillow, bicubic).
    "nerfbaselines": Protocol(
        split="test",
        every=1,
        resize="bicubic",
        background="white",
        color_space="srgb",
        clip=True,
        rounding="floor",
        average="images",
        ssim_window=11,
        ssim_sigma=1.5,
        ssim_border="crop",
        ssim_range=1.0,
        ssim_channels="mean",
        lpips="alex",
    ),
}


def protocol(name: str) -> Protocol:
    """The protocol of that name; raises ConfigError for one that is not in :data:`PROTOCOLS`."""
    if name not in PROTOCOLS:
        raise ConfigError(f"there is no protocol '{name}'{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def score(
    render: Float[Tensor, "_ _ _"],
    truth: Float[Tensor, "_ _ _"],
    protocol: Protocol,
    distances: Mapping[Network, Distance] | None = None,
) -> dict[str, float]:
    """``psnr`` (dB) and ``ssim`` of one picture, and ``lpips`` where ``distances`` has the protocol's network.

    ``render`` (H, W, 3 or 4) is what compositing gives: with alpha, its colors are already multiplied by it; without,
    it is taken to be on the protocol's background. ``truth`` (h, w, 3 or 4) is as stored in a file: its alpha straight.
    Both are sRGB, in [0, 1] where they are in range. Raises ValueError when shapes do not fit the protocol.
    """
    for name, picture in (("render", render), ("truth", truth)):
        if picture.shape[2] not in (3, 4):
            raise ValueError(f"{name} has shape {tuple(picture.shape)}, but it must be (H, W, 3) or (H, W, 4)")
    truth = _resized(truth, (render.shape[0], render.shape[1]), protocol.resize)
    a = _prepared(_placed(render, protocol.background, premultiplied=True), protocol)
    b = _prepared(_placed(truth, protocol.background, premultiplied=False), protocol)
    scores = {"psnr": psnr((a.double() - b.double()).square().mean()), "ssim": _ssim(a, b, protocol)}
    if protocol.lpips is not None and distances and protocol.lpips in distances:
        scores["lpips"] = distances[protocol.lpips](a, b)
    return scores


def score_all_protocols(
    render: Float[Tensor, "_ _ _"],
    truth: Float[Tensor, "_ _ _"],
    protocols: Mapping[str, Protocol] = PROTOCOLS,
    distances: Mapping[Network, Distance] | None = None,
) -> dict[str, dict[str, float]]:
    """:func:`score` of the same pair under every one of ``protocols``, by name."""
    if render.shape[-1] == 3 and truth.shape[-1] == 4:
        raise ValueError(
            "the picture has no alpha but its ground truth has, so it cannot be put on each protocol's background; "
            "render it with its opacity, as (H, W, 4)"
        )
    return {name: score(render, truth, one, distances) for name, one in protocols.items()}


def average(scores: Sequence[Mapping[str, float]], protocol: Protocol) -> dict[str, float]:
    """One score for many pictures, at least one, as the protocol averages them; only metrics that all of them have."""
    if not scores:
        raise ValueError("there is nothing to average; score at least one picture")
    common = [name for name in scores[0] if all(name in one for one in scores)]
    mean = {name: math.fsum(one[name] for one in scores) / len(scores) for name in common}
    if protocol.average == "mse":
        mean["psnr"] = psnr(math.fsum(10 ** (-one["psnr"] / 10) for one in scores) / len(scores))
    return mean


def _resized(picture: Tensor, size: tuple[int, int], rule: Resize | None) -> Tensor:
    if tuple(picture.shape[:2]) == size:
        return picture
    if rule is None:
        raise ValueError(
            f"the picture is {size[1]} x {size[0]} and its ground truth {picture.shape[1]} x {picture.shape[0]} "
            f"pixels, but this protocol never resizes; render at the ground truth's size"
        )
    if rule == "area":
        return _planes(F.interpolate, picture, size=size, mode="area")
    weighted = torch.cat([picture[..., :3] * picture[..., 3:], picture[..., 3:]], dim=2) if _alpha(picture) else picture
    weighted = _planes(F.interpolate, weighted, size=size, mode=rule, antialias=True).clamp(0, 1)
    if not _alpha(picture):
        return weighted
    alpha = weighted[..., 3:]
    return torch.cat([torch.where(alpha > 0, weighted[..., :3] / alpha, 0.0).clamp(max=1), alpha], dim=2)


def _planes(change: Callable[..., Tensor], picture: Tensor, **options: object) -> Tensor:
    return change(picture.permute(2, 0, 1)[None], **options)[0].permute(1, 2, 0)


def _alpha(picture: Tensor) -> bool:
    return picture.shape[2] == 4


def _placed(picture: Tensor, background: Background | None, premultiplied: bool) -> Tensor:
    """Put a picture on a background, in float32, as the tools do it: rounding down afterwards sees the last bit."""
    picture = picture.detach().cpu().float()
    if not _alpha(picture) or background is None:
        return picture[..., :3]
    color, alpha = picture[..., :3], picture[..., 3:]
    if not premultiplied:
        color = color * alpha
    return color + (1 - alpha) if background == "white" else color


def _prepared(picture: Tensor, protocol: Protocol) -> Tensor:
    if protocol.color_space == "linear":
        picture = torch.where(picture > 0.04045, ((picture.clamp(min=0) + 0.055) / 1.055) ** 2.4, picture / 12.92)
    if protocol.clip:
        picture = picture.clamp(0, 1)
    if protocol.rounding is not None:
        levels = picture.clamp(0, 1) * 255
        picture = (levels.floor() if protocol.rounding == "floor" else levels.round()) / 255
    return picture


def _ssim(a: Tensor, b: Tensor, protocol: Protocol) -> float:
    a, b = a.double(), b.double()
    if protocol.ssim_channels == "luminance":
        weights = torch.tensor(_LUMINANCE, dtype=torch.float64)
        a, b = (a @ weights)[..., None], (b @ weights)[..., None]
    peak = protocol.ssim_range
    if peak is None:  # torchmetrics, functional/image/ssim.py
        peak = max(float(a.max() - a.min()), float(b.max() - b.min()))
    return ssim(a, b, peak, protocol.ssim_window, protocol.ssim_sigma, protocol.ssim_border == "mirror")
