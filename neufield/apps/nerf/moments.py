"""When a field that moves is drawn."""

from collections.abc import Sequence

from neufield.core.cameras import Camera
from neufield.core.errors import ConfigError
from neufield.renderers import Cameras, RadianceScene


def check_moment(model: RadianceScene, time: float | None) -> None:
    """Refuse a ``--time`` for a field that does not move, and one at which nothing was learned."""
    times = model.field.times
    if time is None:
        return
    if times is None:
        raise ConfigError(f"--time is {time:g}, but this field does not move; leave it out")
    if not times[0] <= time <= times[1]:
        raise ConfigError(f"--time is {time:g}, but this field moves from {times[0]:g} to {times[1]:g}; choose between")


def moments(model: RadianceScene, time: float | None, own: Sequence[float | None]) -> list[float | None]:
    """The moment of each frame: the ``time`` that was asked for, else its ``own``, else evenly from first to last."""
    times, last = model.field.times, max(1, len(own) - 1)
    if times is None:
        return [None] * len(own)
    if time is not None:
        return [time] * len(own)
    return [times[0] + (times[1] - times[0]) * i / last if at is None else at for i, at in enumerate(own)]


def camera_at(model: RadianceScene, camera: Camera, time: float | None) -> Cameras:
    """The one ``camera``, beside the model, at a ``time``: where nobody says one, when a field that moves begins to."""
    if time is None and model.field.times is not None:
        time = model.field.times[0]
    cameras = Cameras.of([camera], times=None if time is None else [time])
    return cameras.to(model.cameras.to_world.device)
