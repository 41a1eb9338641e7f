"""Rays with their colors on disk: what a teacher showed once is learned from for hours (R2L's pseudo data)."""

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.core.interfaces import Source
from neufield.core.json_files import dumped, read_json
from neufield.core.records import Batch

_COLUMNS = 9  # origin, direction, color: float32, 36 bytes a ray as in R2L's release
_HEADER, _ROWS = "rays.json", "rays.f32"
_LEFT_FREE = 64 << 20  # bytes that stay free on the disk, for what the run writes beside it


class RayStore(Source):
    """A folder of ``n_views`` views of ``rays_per_view`` rays each, of which ``n_done`` are written: x (N, 6), color.

    The rows are mapped into memory, so that a store may be larger than it, and a view counts once all of it is on disk:
    whoever was killed goes on with the next one. Its size is taken from the disk when it is begun, and refused where
    there is less, so that no disk is full in the middle. ``origin`` is what the rays are of, such as the teacher's
    digest: a store of something else is refused.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        keys = read_json(self.folder / _HEADER, "the header of a store of rays")
        self.n_views, self.rays_per_view = keys.integer("n_views", 1), keys.integer("rays_per_view", 1)
        self.n_done, self.origin = keys.integer("n_done", 0), keys.text("origin")
        rows, size = self.n_views * self.rays_per_view, self.folder / _ROWS
        found = size.stat().st_size if size.exists() else 0
        if found != rows * _COLUMNS * 4 or self.n_done > self.n_views:
            raise DataError(
                f"{size} has {found:,} bytes, but {self.n_views} views of {self.rays_per_view} rays have "
                f"{rows * _COLUMNS * 4:,}; remove {self.folder} and make it anew"
            )
        self._rows = np.memmap(size, dtype="<f4", mode="r+", shape=(rows, _COLUMNS))

    @classmethod
    def begin(cls, folder: str | Path, n_views: int, rays_per_view: int, origin: str) -> "RayStore":
        """Make the store, or go on with one of the same views, rays and ``origin`` in ``folder``."""
        folder = Path(folder)
        wanted = {"n_views": n_views, "rays_per_view": rays_per_view, "origin": origin}
        if (folder / _HEADER).exists():
            there = cls(folder)
            own = {"n_views": there.n_views, "rays_per_view": there.rays_per_view, "origin": there.origin}
            if own != wanted:
                differs = next(key for key in wanted if wanted[key] != own[key])
                raise DataError(
                    f"{folder} holds rays whose {differs} is {own[differs]}, but {wanted[differs]} is wanted; remove "
                    "it, or give another folder"
                )
            return there
        size = store_bytes(n_views, rays_per_view)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if size + _LEFT_FREE > free:
                raise DataError(
                    f"the rays of {n_views} views take {size / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB free; "
                    "ask for fewer or smaller views, or give a folder on a larger disk"
                )
            _reserve(folder / _ROWS, size)
        except OSError as error:
            raise DataError(f"cannot write {folder}: {error.strerror or error}; give another folder") from None
        write_atomically(folder / _HEADER, lambda path: path.write_text(dumped({**wanted, "n_done": 0})))
        return cls(folder)

    def add(self, x: Float[Tensor, "N 6"], rgb: Float[Tensor, "N 3"]) -> None:
        """Write the next view's rays and their colors; it counts once this returns."""
        if len(x) != self.rays_per_view or self.n_done == self.n_views:
            raise DataError(
                f"a view of {len(x)} rays was given, but the store has {self.n_views - self.n_done} views of "
                f"{self.rays_per_view} to go"
            )
        begin = self.n_done * self.rays_per_view
        self._rows[begin : begin + len(x)] = torch.cat([x, rgb], dim=1).cpu().numpy()
        self._rows.flush()
        self.n_done += 1
        header = {"n_views": self.n_views, "rays_per_view": self.rays_per_view, "origin": self.origin}
        write_atomically(self.folder / _HEADER, lambda path: path.write_text(dumped({**header, "n_done": self.n_done})))

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``n`` rays, any of those that are written alike, with repetition."""
        del step
        total = self.n_done * self.rays_per_view
        if not total:
            raise DataError(f"{self.folder} has no view yet; add one before it is learned from")
        chosen = torch.randint(total, (n,), generator=generator, device=generator.device).cpu()
        rows = torch.from_numpy(self._rows[chosen.numpy()].astype(np.float32, copy=False))
        return Batch(rows[:, :6], rows[:, 6:])


def store_bytes(n_views: int, rays_per_view: int) -> int:
    """The bytes of a store on disk."""
    return n_views * rays_per_view * _COLUMNS * 4


def _reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` zeros whose room on the disk is taken, where the system can do that."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
