"""A forked child that goes on with a field which its parent trained; the parent's threads do not come along."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = [pytest.mark.native, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")]

_SCRIPT = """
    import multiprocessing, os, signal, sys
    import torch
    from neufield.core.records import Batch, StepContext
    from neufield.encodings import Grid
    from neufield.fields import NeuralField
    from neufield.networks import MLP
    from neufield.fitting import Regression

    torch.set_num_threads(2)
    torch.manual_seed(0)
    field = NeuralField(Grid(2, 4, 2, 8), MLP(8, 3, 16, 1))
    batch = Batch(torch.rand(200_000, 2), torch.rand(200_000, 3))  # so many that torch's own sums go to its threads

    def step():
        loss = Regression("l2")(field, batch, StepContext(0, 0.0, torch.Generator())).loss
        by_table, *_ = torch.autograd.grad(loss + field(batch.x).square().mean(), list(field.parameters()))
        return float(loss.detach()), float(by_table.double().sum())

    def child(queue=None):
        signal.alarm(60)  # one that hangs is killed
        queue.put(step())

    before = step()
"""
_WAYS = {
    "os.fork": """
    reader, writer = os.pipe()
    if os.fork() == 0:
        signal.alarm(60)
        os.write(writer, repr(step()).encode())
        os._exit(0)
    os.close(writer)
    found = eval(os.read(reader, 1000) or b"None")
""",
    "multiprocessing": """
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join(100)
    assert process.exitcode == 0, process.exitcode
    found = queue.get()
""",
}
# Two threads add other parts up first.
_SAME = """
assert found is not None, "the child hung"
assert all(abs(a - b) <= 1e-5 * abs(a) for a, b in zip(before, found, strict=True)), (before, found)
"""


@pytest.mark.parametrize("way", _WAYS)
def test_a_forked_child_computes_what_its_parent_did(way: str) -> None:
    script = textwrap.dedent(_SCRIPT) + textwrap.dedent(_WAYS[way])
    script += _SAME
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
