"""The checks of signatures themselves: what is wrong is refused wherever it is said, and what is right passes."""

import sys

import pytest
import torch
import typecheck
from cases import without_type_checks
from jaxtyping import TypeCheckError

PROGRAM = """
from dataclasses import dataclass
from typing import TYPE_CHECKING, no_type_check
from jaxtyping import Float
from torch import Tensor
if TYPE_CHECKING:
    from nowhere import Unknown

def add(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return a + b

def pair(a: Float[Tensor, "n"]) -> Float[Tensor, "2 n"]:
    return a if len(a) == 3 else add_outside(a, a)

def add_outside(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> Float[Tensor, "2 n"]:
    import torch
    return torch.stack([a, b])

def double(x: float, *more: int, name: str = "") -> float:
    return name or 2 * x

def later(x: "Unknown", y: "int") -> None: ...

def outer(x):
    def inner(y: int) -> int:
        return y
    return inner(x)

@no_type_check
def spared(x: int): ...

@dataclass(frozen=True)
class Record:
    n: int
    x: Float[Tensor, "n"]

class Base:
    def __init__(self, n: int) -> None:
        self.n = n
    @classmethod
    def of(cls, n: int) -> "Base":
        return cls(n)
    @staticmethod
    def plain(n: int) -> int:
        return n
    @property
    def wrong(self) -> str:
        return self.n
"""
x, longer = torch.zeros(4), torch.zeros(5)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    typecheck.install("toy")
    import toy

    yield toy
    del sys.modules["toy"]


WRONG = {
    "a type": lambda toy: toy.add([1.0], x),
    "an axis in two sizes": lambda toy: toy.add(x, longer),
    "a type of numbers": lambda toy: toy.add(x.long(), x.long()),
    "a shape that is returned": lambda toy: toy.pair(torch.zeros(3)),
    "a type that is returned": lambda toy: toy.double(1.0, name="two"),
    "one of many": lambda toy: toy.double(1.0, 2, "three"),
    "by name": lambda toy: toy.double(1.0, name=3),
    "beside what is not known": lambda toy: toy.later(None, "three"),
    "within a function": lambda toy: toy.outer("three"),
    "a record": lambda toy: toy.Record("three", x),
    "a record's shape": lambda toy: toy.Record(4, torch.zeros(4, 1)),
    "a constructor": lambda toy: toy.Base("three"),
    "a method of a class": lambda toy: toy.Base.of("three"),
    "a method of none": lambda toy: toy.Base.plain("three"),
    "a property": lambda toy: toy.Base(3).wrong,
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_signature_does_not_allow_is_refused(what, module):
    with pytest.raises(TypeCheckError):
        WRONG[what](module)


def test_what_it_allows_passes(module):
    assert len(module.add(x, x)) == 4
    assert module.pair(x).shape == (2, 4)  # an axis has a size for each call, also of one within another
    assert module.double(1) == 2  # an int where a float is expected
    assert module.later(object(), 3) is None
    assert module.spared("three") is None
    assert module.Base.of(3).n == module.Base.plain(3) == module.outer(3) == 3
    assert module.Record(4, x).n == 4
    assert module.later.__annotations__ == {"x": "Unknown", "y": "int", "return": None}  # they stay as written


def test_without_checks_it_is_the_function_itself(module):
    with without_type_checks():
        assert module.outer("three") == "three"
        assert module.Base(3).wrong == 3


def test_the_package_is_checked():
    from neufield.metrics.similarity import psnr

    with pytest.raises(TypeCheckError):
        psnr("three")
