"""What the README and the docs say is run."""

import json
import re
import textwrap
from pathlib import Path

import pytest
from ball import write_ball

import neufield as nf
from neufield.apps import cli
from neufield.presets import registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[str]:
    """The Python code of a page, block by block."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


CODE = [pytest.param(page, id=f"{page.parent.name}-{page.name}") for page in PAGES if blocks_of(page)]


@pytest.mark.filterwarnings("ignore:.* has parts of your own")  # the page says so itself
@pytest.mark.parametrize("page", CODE)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """From its first block to its last, as a reader would type them."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_REGISTER", dict(registry._REGISTER))  # a page's own presets end with it
    blocks = blocks_of(page)
    if any("scenes/rings" in block for block in blocks):  # twelve small photographs, for a second
        write_ball(tmp_path / "scenes/rings", train=12, test=2)
    known = {}
    for i, block in enumerate(blocks):
        exec(compile(block.replace("time_budget=60", "time_budget=1"), f"block {i} of {page.name}", "exec"), known)


def test_there_is_code_to_run():
    assert sum(len(blocks_of(page)) for page in PAGES) >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def prose(page: Path) -> list[str]:
    """The lines of a page that are neither code nor rows of a table."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [line for line in text.splitlines() if not line.startswith(("|", "    "))]


def test_prose_is_read_without_scrolling():
    lines = [(page.name, line) for page in PAGES for line in prose(page)]
    assert len(lines) > 500
    assert [(name, line) for name, line in lines if len(line) > 120] == []


def commands_of(page: Path) -> list[str]:
    """The commands of neufield in the shell's blocks of a page, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    text = "".join(blocks).replace("\\\n", "")
    return re.findall(r"^(?:pip install \. && )?neufield (.+?)(?: +#.*)?$", text, re.MULTILINE)


def test_the_commands_of_all_pages_are_parsed(monkeypatch):
    parsed = []
    monkeypatch.setattr(cli, "run", parsed.append)
    lines = [line for page in PAGES for line in commands_of(page)]
    for line in lines:
        cli.main(line.split())
    assert len(parsed) == len(lines) >= 30


def test_the_scene_of_the_gallery_is_one_that_is_read(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "assets")
    import rings

    monkeypatch.setattr(rings, "SIDE", 8)
    rings.write(tmp_path)
    scene = nf.formats.read_scene(tmp_path)
    assert [len(scene.split(name)) for name in ("train", "test")] == [48, 8]
    picture = rings.photograph(rings.looking_at_the_origin(0.3, 0.5))
    assert picture.shape == (8, 8, 4)
    assert picture[..., 3].max() == 255
    assert picture[0, 0, 3] == 0  # nothing


def test_the_numbers_of_the_readme_are_those_that_were_measured():
    results = ROOT / "benchmarks/results"
    kodak = json.loads((results / "kodak_ngp_20s.json").read_text())
    scenes = json.loads((results / "nerf_cpu.json").read_text())
    cells = []
    for level in ("30", "40", "50"):
        seconds = [picture["seconds_to"][level] for picture in kodak.values()]
        own = kodak["kodim15"]["seconds_to"][level]
        cells.append(rf"{level} dB \| {own:.1f} s \({min(seconds):.1f} to {max(seconds):.1f} s")
    cells += [rf"after 60 s \| {scenes[f'{name}/ngp/auto/60']['psnr']:.1f} dB" for name in ("lego_200", "fox_270")]
    text = (ROOT / "README.md").read_text()
    assert [cell for cell in cells if not re.search(cell, text)] == []
