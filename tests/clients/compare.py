"""What distinguishes spans, and two populations of traces, worked out here with scipy against what the server says.

Usage: compare.py PORT. Reads all spans, counts from the definitions in docs/sql.md, and compares with `compare` and `trace_diff`. Prints a line with the
number of spans and of rows; ends with an error at the first that differs.
"""

import collections
import math
import re
import struct
import sys

import numpy as np
import psycopg
from scipy import stats

RELATIVE_ERROR = 1 / 128
MAX_TEXT_BYTES = 256
FEW_NUMBERS = 10
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
SPANS = """
SELECT trace_id, span_id, parent_span_id, timestamp, service_name, span_name, span_kind, status_code, error_message, duration_ms,
    attributes, resource_attributes, scope_attributes, scope_name
FROM spans ORDER BY timestamp, span_id, end_timestamp DESC"""

Span = collections.namedtuple(
    "Span", "trace id parent time service name kind status error ms attributes resource scope scope_name"
)
Row = collections.namedtuple(
    "Row", "property comparison key value selected baseline selected_share baseline_share lift effect p adjusted selected_p50 baseline_p50"
)

# Conditions, each in SQL and here: of the selection and of what it is compared with.
TRUE = ("true", lambda span: True)
QUESTIONS = [
    (("status_code = 'ERROR'", lambda s: s.status == "ERROR"), TRUE),
    (("duration_ms > 100", lambda s: s.ms > 100), TRUE),
    (("service_name = 'ts-order-service' AND duration_ms > 5", lambda s: s.service == "ts-order-service" and s.ms > 5), ("service_name = 'ts-order-service'", lambda s: s.service == "ts-order-service")),
    (("error_message LIKE '%500%'", lambda s: s.error is not None and "500" in s.error), TRUE),
    (("attributes['http.status_code'] >= 400", lambda s: int(s.attributes.get("http.status_code") or 0) >= 400), ("span_kind = 'SERVER'", lambda s: s.kind == "SERVER")),
]


def close(one, other, rel=1e-6):
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=rel, abs_tol=1e-300)


def cut(text):
    data = text.encode()
    return text if len(data) <= MAX_TEXT_BYTES else data[: MAX_TEXT_BYTES - 3].decode(errors="ignore") + "…"


def bucket(value):
    """An octave's 64th: the exponent and six bits of the mantissa."""
    key = 0 if abs(value) < sys.float_info.min else struct.unpack("<q", struct.pack("<d", abs(value)))[0] >> 46
    return -key if value < 0 else key


def paths_of(spans):
    """The spans from the top of each span's tree down to it."""
    by_id = {}
    for span in spans:
        by_id.setdefault((span.trace, span.id), span)
    paths = {}
    for span in spans:
        path, above = [span], by_id.get((span.trace, span.parent))
        while above is not None:
            path.append(above)
            above = by_id.get((above.trace, above.parent))
        paths[span] = path[::-1]
    return paths


def properties_of(span, path):
    """All that is said of a span: (property, key) and the value."""
    said = {
        ("service", None): span.service,
        ("operation", None): f"{span.service} > {span.name}",
        ("kind", None): span.kind,
        ("status", None): span.status,
        ("error", None): span.error,
        ("duration_ms", None): span.ms,
        ("scope_name", None): span.scope_name,
    }
    for name, attributes in (("attribute", span.attributes), ("resource", span.resource), ("scope", span.scope)):
        said |= {(name, key): value for key, value in attributes.items()}
    if path is not None:
        said["path", None] = " > ".join(step.name for step in path)
        if len(path) > 1:
            said["caller", None] = f"{path[-2].service} > {path[-2].name}"
    return {where: value for where, value in said.items() if value is not None}


def p_of_shares(with_it, of, other_with, other_of):
    table = np.array([[with_it, of - with_it], [other_with, other_of - other_with]])
    margins = table.sum(0)
    expected = min(of, other_of) * min(margins) / table.sum()
    if expected < 5:
        return stats.fisher_exact(table).pvalue
    return stats.chi2_contingency(table, correction=False).pvalue


def h(one, other):
    return 2 * math.asin(math.sqrt(one)) - 2 * math.asin(math.sqrt(other))


def of_numbers(first, second):
    """The effect and the p-value of numbers that are equal where they share a bucket."""
    first, second = [bucket(value) for value in first], [bucket(value) for value in second]
    said = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=True)
    above = said.statistic / (len(first) * len(second))
    return h(above, 1 - above), 1.0 if math.isnan(said.pvalue) else said.pvalue


