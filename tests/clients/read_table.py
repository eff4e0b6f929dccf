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
# A frequent attribute lies in columns of its own, `attributes.KEY` and `attributes.KEY:TYPE`; the others lie in the map.
columns = [name for name in dataset.schema.names if name.startswith("attributes.")]
in_columns = " + ".join(f'count("{name}")' for name in columns)
COUNTS = f"""
    SELECT count(*), count(DISTINCT trace_id), count(DISTINCT span_id), count(parent_span_id), sum(duration_ns),
           sum(len(map_keys(attributes))) + {in_columns}, sum(len(events)), count(DISTINCT date)
    FROM {{}}
"""
FILES = "read_parquet($files, hive_partitioning = true, union_by_name = true)"


def seen_by_polars():
    frame = polars.scan_delta(table_dir).select(
        polars.len(),
        polars.col("trace_id").n_unique().alias("traces"),
        polars.col("span_id").n_unique().alias("spans"),
        polars.col("parent_span_id").count().alias("parents"),
        polars.col("duration_ns").sum().alias("duration"),
        (polars.col("attributes").map.len().sum() + sum(polars.col(name).count() for name in columns)).alias("attributes"),
        polars.col("events").list.len().sum().alias("events"),
        polars.col("date").n_unique().alias("dates"),
    )
    return list(frame.collect().row(0))


def seen_by_deltalake():
    arrow = table.to_pyarrow_table(columns=["trace_id", "span_id", "duration_ns", "attributes", *columns])
    in_maps = sum(map(len, arrow["attributes"].to_pylist()))
    return [
        arrow.num_rows,
        len(set(arrow["trace_id"].to_pylist())),
        len(set(arrow["span_id"].to_pylist())),
        sum(arrow["duration_ns"].to_pylist()),
        in_maps + sum(len(arrow[name]) - arrow[name].null_count for name in columns),
    ]


print(
    json.dumps(
        {
            "deltalake": seen_by_deltalake(),
            "polars": seen_by_polars(),
            "duckdb_dataset": list(map(int, duckdb.execute(COUNTS.format("dataset")).fetchone())),
            "duckdb_files": list(
                map(int, duckdb.execute(COUNTS.format(FILES), {"files": files}).fetchone())
            ),
        }
    )
)
