"""What the questions ask for in a data set: its middle hour, its busiest service, a trace, its attributes. Taken from the staged spans."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

HOUR_NS = 3600 * 10**9


@dataclass(frozen=True)
class Topics:
    """The attributes that are worth asking about in a kind of data."""

    # Frequent, with tens of values: grouped by.
    group_key: str
    # Its rarest value is looked for.
    rare_key: str
    # Compared with a number. Where no span has it, the answer is empty, and is to be found fast all the same.
    numeric_key: str


def find(staging: Path, topics: Topics) -> dict[str, str]:
    """The parameters by name, as text that stands in the SQL of all three engines."""
    spans = f"read_parquet('{staging}/*.parquet')"
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW spans AS SELECT * FROM {spans}")
    first, last, middle, errors, slow = _row(
        connection,
        "SELECT min(start_ns), max(start_ns), quantile_disc(start_ns, 0.45), count(*) FILTER (WHERE status_code = 'ERROR'), "
        "quantile_disc(duration_ns, 0.9999) FROM spans",
    )
    (rare_value,) = _row(
        connection,
        "SELECT attributes[$key] AS value FROM spans WHERE value IS NOT NULL GROUP BY value ORDER BY count(*), value LIMIT 1",
        {"key": topics.rare_key},
    )
    (service,) = _row(connection, "SELECT service_name FROM spans GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1")
    found = {
        "service": service,
        "trace_id": _trace(connection),
        "group_key": topics.group_key,
        "rare_key": topics.rare_key,
        "rare_value": rare_value,
        "numeric_key": topics.numeric_key,
        "repeats": str(_repeats(connection)),
        # Where nothing failed, the suspects are the slowest.
        "suspect": "error" if errors else "slow",
        "slow_ns": str(slow),
        **_range("hour", middle, HOUR_NS),
        **_range("tenth", middle, (last - first) // 10),
    }
    connection.close()
    return found


def _trace(connection: duckdb.DuckDBPyConnection) -> str:
    """A trace of the median number of spans."""
    counts = "SELECT trace_id, count(*) AS spans FROM spans GROUP BY trace_id"
    (trace_id,) = _row(
        connection,
        f"WITH counts AS ({counts}) SELECT trace_id FROM counts WHERE spans = (SELECT quantile_disc(spans, 0.5) FROM counts) "
        "ORDER BY trace_id LIMIT 1",
    )
    return trace_id


def _repeats(connection: duckdb.DuckDBPyConnection) -> int:
    """From how many equal calls under one parent on they are suspect: ten, or less where nobody calls so often."""
    calls = "SELECT count(*) AS calls FROM spans WHERE span_kind = 'CLIENT' GROUP BY trace_id, parent_span_id, service_name, span_name"
    (most,) = _row(connection, f"SELECT max(calls) FROM ({calls})")
    return min(10, max(2, most // 2))


def _row(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, str] | None = None) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters or {}).fetchone()
    if row is None:
        raise RuntimeError(f"no row for {sql}")
    return row


def _range(name: str, middle_ns: int, length_ns: int) -> dict[str, str]:
    """A range that begins with the second of `middle_ns`, as text."""
    start_s = middle_ns // 10**9
    end_s = start_s + -(-length_ns // 10**9)
    return {f"{name}_from": _second(start_s), f"{name}_to": _second(end_s)}


def _second(since_1970: int) -> str:
    return f"{datetime.datetime.fromtimestamp(since_1970, datetime.timezone.utc):%Y-%m-%d %H:%M:%S}"
