"""What the questions ask for in a data set: its middle hour, its busiest service, a trace, its attributes. Taken from the staged spans."""

from dataclasses import dataclass
from pathlib import Path

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
    first, last, middle, errors, slow = connection.execute(
        "SELECT min(start_ns), max(start_ns), quantile_disc(start_ns, 0.45), count(*) FILTER (WHERE status_code = 'ERROR'), "
        "quantile_disc(duration_ns, 0.9999) FROM spans"
    ).fetchone()
    (rare_value,) = connection.execute(
        "SELECT attributes[$key] AS value FROM spans WHERE value IS NOT NULL GROUP BY value ORDER BY count(*), value LIMIT 1",
        {"key": topics.rare_key},
    ).fetchone()
    (service,) = connection.execute("SELECT service_name FROM spans GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").fetchone()
    found = {
        "service": service,
        "trace_id": _trace(connection),
        "group_key": topics.group_key,
        "rare_key": topics.rare_key,
        "rare_value": rare_value,
        "numeric_key": topics.numeric_key,
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
    return connection.execute(
        f"WITH counts AS ({counts}) SELECT trace_id FROM counts WHERE spans = (SELECT quantile_disc(spans, 0.5) FROM counts) "
        "ORDER BY trace_id LIMIT 1"
    ).fetchone()[0]


def _range(name: str, middle_ns: int, length_ns: int) -> dict[str, str]:
    """A range that begins with the second of `middle_ns`, as text."""
    start_s = middle_ns // 10**9
    end_s = start_s + -(-length_ns // 10**9)
    return {f"{name}_from": _second(start_s), f"{name}_to": _second(end_s)}


def _second(since_1970: int) -> str:
    import datetime

    return f"{datetime.datetime.fromtimestamp(since_1970, datetime.timezone.utc):%Y-%m-%d %H:%M:%S}"
