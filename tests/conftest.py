"""Fixtures, and the rule that no test is skipped unnoticed."""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_ABSENT = "no ../shared/data beside the checkout"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs; only tests marked ``shared`` may ask for it."""
    return SHARED


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pytest_collection_modifyitems(items):
    if not SHARED.is_dir():
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(pytest.mark.skip(reason=_ABSENT))


def pytest_terminal_summary(terminalreporter):
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"skipped {count}: {reason}")


def pytest_sessionfinish(session, exitstatus):
    """In CI everything must run: the real inputs lie there, so a skip means that something is missing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter.stats.get("skipped"):
        session.exitstatus = 1
