"""What the ready-made reports say of whole days of real traces, worked out here from the traces themselves.

Usage: ready_made.py OTLP STORE FOLDER. OTLP is a zstd stream of length-delimited export requests, all of which the data directory STORE has taken;
FOLDER holds NAME.ndjson, the results of the reports in REPORTS over the day NOW. Prints a line with the number of rows compared; ends with an
error at the first that differs.
"""

import collections
import datetime
import json
import math
import pathlib
import sys

import deltalake
import numpy as np
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import predictions
import trace_search

MS, S, DAY = 10**6, 10**9, 86_400 * 10**9
# 2023-01-30 in UTC, and the day before it.
NOW_NS = 1_675_036_800 * S
NOW, BEFORE, BOTH = (NOW_NS, NOW_NS + DAY), (NOW_NS - DAY, NOW_NS), (NOW_NS - DAY, NOW_NS + DAY)
# When the run of slo_burn is due, and which requests are good to it.
DUE_NS, OBJECTIVE, SLOW_MS = NOW_NS + 45_000 * S, 0.95, 1000
# The intervals that are forecast from, how many make a season, and how many are forecast.
WIDTH_NS, SEASON, STEPS = 300 * S, 3, 6
# The bound on the sketch's relative error, as docs/sql.md states it.
SKETCH_ERROR = 1 / 128
KINDS = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]

Span = collections.namedtuple("Span", "trace id parent start end service name kind status proto")


