"""The viewer's door: foreign pages are refused, also on the socket, and what is not understood leaves no trace."""

import asyncio
import random
import threading
from collections.abc import Iterator

import msgspec
import pytest
from viewer_cases import two_halves
from websockets import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from neufield.apps.nerf import guard
from neufield.apps.nerf.viewer_page import Page
from neufield.apps.nerf.viewer_renderer import ViewerRenderer
from neufield.core.errors import BackendError

CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": [1.0, 0, 0, 0], "position": [0.0, 0, -4], "look_at": [0, 0, 0], "up_direction": [0, 1, 0],
    "fov": 0.8, "near": 0.01, "far": 100, "image_height": 40, "image_width": 60,
}  # fmt: skip
CLICK = {
    "type": "SceneNodeClickMessage", "name": "/cameras/0", "instance_index": None, "modifier": None, "owner": "",
    "ray_origin": [0, 0, 0], "ray_direction": [0, 0, 1.5], "screen_pos": [0.5, 0.5],
}  # fmt: skip
UPDATE = {"type": "GuiUpdateMessage", "uuid": "x", "updates": {"value": True}}
GOOD = (CAMERA, CLICK, UPDATE)
WRONG = (None, "a", b"a", -1.0, 1e30, float("nan"), float("inf"), [], {}, [1], ["a", 2, 3], [[[]]], 2**63, True)


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[Page, ViewerRenderer]]:
    model = two_halves()
    page = Page(model, "127.0.0.1", 0, trains=True)
    painter = ViewerRenderer(model, page)
    page.open(painter)
    yield page, painter
    page.close()


