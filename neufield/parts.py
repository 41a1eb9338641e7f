"""The classes that a file or a ``--set`` may name, and the fields written to and rebuilt from files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from neufield import encodings, fields, renderers
from neufield.core import recipe, teaching
from neufield.core.config import build, describe
from neufield.core.errors import ConfigError, DataError
from neufield.core.interfaces import Field, RadianceField
from neufield.core.wrappers import unwrapped
from neufield.fitting.files import read_header, read_tensors, write_tensors

PARTS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        encodings.Blended,
        encodings.Composite,
        encodings.Frequency,
        encodings.GaussianFourier,
        encodings.Grid,
        encodings.Identity,
        encodings.Kronecker,
        encodings.LocalCosine,
        encodings.OneBlob,
        encodings.Permutohedral,
        encodings.Planes,
        encodings.Progressive,
        encodings.RadialFourier,
        encodings.SAPE,
        encodings.SphericalHarmonics,
        encodings.TriangleWave,
        fields.CAM,
        encodings.ShiftedBasis,
        fields.FAN,
        fields.GRKAN,
        fields.KAN,
        fields.MLP,
        fields.Bacon,
        fields.CanonicalRadiance,
        fields.Density,
        fields.DensityField,
        fields.FiLM,
        fields.Finer,
        fields.FourierNet,
        fields.Gabor,
        fields.GaborNet,
        fields.Gauss,
        fields.ModulusMaxima,
        fields.NerfRadiance,
        fields.NeuralField,
        fields.NeuralRadiance,
        fields.PassThrough,
        fields.Siren,
        fields.Split,
        fields.VectorMatrixRadiance,
        fields.VoxelRadiance,
        fields.WaveNetwork,
        fields.Wire,
        recipe.Constant,
        recipe.Cosine,
        recipe.Exponential,
        recipe.Recipe,
        recipe.Step,
        renderers.Appearance,
        renderers.Box,
        renderers.Cameras,
        renderers.Contraction,
        renderers.Exposure,
        renderers.Hierarchical,
        renderers.NDC,
        renderers.Occupancy,
        renderers.PosedField,
        renderers.Proposals,
        renderers.Refinement,
        renderers.Stratified,
        teaching.ConstantRatio,
        teaching.CosineRatio,
        teaching.INT,
        teaching.Intervals,
        teaching.LinearRatio,
        teaching.StepRatio,
    )
}


def save(field: Field | RadianceField, path: str | Path, *, storage: str | None = None, **facts: Any) -> None:
    """Write ``field`` to one ``.safetensors``: weights, and a JSON header from which ``load`` rebuilds it anywhere.

    A wrapper around one field, such as torch.compile's or DistributedDataParallel, is taken off.

    ``storage`` is "float32" or "float16", by default the recipe's; ``facts`` (signal, seed ...) must be JSON-able.
    """
    field = unwrapped(field)
    config = describe(field)
    dtype = getattr(torch, storage or field.recipe.storage)
    tensors = {name: v.to(dtype) if v.is_floating_point() else v for name, v in field.state_dict().items()}
    write_tensors(path, "field", tensors, {"field": config, **facts})


def load(path: str | Path) -> Field | RadianceField:
    """Rebuild the field that ``save`` wrote, in float32 on the CPU. Runs nothing that the file brings along."""
    tensors, header = read_tensors(path, "field")
    try:
        with torch.device("meta"):  # the file's own sizes are checked before anything is allocated for them
            field = build(header["field"], PARTS, "field")
        weights = {name: v.float() if v.is_floating_point() else v for name, v in tensors.items()}
        field.load_state_dict(weights, assign=True)
    except (ConfigError, KeyError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"{path} does not describe a field that this neufield can build ({_first_line(error)})"
        ) from None
    return field


def load_facts(path: str | Path) -> dict[str, Any]:
    """The header of a field's file: config, signal, seed, versions."""
    return read_header(path, "field")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
