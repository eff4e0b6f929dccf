"""Writes the spans of one call as other programs keep them: tables_of_spans.py FOLDER.

The schemas are those of the Collector's ClickHouse exporter (otel_traces, exported with FORMAT Parquet), of GreptimeDB
(opentelemetry_traces, COPY TO), and of a table that nobody knows, as Parquet and as a Delta table with a partition.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

folder = Path(sys.argv[1])
START_NS = 1_767_603_600_123_456_789  # 2026-01-05T09:00:00.123456789Z
TRACE = "0af7651916cd43dd8448eb211c80319c"
ns = pa.timestamp("ns", tz="UTC")
text_map = pa.map_(pa.string(), pa.string())


def clickhouse(text):
    """The table with its texts as `text`: string, or binary as older servers export them."""
    pairs = pa.map_(text, text)
    as_text = (lambda value: value) if text == pa.string() else (lambda value: value.encode())

    def texts(*values):
        return pa.array([as_text(value) for value in values], text)

    def maps(*values):
        return pa.array([[(as_text(k), as_text(v)) for k, v in value.items()] for value in values], pairs)

    def lists(kind, *values):
        return pa.array(list(values), pa.list_(kind))

    return pa.table({
        "Timestamp": pa.array([START_NS, START_NS + 1_000], ns),
        "TraceId": texts(TRACE, TRACE),
        "SpanId": texts("00000000000000a1", "00000000000000a2"),
        "ParentSpanId": texts("", "00000000000000a1"),
        "TraceState": texts("", "a=b"),
        "SpanName": texts("GET /", "SELECT").dictionary_encode() if text == pa.string() else texts("GET /", "SELECT"),
        "SpanKind": texts("Server", "SPAN_KIND_CLIENT"),
        "ServiceName": texts("shop", "shop"),
        "ResourceAttributes": maps({"service.name": "shop", "host.name": "h1"}, {"service.name": "shop", "host.name": "h1"}),
        "ScopeName": texts("io.shop", "io.db"),
        "ScopeVersion": texts("1.0", ""),
        "SpanAttributes": maps({"http.route": "/"}, {}),
        "Duration": pa.array([5_000_001, 17], pa.uint64()),
        "StatusCode": texts("Unset", "Error"),
        "StatusMessage": texts("", "gone"),
        "Events.Timestamp": lists(ns, [], [START_NS + 1_010]),
        "Events.Name": pa.array([[], [as_text("exception")]], pa.list_(text)),
        "Events.Attributes": pa.array([[], [[(as_text("exception.type"), as_text("E"))]]], pa.list_(pairs)),
        "Links.TraceId": pa.array([[as_text(TRACE)], []], pa.list_(text)),
        "Links.SpanId": pa.array([[as_text("00000000000000b1")], []], pa.list_(text)),
        "Links.TraceState": pa.array([[as_text("")], []], pa.list_(text)),
        "Links.Attributes": pa.array([[[]], []], pa.list_(pairs)),
    })


pq.write_table(clickhouse(pa.string()), folder / "clickhouse.parquet", compression="zstd")
pq.write_table(clickhouse(pa.binary()), folder / "clickhouse_binary.parquet", compression="lz4")

event = {"name": "exception", "time": "2026-01-05 09:00:00.123457799+0000", "attributes": {"exception.type": "E"}}
link = {"trace_id": TRACE, "span_id": "00000000000000b1", "trace_state": "", "attributes": {}}
greptime = {
    "timestamp": pa.array([START_NS, START_NS + 1_000], pa.timestamp("ns")),
    "timestamp_end": pa.array([START_NS + 5_000_001, START_NS + 1_017], pa.timestamp("ns")),
    "duration_nano": pa.array([5_000_001, 17], pa.uint64()),
    "parent_span_id": pa.array([None, "00000000000000a1"]),
    "trace_id": pa.array([TRACE, TRACE]),
    "span_id": pa.array(["00000000000000a1", "00000000000000a2"]),
    "span_kind": pa.array(["SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"]),
    "span_name": pa.array(["GET /", "SELECT"]),
    "span_status_code": pa.array(["STATUS_CODE_UNSET", "STATUS_CODE_ERROR"]),
    "span_status_message": pa.array(["", "gone"]),
    "trace_state": pa.array(["", "a=b"]),
    "scope_name": pa.array(["io.shop", "io.db"]),
    "scope_version": pa.array(["1.0", ""]),
    "service_name": pa.array(["shop", "shop"]),
    "span_attributes.http.route": pa.array(["/", None]),
    "resource_attributes.host.name": pa.array(["h1", "h1"]),
    "span_events": pa.array(["[]", json.dumps([event])]),
    "span_links": pa.array([json.dumps([link]), "[]"]),
}
pq.write_table(pa.table(greptime), folder / "greptime.parquet")



def jsonb(value):
    """JSON as GreptimeDB keeps it: a container's header, an entry a part, and the parts."""
    def part(value):
        if isinstance(value, str):
            return 1, value.encode()
        return 5, jsonb(value)

    if isinstance(value, list):
        parts = [part(element) for element in value]
        header = 0x80000000 | len(value)
    else:
        pairs = sorted(value.items())
        parts = [(1, key.encode()) for key, _ in pairs] + [part(element) for _, element in pairs]
        header = 0x40000000 | len(value)
    entries = b"".join((kind << 28 | len(data)).to_bytes(4, "big") for kind, data in parts)
    return header.to_bytes(4, "big") + entries + b"".join(data for _, data in parts)


binary = dict(greptime)
binary["span_events"] = pa.array([jsonb([]), jsonb([event])], pa.binary())
binary["span_links"] = pa.array([jsonb([link]), jsonb([])], pa.binary())
pq.write_table(pa.table(binary), folder / "greptime_binary.parquet")

own = pa.table({
    "trace": pa.array([bytes.fromhex(TRACE)] * 2, pa.binary(16)),
    "id": pa.array([0xA1.to_bytes(8, "big"), 0xA2.to_bytes(8, "big")], pa.binary(8)),
    "parent": pa.array([None, 0xA1.to_bytes(8, "big")], pa.binary(8)),
    "op": pa.array(["GET /", "SELECT"]),
    "began_us": pa.array([START_NS // 1_000, START_NS // 1_000 + 1], pa.int64()),
    "took": pa.array([5.0, 0.017], pa.float64()),
    "kind": pa.array([2, 3], pa.int8()),
    "tags": pa.array([{"http.route": "/", "n": 3}, {"http.route": None, "n": None}]),
    "service": pa.array(["shop", "shop"]),
})
pq.write_table(own, folder / "own.parquet")
write_deltalake(str(folder / "lake"), own, partition_by=["service"])
write_deltalake(str(folder / "lake"), own.slice(0, 0), mode="append")

broken = own.set_column(0, "trace", pa.array([bytes.fromhex(TRACE), None], pa.binary(16)))
pq.write_table(broken, folder / "broken.parquet")
pq.write_table(pa.table({"a": [1], "b": [datetime(2026, 1, 5, tzinfo=timezone.utc)]}), folder / "unknown.parquet")
print("written")
