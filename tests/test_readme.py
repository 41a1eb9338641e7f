"""What the README and the docs say is run."""

import re
from pathlib import Path

import pytest
from ball import write_ball

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.parent.name}-{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_code_block_runs(block, tmp_path, monkeypatch):
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    if "scenes/lego" in block:  # twelve small photographs, for a second
        write_ball(tmp_path / "scenes/lego", train=12, test=2)
        block = block.replace("time_budget=60", "time_budget=1")
    indent = re.match(r" *", block)[0]
    exec(compile(re.sub(f"^{indent}", "", block, flags=re.MULTILINE), "block", "exec"), {})


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_commands_of_the_readme_are_parsed():
    from neufield.apps import cli

    parsed = []
    lines = re.findall(
        r"^(?:pip install \. && )?neufield (.+?)(?: +#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    original, cli.run = cli.run, parsed.append
    try:
        for line in lines:
            cli.main(line.split())
    finally:
        cli.run = original
    assert len(parsed) == len(lines) >= 8
