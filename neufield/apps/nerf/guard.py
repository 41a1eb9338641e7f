"""Who may talk to the viewer's page, and in which words: all that comes from outside passes through here.

A page served on this machine can be asked by every web page that is open in a browser on it. A browser says in
``Origin`` whose page asks, also before it opens a socket; and in ``Host`` which name led here, which is a stranger's
own where he has it lead to this machine (DNS rebinding).
"""

import asyncio
import contextlib
import http
import ipaddress
import logging
import math
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from neufield.apps.standard_error import complain
from neufield.core.errors import BackendError

_WHENCE = {"wxyz": 4, "position": 3, "look_at": 3, "up_direction": 3}  # a camera's vectors and their lengths
_WHERE = {"ray_origin": 3, "ray_direction": 3, "screen_pos": 2}  # a click's
_WIDEST = 1 << 16  # pixels of a window's side
_LARGEST = 1e18  # float32 holds its square, and no NaN is below it

_quiet = logging.Logger("neufield.viewer")  # what a stranger's bytes did to a parser is nobody's news
_quiet.addHandler(logging.NullHandler())


@contextlib.contextmanager
def guarding(host: str) -> Iterator[None]:
    """What is served by websockets from within this context, which is left once it listens, answers our own page alone.

    Viser calls ``serve`` itself and hands none of its arguments out, so that it is given another ``serve`` meanwhile.
    """
    import viser
    from websockets.asyncio import server

    original, used = server.serve, False
    said: set[str] = set()

    def failed(_: object, context: Mapping[str, Any]) -> None:
        """Viser's tasks fail on values that their control cannot have; a line for each kind, once."""
        kind = type(context.get("exception")).__name__
        if kind not in said:
            said.add(kind)
            complain(f"a browser's message to the viewer could not be followed ({kind})")

    def serve(handler: Callable, *args: Any, process_request: Callable, **others: Any) -> Any:
        nonlocal used
        used = True

        def answer(connection: Any, request: Any) -> Any:
            if (problem := refusal(request.headers, host)) is not None:
                return connection.respond(http.HTTPStatus.FORBIDDEN, f"{problem}\n")
            return process_request(connection, request)

        async def talk(connection: Any) -> None:
            asyncio.get_running_loop().set_exception_handler(failed)
            if connection.subprotocol != f"viser-v{viser.__version__}":
                await connection.close(1002, "not this page: load it again")
                return
            await handler(_Understood(connection))

        return original(talk, *args, process_request=answer, logger=_quiet, **others)

    server.serve = serve  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        server.serve = original  # type: ignore[misc]
    if not used:
        raise BackendError(
            f"viser {viser.__version__} serves its page in another way than we can guard against other web pages; "
            "use viser 1.1"
        )


def refusal(headers: Any, host: str) -> str | None:
    """Why a request with these headers is none of our page's, which is served on ``host``; None where it is."""
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    if len(hosts) != 1 or not _ours(_name(f"//{hosts[0]}"), host):
        return f"this page is not served under the name {', '.join(hosts) or 'of nobody'}"
    if any(origin.lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}") for origin in origins):
        return f"this page does not answer to pages of {', '.join(origins)}"
    return None


def _name(address: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(address).hostname or ""
    return ""


def _ours(name: str, host: str) -> bool:
    """Whether ``name`` can only be this machine's: a number leads where it says, and nobody else has our own names."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    return name in ("localhost", host.lower(), own, short, f"{short}.local")


def understood(data: Any) -> bool:
    """Whether a message is one of the few that our page sends, with values that it may have. The others are dropped."""
    import msgspec

    try:
        message = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return False
    kind = message.get("type") if isinstance(message, dict) else None
    check = _CHECKS.get(kind) if isinstance(kind, str) else None
    return check is not None and check(message)


class _Understood:
    """A connection on which only messages arrive that are understood."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def recv(self) -> bytes:
        while not understood(data := await self._connection.recv()):
            pass
        return data


def _camera(message: Mapping[str, Any]) -> bool:
    fov, *ends = (message.get(name) for name in ("fov", "near", "far"))
    sides = (message.get("image_height"), message.get("image_width"))
    lens = _number(fov) and 0 < fov < math.pi and all(map(_number, ends))
    sized = all(isinstance(side, int) and 0 <= side <= _WIDEST for side in sides)
    return lens and sized and _vectors(message, _WHENCE) and any(message.get("wxyz", []))


def _click(message: Mapping[str, Any]) -> bool:
    name, modifier, index = (message.get(name, ...) for name in ("name", "modifier", "instance_index"))
    known = isinstance(name, str) and isinstance(modifier, str | None) and isinstance(index, int | None)
    return known and isinstance(message.get("owner", ""), str) and _vectors(message, _WHERE)


def _update(message: Mapping[str, Any]) -> bool:
    updates = message.get("updates")
    if not isinstance(message.get("uuid"), str) or not isinstance(updates, dict) or list(updates) != ["value"]:
        return False
    return isinstance(updates["value"], bool | str) or _number(updates["value"])


def _vectors(message: Mapping[str, Any], lengths: Mapping[str, int]) -> bool:
    found = [(message.get(name), length) for name, length in lengths.items()]
    return all(isinstance(value, list) and len(value) == n and all(map(_number, value)) for value, n in found)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "ViewerCameraMessage": _camera,
    "SceneNodeClickMessage": _click,
    "GuiUpdateMessage": _update,
}
