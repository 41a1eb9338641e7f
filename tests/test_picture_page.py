"""The page of a picture: a browser without a server draws what the field gives, and zooms into it."""

import math

import numpy as np
import pytest
import torch
from cases import seeded
from chromium import Chromium
from commands import run
from small_fits import small_field, waves

import neufield as nf
from neufield.apps.picture_page import picture_page
from neufield.core.edits import Edit
from neufield.core.errors import ConfigError
from neufield.formats.pixels import ImageFacts
from neufield.presets import customize
from neufield.signals.image import render

_FACTS = ImageFacts(8, 8, 3, "uint8", "srgb", 1.0)
_SIZE = (240, 160)  # of the window, in the picture's own proportions
_ONE_STEP = 20 * math.log10(255)  # dB, where every pixel is off by one of 8 bits: rounding, and the table's float16


@pytest.fixture
def saved(tmp_path):
    field = small_field()
    with torch.no_grad():
        field.encoding.table.normal_(generator=seeded())  # a picture of all frequencies
        field.network.layers[-1].bias.fill_(0.5)
    nf.save(field, tmp_path / "field.safetensors", signal=waves().info)
    return tmp_path / "field.safetensors"


def near(shot: np.ndarray, own: np.ndarray) -> bool:
    error = np.square((shot.astype(float) - own) / 255).mean()
    return error == 0 or -10 * math.log10(error) >= _ONE_STEP


@pytest.mark.slow
def test_a_browser_draws_the_picture_and_zooms_into_it(saved, tmp_path, capsys):
    run("export", saved, "--to", "html")
    page = saved.with_name("exported.html")
    assert f"{page.stat().st_size:,} bytes" in capsys.readouterr().out.replace("\n", "")
    assert "://" not in page.read_text()
    field, facts = nf.load(saved), waves().facts
    browser = Chromium(tmp_path / "profile", *_SIZE)
    try:
        browser.open(page.as_uri())

        def value(expression: str) -> object:
            return browser.call("Runtime.evaluate", expression=expression)["result"].get("value")

        browser.wait(lambda: value("document.body && document.body.dataset.drawn"), "the picture")
        assert value("document.getElementById('said').textContent") == ""
        with torch.no_grad():
            own = render(field, facts, _SIZE[::-1])
            close = render(field, facts, _SIZE[::-1], (0.25, 0.25, 0.75, 0.75))
        assert own.std() > 20  # a picture of something
        assert near(browser.screenshot(), own)
        turn = {"x": _SIZE[0] // 2, "y": _SIZE[1] // 2, "deltaX": 0, "deltaY": -500 * math.log(2)}
        browser.call("Input.dispatchMouseEvent", type="mouseWheel", **turn)
        browser.wait(lambda: near(browser.screenshot(), close), "the middle, twice as large")
        assert not near(own, close)
    finally:
        browser.close()


@pytest.mark.parametrize(
    "edits",
    [
        [Edit("encoding.interpolation", "nearest")],
        [Edit("encoding.n_features_per_level", 8)],
        [Edit("network.activation", "sine")],
        [Edit("network.output_activation", "softplus")],
    ],
    ids=str,
)
def test_what_the_shader_does_not_compute_is_refused(edits):
    field = customize(small_field(), edits, seeded())
    with pytest.raises(ConfigError, match="a page computes a grid and a perceptron of ReLUs"):
        picture_page(field, _FACTS, "a")


def test_other_fields_and_light_without_a_bound_are_refused():
    with pytest.raises(ConfigError, match="a page computes a grid"):
        picture_page(nf.presets.siren(), _FACTS, "a")
    with pytest.raises(ConfigError, match="in linear light"):
        picture_page(small_field(), ImageFacts(8, 8, 3, "float32", "linear", 1.0), "a")


def test_a_name_is_no_markup():
    page = picture_page(small_field(), _FACTS, "</title><script>alert(1)</script>")
    assert "<script>alert" not in page
