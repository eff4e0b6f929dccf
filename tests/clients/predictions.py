"""Anomalies, baselines, deviations, forecasts and sampled counts worked out here, with scikit-learn, scipy and numpy, against what the server says.

Usage: predictions.py HTTP_URL PORT. Sends five weeks of an invented shop with faults on the last day, reads all spans, works everything out from the
definitions in docs/sql.md, and compares. Prints what it compared; ends with an error at the first that differs.
"""

import collections
import json
import math
import struct
import sys
import urllib.request

import numpy as np
import psycopg
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.ensemble import IsolationForest

# Monday, 5 January 2026.
START_S = 1_767_571_200
HOUR_S = 3600
WEEK_HOURS = 168
HOURS = 5 * WEEK_HOURS
LAST_DAY_S = START_S + (HOURS - 24) * HOUR_S
MIN_TRAINING = 32
RELATIVE_ERROR = 1 / 128
# A level of a sampler: its probability and its threshold.
LEVELS = [(0.75, "4"), (0.5, "8"), (0.25, "c"), (0.1, "e6666666666666")]
POPULATION = 400
POPULATIONS = 200

random = np.random.default_rng(11)
Span = collections.namedtuple("Span", "trace id parent start end service name kind status ms")
SPANS = """
SELECT trace_id, span_id, parent_span_id, timestamp::bigint, end_timestamp::bigint, service_name, span_name, span_kind, status_code, duration_ms
FROM spans WHERE service_name NOT LIKE 'sampled%'"""


