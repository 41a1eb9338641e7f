"""Pictures for the eye: comparisons of narrow pictures, of wide gamuts, of light."""

import base64
import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, picture
from PIL import Image as Pil

from neufield.apps import comparison_page
from neufield.apps.cli import main
from neufield.apps.curves import PAPER
from neufield.apps.side_by_side import side_by_side
from neufield.core.errors import DataError
from neufield.core.signal_info import SignalInfo
from neufield.formats import color
from neufield.formats.encode import write_image
from neufield.formats.pixels import facts_of
from neufield.signals.exporters import image_facts
from neufield.signals.image import Image


def words(strip: Pil.Image, gap: int) -> int:
    """How many pieces of ink there are with at least ``gap`` blank columns between."""
    ink = (np.asarray(strip) != np.array(PAPER)).any(axis=(0, 2))
    pieces = [(value, len(list(run))) for value, run in itertools.groupby(ink)]
    return 1 + sum(not value and length >= gap for value, length in pieces[1:-1])


@pytest.mark.parametrize(("height", "width"), [(200, 3), (200, 40), (40, 200), (60, 700), (1500, 16), (2, 1)])
def test_labels_are_beside_each_other_however_narrow_the_picture_is(height: int, width: int) -> None:
    values = picture(height, width, 3)
    sheet = comparison_page.comparison(Image(values), 255 - values, "12.34 dB")
    strip = sheet.crop((0, 0, sheet.width, 26))
    assert words(strip, 12) == 3  # the gap between columns; within a label it is 5 at most
    right = np.asarray(sheet.crop((sheet.width - 12, 0, sheet.width, 26)))
    assert (right == np.array(PAPER)).all(), "the last label is cut off"


@pytest.mark.parametrize("count", [1, 3, 5])
def test_words_of_a_tile_are_whole(count: int) -> None:
    values = picture(100, 9, 3)
    reconstructions = {f"shifted_gaussian_of_a_long_name_{i}": 255 - values for i in range(count)}
    histories = {name: [[]] for name in reconstructions}
    sheet = side_by_side(Image(values), reconstructions, histories)
    size = {1: 288, 3: 288, 5: 192}[count]
    font = comparison_page.font_for("errors below: brightest = 255/255", size, 13)
    assert font.getlength("errors below: brightest = 255/255") <= size < sheet.width
    assert comparison_page.font_for("x" * 500, size, 13).size == 8


def test_the_eye_gets_srgb(tmp_path: Path) -> None:
    profile = color.from_gamma(1 / 1.8, (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060), "RGB")
    for kind in ("uint8", "uint16"):
        values = noise(20, 30, 3, dtype=kind)
        write_image(tmp_path / "a.png", values, facts_of(values, "srgb", profile))
        image = Image(tmp_path / "a.png")
        eight = values if kind == "uint8" else ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        shown = np.asarray(comparison_page.display(image.pixels, image))
        np.testing.assert_array_equal(shown, color.to_srgb(eight, profile))


def test_light_with_alpha_multiplied_in_shows_on_grey() -> None:
    values = np.zeros((2, 3, 4), np.float32)
    values[0, 0] = 1, 1, 1, 1
    values[0, 1] = 0.5, 0.5, 0.5, 0.5
    shown = np.asarray(comparison_page.display(values, Image(values)))[..., 0]
    assert shown[0, 0] == 255
    assert shown[1, 1] in (127, 128)
    half = 0.5 / np.percentile(values[..., :3], 99.5) + 0.214 * 0.5
    assert abs(int(shown[0, 1]) - 255 * (1.055 * half ** (1 / 2.4) - 0.055)) < 1


def test_fit_and_render_keep_the_profile_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = color.from_gamma(1 / 1.8, None, "RGB")
    Pil.fromarray(noise(12, 16, 3)).save(tmp_path / "a.png", icc_profile=profile)
    main(["fit", str(tmp_path / "a.png"), "--out", str(tmp_path / "run"), "--steps", "2", "--device", "cpu"])
    assert "a.png has the color profile 'gamma 1.8'; it is kept" in capsys.readouterr().out.replace("\n", " ")
    field = str(tmp_path / "run" / "field.safetensors")
    for suffix in (".png", ".jpg"):
        main(["render", field, "-o", str(tmp_path / f"b{suffix}"), "--scale", "2"])
        with Pil.open(tmp_path / f"b{suffix}") as drawn:
            assert drawn.info["icc_profile"] == profile
    with Pil.open(tmp_path / "run" / "reconstruction.png") as drawn:
        assert drawn.info["icc_profile"] == profile
    with pytest.raises(SystemExit):
        main(["render", field, "-o", str(tmp_path / "b.bmp")])
    assert "does not hold the color profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [{"channels": 7}, {"kind": "sound"}, {"facts": {"dtype": "int8"}}, {"facts": {"transfer": "x"}},
     {"facts": {"peak": 0}}, {"facts": {"peak": None}}, {"facts": {"profile": "?"}}, {"facts": {"profile": 5}},
     {"domain": {"axes": []}}, {"domain": {"axes": [{"name": "row", "start": 0, "stop": 4, "cells": 4}]}},
     {"domain": {"axes": [{"name": "row", "start": 0, "stop": 0}] * 2}}, {"name": None}, {"digest": 5}],
    ids=str,
)  # fmt: skip
def test_a_header_of_an_impossible_picture_is_one_sentence(change: dict) -> None:
    written = json.loads(json.dumps(Image(noise(4, 5, 3)).info.to_json()))
    assert image_facts(SignalInfo.from_json(written, "f"), "f") == facts_of(noise(4, 5, 3), "srgb")
    changed = {**written, **change} | ({"facts": {**written["facts"], **change["facts"]}} if "facts" in change else {})
    with pytest.raises(DataError):
        image_facts(SignalInfo.from_json(changed, "f"), "f")


def test_a_long_profile_survives_the_header() -> None:
    """A text of a JSON file is at most 1,024 letters elsewhere; a profile of three kilobytes is four thousand."""
    info = Image(noise(4, 5, 3)).info
    info = dataclasses.replace(info, facts={**info.facts, "profile": base64.b64encode(bytes(3000)).decode()})
    again = SignalInfo.from_json(json.loads(json.dumps(info.to_json())), "f")
    assert image_facts(again, "f").icc == bytes(3000)
