"""Files of OTLP requests, each with its length before it, and deterministic copies of them."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

DAY_NS = 86_400 * 10**9


def read_requests(path: Path) -> Iterator[bytes]:
    """Yields the requests of a zstd stream, undecoded."""
    with open(path, "rb") as file:
        stream: BinaryIO = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20)  # type: ignore[assignment]
        while (length := _varint(stream)) is not None:
            yield stream.read(length)


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """Writes the requests as a zstd stream, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    with open(unfinished, "wb") as file, zstandard.ZstdCompressor(level=3, threads=-1).stream_writer(file) as stream:
        for request in requests:
            stream.write(_as_varint(len(request)) + request)
    unfinished.rename(path)


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def extent_ns(request: bytes) -> tuple[int, int]:
    """The first start and the last end; of an empty request, what is after and before all times."""
    spans = list(spans_of(ExportTraceServiceRequest.FromString(request)))
    return min((span.start_time_unix_nano for span in spans), default=2**63), max((span.end_time_unix_nano for span in spans), default=0)


def copied(request: bytes, number: int, days_each: int) -> bytes:
    """Copy `number` of a request: the same traces under other ids, `number * days_each` days later. Copy 0 is the request itself.

    Ids are combined with a mask by exclusive or, so that parents and links go on naming what they named.
    """
    if number == 0:
        return request
    mask = hashlib.sha256(f"copy {number}".encode()).digest()
    trace_mask, span_mask = int.from_bytes(mask[:16]), int.from_bytes(mask[16:24])
    shift_ns = number * days_each * DAY_NS
    message = ExportTraceServiceRequest.FromString(request)
    for span in spans_of(message):
        span.start_time_unix_nano += shift_ns
        span.end_time_unix_nano += shift_ns
        for event in span.events:
            event.time_unix_nano += shift_ns
        if span.parent_span_id:
            span.parent_span_id = _masked(span.parent_span_id, span_mask)
        for named in (span, *span.links):
            named.trace_id = _masked(named.trace_id, trace_mask)
            named.span_id = _masked(named.span_id, span_mask)
    return message.SerializeToString()


def _masked(value: bytes, mask: int) -> bytes:
    return (int.from_bytes(value) ^ mask).to_bytes(len(value))


def _varint(stream: BinaryIO) -> int | None:
    value = shift = 0
    while byte := stream.read(1):
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    return None


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
