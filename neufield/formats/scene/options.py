"""The options of a scene's reader."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
    """One frame in ``holdout`` is for testing where the file has no split; ``images`` names the folder of pictures."""

    holdout: int = 8
    images: str | None = None
