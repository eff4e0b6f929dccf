"""Errors, repeated calls, structural search and critical paths of many traces worked out here, against what the server says.

Usage: trace_search.py PORT. Reads all spans, makes trees with networkx as span_trees.py does, works out from the definitions in docs/sql.md what
descendants_of, ancestors_of, siblings_of, critical_path, error_propagation and n_plus_one give, and compares. Prints a line with the number of
spans and of rows compared; ends with an error at the first that differs.
"""

import collections
import json
import math
import re
import sys

import networkx as nx
import psycopg

import span_trees

MS = 1_000_000
RELATIVE_ERROR = 1 / 128
SPANS = """
SELECT trace_id, span_id, parent_span_id, timestamp::bigint, end_timestamp::bigint, service_name, span_name, span_kind, status_code,
    status_message, attributes::text, events::jsonb::text
FROM spans"""

ISO_TIME = re.compile(
    r"(?<![\w-])(?>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)(?![\w-])"
)

Said = collections.namedtuple("Said", "message attributes events")

# What is asked for, in SQL and here.
CONDITIONS = [
    ("status_code = 'ERROR'", lambda span, said: span.status == "ERROR"),
    ("span_kind = 'CLIENT' AND duration_ms > 5", lambda span, said: span.kind == "CLIENT" and span.end - span.start > 5 * MS),
    ("parent_span_id IS NULL", lambda span, said: span.parent is None),
    ("service_name IN ('pay', 'stock', 'ts-order-service')", lambda span, said: span.service in ("pay", "stock", "ts-order-service")),
    ("attributes ? 'db.system'", lambda span, said: "db.system" in said.attributes),
    ("timestamp < '2026-01-01 00:00:03+00' AND span_name LIKE '%a%'", lambda span, said: span.start < 1_767_225_603 * 10**9 and "a" in span.name),
    ("false", lambda span, said: False),
    ("true", lambda span, said: True),
]


class Trace:
    """The tree of a trace's spans, and what else they say."""

    def __init__(self, rows):
        self.spans, self.graph, self.orphans = span_trees.graph_of([span for span, _ in rows])
        left = list(rows)
        self.said = []
        for span in self.spans:
            at = next(at for at, (other, _) in enumerate(left) if other is span)
            self.said.append(left.pop(at)[1])
        self.above = {child: at for at, child in self.graph.edges}
        self.id = self.spans[0].trace

    def matching(self, condition):
        return {at for at in self.graph if condition(self.spans[at], self.said[at])}

    def siblings(self, at):
        if at in self.above:
            return set(self.graph.successors(self.above[at])) - {at}
        parent = self.spans[at].parent
        tops = {other for other in self.graph if other not in self.above and parent and self.spans[other].parent == parent}
        return tops - {at}

    def critical_ns(self):
        tops = [at for at in self.graph if at not in self.above]
        children = {at: sorted(self.graph.successors(at)) for at in self.graph}
        children[None] = [at for at in tops if self.spans[at].parent is None] or tops
        path = []
        span_trees.walk(self.spans, children, None, min(self.spans[at].start for at in tops), max(self.spans[at].end for at in tops), path)
        spent = collections.Counter()
        for at, start, end in path:
            if at is not None:
                spent[at] += end - start
        return spent


def structural(connection, traces):
    sets = {
        "descendants_of": lambda trace, found: set().union(*(nx.descendants(trace.graph, at) for at in found)),
        "ancestors_of": lambda trace, found: set().union(*(nx.ancestors(trace.graph, at) for at in found)),
        "siblings_of": lambda trace, found: set().union(*(trace.siblings(at) for at in found)),
    }
    compared = 0
    for function, related in sets.items():
        for sql, condition in CONDITIONS:
            wanted = []
            for trace in traces:
                spans = [trace.spans[at] for at in related(trace, trace.matching(condition))]
                wanted += [(span.trace, span.id, span.start, span.end, span.name) for span in spans]
            got = connection.execute(
                f"SELECT trace_id, span_id, timestamp::bigint, end_timestamp::bigint, span_name FROM {function}({sql})"
            ).fetchall()
            assert sorted(got) == sorted(wanted), f"{function}({sql}): {set(got) ^ set(wanted)}"
            compared += len(got)
    return compared


def nearest_rank(values, q):
    return sorted(values)[max(math.ceil(round(q * len(values), 9)), 1) - 1]


def critical_paths(connection, traces):
    compared = 0
    for sql, condition in CONDITIONS:
        spent = collections.defaultdict(list)
        for trace in traces:
            if not trace.matching(condition):
                continue
            of_trace = collections.Counter()
            for at, ns in trace.critical_ns().items():
                of_trace[trace.spans[at].service, trace.spans[at].name] += ns
            for key, ns in of_trace.items():
                if ns > 0:
                    spent[key].append(ns / MS)
        total = sum(map(sum, spent.values()))
        got = connection.execute(f"SELECT * FROM critical_path({sql})").fetchall()
        assert {row[:2] for row in got} == spent.keys() and len(got) == len(spent), f"critical_path({sql})"
        for service, name, count, ms, share, mean, p95 in got:
            values = spent[service, name]
            wanted = (len(values), sum(values), sum(values) / total, sum(values) / len(values))
            assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(wanted, (count, ms, share, mean))), (wanted, count, ms, share, mean)
            rank = nearest_rank(values, 0.95)
            assert abs(p95 - rank) <= RELATIVE_ERROR * rank * (1 + 1e-12), f"{service} {name}: {p95} is not {rank}"
        compared += len(got)
    return compared


