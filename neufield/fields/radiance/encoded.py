"""Encoding and network for what is there, a second network for how it looks: instant-ngp, and all of its kin."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Network, RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Recipe
from neufield.core.records import Event
from neufield.core.shapes import check_points
from neufield.fields.neural import NeuralField
from neufield.fields.radiance.checks import check_three_dimensional, code_of
from neufield.fields.radiance.density import DensityActivation
from neufield.fields.radiance.directional_head import DirectionalHead, Headed
from neufield.kernels.dispatch import Accelerated
from neufield.kernels.ops import EncodingOp, MLPOp, RadianceOp
from neufield.kernels.plan import required
from neufield.kernels.radiance import HarmonicsSpec
from neufield.networks.fused import evaluate_network, plan_network


class EncodedRadiance(RadianceField, Headed, Accelerated):
    """``network(encoding(x))``, its channel 0 the density's logit; ``color_network(its output, direction(d))``.

    Instant-ngp (arXiv 2201.05989, section 5.4) with a hash grid; a hybrid K-Planes with planes. The color network sees
    all of the first one's channels, the logit among them, as in the paper (nerfacc and torch-ngp leave it out). It
    reads what ``direction`` encodes of the unit d as (d + 1) / 2, and must end within [0, 1]: a sigmoid.

    With a ``code_dim`` it also reads so many numbers of the photograph's, behind the other two (NeRF-W, arXiv
    2008.02268, section 4.1; nerfacto's embedding): colors may then differ between photographs, densities not.

    Encoding and network are one :class:`NeuralField`, so that a fused kernel serves them where there is one; on a GPU
    one serves the color network too.
    """

    def __init__(
        self,
        encoding: Encoding,
        network: Network,
        direction: Encoding,
        color_network: Network,
        density_activation: DensityActivation | None = None,
        recipe: Recipe | None = None,
        code_dim: int = 0,
    ) -> None:
        super().__init__()
        check_three_dimensional(encoding=encoding, direction=direction)
        expected = network.out_dim + direction.out_dim + code_dim
        if color_network.in_dim != expected or color_network.out_dim != 3:
            raise ValueError(
                f"the color network takes {color_network.in_dim} features to {color_network.out_dim} values, but "
                f"{network.out_dim} of the network, {direction.out_dim} of the direction and {code_dim} of a code go "
                f"in, and red, green, blue come out; build it with in_dim={expected}, out_dim=3"
            )
        self.backbone = NeuralField(encoding, network)
        self.direction = direction
        self.color_network = color_network
        self.density_activation = density_activation or DensityActivation("trunc_exp")
        self.recipe = recipe or Recipe()
        self.code_dim = code_dim

    @property
    def encoding(self) -> Encoding:
        """The encoding of points."""
        return self.backbone.encoding

    @property
    def network(self) -> Network:
        """The network of the density."""
        return self.backbone.network

    def color_block(self) -> DirectionalHead | None:
        """See :class:`Headed`; None where the color also reads the codes of photographs."""
        return None if self.code_dim else DirectionalHead(self.direction, self.color_network)

    def geometry(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Geometry:
        """Density, and the network's output (..., network.out_dim) as features."""
        features = self.backbone(x)
        logit = features[..., 0]
        return Geometry(logit, self.density_activation(logit), features)

    def color(
        self,
        features: Float[Tensor, "*points F"],
        d: Float[Tensor, "*points 3"],
        cond: Conditioning | None = None,
    ) -> Float[Tensor, "*points 3"]:
        """The color of ``features`` along unit directions ``d``, in the photograph that ``cond.code`` belongs to."""
        check_points(d, 3, "d", self)
        code = code_of(cond, self.code_dim)
        seen = (d + 1) / 2
        inputs = [features, self.direction(seen)] + ([] if code is None else [code])
        return evaluate_network(self.color_network, torch.cat(inputs, dim=-1), seen, self.backend)

    def backends(self) -> Sequence[str]:
        """See :class:`Accelerated`."""
        return self.backbone.backends()

    def kernel_name(self, device: torch.device) -> str:
        """Name the kernel that computes the color network, if one is named; else that of the density network."""
        if self.backend in ("auto", "torch"):
            return self.backbone.kernel_name(device)
        found = required(plan_network(self.color_network, device, self.backend), self.backend, "the color network")
        return self.backend if found is None else found.kernel.name

    def op(self) -> RadianceOp | None:
        """Both networks, where nothing acts within them and the encoding is a grid."""
        geometry, color, direction = self.backbone.op(), self.color_network.op(), self.direction.op()
        if geometry is None or geometry.table is None or geometry.network.output_activation != "none":
            return None
        if not (isinstance(color, MLPOp) and isinstance(direction, EncodingOp)):
            return None
        if not isinstance(direction.spec, HarmonicsSpec):
            return None
        density = self.density_activation
        return RadianceOp(geometry, color, density.activation, density.shift, density.scale, direction.spec)

    def on_step(self, event: Event) -> None:
        """Encoding and network see the field's own coordinates."""
        self.backbone.on_step(event)