@pytest.mark.parametrize(
    ("host", "origin", "served", "answered"),
    [
        ("127.0.0.1:8080", None, "127.0.0.1", True),  # somebody types the address
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:9000", "http://localhost:9000", "127.0.0.1", True),  # through ssh -L 9000
        ("[::1]:8080", "http://[::1]:8080", "127.0.0.1", True),
        ("LOCALHOST:8080", "http://localhost:8080", "127.0.0.1", True),
        ("192.0.2.7:8080", "http://192.0.2.7:8080", "0.0.0.0", True),
        ("box.example:8080", "https://box.example:8080", "box.example", True),  # as --viewer-host has it
        ("127.0.0.1:8080", "https://evil.example", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8081", "127.0.0.1", False),  # another program's page on this machine
        ("127.0.0.1:8080", "http://127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1:8080", "null", "127.0.0.1", False),  # a file, or a frame in a sandbox
        ("127.0.0.1:8080", "", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://[", "127.0.0.1", False),
        ("evil.example:8080", "http://evil.example:8080", "127.0.0.1", False),  # DNS rebinding
        ("evil.example:8080", None, "0.0.0.0", False),
        ("localhost.evil.example", "http://localhost.evil.example", "127.0.0.1", False),
        ("0.0.0.0:8080", "http://evil.example", "127.0.0.1", False),
        ("", None, "127.0.0.1", False),
        ("[", None, "127.0.0.1", False),
        (None, None, "127.0.0.1", False),
    ],
)
def test_who_is_answered(host: str | None, origin: str | None, served: str, answered: bool) -> None:
    headers = Headers()
    for name, value in (("Host", host), ("Origin", origin)):
        if value is not None:
            headers[name] = value
    problem = guard.refusal(headers, served)
    assert (problem is None) == answered
    assert problem is None or "\n" not in problem


def test_two_hosts_or_a_second_origin_are_refused() -> None:
    headers = Headers([("Host", "127.0.0.1:1"), ("Origin", "http://127.0.0.1:1"), ("Origin", "http://evil.example")])
    assert "evil.example" in guard.refusal(headers, "127.0.0.1")
    headers = Headers([("Host", "127.0.0.1:1"), ("Host", "evil.example")])
    assert "evil.example" in guard.refusal(headers, "127.0.0.1")


def opened(page: Page, origin: str | None) -> ClientConnection:
    import viser

    address = page.url.replace("http://", "ws://")
    return connect(address, origin=origin, subprotocols=[f"viser-v{viser.__version__}"])


def asked(page: Page, *lines: str) -> str:
    """The first line of the answer to a request of these lines."""

    async def ask() -> bytes:
        host, port = page.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        answer = await reader.readline()
        writer.close()
        return answer

    return asyncio.run(ask()).decode().strip()


def test_foreign_pages_get_neither_page_nor_socket(page) -> None:
    page, painter = page
    host = page.url.removeprefix("http://")
    assert asked(page, "GET / HTTP/1.1", f"Host: {host}") == "HTTP/1.1 200 OK"
    assert asked(page, "GET / HTTP/1.1", f"Host: {host}", f"Origin: {page.url}") == "HTTP/1.1 200 OK"
    assert asked(page, "GET / HTTP/1.1", f"Host: {host}", "Origin: http://evil.example") == "HTTP/1.1 403 Forbidden"
    assert asked(page, "GET / HTTP/1.1", "Host: evil.example") == "HTTP/1.1 403 Forbidden"
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            opened(page, origin)
    with opened(page, page.url) as socket:
        socket.send(msgspec.msgpack.encode(CAMERA))
        wait_for(lambda: len(painter.schedule.views) == 1)
    wait_for(lambda: not painter.present)


def wait_for(condition) -> None:
    waiting = threading.Event()
    for _ in range(600):  # 30 s: a busy machine's
        if condition():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come to that")


def mutations() -> list[bytes]:
    """Bytes that are no message, and every field of every message with everything it should not be."""
    draw = random.Random(0)
    whole = [msgspec.msgpack.encode(message) for message in GOOD]
    raw = [draw.randbytes(n) for n in (0, 1, 2, 8, 100, 4000)] + [data[:-1] for data in whole] + [b"\x91" * 100_000]
    other = [
        *WRONG,
        {"type": "Nothing"},
        {"type": []},
        {"type": "GuiCloseModalMessage", "uuid": "x"},
        {"type": "Message"},
    ]
    for message in GOOD:
        for name in message:
            other.append({key: value for key, value in message.items() if key != name})
            other += [message | {name: wrong} for wrong in WRONG]
    other += [UPDATE | {"updates": {"value": wrong}} for wrong in WRONG]
    other += [UPDATE | {"updates": {"removed": True}}, UPDATE | {"updates": {"value": 1, "visible": 1}}]
    return raw + [msgspec.msgpack.encode(message) for message in other]


def test_only_what_the_page_says_is_understood() -> None:
    assert all(guard.understood(msgspec.msgpack.encode(message)) for message in GOOD)
    assert not any(guard.understood(data) for data in ("text", b"", b"\x91" * 100_000))
    for name in CAMERA:
        assert not guard.understood(msgspec.msgpack.encode(CAMERA | {name: float("nan")})), name
        assert not guard.understood(msgspec.msgpack.encode(CAMERA | {name: None})), name
    assert not guard.understood(msgspec.msgpack.encode(CAMERA | {"image_width": 10**9}))


def test_malformed_messages_leave_no_traceback_on_the_terminal(page, capfd, caplog) -> None:
    page, painter = page
    host = page.url.removeprefix("http://")
    uuids = [handle._impl.uuid for handle in (page.longest, page.picture)]
    with opened(page, page.url) as socket:
        for data in mutations():
            socket.send(data)
        socket.send("text")
        for uuid in uuids:
            for wrong in WRONG:
                socket.send(msgspec.msgpack.encode(UPDATE | {"uuid": uuid, "updates": {"value": wrong}}))
        socket.send(msgspec.msgpack.encode(CAMERA))
        wait_for(lambda: painter.present)  # all were read, and it still listens
        assert min(painter.schedule.views[client].camera.width for client in painter.schedule.views) >= 1
        assert max(v.camera.width * v.camera.height for v in painter.schedule.views.values()) <= 2048**2
    wait_for(lambda: not painter.present)
    for garbage in ("\x16\x03\x01", "GET / HTTP/1.1", "POST / HTTP/1.1", "GET / HTTP/9", "\0" * 100):
        asked(page, garbage)
    asked(page, "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", f"Host: {host}")
    with pytest.raises(ConnectionClosed), connect(page.url.replace("http", "ws"), origin=page.url) as stranger:
        stranger.recv(timeout=30)  # it speaks no version of ours
    # Numbers are strings to a list of words and may be; words are no numbers to a slider.
    errors = {
        f"neufield: a browser's message to the viewer could not be followed ({k})"
        for k in ("ValueError", "OverflowError")
    }
    out, err = capfd.readouterr()
    assert (out, set(err.splitlines()) - errors) == ("", set())
    assert caplog.records == []  # where nobody has set up logging, they would go to the terminal


def test_a_viser_that_serves_in_another_way_is_refused(monkeypatch) -> None:
    with pytest.raises(BackendError, match="another way"), guard.guarding("127.0.0.1"):
        pass