def nearest_rank(values, q=0.5):
    values = sorted(values)
    return values[max(math.ceil(round(q * len(values), 9)), 1) - 1]


def compared(sides):
    """The rows that `compare` gives, by what each is about."""
    selected_of, baseline_of = (len(side) for side in sides)
    if not selected_of or not baseline_of:
        return {}
    values = collections.defaultdict(lambda: ([], []))
    for side, spans in enumerate(sides):
        for said in spans:
            for where, value in said.items():
                values[where][side].append(value)
    rows = {}

    def add(about, selected, baseline):
        if selected + baseline not in (0, selected_of + baseline_of):
            p = p_of_shares(selected, selected_of, baseline, baseline_of)
            rows[about] = [selected, baseline, h(selected / selected_of, baseline / baseline_of), p, None, None]

    for (name, key), (selected, baseline) in values.items():
        if name == "duration_ms":
            numbers, distinct = (selected, baseline), []
        else:
            selected, baseline = [cut(value) for value in selected], [cut(value) for value in baseline]
            distinct = set(selected) | set(baseline)
            assert len(distinct) <= 1000, (name, key)
            numbers = [[float(value) for value in side if NUMBER.match(value)] for side in (selected, baseline)]
            counts = [collections.Counter(side) for side in (selected, baseline)]
            for value in distinct:
                add((name, "value", key, value), counts[0][value], counts[1][value])
            if len(distinct) > 1:
                add((name, "absent", key, None), selected_of - len(selected), baseline_of - len(baseline))
            if len(distinct) <= FEW_NUMBERS or 2 * sum(map(len, numbers)) < len(selected) + len(baseline):
                continue
        if all(numbers):
            medians = [nearest_rank(side) for side in numbers]
            rows[name, "numbers", key, None] = [len(numbers[0]), len(numbers[1]), *of_numbers(*numbers), *medians]
    adjusted = stats.false_discovery_control([row[3] for row in rows.values()]) if rows else []
    return {about: (*row, q) for (about, row), q in zip(rows.items(), adjusted)}


def check_compare(ask, spans, paths, question, with_paths):
    (selection, is_selected), (baseline, is_baseline) = question
    sides = ([], [])
    for span in spans:
        said = properties_of(span, paths[span] if with_paths else None)
        if is_selected(span):
            sides[0].append(said)
        elif is_baseline(span):
            sides[1].append(said)
    expected = compared(sides)
    call = f"compare({selection}, {baseline}, with_paths => {with_paths})"
    rows = ask(f"""SELECT property, comparison, key, value, selected, baseline, selected_share, baseline_share, lift, effect, p_value, p_adjusted,
        selected_p50, baseline_p50 FROM {call}""")
    rows = [Row(*row) for row in rows]
    assert len(rows) == len(expected), (selection, len(rows), len(expected))
    totals = [len(side) for side in sides]
    for row in rows:
        selected, baseline, effect, p, selected_p50, baseline_p50, adjusted = expected[row[:4]]
        assert (row.selected, row.baseline) == (selected, baseline), (row, selected, baseline)
        assert close(row.selected_share, selected / totals[0]) and close(row.baseline_share, baseline / totals[1]), row
        assert math.isclose(row.effect, effect, rel_tol=1e-9, abs_tol=1e-12), (row, effect)
        assert close(row.p, p) and close(row.adjusted, adjusted), (row, p, adjusted)
        lift = None if row.comparison == "numbers" or not baseline else selected / totals[0] / (baseline / totals[1])
        assert close(row.lift, lift), (row, lift)
        for said, exact in ((row.selected_p50, selected_p50), (row.baseline_p50, baseline_p50)):
            assert (said is None) == (exact is None) and (said is None or abs(said - exact) <= RELATIVE_ERROR * exact), row
    order = [(row.adjusted >= 0.05, -abs(row.effect)) for row in rows]
    assert all(one[0] < next[0] or one[0] == next[0] and one[1] <= next[1] + 1e-12 for one, next in zip(order, order[1:]))
    return len(rows)


def adjusted_of(p_values):
    known = {at: p for at, p in p_values.items() if p is not None}
    return dict(zip(known, stats.false_discovery_control(list(known.values())))) if known else {}


