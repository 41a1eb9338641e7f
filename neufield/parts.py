"""The table of classes that a file or a ``--set`` may name, and how a program or a package adds its own."""

import dataclasses
import functools
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from neufield import encodings, fields, networks, renderers
from neufield.core import plan, recipe, sample_selection
from neufield.core.config import part_name
from neufield.core.errors import ConfigError

PLUGINS = "neufield.parts"  # the group of entry points in which installed packages name their parts
_OWN = "own"  # the room of what is not neufield's
SHIPPED: Mapping[str, type] = {
    part_name(kind): kind
    for kind in (
        encodings.BlockDCT,
        encodings.Composite,
        encodings.Frequency,
        encodings.GaussianFourier,
        encodings.Grid,
        encodings.Identity,
        encodings.InterpolatedKronecker,
        encodings.KPlanes,
        encodings.Kronecker,
        encodings.OneBlob,
        encodings.Permutohedral,
        encodings.Progressive,
        encodings.RadialFourier,
        encodings.SAPE,
        encodings.ShiftedBasis,
        encodings.SphericalHarmonics,
        encodings.TriangleWave,
        encodings.TriPlane,
        fields.DensityActivation,
        fields.DensityField,
        fields.DirectionalHead,
        fields.EncodedRadiance,
        fields.LightField,
        fields.NerfRadiance,
        fields.NeuralField,
        fields.Plenoxels,
        fields.Roughness,
        fields.Sparsity,
        fields.TensoRFCP,
        fields.TensoRFVM,
        fields.TotalVariation,
        networks.ActivationNetwork,
        networks.Bacon,
        networks.CAM,
        networks.FAN,
        networks.FiLM,
        networks.Finer,
        networks.FourierNet,
        networks.Gabor,
        networks.GaborNet,
        networks.Gauss,
        networks.GRKAN,
        networks.IdentityHead,
        networks.KAN,
        networks.MLP,
        networks.ModulusMaxima,
        networks.ResidualMLP,
        networks.Siren,
        networks.SumOfNetworks,
        networks.Wire,
        plan.Freeze,
        plan.Upsample,
        recipe.Constant,
        recipe.Cosine,
        recipe.Exponential,
        recipe.Recipe,
        recipe.Stage,
        recipe.Step,
        recipe.TrainingPlan,
        recipe.WarmUp,
        renderers.AppearanceEmbedding,
        renderers.Box,
        renderers.Cameras,
        renderers.Contraction,
        renderers.Exposure,
        renderers.HierarchicalSampler,
        renderers.NDC,
        renderers.OccupancyGrid,
        renderers.PoseRefinement,
        renderers.ProposalSampler,
        renderers.RadianceScene,
        renderers.StratifiedSampler,
        sample_selection.ConstantRatio,
        sample_selection.CosineRatio,
        sample_selection.INT,
        sample_selection.Intervals,
        sample_selection.LinearRatio,
        sample_selection.StepRatio,
    )
}


@functools.lru_cache(maxsize=4)
def _installed(places: tuple[str, ...]) -> Mapping[str, Sequence[importlib.metadata.EntryPoint]]:
    """What the packages installed in ``places`` (``sys.path``) declare, by name: looked for in many files, so once."""
    del places
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for plugin in importlib.metadata.entry_points(group=PLUGINS):
        found.setdefault(plugin.name, []).append(plugin)
    return found


class Parts(Mapping[str, type]):
    """Names to classes: neufield's own, those that a program gave, and those that installed packages declare.

    The first are named with their room, "encodings.Grid", all others "own.Mine". A package declares a part as an entry
    point of the group "neufield.parts" with the class's own name; it is imported when a file or a setting names it.
    Nothing that a file brings along is ever looked up, imported or run.
    """

    def __init__(self, given: Mapping[str, type]) -> None:
        self._given = dict(given)

    def __getitem__(self, name: str) -> type:
        if name not in self._given:
            room, _, own = name.partition(".")
            for plugin in _installed(tuple(sys.path)).get(own, ()) if room == _OWN else ():
                self.add(_plugged(plugin))
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._given
        yield from {f"{_OWN}.{name}" for name in _installed(tuple(sys.path))} - self._given.keys()

    def __len__(self) -> int:
        return len(list(iter(self)))

    def add(self, kind: type) -> None:
        """Know one more class, by its name."""
        if not _can_be_part(kind):
            raise ConfigError(
                f"{kind!r} is no part of a field; give a class of your own, such as a subclass of "
                "neufield.core.interfaces.Encoding"
            )
        known = self._given.setdefault(part_name(kind), kind)
        if known is not kind:
            raise ConfigError(
                f"{kind.__module__}.{kind.__name__} has the name of another part, {known.__module__}.{known.__name__}; "
                "rename your class"
            )

    def and_also(self, kinds: Sequence[type]) -> "Parts":
        """These, and ``kinds``."""
        if not isinstance(kinds, (list, tuple)):
            name = getattr(kinds, "__name__", "Mine")
            raise ConfigError(f"parts is {kinds!r}, but it must be a list of your classes; write parts=[{name}]")
        more = Parts(self._given)
        for kind in kinds:
            more.add(kind)
        return more


PARTS = Parts(SHIPPED)


def register(kind: type) -> type:
    """Let files and settings name your class ``kind`` in this process, for instance as a decorator of it.

    It stores every constructor argument under the argument's name, as neufield's own parts do.
    """
    PARTS.add(kind)
    return kind


def _can_be_part(kind: object) -> bool:
    """Whether it is a class whose objects may be described: a module's that is not torch's own, or a record's."""
    if not isinstance(kind, type):
        return False
    own_module = issubclass(kind, nn.Module) and kind.__module__.partition(".")[0] != "torch"
    return own_module or dataclasses.is_dataclass(kind)


def _plugged(plugin: importlib.metadata.EntryPoint) -> type:
    try:
        kind = plugin.load()
    except Exception as error:
        raise ConfigError(
            f"the part '{plugin.name}' of an installed package cannot be imported from {plugin.value} ({error}); "
            "install that package anew"
        ) from error
    if not isinstance(kind, type) or kind.__name__ != plugin.name:
        raise ConfigError(f"the entry point '{plugin.name}' = {plugin.value} does not name a class of that name")
    return kind