def identity(bits):
    return random.bytes(bits // 8).hex()


def otlp(trace, span, parent, service, name, kind, start_ns, ns, failed=False, state=""):
    return service, {
        "traceId": trace, "spanId": span, "parentSpanId": parent, "name": name, "kind": kind, "traceState": state,
        "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(start_ns + ns), "status": {"code": 2 if failed else 0},
    }


def order(at_s, fault=None):
    """A trace of an order, a tree of calls one after the other; a fault makes it slow, sends it astray, or fails it."""
    trace, spans = identity(128), []

    def call(parent, service, name, kind, start_ns, children, failed=False):
        span, end = identity(64), start_ns + int(random.lognormal(14.5, 0.4))
        for child in children:
            end = call(span, *child[:3], end, child[3], *child[4:])
        end += int(random.lognormal(14, 0.3) * (40 if fault == "slow" and service == "stock" else 1))
        spans.append(otlp(trace, span, parent, service, name, kind, start_ns, end - start_ns, failed))
        return end

    fails = fault == "fails"
    bank = [("bank", "POST /charge", 2, [], fails)] if fault == "astray" else []
    calls = [("stock", "GET /stock", 2, [("db", "SELECT", 2, [])] * int(random.integers(1, 4)))]
    calls.append(("pay", "POST /pay", 2, bank, fails or random.random() < 0.02))
    call("", "web", "GET /order", 2, int(at_s * 1e9), calls, fails)
    if fails:
        spans[0][1]["status"]["code"] = 2
    return spans


def visits():
    spans = []
    for hour in range(HOURS):
        wave = 8 + 5 * math.sin(2 * math.pi * hour / 24) + hour / 400
        for at in np.sort(random.uniform(0, HOUR_S, random.poisson(wave))):
            at_s = START_S + hour * HOUR_S + at
            spans += order(at_s)
        if hour >= HOURS - 24:
            fault = ["slow", "astray", "fails"][hour % 3]
            spans += order(START_S + hour * HOUR_S + 1800, fault)
        if hour % 50 == 0:
            trace = identity(128)
            spans.append(otlp(trace, identity(64), "", "job", "nightly", 1, (START_S + hour * HOUR_S) * 10**9, 5 * 10**6))
    return spans


def sampled():
    """Populations of which a sampler let through some, each at one of two levels."""
    spans = []
    for population in range(POPULATIONS):
        for call in range(POPULATION):
            probability, threshold = LEVELS[(population + call % 2) % len(LEVELS)]
            if random.random() < probability:
                state = f"vendor=x,ot=th:{threshold};rv:ffffffffffffff"
                start_ns = START_S * 10**9 + call * 10**6
                name = f"sampled {population:03}"
                spans.append(otlp(identity(128), identity(64), identity(64), name, "call", 1, start_ns, 10**6, call % 4 == 0, state))
    return spans


def send(url, spans):
    for first in range(0, len(spans), 2_000):
        services = collections.defaultdict(list)
        for service, span in spans[first : first + 2_000]:
            services[service].append(span)
        resource = lambda service: {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        body = {"resourceSpans": [{"resource": resource(s), "scopeSpans": [{"spans": of}]} for s, of in services.items()]}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {}, "all spans are taken"


def nearest_rank(values, q):
    values = np.sort(values)
    return values[max(math.ceil(round(q * len(values), 9)), 1) - 1]


def close(said, exact, what, bound=RELATIVE_ERROR):
    assert abs(said - exact) <= bound * abs(exact) * (1 + 1e-9) + 1e-9, f"{what}: {said} is not {exact}"


def grouped(rows, key):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


Trace = collections.namedtuple("Trace", "id start root features services edges failed")


def traces_of(spans):
    for trace, members in grouped(spans, lambda span: span.trace).items():
        by_id = {span.id: span for span in members}
        start = min(span.start for span in members)
        root = next(span for span in members if span.parent is None)
        hops = [(by_id[s.parent].service, s.service) for s in members if s.parent and by_id[s.parent].service != s.service]
        errors = [span.service for span in members if span.status == "ERROR"]
        features = [(max(s.end for s in members) - start) / 1e6, len(members), len(errors), len(hops), max(s.ms for s in members)]
        edges = {f"{a} → {b}" for a, b in hops}
        yield Trace(trace, start, (root.service, root.name), features, {s.service for s in members}, edges, sorted(set(errors)))


def check_anomalies(ask, spans):
    traces = {trace.id: trace for trace in traces_of(spans)}
    said = ask("SELECT trace_id, duration_ms, span_count, error_count, hops, longest_ms, edges, error_services, services FROM traces WHERE root_name IS NOT NULL")
    assert len(said) == len(traces)
    for trace, *features, edges, failed, services in said:
        known = traces[trace]
        assert np.allclose(features, known.features, rtol=1e-12), (features, known.features)
        assert edges == sorted(known.edges) and (failed or []) == known.failed and services == sorted(known.services), trace
    day = f"to_timestamp({LAST_DAY_S})"
    call = f"anomalies(timestamp < {day}, timestamp >= {day}"
    columns = "trace_id, root_service, root_name, duration_ms, error_count, score, p99_ms, reasons"
    rows = ask(f"SELECT {columns} FROM {call}, threshold => 0)")
    by_root = grouped(traces.values(), lambda trace: trace.root)
    judged, agreements = 0, []
    for root, members in by_root.items():
        training = [trace for trace in members if trace.start < LAST_DAY_S * 10**9]
        window = [trace for trace in members if trace.start >= LAST_DAY_S * 10**9]
        scores = {row[0]: row for row in rows if row[1:3] == root}
        if len(training) < MIN_TRAINING:
            assert not scores, root
            continue
        assert scores.keys() == {trace.id for trace in window}, root
        judged += len(window)
        theirs = IsolationForest(n_estimators=300, max_samples=256, random_state=1).fit([trace.features for trace in training])
        theirs = -theirs.score_samples([trace.features for trace in window])
        ours = np.array([scores[trace.id][5] for trace in window])
        agreements.append(spearmanr(ours, theirs).statistic)
        assert np.abs(ours - theirs).max() < 0.08 and agreements[-1] > 0.93, (root, agreements, np.abs(ours - theirs).max())
        p99 = nearest_rank([trace.features[0] for trace in training], 0.99)
        services, edges = (set().union(*(getattr(t, of) for t in training)) for of in ("services", "edges"))
        for trace in window:
            _, _, _, duration, errors, score, said_p99, reasons = scores[trace.id]
            close(said_p99, p99, "p99")
            expected = []
            if duration > 2 * said_p99:
                expected.append("latency spike")
            unknown = sorted(trace.services - services) + sorted(trace.edges - edges)
            if unknown:
                expected.append("unusual path: " + ", ".join(unknown))
            if errors >= 3 and len(trace.failed) >= 2:
                expected.append(f"cascading failure: {errors} errors in " + ", ".join(trace.failed))
            assert reasons == expected, (trace, reasons, expected)
    assert ask(f"SELECT {columns} FROM {call}, threshold => 0)") == rows, "the same again"
    listed = {row[0] for row in ask(f"SELECT {columns} FROM {call})")}
    spike = lambda row: [r for r in row[7] if r != "latency spike" or row[5] > 0.6]
    assert listed == {row[0] for row in rows if row[5] > 0.6 or spike(row)}, "those over the threshold"
    other = {row[0]: row[5] for row in ask(f"SELECT {columns} FROM {call}, threshold => 0, seed => 5)")}
    assert other.keys() == {row[0] for row in rows} and any(other[row[0]] != row[5] for row in rows), "another seed"
    kinds = collections.Counter(reason.split(":")[0] for row in ask(f"SELECT {columns} FROM {call})") for reason in row[7])
    assert kinds["unusual path"] == 8 and kinds["cascading failure"] == 8 and kinds["latency spike"] >= 6, kinds
    return f"{judged} judged traces, rank agreement {min(agreements):.3f}"


def bucket(value):
    """An octave's 64th: the exponent and six bits of the mantissa."""
    return 0 if value < sys.float_info.min else struct.unpack("<q", struct.pack("<d", value))[0] >> 46


def operation(span):
    return span.service, span.name, span.kind


def check_baseline(ask, spans):
    hour = lambda span: span.start // (HOUR_S * 10**9) + 72
    weeks = collections.Counter(h % WEEK_HOURS for h in {hour(span) for span in spans})
    expected = grouped(spans, lambda span: (hour(span) % WEEK_HOURS, *operation(span)))
    rows = ask("""SELECT hour_of_week, service_name, span_name, span_kind, weeks, calls, rate, rate_stddev, error_rate, p50_ms, p95_ms, p99_ms
        FROM baseline() WHERE service_name NOT LIKE 'sampled%'""")
    assert len(rows) == len(expected), (len(rows), len(expected))
    for *key, seen, calls, rate, deviation, error_rate, p50, p95, p99 in rows:
        members = expected[tuple(key)]
        assert (seen, calls) == (weeks[key[0]], len(members)), (key, seen, calls)
        by_hour = list(collections.Counter(hour(span) for span in members).values())
        by_hour += [0] * (seen - len(by_hour))
        close(rate, np.mean(by_hour) / HOUR_S, key, 1e-9)
        if seen > 1:
            close(deviation, np.std(by_hour, ddof=1) / HOUR_S, key, 1e-6)
        close(error_rate, np.mean([span.status == "ERROR" for span in members]), key, 1e-9)
        for level, said in ((0.5, p50), (0.95, p95), (0.99, p99)):
            close(said, nearest_rank([span.ms for span in members], level), (key, level))
    zoned = ask("SELECT count(*), sum(calls) FROM baseline(zone => 'Asia/Kolkata') WHERE hour_of_week = 5 AND service_name = 'web'")
    half_past = [s for s in spans if (s.start // 10**9 + 5.5 * HOUR_S) // HOUR_S % WEEK_HOURS == 5 + 96 and s.service == "web"]
    assert zoned == [(1, len(half_past))], zoned
    return f"{len(rows)} rows of baselines"


def check_deviations(ask, spans):
    since, until = LAST_DAY_S + 6 * HOUR_S + 600, LAST_DAY_S + 14 * HOUR_S
    rows = ask(f"""SELECT service_name, span_name, span_kind, past_weeks, calls, rate, expected_rate, rate_ratio, rate_z, error_rate,
        expected_error_rate, p95_ms, expected_p95_ms, p95_ratio, p95_z FROM deviations(to_timestamp({since}), to_timestamp({until}))""")
    length = until - since
    week_of = lambda span: next((w for w in range(5) if 0 <= span.start / 1e9 - since + w * WEEK_HOURS * HOUR_S < length), None)
    expected = grouped([span for span in spans if week_of(span) is not None], operation)
    assert len(rows) == len(expected)
    for *key, weeks, calls, rate, expected_rate, ratio, z, error_rate, past_error_rate, p95, past_p95, p95_ratio, p95_z in rows:
        members = grouped(expected[tuple(key)], week_of)
        now, past = members[0], [span for w in range(1, 5) for span in members[w]]
        usual = np.array([len(members[w]) for w in range(1, 5)])
        assert (weeks, calls) == (4, len(now)), key
        close(rate, len(now) / length, key, 1e-9)
        close(expected_rate, usual.mean() / length, key, 1e-9)
        spread = math.sqrt(max(usual.mean() + usual.var(ddof=1), 1))
        close(z, (len(now) - usual.mean()) / spread, key, 1e-6)
        if not past:
            assert ratio is None and past_p95 is None and p95_z is None, key
            continue
        close(ratio, len(now) / usual.mean(), key, 1e-9)
        close(error_rate, np.mean([s.status == "ERROR" for s in now]), key, 1e-9)
        close(past_error_rate, np.mean([s.status == "ERROR" for s in past]), key, 1e-9)
        close(past_p95, nearest_rank([s.ms for s in past], 0.95), key)
        close(p95, nearest_rank([s.ms for s in now], 0.95), key)
        close(p95_ratio, p95 / past_p95, key, 1e-9)
        if len(now) < 20 or len(past) < 20:
            assert p95_z is None, key
            continue
        over = np.mean([bucket(s.ms) > bucket(past_p95) for s in now])
        close(p95_z, (over - 0.05) / math.sqrt(0.05 * 0.95 / len(now)), key, 1e-6)
    return f"{len(rows)} deviations"


DAMPING = 0.98


def ets_run(series, state, smoothing):
    """Hyndman's recursion with additive errors; the errors of one step, and the state after the last."""
    level, trend, seasons = state[0], state[1], list(state[2])
    alpha, beta, gamma = smoothing
    errors = []
    for at, value in enumerate(series):
        season = seasons[at % len(seasons)] if seasons else 0.0
        error = 0.0 if value is None else value - (level + DAMPING * trend + season)
        errors.append(error)
        level, trend = level + DAMPING * trend + alpha * error, DAMPING * trend + beta * error
        if seasons:
            seasons[at % len(seasons)] += gamma * error
    return np.array(errors), (level, trend, seasons)


def ets_first(series, season, has_trend):
    pattern = []
    if season:
        whole = [series[i * season : (i + 1) * season] for i in range(min(3, len(series) // season))]
        less = [[None if x is None else x - np.mean([y for y in part if y is not None]) for x in part] for part in whole]
        pattern = [np.mean([part[i] for part in less if part[i] is not None] or [0.0]) for i in range(season)]
        pattern = [x - np.mean(pattern) for x in pattern]
    points = [(i + 1, x - (pattern[i % season] if season else 0)) for i, x in enumerate(series[: max(3 * season, 10)]) if x is not None]
    if not has_trend:
        return np.mean([y for _, y in points]), 0.0, pattern
    slope, level = np.polyfit(*zip(*points), 1)
    return level, slope / DAMPING, pattern


def ets_forecast(series, season, steps):
    scale = np.std([x for x in series if x is not None])
    series = [None if x is None else x / scale for x in series]
    known, best = sum(x is not None for x in series), None
    for m in [0, season] if season >= 2 and len(series) >= 2 * season and known >= 2 * season + 4 else [0]:
        for has_trend in [False, True] if known >= 10 else [False]:
            first = ets_first(series, m, has_trend)

            def smoothing(x):
                alpha = min(max(x[0], 0), 1)
                return alpha, min(max(x[1], 0), alpha) * has_trend, min(max(x[2], 0), 1 - alpha) * (m > 0)

            squares = lambda x: float((ets_run(series, first, smoothing(x))[0] ** 2).sum())
            starts = [(0.3, 0.05, 0.2), (0.05, 0.01, 0.05), (0.7, 0.2, 0.1)]
            found = min((minimize(squares, s, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}) for s in starts), key=lambda r: r.fun)
            k = 1 + has_trend + (m > 0) + has_trend + max(m, 1) + 1
            criterion = known * math.log(found.fun / known) + 2 * k + 2 * k * (k + 1) / (known - k - 1)
            if best is None or criterion < best[0]:
                best = (criterion, smoothing(found.x), first, m, found.fun / max(known - k, 1))
    _, (alpha, beta, gamma), first, m, variance = best
    _, (level, trend, seasons) = ets_run(series, first, (alpha, beta, gamma))
    expected, spread = [], 1.0
    for h in range(1, steps + 1):
        damped = sum(DAMPING**i for i in range(1, h + 1))
        value = level + damped * trend + (seasons[(len(series) + h - 1) % m] if m else 0)
        reach = 1.959963984540054 * math.sqrt(variance * spread)
        expected.append((value, value - reach, value + reach))
        spread += (alpha + beta * damped + gamma * (m > 0 and h % m == 0)) ** 2
    return scale * np.array(expected)


def check_series(server):
    """Series of several shapes, with gaps, through the aggregate alone."""
    hours = np.arange(24 * 9)
    wave = 50 + 20 * np.sin(2 * np.pi * hours / 24) + random.normal(0, 2, len(hours))
    shapes = {
        "wave": wave, "rise": wave + 0.5 * hours, "noise": 100 + random.normal(0, 5, 60), "walk": 100 + np.cumsum(random.normal(0, 3, 80)),
        "line": 3.0 * np.arange(30) + random.normal(0, 1, 30), "short": np.array([3.0, 5.0, 4.0, 6.0, 5.0]),
    }
    for name, values in shapes.items():
        series = [None if at % 17 == 5 else float(value) for at, value in enumerate(values)]
        rows = ", ".join(f"({START_S + at * HOUR_S}, {'NULL' if x is None else repr(x)})" for at, x in enumerate(series))
        query = f"""SELECT extract(epoch FROM s['time'])::bigint, s['value'], s['low'], s['high'] FROM (
            SELECT unnest(forecast_series(to_timestamp(t), x::double precision, '1 hour', 30, '1 day')) AS s FROM (VALUES {rows}) AS v(t, x)) AS f"""
        said = server.execute(query).fetchall()
        assert [row[0] for row in said] == [START_S + (len(series) + h) * HOUR_S for h in range(30)], name
        said, expected = np.array([row[1:] for row in said], dtype=float), ets_forecast(series, 24, 30)
        # Both search for the least squares; what they find may differ a little where these are flat.
        scale = (expected[:, 2] - expected[:, 1]).mean()
        assert np.abs(said - expected).max() < 0.05 * scale, (name, np.abs(said - expected).max() / scale)
    return f"{len(shapes)} series"


def check_forecast(ask, spans):
    width_s = HOUR_S
    requests = grouped([s for s in spans if s.kind in ("SERVER", "CONSUMER") or s.parent is None], lambda s: (s.service, s.start // (width_s * 10**9)))
    times = sorted({time for _, time in requests})
    rows = grouped(ask("""SELECT service_name, extract(epoch FROM time)::bigint, rate, rate_low, rate_high, p95_ms, p95_low_ms, p95_high_ms
        FROM forecast(steps => 26) ORDER BY service_name, time"""), lambda row: row[0])
    assert rows.keys() == {service for service, _ in requests}, rows.keys()
    for service in ("web", "stock"):
        # The first and the last hour are left out, and one without any request is a gap.
        hours = range(times[1], times[-2] + 1)
        counts = [len(requests.get((service, hour), [])) / width_s if hour in times else None for hour in hours]
        assert [row[1] for row in rows[service]] == [(times[-2] + 1 + h) * width_s for h in range(26)]
        expected, said = ets_forecast(counts, 24, 26), np.array([row[2:5] for row in rows[service]])
        scale = (expected[:, 2] - expected[:, 1]).mean()
        assert np.abs(said - np.maximum(expected, 0)).max() < 0.05 * scale, (service, np.abs(said - expected).max() / scale)
        assert all(row[6] <= row[5] <= row[7] for row in rows[service]), service
    return f"forecasts of {len(rows)} services"


def check_sampling(ask):
    rows = ask("SELECT service_name, calls, errors, rate, error_rate, calls_error FROM red('1 hour', extrapolate => true) WHERE service_name LIKE 'sampled%'")
    assert len(rows) == POPULATIONS
    held, errors_held = 0, 0
    for service, calls, errors, rate, error_rate, bound in rows:
        held += abs(rate * HOUR_S - POPULATION) <= bound
        assert abs(rate * HOUR_S - calls) <= 0.5 and math.isclose(error_rate, errors / (rate * HOUR_S), abs_tol=0.01), service
        assert bound < POPULATION / 2, service
    assert 0.92 * POPULATIONS <= held <= 0.985 * POPULATIONS, held
    mean = np.mean([row[3] for row in rows]) * HOUR_S
    assert abs(mean - POPULATION) < 10, mean
    plain = ask("SELECT service_name, calls, calls_error FROM red('1 hour') WHERE service_name LIKE 'sampled%'")
    counted = dict(ask("SELECT service_name, count(*) FROM spans WHERE service_name LIKE 'sampled%' GROUP BY 1"))
    assert all(calls == counted[service] and bound is None for service, calls, bound in plain)
    # Each count is rounded by itself.
    metrics = grouped(ask("SELECT service_name, calls, duration_buckets FROM span_metrics(extrapolate => true) WHERE service_name LIKE 'sampled%'"), lambda row: row[0])
    for service, _, _, rate, _, _ in rows:
        series = metrics[service]
        assert abs(sum(calls for _, calls, _ in series) - rate * HOUR_S) <= len(series), service
        assert all(abs(sum(buckets) - calls) <= len(buckets) for _, calls, buckets in series), service
    return f"{held} of {len(rows)} bounds hold"


def main():
    send(sys.argv[1] + "/v1/traces", visits() + sampled())
    with psycopg.connect(host="127.0.0.1", port=int(sys.argv[2]), user="test", dbname="spanhouse", autocommit=True) as server:
        ask = lambda sql: server.execute(sql).fetchall()
        spans = [Span(*row) for row in ask(SPANS)]
        told = [
            f"{len(spans)} spans", check_sampling(ask), check_series(server), check_anomalies(ask, spans), check_baseline(ask, spans),
            check_deviations(ask, spans), check_forecast(ask, spans),
        ]
        print(", ".join(told))


if __name__ == "__main__":
    main()
