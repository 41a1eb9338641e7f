"""The native kernels give the same bits: run after run, with any number of threads, from any thread, after a fork."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from native_cases import FUSED_ENCODINGS, field_gradients, field_inputs, field_spec, grid_inputs
from torch import Tensor

from neufield.kernels.grid import GridSpec

grid_data, field_data = functools.cache(grid_inputs), functools.cache(field_inputs)


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def grid_ops(spec: GridSpec, n: int) -> list[Tensor]:
    """All three ops, with and without a direction."""
    inputs, text, op = grid_data(spec, n), spec.text, torch.ops.neufield
    x, table, mix = inputs["x"], inputs["table"], inputs["mix"]
    found = []
    for v in (None, inputs["along"]):
        found.append(op.grid_gather(x, table, v, text))
        found.append(op.grid_scatter(x, mix, v, text))
        found.append(op.grid_contract(x, table, mix, v, text))
    return found


def field_op(encoding: str, n: int) -> list[Tensor]:
    spec = field_spec(encoding, "silu", True, 32, 2, 3)
    return list(field_gradients(field_data(spec, n), spec, torch.float32).values())


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second)) and len(first) == len(second)


def by_threads(compute: Callable[[], list[Tensor]]) -> list[list[Tensor]]:
    found = []
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        found.append(compute())
    return found


# Few levels make several threads share one level's table; 9,000 points are two jobs, 700 is not a multiple of a tile.
@pytest.mark.parametrize("n", [700, 9000])
@pytest.mark.parametrize(
    ("n_levels", "features"),
    [(1, 1), (1, 2), (1, 4), (3, 1), (3, 2), (3, 4), (16, 2)],
)
def test_the_grid_with_any_number_of_threads(isa: str, n_levels: int, features: int, n: int) -> None:
    spec = GridSpec(2, n_levels, features, 8, 4, 1.4)
    alone, *others = by_threads(lambda: grid_ops(spec, n))
    assert all(same(found, alone) for found in others)


@pytest.mark.parametrize("n", [700, 9000])
@pytest.mark.parametrize("encoding", ["grid", "frequency", "features"])
def test_the_field_with_any_number_of_threads(isa: str, encoding: str, n: int) -> None:
    alone, *others = by_threads(lambda: field_op(encoding, n))
    assert all(same(found, alone) for found in others)


@pytest.mark.parametrize("encoding", FUSED_ENCODINGS)
def test_run_after_run(isa: str, encoding: str) -> None:
    spec = GridSpec(3, 8, 2, 8, 4, 1.4)
    torch.set_num_threads(2)
    field, grid = field_op(encoding, 5000), grid_ops(spec, 5000)
    for _ in range(5):
        assert same(field_op(encoding, 5000), field)
        assert same(grid_ops(spec, 5000), grid)


def test_several_python_threads_at_once(isa: str) -> None:
    """Each with work of its own, so that one thread's scratch memory in another's hands would show."""
    torch.set_num_threads(2)
    jobs = [lambda n=n: grid_ops(GridSpec(3, 6, 2, 8, 4, 1.4), n) for n in (3000, 3100)]
    jobs += [lambda encoding=encoding: field_op(encoding, 3000) for encoding in FUSED_ENCODINGS]
    alone = [job() for job in jobs]
    wrong, together = [], threading.Barrier(len(jobs))

    def work(index: int) -> None:
        together.wait()
        for _ in range(4):
            if not same(jobs[index](), alone[index]):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


_SCRIPT = """
    import os, signal, sys
    import torch
    sys.path.insert(0, {tests!r})
    from test_native_bits import field_data, field_op, field_spec, grid_data, grid_ops, same
    from neufield.kernels.grid import GridSpec

    spec = GridSpec(2, 4, 2, 8, 4, 1.4)
    # Inputs are made here: a child's own large operations of torch would hang, and so few points need none.
    grid_data(spec, 3000), field_data(field_spec("grid", "silu", True, 32, 2, 3), 3000)

    def compute():
        return [*grid_ops(spec, 3000), *field_op("grid", 3000)]

    def in_a_child(threads, expected):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # one that hangs is killed
            torch.set_num_threads(threads)
            found = compute()
            os._exit(0 if same(found, expected or found) else 1)
        status = os.waitpid(child, 0)[1]
        assert status == 0, (threads, "differs" if os.WIFEXITED(status) else "hung")

    torch.set_num_threads(2)
    torch.rand(1 << 21).sin()  # torch's threads exist now
"""


def run_script(script: str) -> None:
    text = textwrap.dedent(_SCRIPT + script).format(tests=str(Path(__file__).parent))
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.mark.native
@needs_fork
def test_in_a_forked_child() -> None:
    """The parent's thread pool does not come along; the child must neither wait for it nor compute something else."""
    run_script(
        """
    before = compute()
    in_a_child(2, before)
    assert same(compute(), before)
"""
    )


@pytest.mark.native
@needs_fork
def test_in_a_forked_child_that_is_the_first_to_use_the_library() -> None:
    run_script("    in_a_child(2, None)\n")


@pytest.mark.native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_no_threads_beside_torchs_own() -> None:
    run_script(
        """
    torchs = len(os.listdir("/proc/self/task"))
    compute()
    assert len(os.listdir("/proc/self/task")) == torchs
"""
    )
