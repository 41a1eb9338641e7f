"""The objective that trains a scene's model on its images."""

from neufield.fitting import Photometric
from neufield.presets.scene.background import choose_background
from neufield.presets.scene.sampling import check_distortion, penalties
from neufield.renderers import RadianceScene
from neufield.signals.posed_images import PosedImages


def photometric(
    model: RadianceScene, images: PosedImages, background: str = "auto", distortion: float = 0.0
) -> Photometric:
    """The objective that trains ``model`` on its ``images``: loss, background, and the sampler's penalties.

    ``distortion`` is the weight of mip-NeRF 360's loss for light in one place on each ray. Model and images are told
    the background that images without alpha are seen on.
    """
    check_distortion(distortion)
    behind, _ = choose_background(model, images, background)
    return Photometric(model.recipe.loss, behind, penalties(model, distortion))
