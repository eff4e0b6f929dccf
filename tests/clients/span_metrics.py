"""Sketches, histograms and metrics of spans worked out here, with numpy, against what the server says.

Usage: span_metrics.py PORT. Reads all spans, counts from the definitions in docs/sql.md, and compares with the functions and relations there.
Prints a line with the number of spans, series and buckets; ends with an error at the first that differs.
"""

import collections
import math
import struct
import sys

import numpy as np
import psycopg

BOUNDS = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000]
WIDTH_S = 20
RELATIVE_ERROR = 1 / 128
SPANS = """
SELECT timestamp::bigint, service_name, span_name, span_kind, status_code, duration_ms,
    coalesce(attributes->>'http.method', resource_attributes->>'http.method') AS method
FROM spans"""

Span = collections.namedtuple("Span", "start service name kind status ms method")


def grouped(spans, key):
    groups = collections.defaultdict(list)
    for span in spans:
        groups[key(span)].append(span)
    return groups


def durations(spans):
    return np.sort(np.array([span.ms for span in spans]))


def nearest_rank(values, q):
    return values[max(math.ceil(round(q * len(values), 9)), 1) - 1]


def check_close(said, values, q, what):
    exact = nearest_rank(values, q)
    assert abs(said - exact) <= RELATIVE_ERROR * exact * (1 + 1e-12), f"{what}: {said} is not {exact}"


def counts_of(values, bounds):
    """A bucket takes what is above the bound before and at most its own."""
    return np.bincount(np.searchsorted(bounds, values, side="left"), minlength=len(bounds) + 1).tolist()


def numbers(data):
    """Numbers in groups of seven bits, the lowest first."""
    number, shift = 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number, shift = 0, 0


def decoded(sketch):
    """A sketch as its ends and what each bucket has, from the layout alone."""
    assert sketch[:3] == b"qs\x01", sketch[:3]
    low, high = struct.unpack_from("<dd", sketch, 3)
    buckets, key = {}, None
    parts = numbers(sketch[19:])
    for step in parts:
        key = (step >> 1) ^ -(step & 1) if key is None else key + step
        buckets[key] = next(parts)
    return low, high, buckets


def bucket(value):
    """An octave's 64th: the exponent and six bits of the mantissa."""
    if value < sys.float_info.min:
        return 0
    return struct.unpack("<q", struct.pack("<d", value))[0] >> 46


def check_sketches(rows, spans):
    by_service = grouped(spans, lambda span: span.service)
    assert len(rows) == len(by_service)
    for service, sketch in rows:
        values = durations(by_service[service])
        keys = collections.Counter(bucket(value) for value in values)
        assert decoded(sketch) == (values[0], values[-1], dict(sorted(keys.items()))), service


def check_red(rows, spans):
    def key(span):
        return (span.start // (WIDTH_S * 10**9) * WIDTH_S, span.service, span.name, span.kind, span.method)

    expected = grouped(spans, key)
    assert len(rows) == len(expected), (len(rows), len(expected))
    for *at, calls, rate, errors, error_rate, p50, p95, p99 in rows:
        members = expected[tuple(at)]
        failed = sum(span.status == "ERROR" for span in members)
        assert (calls, errors) == (len(members), failed), at
        assert math.isclose(rate, calls / WIDTH_S) and math.isclose(error_rate, failed / calls), at
        values = durations(members)
        for said, q in ((p50, 0.5), (p95, 0.95), (p99, 0.99)):
            check_close(said, values, q, f"{at} {q}")


def check_metrics(rows, spans):
    expected = grouped(spans, lambda span: (span.service, span.name, span.kind, span.status, span.method))
    assert len(rows) == len(expected), (len(rows), len(expected))
    for *series, calls, total, least, most, bounds, buckets in rows:
        values = durations(expected[tuple(series)])
        assert calls == len(values) and (least, most) == (values[0], values[-1]), series
        assert math.isclose(total, values.sum(), rel_tol=1e-9), series
        assert bounds == BOUNDS and buckets == counts_of(values, BOUNDS), series


def check_heatmap(rows, spans):
    assert sum(count for _, _, count in rows) == len(spans)
    cells = collections.Counter()
    for time, le, count in rows:
        cells[time, le] += count
    for (time, le), count in cells.items():
        within = [s for s in spans if s.start // (WIDTH_S * 10**9) * WIDTH_S == time and le / 2 < s.ms <= le or s.ms <= 0 == le]
        assert count == len(within), (time, le, count, len(within))


def main():
    with psycopg.connect(host="127.0.0.1", port=int(sys.argv[1]), user="test", dbname="spanhouse", autocommit=True) as server:
        ask = lambda sql: server.execute(sql).fetchall()
        spans = [Span(*row) for row in ask(SPANS)]
        sketches = ask("SELECT service_name, quantile_sketch(duration_ms) FROM spans GROUP BY service_name")
        check_sketches(sketches, spans)
        # Sketches that a client kept come back as parameters.
        whole = durations(spans)
        kept = ", ".join(["(%s::bytea)"] * len(sketches))
        merged = f"SELECT sketch_merge(s), sketch_count(sketch_merge(s)), sketch_quantile(sketch_merge(s), ARRAY[0.5, 0.99]) FROM (VALUES {kept}) AS t(s)"
        merged, count, (p50, p99) = server.execute(merged, [sketch for _, sketch in sketches]).fetchone()
        assert count == len(spans) and decoded(merged)[:2] == (whole[0], whole[-1])
        check_close(p50, whole, 0.5, "the median")
        check_close(p99, whole, 0.99, "the 99th percentile")
        red = ask(f"""SELECT extract(epoch FROM time)::bigint, service_name, span_name, span_kind, "http.method", calls, rate, errors, error_rate,
            p50_ms, p95_ms, p99_ms FROM traces.red('{WIDTH_S} seconds', ARRAY['http.method'])""")
        check_red(red, spans)
        metrics = ask("""SELECT service_name, span_name, span_kind, status_code, "http.method", calls, duration_sum_ms, duration_min_ms, duration_max_ms,
            duration_bounds_ms, duration_buckets FROM traces.span_metrics('{http.method}')""")
        check_metrics(metrics, spans)
        check_heatmap(ask(f"SELECT extract(epoch FROM time)::bigint, le_ms, spans FROM heatmap('{WIDTH_S} seconds', 1)"), spans)
        check_heatmap(ask(f"""SELECT extract(epoch FROM cell['time'])::bigint, cell['le'], cell['count']
            FROM (SELECT unnest(heatmap(timestamp, duration_ms, '{WIDTH_S} seconds', 1)) AS cell FROM spans GROUP BY service_name) AS cells"""), spans)
        print(f"{len(spans)} spans, {len(metrics)} series, {len(red)} buckets")


main()
