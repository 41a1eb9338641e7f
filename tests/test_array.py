"""A lattice of numbers as a signal."""

import numpy as np
import pytest
import torch

from neufield.core.errors import DataError
from neufield.core.lattice import lattice
from neufield.signals import Array


def ramp(*shape: int) -> torch.Tensor:
    return lattice(shape).sum(-1, keepdim=True)


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4)], ids=str)
def test_a_step_of_all_cells_has_each_once_where_it_lies(shape: tuple[int, ...], generator: torch.Generator) -> None:
    batch = Array(ramp(*shape)).sample(1000, generator)
    torch.testing.assert_close(batch.x, lattice(shape).reshape(-1, len(shape)))
    torch.testing.assert_close(batch.target[:, 0], batch.x.sum(-1))


def test_few_samples_are_drawn_by_the_generator_from_the_training_cells_alone(generator: torch.Generator) -> None:
    train = torch.arange(20) % 4 == 0
    signal = Array(ramp(20), train)
    first = signal.sample(3, generator)
    assert len(first.x) == 3
    assert set(first.x[:, 0].tolist()) <= set(lattice((20,))[train, 0].tolist())
    again = signal.sample(3, torch.Generator().manual_seed(0))
    assert torch.equal(first.x, again.x)


def test_the_score_is_that_of_the_cells_left_out() -> None:
    train = torch.arange(10) < 5
    signal = Array(ramp(10), train, peak=2.0)
    score = signal.evaluate(lambda x: torch.where(x < 0.5, x, x + 0.2))
    assert score["mse"] == pytest.approx(0.04)
    assert score["psnr"] == pytest.approx(20.0)  # 10 log10(2^2 / 0.04)
    assert signal.evaluate(lambda x: x + 0.2, limit=3)["mse"] == pytest.approx(0.04)
    assert Array(ramp(10)).evaluate(lambda x: x)["mse"] == pytest.approx(0.0, abs=1e-12)


def test_a_ramp_stays_one_in_any_shape() -> None:
    signal = Array(ramp(8, 12, 4))
    assert torch.equal(signal.lattice((8, 12, 4)), ramp(8, 12, 4))
    coarse = signal.lattice((4, 6, 2))
    inner = (slice(1, -1), slice(1, -1))  # at the border the mirror of nothing is missing
    torch.testing.assert_close(coarse[inner][..., 0], lattice((4, 6, 2)).sum(-1)[inner], atol=0.07, rtol=0)


def test_written_and_read_again(tmp_path) -> None:
    Array(ramp(3, 4)).write(tmp_path / "a.npy", lambda x: x.sum(-1, keepdim=True))
    assert np.array_equal(np.load(tmp_path / "a.npy"), ramp(3, 4).numpy())


@pytest.mark.parametrize(
    ("values", "train", "words"),
    [
        (torch.zeros(3), None, "unsqueeze"),
        (torch.full((3, 1), torch.nan), None, "finite"),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.bool), "marks no cell"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(values: torch.Tensor, train: torch.Tensor | None, words: str) -> None:
    if values.ndim == 1:
        values = values.float()
    with pytest.raises(DataError, match=words):
        Array(values, train)
