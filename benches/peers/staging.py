"""OTLP requests to Parquet, by protobuf's own decoder: what the peers load, and what the parameters of the questions are taken from."""

import base64
import json
import multiprocessing
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import otlp

MAP = pa.map_(pa.string(), pa.string())
JSON = pa.string()
EVENTS = pa.list_(pa.struct([("time_ns", pa.int64()), ("name", pa.string()), ("attributes", MAP), ("attributes_json", JSON)]))
LINKS = pa.list_(
    pa.struct([("trace_id", pa.string()), ("span_id", pa.string()), ("trace_state", pa.string()), ("attributes", MAP), ("attributes_json", JSON)])
)
# Ids are lower-case hex; a root has no parent; what is absent is empty text. Attributes are there twice, as each peer wants them: as maps
# of text, and as JSON objects whose values keep their types.
SCHEMA = pa.schema(
    [
        ("start_ns", pa.int64()),
        ("duration_ns", pa.int64()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("trace_state", pa.string()),
        ("span_name", pa.string()),
        ("service_name", pa.string()),
        ("span_kind", pa.string()),
        ("status_code", pa.string()),
        ("status_message", pa.string()),
        ("attributes", MAP),
        ("attributes_json", JSON),
        ("resource_attributes", MAP),
        ("resource_attributes_json", JSON),
        ("scope_name", pa.string()),
        ("scope_version", pa.string()),
        ("events", EVENTS),
        ("links", LINKS),
    ]
)
# Some 100,000 spans a file: many enough for good row groups, few enough for the memory of a worker.
REQUESTS_PER_FILE = 256
KINDS = {number: name.removeprefix("SPAN_KIND_") for name, number in Span.SpanKind.items()}
STATUSES = {number: name.removeprefix("STATUS_CODE_") for name, number in Status.StatusCode.items()}


def stage(requests: Path, folder: Path, workers: int) -> int:
    """Writes the spans of a file of requests as Parquet files into a folder, whole or not at all; returns how many spans."""
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    batches = enumerate(batched(otlp.read_requests(requests), REQUESTS_PER_FILE))
    spans = 0
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for wave in batched(batches, 4 * workers):
            spans += sum(pool.map(_stage_file, [unfinished] * len(wave), *zip(*wave)))
    unfinished.rename(folder)
    return spans


def _stage_file(folder: Path, number: int, requests: Iterable[bytes]) -> int:
    table = pa.concat_tables(_table(ExportTraceServiceRequest.FromString(request)) for request in requests)
    pq.write_table(table.combine_chunks(), folder / f"spans-{number:05}.parquet", compression="zstd", compression_level=1)
    return table.num_rows


def _table(request: ExportTraceServiceRequest) -> pa.Table:
    rows: list[tuple[Any, ...]] = []
    resources, counts = [], []
    json_resources: list[str] = []
    for resource_spans in request.resource_spans:
        resource, resource_json = _both(resource_spans.resource.attributes)
        service = dict(resource).get("service.name", "unknown_service")
        before = len(rows)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            rows += [_row(span, service, scope.name, scope.version) for span in scope_spans.spans]
        resources.append(resource)
        json_resources.append(resource_json)
        counts.append(len(rows) - before)
    names = [name for name in SCHEMA.names if not name.startswith("resource_attributes")]
    columns: dict[str, Any] = dict(zip(names, zip(*rows))) if rows else {}
    # A resource is converted once and then repeated, as it stands for all of its spans.
    indices = pa.array([number for number, count in enumerate(counts) for _ in range(count)], pa.int32())
    columns["resource_attributes"] = pa.array(resources, MAP).take(indices)
    columns["resource_attributes_json"] = pa.array(json_resources, JSON).take(indices)
    arrays = [columns.get(field.name, []) for field in SCHEMA]
    return pa.table([a if isinstance(a, pa.Array) else pa.array(a, f.type) for a, f in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA)


def _row(span: Span, service: str, scope_name: str, scope_version: str) -> tuple[Any, ...]:
    """The columns of the schema in order, without the resource's attributes."""
    start_ns = span.start_time_unix_nano
    return (
        start_ns,
        span.end_time_unix_nano - start_ns,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex() or None,
        span.trace_state,
        span.name,
        service,
        KINDS[span.kind],
        STATUSES[span.status.code],
        span.status.message,
        *_both(span.attributes),
        scope_name,
        scope_version,
        [(event.time_unix_nano, event.name, *_both(event.attributes)) for event in span.events],
        [(link.trace_id.hex(), link.span_id.hex(), link.trace_state, *_both(link.attributes)) for link in span.links],
    )


def _both(attributes: Iterable[KeyValue]) -> tuple[list[tuple[str, str]], str]:
    """The attributes as pairs of text, and as a JSON object."""
    values = {attribute.key: _plain(attribute.value) for attribute in attributes}
    pairs = [(key, value if isinstance(value, str) else _json(value)) for key, value in values.items()]
    return pairs, _json(values)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {item.key: _plain(item.value) for item in value.kvlist_value.values}
        case _:
            return ""


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
