"""What bfloat16 factors cost in quality: the preset ngp on pictures, in float32 and in the native kernels' bf16.

    python benchmarks/bf16.py PICTURE... [--steps N]

The arithmetic of AMX and AVX512-BF16 is a product of factors rounded to bfloat16, summed in float32; here the rounding
is done in PyTorch, so that it can be seen on a machine without either, slowly. Forward, gradient by inputs and gradient
by weights are rounded as native/mlp.hpp does it. Rows go to benchmarks/results/bf16.json.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor, nn

import neufield as nf
from neufield.signals import Image

RESULTS = Path(__file__).parent / "results" / "bf16.json"


def rounded(values: Tensor) -> Tensor:
    """To bfloat16 and back."""
    return values.bfloat16().float()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = rounded(x), rounded(weight)
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = rounded(gradient)
        return gradient @ weight, gradient.t() @ x


class RoundedLinear(nn.Linear):
    """A linear map with rounded factors."""

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self.weight)
        return y if self.bias is None else y + self.bias


def fitted(image: Image, steps: int | None, bf16: bool) -> float:
    """PSNR in dB of the whole picture after the preset's steps."""
    field = nf.presets.ngp(2, image.channels, image.shape, generator=torch.Generator().manual_seed(0))
    recipe = field.recipe if steps is None else dataclasses.replace(field.recipe, steps=steps)
    if bf16:
        for layer in field.network.layers:
            layer.__class__ = RoundedLinear
        field.backend = "torch"  # the network by its layers; the grid stays native
    state = nf.fit(field, image, recipe, evaluate_every=recipe.steps)
    with torch.no_grad(), state.ema.applied(field):
        return image.evaluate(field).value


def main() -> None:
    """Each picture both ways; what is in the file is not run again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, help="default: the preset's")
    options = parser.parse_args()
    nf.keep_freed_memory()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for path in options.pictures:
        if path.stem not in rows:
            image = Image(path)
            rows[path.stem] = {kind: fitted(image, options.steps, kind == "bf16") for kind in ("fp32", "bf16")}
            RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
        row = rows[path.stem]
        print(f"{path.stem}: fp32 {row['fp32']:.2f} dB, bf16 {row['bf16']:.2f} dB, {row['bf16'] - row['fp32']:+.2f}")


if __name__ == "__main__":
    main()
