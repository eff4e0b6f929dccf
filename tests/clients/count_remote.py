"""Counts the rows, spans and traces of a table on an object store with deltalake, and prints them as JSON.

Usage: count_remote.py URL   (credentials and endpoint from the environment)
"""

import json
import os
import sys

import deltalake

options = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "AZURE_"))}
table = deltalake.DeltaTable(sys.argv[1], storage_options=options)
rows = table.to_pyarrow_table(columns=["trace_id", "span_id"])
print(json.dumps([rows.num_rows, len(set(rows["span_id"].to_pylist())), len(set(rows["trace_id"].to_pylist()))]))
# The reader's own threads abort now and then while the interpreter ends; what was asked for is printed by then.
sys.stdout.flush()
os._exit(0)
