"""Reads the spans table as a stranger would and prints what each library sees, one JSON object.

Usage: read_table.py TABLE_DIRECTORY
"""

import json
import sys

import deltalake
import duckdb
import polars

table_dir = sys.argv[1]
table = deltalake.DeltaTable(table_dir)
dataset = table.to_pyarrow_dataset()
files = table.file_uris()
COUNTS = """
    SELECT count(*), count(DISTINCT trace_id), count(DISTINCT span_id), count(parent_span_id), sum(duration_ns),
           sum(len(map_keys(attributes))), sum(len(events)), count(DISTINCT date)
    FROM {}
"""


def seen_by_polars():
    frame = polars.scan_delta(table_dir).select(
        polars.len(),
        polars.col("trace_id").n_unique().alias("traces"),
        polars.col("span_id").n_unique().alias("spans"),
        polars.col("parent_span_id").count().alias("parents"),
        polars.col("duration_ns").sum().alias("duration"),
        polars.col("events").list.len().sum().alias("events"),
        polars.col("date").n_unique().alias("dates"),
    )
    return list(frame.collect().row(0))


def seen_by_deltalake():
    arrow = table.to_pyarrow_table(columns=["trace_id", "span_id", "duration_ns"])
    return [
        arrow.num_rows,
        len(set(arrow["trace_id"].to_pylist())),
        len(set(arrow["span_id"].to_pylist())),
        sum(arrow["duration_ns"].to_pylist()),
    ]


print(
    json.dumps(
        {
            "deltalake": seen_by_deltalake(),
            "polars": seen_by_polars(),
            "duckdb_dataset": list(map(int, duckdb.execute(COUNTS.format("dataset")).fetchone())),
            "duckdb_files": list(
                map(int, duckdb.execute(COUNTS.format("read_parquet($files, hive_partitioning = true)"), {"files": files}).fetchone())
            ),
        }
    )
)
