"""Fixtures, and the rule that no test is skipped unnoticed."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import typecheck

if TYPE_CHECKING:
    from finished_runs import FinishedRuns

if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a core of its own; for the processes that tests start, too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as who starts the tests in the background has it: for ever
    signal.signal(signal.SIGINT, signal.default_int_handler)
if not torch.cuda.is_available():  # Triton's programs then run in its interpreter, which reads this at their definition
    os.environ.setdefault("TRITON_INTERPRET", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_ABSENT = "no ../shared/data beside the checkout"
_NOT_BUILT = "the native kernels were not built"
_NO_GPU = "no CUDA here"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs; only tests marked ``shared`` may ask for it."""
    return SHARED


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of inputs that once failed; only tests marked ``shared`` may ask for it."""
    return SHARED.parent / "cases"


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> "FinishedRuns":
    """Finished runs of tiny inputs, made once for all processes."""
    from finished_runs import FinishedRuns  # not above: the signatures of what is imported that early go unchecked

    base = tmp_path_factory.getbasetemp()
    return FinishedRuns((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def random_directions() -> Iterator[None]:
    """gradcheck's fast mode draws its random directions from the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Forces each instruction set that the native kernels have here, one after the other."""
    from neufield.kernels import native  # not above: the signatures of what is imported that early go unchecked

    monkeypatch.delenv("NEUFIELD_ISA", raising=False)
    before = native.isa()
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests of many small operations: on busy cores these wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check-signatures", action="store_true", help="check the types and shapes of every call")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check-signatures"):
        typecheck.install("neufield")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: a process takes a gigabyte and more."""
    return min(os.cpu_count() or 1, 8)


def pytest_generate_tests(metafunc):
    if "isa" in metafunc.fixturenames:
        from neufield.kernels import native

        absent = pytest.param("", marks=pytest.mark.skip(reason=_NOT_BUILT))
        metafunc.parametrize("isa", native.isas() or [absent], indirect=True)


def pytest_collection_modifyitems(items):
    from neufield.kernels import native

    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # so that no process is left with them when others are done
    absent = {"shared": _ABSENT} if not SHARED.is_dir() else {}
    absent |= {"native": _NOT_BUILT} if not native.isas() else {}
    absent |= {"gpu": _NO_GPU} if not torch.cuda.is_available() else {}
    for item in items:
        for mark, reason in absent.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"skipped {count}: {reason}")


def pytest_sessionfinish(session, exitstatus):
    """In CI all must run but what wants a GPU: the real inputs lie there; other skips mean that something lacks."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") and exitstatus == 0 and any("gpu" not in report.keywords for report in skipped):
        session.exitstatus = 1