def diff_of(spans, paths, populations):
    """By path of services and names: spans, errors and durations of each population."""
    chosen = [{span.trace for span in spans if is_in(span)} for is_in in populations]
    steps = collections.defaultdict(lambda: ([], []))
    for span in spans:
        key = tuple(step.name for step in paths[span]), tuple(step.service for step in paths[span])
        for side in (0, 1):
            if span.trace in chosen[side]:
                steps[key][side].append(span)
    return dict(steps), [len(traces) for traces in chosen]


def check_diff(ask, spans, paths, one, other):
    expected, traces = diff_of(spans, paths, (one[1], other[1]))
    rows = ask(f"""SELECT path, path_services, change, a_calls, b_calls, a_p50_ms, b_p50_ms, latency_shift_ms, a_error_rate, b_error_rate,
        latency_p_adjusted, error_p_adjusted, span, service_name, depth FROM trace_diff({one[0]}, {other[0]})""")
    assert len(rows) == len(expected), (len(rows), len(expected))
    assert rows == sorted(rows, key=lambda row: (row[0], row[1])), "out of order"
    latency, errors = {}, {}
    for key, sides in expected.items():
        if all(sides):
            counts = [number for side in sides for number in (sum(s.status == "ERROR" for s in side), len(side))]
            latency[key] = of_numbers(*([span.ms for span in side] for side in sides))[1]
            errors[key] = p_of_shares(*counts) if 0 < counts[0] + counts[2] < counts[1] + counts[3] else 1.0
    latency, errors = adjusted_of(latency), adjusted_of(errors)
    for names, services, change, a_calls, b_calls, a_p50, b_p50, shift, a_rate, b_rate, latency_p, error_p, text, service, depth in rows:
        key = tuple(names), tuple(services)
        sides = expected[key]
        assert change == ("both" if all(sides) else "gone" if sides[0] else "added"), key
        assert close(a_calls, len(sides[0]) / traces[0]) and close(b_calls, len(sides[1]) / traces[1]), key
        for side, p50, rate in ((sides[0], a_p50, a_rate), (sides[1], b_p50, b_rate)):
            if side:
                exact = nearest_rank([span.ms for span in side])
                assert abs(p50 - exact) <= RELATIVE_ERROR * exact, key
                assert close(rate, sum(span.status == "ERROR" for span in side) / len(side)), key
            else:
                assert p50 is None and rate is None, key
        assert close(shift, b_p50 - a_p50 if all(sides) else None), key
        assert close(latency_p, latency.get(key)) and close(error_p, errors.get(key)), (key, latency_p, latency.get(key), error_p, errors.get(key))
        assert (text.strip(), service, depth) == (names[-1], services[-1], len(names) - 1), key
    return len(rows)


def main():
    with psycopg.connect(host="127.0.0.1", port=int(sys.argv[1]), user="test", dbname="spanhouse", autocommit=True) as server:
        ask = lambda sql: server.execute(sql).fetchall()
        # Maps are no keys of ours: a span is what it is.
        Span.__hash__ = object.__hash__
        Span.__eq__ = object.__eq__
        spans = [Span(*row) for row in ask(SPANS)]
        paths = paths_of(spans)
        rows = sum(check_compare(ask, spans, paths, question, with_paths) for question in QUESTIONS for with_paths in (False, True))
        first, *_, last = sorted({span.trace for span in spans})
        middle = sorted(span.time for span in spans)[len(spans) // 2]
        steps = check_diff(ask, spans, paths, (f"timestamp < '{middle}'", lambda s: s.time < middle), (f"timestamp >= '{middle}'", lambda s: s.time >= middle))
        steps += check_diff(ask, spans, paths, ("status_code = 'ERROR'", lambda s: s.status == "ERROR"), ("true", lambda s: True))
        expected, _ = diff_of(spans, paths, (lambda s: s.trace == first, lambda s: s.trace == last))
        of_two = ask(f"SELECT path, path_services, a_calls, b_calls FROM trace_diff('{first}', '{last}')")
        assert {(tuple(names), tuple(services)): (a, b) for names, services, a, b in of_two} == {
            key: (len(one), len(other)) for key, (one, other) in expected.items()
        }
        assert ask(f"SELECT * FROM trace_diff('{first}', '{'0' * 32}')") == []
        print(f"{len(spans)} spans, {rows} rows, {steps} steps, {len(of_two)} of two")


main()