def read(path):
    """All spans of the file, as they were sent."""
    with pa.input_stream(path, compression="zstd") as stream:
        data = memoryview(stream.read())
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                break
        request = ExportTraceServiceRequest.FromString(data[at : at + length])
        at += length
        for resource in request.resource_spans:
            service = next(pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name")
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                yield Span(
                    span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex() or None, span.start_time_unix_nano, span.end_time_unix_nano,
                    service, span.name, KINDS[span.kind], "ERROR" if span.status.code == 2 else "UNSET", span,
                )


def text(value):
    """An attribute's value as SQL has it."""
    kind = value.WhichOneof("value")
    return str(getattr(value, kind)) if kind else None


def attributes(of):
    return {pair.key: text(pair.value) for pair in of.attributes}


def said(span):
    events = [{"name": event.name, "attributes": attributes(event)} for event in span.proto.events]
    return trace_search.Said(span.proto.status.message or None, attributes(span.proto), events)


def is_request(span):
    return span.kind in ("SERVER", "CONSUMER") or span.parent is None


def within(spans, window):
    return [span for span in spans if window[0] <= span.start < window[1]]


def grouped(spans, key):
    groups = collections.defaultdict(list)
    for span in spans:
        groups[key(span)].append(span)
    return groups


def milliseconds(span):
    return (span.end - span.start) / MS


def failed(spans):
    return sum(span.status == "ERROR" for span in spans)


def share(part, whole):
    return part / whole if whole else None


def change(now, before):
    return now / before - 1 if now is not None and before else None


def nanoseconds(told):
    """A time as a result writes it."""
    whole, _, fraction = told.removesuffix("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) * S + int(fraction.ljust(9, "0") or 0)


class Quantile:
    """A quantile by nearest rank, which sketches tell within their bound; NULL of nothing."""

    def __init__(self, spans, q):
        values = np.sort([milliseconds(span) for span in spans])
        self.exact = values[max(math.ceil(round(q * len(values), 9)), 1) - 1] if len(values) else None

    def is_told(self, told):
        if self.exact is None or told is None:
            return self.exact is told
        return abs(told - self.exact) <= self.exact * SKETCH_ERROR * (1 + 1e-9)

    def __repr__(self):
        return f"about {self.exact}"


class OneOf:
    """Any of several values that are as good; NULL where there are none."""

    def __init__(self, values):
        self.values = set(values) or {None}

    def is_told(self, told):
        return told in self.values

    def __repr__(self):
        return f"one of {self.values}"


class Time:
    def __init__(self, ns):
        self.ns = ns

    def is_told(self, told):
        return nanoseconds(told) == self.ns

    def __repr__(self):
        return f"{self.ns} ns"


def is_same(told, wanted):
    if hasattr(wanted, "is_told"):
        return wanted.is_told(told)
    if isinstance(wanted, float) and isinstance(told, (int, float)):
        return math.isclose(told, wanted, rel_tol=1e-9, abs_tol=1e-12)
    return told == wanted


def compare(name, rows, key, wanted):
    """Holds the rows of a result against those that are wanted, by their keys. A wanted value may be a function of the row that is told."""
    told = {tuple(row[column] for column in key): row for row in rows}
    assert len(told) == len(rows), f"{name} has rows twice"
    assert told.keys() == wanted.keys(), f"{name}: {sorted(map(str, told.keys() ^ wanted.keys()))} on one side only"
    assert wanted, f"{name} says nothing that could be wrong"
    for at, row in told.items():
        for column, value in wanted[at].items():
            value = value(row) if callable(value) else value
            assert is_same(row[column], value), f"{name}, {at}: {column} is {row[column]!r} and not {value!r}"
    return len(rows)


def p95_change(now, before):
    """From what the row tells of both, which are compared by themselves; of few requests there is none."""
    return lambda row: change(row["p95_ms"], row["p95_before_ms"]) if min(len(now), len(before)) >= 20 else None


def slowest(spans):
    most = max((span.end - span.start for span in spans), default=None)
    return {span.trace for span in spans if span.end - span.start == most}


def newest(spans):
    last = max((span.start for span in spans), default=None)
    return {span.trace for span in spans if span.start == last}


def daily_service_health(spans, rows, _):
    requests = list(filter(is_request, spans))
    now, before = (grouped(within(requests, window), lambda span: span.service) for window in (NOW, BEFORE))
    wanted = {}
    for service in now.keys() | before.keys():
        of, past = now[service], before[service]
        wanted[(service,)] = {
            "requests": len(of), "requests_before": len(past), "requests_change": change(len(of), len(past)),
            "requests_per_second": len(of) / 86_400, "errors": failed(of), "error_rate": share(failed(of), len(of)),
            "error_rate_before": share(failed(past), len(past)), "p50_ms": Quantile(of, 0.5), "p95_ms": Quantile(of, 0.95),
            "p95_before_ms": Quantile(past, 0.95), "p95_change": p95_change(of, past), "p99_ms": Quantile(of, 0.99),
            "example_trace_id": OneOf(slowest([span for span in of if span.status == "ERROR"]) or slowest(of)),
        }
    rates = [row["error_rate"] for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0, "what fails most comes first"
    return compare("daily_service_health", rows, ["service_name"], wanted)


def service_trends(spans, rows, _):
    width_ns = 900 * S
    groups = grouped(within(filter(is_request, spans), NOW), lambda span: (span.start // width_ns * width_ns, span.service))
    wanted = {
        key: {
            "requests": len(of), "rate": len(of) / 900, "errors": failed(of), "error_rate": failed(of) / len(of),
            "p50_ms": Quantile(of, 0.5), "p95_ms": Quantile(of, 0.95),
        }
        for key, of in groups.items()
    }
    rows = [row | {"at": nanoseconds(row["time"])} for row in rows]
    return compare("service_trends", rows, ["at", "service_name"], wanted)


def latency_heatmap(spans, rows, _):
    width_ns = 900 * S
    step = lambda span: math.ceil(round(2 * math.log2(milliseconds(span)), 9))
    groups = grouped(within(filter(is_request, spans), NOW), lambda span: (span.start // width_ns * width_ns, step(span)))
    rows = [row | {"at": nanoseconds(row["time"]), "step": round(2 * math.log2(row["le_ms"]))} for row in rows]
    return compare("latency_heatmap", rows, ["at", "step"], {key: {"requests": len(of)} for key, of in groups.items()})


def hourly_red(spans, rows, _):
    hour = 3600 * S
    groups = grouped(within(filter(is_request, spans), NOW), lambda span: (span.start // hour * hour, span.service, span.name, span.kind))
    wanted = {
        key: {"calls": len(of), "errors": failed(of), "total_ms": math.fsum(map(milliseconds, of)), "p95_ms": Quantile(of, 0.95)}
        for key, of in groups.items()
    }
    rows = [row | {"at": nanoseconds(row["time"])} for row in rows]
    return compare("hourly_red", rows, ["at", "service_name", "span_name", "span_kind"], wanted)


def slowest_operations(spans, rows, _):
    requests = list(filter(is_request, spans))
    now, before = (grouped(within(requests, window), lambda span: f"{span.service}: {span.name}") for window in (NOW, BEFORE))
    wanted = {}
    for operation, of in now.items():
        past = before[operation]
        if len(of) >= 5:
            wanted[(operation,)] = {
                "requests": len(of), "error_rate": failed(of) / len(of), "p50_ms": Quantile(of, 0.5), "p95_ms": Quantile(of, 0.95),
                "p95_before_ms": Quantile(past, 0.95), "p95_change": p95_change(of, past), "p99_ms": Quantile(of, 0.99),
                "max_ms": max(map(milliseconds, of)), "total_ms": math.fsum(map(milliseconds, of)), "trace_id": OneOf(slowest(of)),
            }
    p95 = [row["p95_ms"] for row in rows]
    assert p95 == sorted(p95, reverse=True), "the slowest come first"
    return compare("slowest_operations", rows, ["operation"], wanted)


def new_errors(spans, rows, _):
    with_errors = {span.trace for span in within(spans, BOTH) if span.status == "ERROR"}
    found = collections.defaultdict(list)
    for of_trace in grouped((span for span in spans if span.trace in with_errors), lambda span: span.trace).values():
        trace = trace_search.Trace([(span, said(span) if span.status == "ERROR" else None) for span in of_trace])
        for chain in trace_search.chains(trace):
            origin = trace.spans[chain[0]]
            if within([origin], BOTH):
                found[origin.service, origin.name, trace_search.error_of(trace.said[chain[0]])].append((trace, chain))
    wanted, old = {}, 0
    for key, of in found.items():
        if any(trace.spans[chain[0]].start < NOW_NS for trace, chain in of):
            old += 1
            continue
        traces, origins, _, _, services, requests, _, chain, stopped_at, first, last, example = trace_search.row_of(of)
        wanted[key] = {
            "traces": traces, "origins": origins, "failed_requests": requests, "services": services, "chain": chain, "stopped_at": stopped_at,
            "first_seen": Time(first), "last_seen": Time(last), "example_trace_id": example,
        }
    assert old > 10 and len(wanted) > 10, "there are errors of both kinds"
    return compare("new_errors", rows, ["origin_service", "origin_name", "error"], wanted)


def calls(spans):
    """Who called whom, with the span that the call was seen by: those below a span of another service, and requests that nobody answers, here to databases."""
    by_id = {span.id: span for span in spans}
    answered = {span.parent for span in spans if span.parent in by_id and by_id[span.parent].service != span.service}
    for span in spans:
        above = by_id.get(span.parent)
        if above and above.service != span.service:
            yield (above.service, span.service, "service", "call"), span
        if span.kind == "CLIENT" and span.id not in answered:
            yield (span.service, attributes(span.proto)["db.name"], "database", "call"), span


def dependency_changes(spans, rows, _):
    edges = collections.defaultdict(lambda: ([], []))
    for key, span in calls(spans):
        edges[key][span.start < NOW_NS].append(span)
    wanted = {}
    for key, (now, before) in edges.items():
        rates = [share(failed(of), len(of)) for of in (now, before)]

        def is_changed(row, now=now, before=before, rates=rates):
            differs = [change(len(now), len(before)), change(row["p95_ms"], row["p95_before_ms"])]
            return max(len(now), len(before)) >= 20 and (any(abs(by) > 0.5 for by in differs) or abs(rates[0] - rates[1]) > 0.05)

        def word(row, now=now, before=before, is_changed=is_changed):
            return "appeared" if not before else "vanished" if not now else "changed" if is_changed(row) else "same"

        wanted[key] = {
            "change": word, "calls": len(now), "calls_before": len(before), "calls_change": change(len(now), len(before)), "error_rate": rates[0],
            "error_rate_before": rates[1], "p95_ms": Quantile(now, 0.95), "p95_before_ms": Quantile(before, 0.95),
            "new_calls": 0 if before else len(now), "lost_calls": 0 if now else len(before),
            "example_trace_id": min(span.trace for span in now or before),
        }
    return compare("dependency_changes", rows, ["caller", "callee", "callee_type", "connection"], wanted)


def n_plus_one_suspects(spans, rows, _):
    least = 5
    by_id = {span.id: span for span in spans}
    below = collections.defaultdict(list)
    for span in spans:
        if span.parent in by_id:
            below[span.parent].append(span.id)
    above = {child: parent for parent, children in below.items() for child in children}

    def caller(span):
        return by_id[trace_search.outermost(span.id, by_id, above.get, lambda at: below.get(at, ()))].parent

    # Few are repeated even by their names alone.
    asking = grouped((s for s in within(spans, NOW) if s.kind in ("CLIENT", "INTERNAL")), lambda s: (s.trace, caller(s), s.service, s.name))
    asking = {key: of for key, of in asking.items() if len(of) >= least and key[1]}
    answers = collections.defaultdict(list)
    for span in spans:
        if span.kind == "SERVER":
            answers[span.parent].append(f"{span.service}: {span.name}")
    suspects = collections.defaultdict(list)
    for (trace, parent, service, _), of in asking.items():
        by_call = grouped(of, lambda span: trace_search.call_of(span, said(span), min(answers[span.id], default=None, key=str.encode)))
        for call, repeated in by_call.items():
            if call and len(repeated) >= least:
                suspects[service, by_id[parent].name, call[1], call[0]].append((trace, repeated))
    wanted = {}
    for key, found in suspects.items():
        lengths = [[span.end - span.start for span in of] for _, of in found]
        unions = [trace_search.covered([(span.start, span.end) for span in of]) for _, of in found]
        wasted = sum(union - max(of_parent) for of_parent, union in zip(lengths, unions)) / MS
        traces = {trace for trace, _ in found}
        wanted[key] = {
            "wasted_ms": wasted, "wasted_ms_a_trace": wasted / len(traces), "traces": len(traces), "parents": len(found),
            "max_repeats": max(map(len, lengths)), "calls": sum(map(len, lengths)), "total_ms": sum(map(sum, lengths)) / MS,
            "sequential": sum(sum(of) == union for of, union in zip(lengths, unions)) / len(found), "example_trace_id": min(traces),
        }
    wasted = [row["wasted_ms"] for row in rows]
    assert wasted == sorted(wasted, reverse=True), "what costs most comes first"
    return compare("n_plus_one_suspects", rows, ["service_name", "parent_name", "call", "system"], wanted)


def slo_burn(spans, rows, _):
    is_bad = lambda span: span.status == "ERROR" or milliseconds(span) > SLOW_MS
    services = grouped(within(filter(is_request, spans), (DUE_NS - 3 * DAY, DUE_NS)), lambda span: span.service)
    lengths = {"burn_5m": 300, "burn_30m": 1800, "burn_1h": 3600, "burn_6h": 21_600, "burn_3d": 259_200}
    wanted, burning = {}, 0
    for service, requests in services.items():
        burn = {}
        for name, seconds in lengths.items():
            of = within(requests, (DUE_NS - seconds * S, DUE_NS))
            burn[name] = share(sum(map(is_bad, of)), len(of) * (1 - OBJECTIVE))
        both = lambda one, other: float(min(burn[one] or 0, burn[other] or 0))
        bad = list(filter(is_bad, requests))
        last = max((span.start for span in bad), default=None)
        burning += both("burn_1h", "burn_5m") > 0
        wanted[(service,)] = burn | {
            "fast_burn": both("burn_1h", "burn_5m"), "slow_burn": both("burn_6h", "burn_30m"), "long_burn": both("burn_3d", "burn_6h"),
            "requests_3d": len(requests), "bad_3d": len(bad), "bad_share_3d": len(bad) / len(requests),
            "example_trace_id": OneOf(span.trace for span in bad if span.start == last),
        }
    assert burning, "nothing burns"
    return compare("slo_burn", rows, ["service_name"], wanted)


def volume_by_service(spans, rows, store):
    files = pa.table(deltalake.DeltaTable(store / "table").get_add_actions(flatten=True)).to_pylist()
    stored = sum(file["num_records"] for file in files)
    assert stored == len(spans), f"{stored} of {len(spans)} spans are in files"
    bytes_a_span = sum(file["size_bytes"] for file in files) / stored
    services = grouped(within(spans, (0, NOW[1])), lambda span: span.service)
    everything = len(within(spans, NOW))
    wanted = {}
    for service, of in services.items():
        now, before, oldest = within(of, NOW), within(of, BEFORE), min(span.start for span in of)
        wanted[(service,)] = {
            "spans": len(now), "share": len(now) / everything, "spans_before": len(before), "spans_change": change(len(now), len(before)),
            "spans_per_day": float(len(now)), "errors": failed(now), "estimated_bytes": OneOf(near(len(now) * bytes_a_span)),
            "stored_spans": len(of), "estimated_stored_bytes": OneOf(near(len(of) * bytes_a_span)), "oldest_timestamp": Time(oldest),
            "example_trace_id": OneOf(newest(now)),
            "kept_days": lambda row, oldest=oldest: row["kept_days"] if abs(row["kept_days"] - (NOW[1] - oldest) / DAY) < 1e-9 else oldest,
        }
    return compare("volume_by_service", rows, ["service_name"], wanted)


def near(number):
    """What rounding may make of it."""
    return {math.floor(number), math.ceil(number)}


def capacity_forecast(spans, rows, _):
    requests = grouped(within(filter(is_request, spans), NOW), lambda span: (span.service, span.start // WIDTH_NS))
    times = sorted({time for _, time in requests})
    # The first and the last interval are left out, and one without any request is a gap.
    known = range(times[1], times[-2] + 1)
    wanted = {
        (service, (times[-2] + 1 + step) * WIDTH_NS): {}
        for service in {service for service, _ in requests}
        for step in range(STEPS)
    }
    rows = [row | {"at": nanoseconds(row["time"])} for row in rows]
    compared = compare("capacity_forecast", rows, ["service_name", "at"], wanted)
    for row in rows:
        for low, middle, high in (("rate_low", "rate", "rate_high"), ("p95_low_ms", "p95_ms", "p95_high_ms")):
            assert row[middle] is None or 0 <= row[low] <= row[middle] <= row[high], row
    busiest = collections.Counter(service for service, _ in requests for _ in requests[service, _]).most_common(6)
    for service, _ in busiest:
        rates = [len(requests.get((service, time), [])) / (WIDTH_NS // S) if time in times else None for time in known]
        expected = np.maximum(predictions.ets_forecast(rates, SEASON, STEPS), 0)
        told = np.array([[row["rate"], row["rate_low"], row["rate_high"]] for row in rows if row["service_name"] == service])
        # Both search for the least squares; what they find may differ a little where these are flat.
        off = np.abs(told - expected).max() / (expected[:, 2] - expected[:, 1]).mean()
        assert off < 0.05, f"{service} is forecast otherwise, by {off}: {told} and not {expected}"
    return compared


REPORTS = [
    daily_service_health, service_trends, latency_heatmap, hourly_red, slowest_operations, new_errors, dependency_changes, n_plus_one_suspects,
    slo_burn, volume_by_service, capacity_forecast,
]


def main():
    spans = list(read(sys.argv[1]))
    store, folder = map(pathlib.Path, sys.argv[2:])
    told = []
    for report in REPORTS:
        rows = [json.loads(line) for line in (folder / f"{report.__name__}.ndjson").read_text().splitlines()]
        told.append(f"{report.__name__} {report(spans, rows, store)}")
    print(f"{len(spans)} spans; rows of {', '.join(told)}")


if __name__ == "__main__":
    main()
