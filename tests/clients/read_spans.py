"""Reads every span of the table as a stranger would, field by field, and prints what each library sees, one JSON object.

Usage: read_spans.py TABLE_DIRECTORY
"""

import json
import sys

import deltalake
import duckdb
import polars
import pyarrow
import pyarrow.compute

table_dir = sys.argv[1]
table = deltalake.DeltaTable(table_dir)
dataset = table.to_pyarrow_dataset()
files = table.file_uris()
FROM_TEXT = {"b": lambda text: text == "true", "i": int, "d": float}


def merged(row, owner="attributes", types="attribute_types"):
    """All attributes of a span, its resource or its scope: those that lie in the map, and those that lie in columns."""
    in_map = dict(row[owner] or ())
    letters = row[types] or "s" * len(in_map)
    whole = {key: FROM_TEXT.get(letter, str)(text) for (key, text), letter in zip(in_map.items(), letters)}
    for name, value in row.items():
        if name.startswith(owner + ".") and value is not None:
            whole[name.removeprefix(owner + ".").split(":")[0]] = value
    return whole


def columns_of(key):
    """The columns that may hold values of an attribute; it may have none, and some values may lie in the map."""
    names = (f"attributes.{key}{suffix}" for suffix in ("", ":int", ":double", ":bool"))
    return [name for name in names if name in dataset.schema.names]


def spans(rows):
    """Rows with the ids as text, the times, and all attributes, in the order of the span ids."""
    fields = ("span_hex", "trace_hex", "start", "end", "duration_ns", "span_name", "service_name", "route", "rare")
    whole = (
        [row[field] for field in fields]
        + [
            merged(row),
            merged(row, "resource_attributes", "resource_attribute_types"),
            merged(row, "scope_attributes", "scope_attribute_types"),
        ]
        for row in rows
    )
    return sorted(whole, key=lambda span: span[0])


def by_deltalake():
    arrow = table.to_pyarrow_table()

    def attribute(key):
        texts = [arrow[name].cast(pyarrow.string()) for name in columns_of(key)]
        return pyarrow.compute.coalesce(*texts, pyarrow.compute.map_lookup(arrow["attributes"], key, "first"))

    utc = pyarrow.timestamp("ns", tz="UTC")
    ends = pyarrow.compute.add(arrow["start_ns"], arrow["duration_ns"]).cast(utc)
    more = {
        "start": arrow["start_ns"].cast(utc).cast(pyarrow.int64()),
        "end": ends.cast(pyarrow.int64()),
        "route": attribute("http.route"),
        "rare": attribute("rare"),
    }
    for name, column in more.items():
        arrow = arrow.append_column(name, column)
    ids = lambda row: {"trace_hex": row["trace_id"].hex(), "span_hex": row["span_id"].hex()}
    return spans(row | ids(row) for row in arrow.to_pylist())


def by_polars():
    def attribute(key):
        texts = [polars.col(name).cast(polars.String) for name in columns_of(key)]
        return polars.coalesce(*texts, polars.col("attributes").map.get(key))

    start = polars.from_epoch("start_ns", time_unit="ns")
    end = polars.from_epoch(polars.col("start_ns") + polars.col("duration_ns"), time_unit="ns")
    frame = polars.scan_delta(table_dir).with_columns(
        trace_hex=polars.col("trace_id").bin.encode("hex"),
        span_hex=polars.col("span_id").bin.encode("hex"),
        start=start.dt.timestamp("ns"),
        end=end.dt.timestamp("ns"),
        route=attribute("http.route"),
        rare=attribute("rare"),
    )
    return spans(frame.collect().rows(named=True))


def by_duckdb(source, **parameters):
    def attribute(key):
        texts = [f'CAST("{name}" AS VARCHAR), ' for name in columns_of(key)]
        return f"coalesce({''.join(texts)}attributes['{key}'])"

    found = duckdb.execute(
        f"""
        SELECT *, lower(hex(trace_id)) AS trace_hex, lower(hex(span_id)) AS span_hex,
               epoch_ns(make_timestamp_ns(start_ns)) AS start, epoch_ns(make_timestamp_ns(start_ns + duration_ns)) AS end,
               {attribute("http.route")} AS route, {attribute("rare")} AS rare
        FROM {source}
        """,
        parameters or None,
    )
    names = [column[0] for column in found.description]
    return spans(dict(zip(names, row)) for row in found.fetchall())


print(
    json.dumps(
        {
            "columns": [name for name in dataset.schema.names if "attributes." in name],
            "deltalake": by_deltalake(),
            "polars": by_polars(),
            "duckdb_dataset": by_duckdb("dataset"),
            "duckdb_files": by_duckdb(
                "read_parquet($files, hive_partitioning = true, union_by_name = true)", files=files
            ),
        }
    )
)
