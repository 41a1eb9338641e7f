"""A multiresolution grid as its kernels are told of it."""

import abc
import dataclasses
import functools
import json
from typing import ClassVar

from torch import Tensor

from neufield.core.json_files import parse_json
from neufield.core.shapes import check_choice, check_positive
from neufield.functional.grid import INTERPOLATIONS
from neufield.functional.grid_levels import GridLevel, grid_levels
from neufield.kernels.dispatch import Kernel


@dataclasses.dataclass(frozen=True)
class GridSpec:
    """What a grid encoding computes. ``dim`` 1-4; other names and defaults are tiny-cuda-nn's."""

    dim: int
    n_levels: int = 16
    n_features_per_level: int = 2
    log2_hashmap_size: int = 19
    base_resolution: int = 16
    per_level_scale: float = 2.0
    storage: str = "hash"
    interpolation: str = "linear"
    kind: ClassVar[str] = "grid"
    # All levels, coarse to fine.
    levels: tuple[GridLevel, ...] = dataclasses.field(init=False, repr=False, compare=False)
    # The spec as an operator of torch.library takes it.
    text: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_positive(n_features_per_level=self.n_features_per_level)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        sizes = (self.n_levels, self.log2_hashmap_size, self.base_resolution, self.per_level_scale)
        object.__setattr__(self, "levels", grid_levels(self.dim, *sizes, self.storage))
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        object.__setattr__(self, "text", json.dumps(fields))

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def from_text(text: str) -> "GridSpec":
        """The spec that ``text`` describes."""
        return GridSpec(**parse_json(text, "the spec"))

    @property
    def n_entries(self) -> int:
        """Table entries of all levels together; each holds ``n_features_per_level`` numbers."""
        return self.levels[-1].offset + self.levels[-1].size

    @property
    def table_shape(self) -> tuple[int, int]:
        """Rows, and features in each."""
        return self.n_entries, self.n_features_per_level

    @property
    def out_dim(self) -> int:
        """Features of all levels together."""
        return self.n_levels * self.n_features_per_level


class GridKernel(Kernel[GridSpec]):
    """A grid encoding, differentiable twice at least."""

    @abc.abstractmethod
    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """Points ``x (N, dim)`` and ``table (n_entries, features)`` -> ``(N, n_levels * features)``, level-major."""
