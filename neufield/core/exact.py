"""Correctly rounded logarithms and powers: the same on every machine, where a library's last bit is not.

numpy's and the C library's functions choose their code by the processor, and their last bits differ with it. That is
harmless in a value, but not in what decides a size, a count or a name in a file: 49.0 and the next number above it
are a grid of 50 and one of 51 vertices. What decides such things is computed here, with 60 digits, and rounded once.
"""

import contextlib
import decimal
import math
from fractions import Fraction

_DIGITS = 60  # of every intermediate result; a float64 has 17
_FLOAT32 = 24  # bits of a float32's significand


def log2(x: float) -> float:
    """Return the float64 nearest to the logarithm of ``x > 0`` to base 2."""
    return float(_log2(Fraction(x)))


def power(base: float | Fraction, exponent: float | Fraction) -> float:
    """Return the float64 nearest to ``base ** exponent``, ``base > 0``; a root is a power of ``Fraction(1, n)``."""
    return float(_power(Fraction(base), Fraction(exponent)))


def log2_float32(x: float) -> float:
    """Return the float32 nearest to the logarithm of ``x > 0`` to base 2."""
    return _to_float32(_log2(Fraction(x)))


def exp2_float32(x: float) -> float:
    """Return the number nearest to ``2 ** x`` of float32's 24 bits; its exponent is a float64's."""
    return _to_float32(_power(Fraction(2), Fraction(x)))


def _log2(x: Fraction) -> decimal.Decimal:
    with _context():
        return _decimal(x).ln() / decimal.Decimal(2).ln()


def _power(base: Fraction, exponent: Fraction) -> decimal.Decimal:
    with _context():
        return (_decimal(base).ln() * _decimal(exponent)).exp()


def _context() -> contextlib.AbstractContextManager[decimal.Context]:
    """The digits, and exponents so wide that nothing overflows, whatever the caller's own context."""
    return decimal.localcontext(
        decimal.Context(prec=_DIGITS, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation])
    )


def _decimal(value: Fraction) -> decimal.Decimal:
    return decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)


def _to_float32(value: decimal.Decimal) -> float:
    """Round once: to float64 first and to float32 then may end beside the nearest."""
    _, exponent = math.frexp(float(value))
    step = Fraction(2) ** (exponent - _FLOAT32)
    return float(round(Fraction(value) / step) * step)
