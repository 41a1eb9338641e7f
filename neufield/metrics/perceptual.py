"""LPIPS, a learned distance between pictures (Zhang et al. 2018, arXiv 1801.03924), by the package of its authors."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import BackendError

Network = Literal["alex", "vgg"]
Distance = Callable[[Float[Tensor, "h w 3"], Float[Tensor, "h w 3"]], float]

# torchvision/models/{alexnet,vgg}.py
_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


def load_lpips(network: Network) -> Distance:
    """The distance (0 and up, smaller is better) of two pictures (H, W, 3), sRGB in [0, 1], by that ``network``.

    The package brings LPIPS's own weights (version 0.1), torchvision those of the network below them: a few hundred
    megabytes, fetched once into torch's hub folder. Raises BackendError, in one sentence, where something is missing.
    """
    try:
        import lpips
    except ImportError as error:
        raise BackendError(f'LPIPS needs a package ({error}); get it with: pip install "neufield[metrics]"') from None
    except Exception as error:  # a torchvision that was compiled for another torch, in its own words
        raise BackendError(
            f"LPIPS cannot start ({_first_line(error)}); install the torchvision that belongs to torch "
            f"{torch.__version__}, from where torch came"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips 0.1.4 asks torchvision in a way that torchvision has since renamed
            model = lpips.LPIPS(net=network, verbose=False).eval()
    except Exception as error:  # no network, a server's refusal, or whatever torch.load says of a damaged file
        raise BackendError(
            f"LPIPS has no weights of {network} ({_first_line(error)}); put "
            f"https://download.pytorch.org/models/{_FILES[network]} into {torch.hub.get_dir()}/checkpoints"
        ) from None

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> float:
        planes = [picture.clamp(0, 1).permute(2, 0, 1)[None] * 2 - 1 for picture in (a, b)]
        return float(model(*planes))

    return distance


def _first_line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".,")