def without_ids(text):
    def word(match):
        text = match.group()
        if re.fullmatch(r"[0-9a-fA-F-]{8,}", text) and re.search("[0-9]", text):
            return "?"
        after_slash = match.start() > 0 and match.string[match.start() - 1] == "/"
        parts = text.split("-")
        for at, part in enumerate(parts):
            status = re.fullmatch("[1-5][0-9][0-9]", part) and not (after_slash and at == 0)
            if re.fullmatch("[0-9]+", part) and not status:
                parts[at] = "?"
        return "-".join(parts)

    return None if text is None else re.sub(r"[\w-]+", word, ISO_TIME.sub("?", text))


def error_of(said):
    for event in said.events:
        if event["name"] == "exception":
            attributes = event["attributes"]
            parts = [attributes.get("exception.type"), attributes.get("exception.message")]
            if any(parts):
                return without_ids(": ".join(part for part in parts if part))
            break
    return without_ids(said.message)


def chains(trace):
    """For each failed span that no error came to, the failed spans from it on."""
    failed = {at for at in trace.graph if trace.spans[at].status == "ERROR"}

    def next_failed(at):
        while at in trace.above:
            at = trace.above[at]
            if at in failed:
                return at
            if trace.spans[at].status == "OK" or trace.spans[at].kind in ("CLIENT", "SERVER", "PRODUCER", "CONSUMER"):
                return None
        return None

    after = {at: next_failed(at) for at in failed}
    for origin in failed - set(after.values()):
        chain = [origin]
        while after[chain[-1]] is not None:
            chain.append(after[chain[-1]])
        yield chain


def most_frequent(values):
    counts = collections.Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value.encode())) if counts else None


def errors(connection, traces):
    compared = 0
    times = [(None, None), ("2026-01-01 00:00:03+00", None), (None, "2026-01-01 00:00:04+00")]
    moments = {None: None, "2026-01-01 00:00:03+00": 1_767_225_603 * 10**9, "2026-01-01 00:00:04+00": 1_767_225_604 * 10**9}
    for sql, condition in CONDITIONS:
        for since, until in times:
            rows = collections.defaultdict(list)
            for trace in traces:
                if not trace.matching(condition):
                    continue
                for chain in chains(trace):
                    span = trace.spans[chain[0]]
                    rows[span.service, span.name, error_of(trace.said[chain[0]])].append((trace, chain))
            wanted = {}
            for key, found in rows.items():
               
                in_time = [
                    (trace, chain)
                    for trace, chain in found
                    if (since is None or trace.spans[chain[0]].start >= moments[since])
                    and (until is None or trace.spans[chain[0]].start < moments[until])
                ]
                if in_time:
                    wanted[key] = row_of(in_time)
            arguments = [sql] + [f"'{at}'" if at else "NULL" for at in (since, until)]
            got = connection.execute(
                "SELECT origin_service, origin_name, error, traces, origins, spans, service_count, services, requests, reached_root, chain, "
                "stopped_at, first_seen::bigint, last_seen::bigint, example_trace_id "
                f"FROM error_propagation({', '.join(arguments)})"
            ).fetchall()
            assert len(got) == len(wanted), f"{arguments}: {got}\n{wanted}"
            for row in got:
                assert list(row[3:]) == wanted[row[:3]], f"{arguments}: expected {row[:3]} {wanted[row[:3]]}\n     got {row}"
            compared += len(got)
    return compared


def row_of(found):
    def shown(trace, at):
        return f"{trace.spans[at].service}: {trace.spans[at].name}"

    spans = {(trace.id, at) for trace, chain in found for at in chain}
    services = sorted({trace.spans[at].service for trace, chain in found for at in chain}, key=str.encode)
    reached = [(trace, chain) for trace, chain in found if trace.spans[chain[-1]].parent is None]
    starts = [trace.spans[chain[0]].start for trace, chain in found]
    return [
        len({trace.id for trace, _ in found}),
        len(found),
        len(spans),
        len(services),
        services,
        len({(trace.id, chain[-1]) for trace, chain in reached}),
        len(reached) / len(found),
        most_frequent(" → ".join(shown(trace, at) for at in chain) for trace, chain in found),
        most_frequent(shown(trace, trace.above[chain[-1]]) if chain[-1] in trace.above else None for trace, chain in found),
        min(starts),
        max(starts),
        min(trace.id for trace, _ in found),
    ]


def first(attributes, *keys):
    return next((attributes[key] for key in keys if key in attributes), None)


