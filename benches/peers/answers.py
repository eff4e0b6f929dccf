"""Whether the engines gave the same answer, each in its own types."""

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterable
from typing import Any

from engines import Answer, Rows
from questions import Question

EXACT_RELATIVE = 1e-9
QUANTILE_RELATIVE = 0.01
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def difference(question: Question, ours: Answer, theirs: Answer) -> str | None:
    """The first difference of two answers outside the approximate columns, in words; the order of rows does not count."""
    if [name.lower() for name in ours.columns] != [name.lower() for name in theirs.columns]:
        return f"columns {ours.columns} and {theirs.columns}"
    if len(ours.rows) != len(theirs.rows):
        return f"{len(ours.rows)} rows and {len(theirs.rows)}"
    exact = [at for at, name in enumerate(ours.columns) if name not in question.quantiles]
    for mine, other in zip(*(sorted(_comparable(answer, exact), key=_sort_key) for answer in (ours, theirs))):
        for at, left, right in zip(exact, mine, other):
            if not _equal(left, right):
                return f"{ours.columns[at]}: {left!r} and {right!r}"
    return None


def quantile_error(question: Question, answer: Answer, ranks: Rows) -> str | None:
    """The first approximate value that is more than 1 % outside of the exact values around its rank, in words."""
    keys = len(ranks[0]) - 1 if ranks else 0
    names = answer.columns[:keys]
    values = {_key(row[:keys], names): row[keys] for row in ranks}
    for row in answer.rows:
        for name, q in question.quantiles.items():
            value, ordered = float(row[answer.columns.index(name)]), values[_key(row[:keys], names)]
            low, high = ordered[math.floor(q * (len(ordered) - 1))], ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)))]
            if not low * (1 - QUANTILE_RELATIVE) <= value <= high * (1 + QUANTILE_RELATIVE):
                return f"{name} of {row[:keys]}: {value} is not within 1 % of {low} to {high}"
    return None


def _comparable(answer: Answer, columns: Iterable[int]) -> list[tuple[Any, ...]]:
    return [tuple(_plain(row[at], answer.columns[at]) for at in columns) for row in answer.rows]


def _key(values: Iterable[Any], names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(_plain(value, name) for value, name in zip(values, names))


def _plain(value: Any, column: str) -> Any:
    """A value in the types that all engines share: ids as hex, times as microseconds, maps as dictionaries, empty text as nothing."""
    match value:
        case None | "":
            return None
        case uuid.UUID():
            return value.hex
        case int() if column.endswith("_id"):
            return f"{value:016x}"
        case int() if column == "minute":
            # ClickHouse's DateTime comes as seconds.
            return value * 1_000_000
        case bool() | int() | str():
            return value
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime.datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
            return (moment - EPOCH) // datetime.timedelta(microseconds=1)
        case dict() | list():
            return {key: _attribute(each) for key, each in dict(value).items()}
    return value


def _attribute(value: Any) -> Any:
    """A value that an engine keeps with its type is equal to its text; a number is equal however it is written, and so is JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _sort_key(row: tuple[Any, ...]) -> list[str]:
    # Floats differ in their last digits, so that they must not decide the order.
    return [str(value) for value in row if not isinstance(value, float)]


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return left is not None and right is not None and math.isclose(left, right, rel_tol=EXACT_RELATIVE)
    return left == right
