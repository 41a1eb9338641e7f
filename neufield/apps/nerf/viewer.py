"""``neufield nerf view`` and ``train --viewer``: the model in a browser, served from this machine alone."""

import socket

from neufield.apps.console import Terminal
from neufield.apps.nerf.load_model import load_model
from neufield.apps.nerf.moments import check_moment
from neufield.apps.nerf.viewer_page import Page
from neufield.apps.nerf.viewer_renderer import ViewerRenderer
from neufield.apps.options import View
from neufield.core.errors import ConfigError
from neufield.renderers import RadianceScene

_PORTS = range(8080, 8180)  # looked through where none is asked for


def view_field(options: View) -> None:
    """Show a finished field until Ctrl-C."""
    console = Terminal()
    model = load_model(options.field, options.device, options.backend)
    check_moment(model, options.time)
    Viewer(model, options.viewer_host, options.viewer_port, False, console, options.time).stay()


class Viewer:
    """A page and who draws on it. It says where the page is; with ``trains`` the page has a button to pause.

    A field that moves is shown at ``time``, by default when it begins to move.
    """

    def __init__(
        self,
        model: RadianceScene,
        host: str,
        port: int | None,
        trains: bool,
        console: Terminal,
        time: float | None = None,
    ) -> None:
        self.page = Page(model, host, _port(host, port), trains)
        self.painter = ViewerRenderer(model, self.page, moment=time)
        self.page.open(self.painter)
        self.console = console
        console.print(f"viewer: {self.page.url}", soft_wrap=True)

    def stay(self) -> None:
        """Show the model as it is now until Ctrl-C."""
        try:
            self.page.finish()
            self.console.print("the viewer stays until Ctrl-C")
            self.painter.stay()
        except KeyboardInterrupt:
            self.page.close()


def _port(host: str, port: int | None) -> int:
    """One that is free."""
    if port is not None and not 0 <= port < 65536:
        raise ConfigError(f"--viewer-port is {port}, but ports go from 0 (any that is free) to 65535")
    reason = ""
    for candidate in _PORTS if port is None else [port]:
        try:
            with socket.create_server((host, candidate)):
                return candidate
        except OSError as error:
            reason = error.strerror or str(error)
    raise ConfigError(f"the viewer cannot listen on {host}:{port or _PORTS[0]} ({reason}); give another --viewer-port")