def call_of(span, said, answered):
    """System and call of a span that asks somebody else, and whom `answered` names; None of any other."""
    attributes = said.attributes
    system = first(attributes, "db.system.name", "db.system", "db.namespace", "db.name")
    statement = first(attributes, "db.query.text", "db.statement")
    operation, target = first(attributes, "db.operation.name", "db.operation"), first(attributes, "db.collection.name", "db.sql.table")
    if any(value is not None for value in (system, statement, operation, target)):
        if statement is not None:
            # Enough for the statements of the data at hand.
            return system, re.sub(r"\b\d+\b|'[^']*'", "?", " ".join(statement.split()))
        return system, f"{operation} {target}" if operation and target else span.name
    if span.kind != "CLIENT":
        return None
    method, url = first(attributes, "http.request.method", "http.method"), first(attributes, "url.full", "http.url")
    path, template = first(attributes, "url.path", "http.target"), first(attributes, "url.template", "http.route")
    host = first(attributes, "server.address", "net.peer.name", "peer.service")
    rpc = attributes.get("rpc.system")
    if rpc is not None:
        return rpc, answered or span.name
    system = "http" if any((method, url, path)) else None
    if not any((template, path, url)):
        return system, answered or span.name
    parts = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", url or "", re.DOTALL)
    if host is None:
        host = parts.group(1) if parts else url or ""
    if template is None:
        template = without_ids(re.sub(r"[?#].*", "", path if path is not None else parts.group(2) if parts else url))
    return system, (f"{method} " if method else "") + host + template


def covered(stretches):
    total, end = 0, None
    for start, stop in sorted(stretches):
        total += max(stop - (start if end is None else max(start, end)), 0)
        end = stop if end is None else max(end, stop)
    return total


def outermost(at, spans, above, below):
    """The outermost span around a call that makes no other: INTERNAL spans of its service, with one CLIENT span below by way of such spans, or none
    and one without children."""

    def makes_one_call(top):
        calls, ends, waiting = 0, 0, [top]
        while waiting:
            at = waiting.pop()
            if spans[at].kind == "CLIENT":
                calls += 1
            elif spans[at].kind == "INTERNAL":
                children = list(below(at))
                ends += not children
                waiting += [child for child in children if spans[child].service == spans[at].service]
        return calls == 1 or (calls, ends) == (0, 1)

    parent = above(at)
    while parent is not None and spans[parent].kind == "INTERNAL" and spans[parent].service == spans[at].service and makes_one_call(parent):
        at, parent = parent, above(parent)
    return at


def repeats(connection, traces):
    compared = 0
    for least in (2, 3, 5):
        groups = collections.defaultdict(list)
        for trace in traces:
            answers = collections.defaultdict(list)
            for span in trace.spans:
                if span.kind == "SERVER":
                    answers[span.parent].append(f"{span.service}: {span.name}")
            for at, (span, said) in enumerate(zip(trace.spans, trace.said)):
                parent = trace.spans[outermost(at, trace.spans, trace.above.get, trace.graph.successors)].parent
                call = call_of(span, said, min(answers[span.id], default=None, key=str.encode)) if parent and span.kind in ("CLIENT", "INTERNAL") else None
                if call:
                    groups[trace, parent, span.service, span.name, call].append(span)
        rows = collections.defaultdict(list)
        for (trace, parent, service, _, (system, call)), spans in groups.items():
            if len(spans) >= least:
                names = [other.name for other in trace.spans if other.id == parent]
                rows[service, names[0] if names else None, call, system].append((trace.id, spans))
        got = connection.execute(f"SELECT * FROM n_plus_one({least})").fetchall()
        assert {row[:4] for row in got} == rows.keys() and len(got) == len(rows), f"n_plus_one({least}): {got}\n{rows.keys()}"
        for row in got:
            found = rows[row[:4]]
            lengths = [[span.end - span.start for span in spans] for _, spans in found]
            unions = [covered([(span.start, span.end) for span in spans]) for _, spans in found]
            wanted = (
                len({trace for trace, _ in found}),
                len(found),
                max(len(spans) for _, spans in found),
                sum(len(spans) for _, spans in found),
                sum(sum(of_parent) == union for of_parent, union in zip(lengths, unions)) / len(found),
                sum(map(sum, lengths)) / MS,
                sum(union - max(of_parent) for of_parent, union in zip(lengths, unions)) / MS,
                min(trace for trace, _ in found),
            )
            assert row[4:] == wanted, f"expected {row[:4]} {wanted}\n     got {row[4:]}"
        compared += len(got)
    return compared


def main():
    connection = psycopg.connect(f"host=127.0.0.1 port={int(sys.argv[1])} user=ada dbname=traces")
    rows = collections.defaultdict(list)
    for row in connection.execute(SPANS):
        message, attributes, events = row[9:]
        rows[row[0]].append((span_trees.Span(*row[:9]), Said(message, json.loads(attributes), json.loads(events))))
    traces = [Trace(of_trace) for of_trace in rows.values()]
    compared = [check(connection, traces) for check in (structural, critical_paths, errors, repeats)]
    assert all(compared), compared
    print(f"{sum(map(len, rows.values()))} spans are found, followed and counted as they should be, in {compared} rows")


if __name__ == "__main__":
    main()
