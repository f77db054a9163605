"""Numbers as text that a numeric type takes without changing them.

In: exact decimals, a column's type. Out: the text PostgreSQL prints for the value, or `Unfit`. Called by
`rowtide.mapping.back_kinds` and `back_texts`. Rule: PostgreSQL rounds to the scale of a numeric in silence, so more
digits are refused; float4 and float8 are approximate by their nature, and take the nearest value.
"""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal

from rowtide.mapping.columns import SourceColumn


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a value cannot be in a column: the rest of a sentence, without the value."""

    why: str


ToText = Callable[[Decimal], str | Unfit]

_BITS = {"smallint": 16, "int2": 16, "integer": 32, "int4": 32, "int": 32, "bigint": 64, "int8": 64}
_EXACT = Context(prec=200_000)
# PostgreSQL's own limits of a numeric without precision: digits before and after the point.
_MOST_BEFORE, _MOST_AFTER = 131_072, 16_383
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_SPECIAL = {"nan": "NaN", "infinity": "Infinity", "inf": "Infinity", "-infinity": "-Infinity", "-inf": "-Infinity"}
_TOO_LARGE = Unfit("it is larger than the column's type holds")
_NOT_WHOLE = Unfit("the column holds whole numbers only")
_NO_NUMBER = Unfit("it is no number, such as 1234.5, for PostgreSQL")


def of_column(column: SourceColumn) -> ToText:
    """The function from a number to the text of a column of a numeric type."""
    match column.family:
        case "integer":
            return _integer(_BITS.get(column.type_name, 64))
        case "numeric":
            return _numeric(column)
        case "float4":
            return lambda exact: _float(exact, _to_float4, 6)
        case _:
            return lambda exact: _float(exact, lambda value: (value, repr(value)), 15)


def reader(column: SourceColumn) -> Callable[[str], str | Unfit]:
    """The function from a number that was typed as text to the column's text."""
    to_text = of_column(column)
    # A numeric with a precision takes NaN and no infinity.
    takes_infinity = column.family != "numeric" or column.precision is None
    special = {name: text for name, text in _SPECIAL.items() if takes_infinity or name == "nan"}
    if column.family == "integer":
        special = {}

    def read(typed: str) -> str | Unfit:
        if typed.lower() in special:
            return special[typed.lower()]
        return to_text(Decimal(typed)) if _NUMBER.fullmatch(typed) else _NO_NUMBER

    return read


def _integer(bits: int) -> ToText:
    most = Decimal(2 ** (bits - 1))

    def integer(exact: Decimal) -> str | Unfit:
        if exact.adjusted() > bits or not -most <= exact < most:
            return _TOO_LARGE
        if exact != exact.to_integral_value():
            return _NOT_WHOLE
        return f"{int(exact)}"

    return integer


def _numeric(column: SourceColumn) -> ToText:
    precision, scale = column.precision, column.scale
    fewer = Unfit(_digits_held(scale))

    def numeric(exact: Decimal) -> str | Unfit:
        if not exact:
            exact = Decimal(0)
        before = _MOST_BEFORE if precision is None else precision - scale
        if exact and exact.adjusted() >= before:
            return _TOO_LARGE
        digits = exact.normalize(_EXACT)
        exponent = digits.as_tuple().exponent
        assert isinstance(exponent, int), "it is a number"
        after = _MOST_AFTER if precision is None else scale
        if exact and -exponent > after:
            return fewer if precision is not None else _TOO_LARGE
        if precision is None:
            return f"{exact:f}"
        return f"{digits.quantize(Decimal(1).scaleb(-max(scale, 0)), context=_EXACT):f}"

    return numeric


def _digits_held(scale: int) -> str:
    if scale < 0:
        return f"the column holds multiples of {10**-scale} only"
    return f"the column holds {scale} digits after the point" if scale else _NOT_WHOLE.why


def _to_float4(value: float) -> tuple[float, str]:
    """The nearest float4, and the shortest text that is read as it."""
    (kept,) = struct.unpack("f", struct.pack("f", value))
    texts = (f"{kept:.{digits}g}" for digits in range(1, 10))
    return kept, next(text for text in texts if struct.unpack("f", struct.pack("f", float(text)))[0] == kept)


def _float(exact: Decimal, to_float: Callable[[float], tuple[float, str]], plain_digits: int) -> str | Unfit:
    try:
        kept, shortest = to_float(float(exact))
    except OverflowError:
        return _TOO_LARGE
    if math.isinf(kept):
        return _TOO_LARGE
    if not kept:
        return Unfit("it is nearer to 0 than the column's type holds") if exact else "-0" if exact.is_signed() else "0"
    digits = Decimal(shortest).normalize()
    exponent = digits.adjusted()
    if -4 <= exponent < plain_digits:
        return f"{digits:f}"
    sign, figures, _ = digits.as_tuple()
    fraction = "".join(map(str, figures[1:]))
    return f"{'-' * sign}{figures[0]}{'.' * bool(fraction)}{fraction}e{exponent:+03d}"
