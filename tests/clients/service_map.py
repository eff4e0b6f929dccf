"""The service map worked out here, with networkx, against what the server says.

Usage: service_map.py PORT. Reads all spans, finds calls, databases, brokers, third parties and links from the definitions in docs/sql.md, and compares
`service_calls`, `service_map`, `service_edges`, `service_nodes` and `bottlenecks`, over all time and over a range. Prints a line with the number
of spans, edges and nodes; ends with an error at the first that differs.
"""

import collections
import datetime
import json
import math
import re
import sys
from urllib.parse import urlsplit

import networkx as nx
import psycopg

MS = 1_000_000
RELATIVE_ERROR = 1 / 128
SPANS = """
SELECT s.trace_id, s.span_id, s.parent_span_id, s.timestamp::bigint, s.end_timestamp::bigint, s.service_name, s.span_name, s.span_kind, s.status_code,
    s.attributes::text, t.nset_left, t.nset_right, t.critical_ms, t.self_ms
FROM spans AS s JOIN span_tree AS t ON s.trace_id = t.trace_id AND s.span_id = t.span_id"""
LINKS = "SELECT trace_id, span_id, linked_trace_id, linked_span_id FROM links"
SENDING = ("CLIENT", "PRODUCER")

Span = collections.namedtuple("Span", "trace id parent start end service name kind status attributes left right critical_ms self_ms")
Call = collections.namedtuple("Call", "trace span caller callee caller_type callee_type connection status ms")


def is_nameless(span):
    return span.kind == "INTERNAL" and re.fullmatch(r"unknown_service(:.*)?", span.service, re.S)


class Trace:
    """Spans by id, which are all different here, with the parents that they have in the tree."""

    def __init__(self, spans):
        self.spans = {span.id: span for span in spans}
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(self.spans)
        for span in spans:
            # A span whose numbers do not lie between those of the one that it names was cut from it.
            above = self.spans.get(span.parent)
            if above and above.left < span.left and span.right < above.right:
                self.graph.add_edge(above.id, span.id)

    def parent(self, span):
        return next((self.spans[at] for at in self.graph.predecessors(span.id)), None)

    def children(self, span):
        return [self.spans[at] for at in self.graph.successors(span.id)]

    def is_between(self, span):
        return bool(is_nameless(span)) and self.parent(span) is not None

    def service(self, span):
        """Of a span of no service, that of what is above it."""
        while self.is_between(span):
            span = self.parent(span)
        return span.service

    def own_below(self, span):
        """The spans below one that are of its service, and whose parents are, up to it."""
        for child in self.children(span):
            if self.service(child) == self.service(span):
                yield child
                yield from self.own_below(child)

    def own_above(self, span):
        above = self.parent(span)
        while above and self.service(above) == self.service(span):
            yield above
            above = self.parent(above)

    def caller(self, span):
        above = self.parent(span)
        if above is None or self.is_between(span) or self.service(above) == span.service:
            return None
        return self.service(above)

    def is_answered(self, span):
        def answers(child):
            return self.service(child) != self.service(span) or child.kind in ("SERVER", "CONSUMER")

        below = [span, *self.own_below(span)]
        return any(answers(child) for at in below for child in self.children(at))

    def lacks_callee(self, span):
        if span.kind not in SENDING or self.is_answered(span):
            return False
        return not any(above.kind in SENDING and not self.is_answered(above) for above in self.own_above(span))

    def lacks_caller(self, span):
        above = self.parent(span)
        if span.kind != "CONSUMER" or (above and (self.caller(span) or above.kind in SENDING)):
            return False
        return not any(self.lacks_caller(at) for at in self.own_above(span))


def first(attributes, *keys):
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)


def host(authority):
    if authority is None:
        return None
    found = re.match(r"\[[^]]*\]|[^:]+", authority)
    return found and found.group()


def host_of_url(url):
    if url is None or "://" not in url:
        return None
    return host(urlsplit(url).netloc.rpartition("@")[2])


def joined(system, rest):
    return f"{system}:{rest}" if system is not None and rest is not None else first({0: system, 1: rest}, 0, 1)


def broker(a):
    destination = first(a, "messaging.destination.template", "messaging.destination.name", "messaging.destination")
    return joined(a.get("messaging.system"), destination)


def called(a):
    """What a span's attributes say that it called, and of which type that is."""
    address = first(a, "server.address", "net.peer.name") or host(a.get("http.host")) or host_of_url(first(a, "url.full", "http.url"))
    address = address or first(a, "network.peer.address", "net.peer.ip")
    system, namespace = first(a, "db.system.name", "db.system"), first(a, "db.namespace", "db.name")
    if system is not None:
        return joined(system, namespace or address), "database"
    if namespace is not None:
        return namespace, "database"
    if broker(a) is not None:
        return broker(a), "messaging"
    return first(a, "service.peer.name", "peer.service") or address or a.get("rpc.service"), "external"


def calls_of(traces, links):
    for trace in traces.values():
        for span in trace.spans.values():
            def call(caller, callee, caller_type="service", callee_type="service", connection="call", span=span):
                return Call(span.trace, span.id, caller, callee, caller_type, callee_type, connection, span.status, (span.end - span.start) / MS)

            if trace.caller(span):
                yield call(trace.caller(span), span.service)
            if trace.lacks_callee(span):
                name, kind = called(span.attributes)
                if name is not None:
                    yield call(span.service, name, callee_type=kind)
            if trace.lacks_caller(span) and broker(span.attributes) is not None:
                yield call(broker(span.attributes), span.service, caller_type="messaging")
            for linked_trace, linked_span in links[span.trace, span.id]:
                origin = linked_trace in traces and traces[linked_trace].spans.get(linked_span)
                if origin and origin.service != span.service:
                    yield call(origin.service, span.service, connection="link")


def close(wanted, got, relative=1e-9):
    return wanted == got or (wanted is not None and got is not None and abs(wanted - got) <= relative * abs(wanted))


def nearest_rank(values, q):
    return sorted(values)[max(math.ceil(round(q * len(values), 9)), 1) - 1]


def check_edges(rows, calls):
    edges = collections.defaultdict(list)
    for call in calls:
        edges[call.caller, call.callee, call.caller_type, call.callee_type, call.connection].append(call)
    assert len(rows) == len(edges), f"{len(rows)} edges and not {len(edges)}"
    # The relation has no bound.
    for caller, callee, count, errors, error_rate, avg_ms, p50, p95, p99, *types in rows:
        types, bound = types[:3], types[3:]
        assert bound in ([], [None]), f"{caller} → {callee}: nothing is extrapolated"
        of_edge = edges[caller, callee, *types]
        failed = sum(call.status == "ERROR" for call in of_edge)
        ms = [call.ms for call in of_edge]
        what = f"{caller} → {callee} {types}"
        assert (count, errors) == (len(of_edge), failed), f"{what}: {count}, {errors} and not {len(of_edge)}, {failed}"
        assert close(failed / len(of_edge), error_rate) and close(sum(ms) / len(ms), avg_ms), what
        for q, said in ((0.5, p50), (0.95, p95), (0.99, p99)):
            assert close(nearest_rank(ms, q), said, RELATIVE_ERROR * 1.001), f"{what}: p{q} {said}"
    return len(edges)


def check_nodes(rows, traces, calls, is_in_range):
    graph = nx.DiGraph()
    stats, ranges = collections.defaultdict(list), []
    on_path = collections.Counter()
    critical = {(span.trace, span.id): span.critical_ms for trace in traces.values() for span in trace.spans.values()}
    for trace in traces.values():
        for span in filter(is_in_range, trace.spans.values()):
            ranges.append((span.start, span.end))
            if trace.is_between(span):
                continue
            node = ("service", span.service)
            graph.add_node(node)
            on_path[node] += span.critical_ms > 0
            if span.parent is None or span.kind == "SERVER" or trace.caller(span) or trace.lacks_caller(span):
                stats[node].append(span.status)
    for call in calls:
        source, target = (call.caller_type, call.caller), (call.callee_type, call.callee)
        graph.add_edge(source, target)
        if call.callee_type != "service":
            stats[target].append(call.status)
            on_path[target] += critical[call.trace, call.span] > 0
    betweenness = nx.betweenness_centrality(graph)
    seconds = (max(end for _, end in ranges) - min(start for start, _ in ranges)) / 1e9 if ranges else None
    said = {(row[1], row[0]): row[2:] for row in rows}
    assert said.keys() == set(graph.nodes) and len(said) == len(rows), f"nodes {said.keys() ^ set(graph.nodes)}"
    for node, (ins, outs, share, is_on_path, requests, rate, error_rate, health) in said.items():
        asked = stats[node]
        failing = sum(status == "ERROR" for status in asked) / len(asked) if asked else None
        wanted = None if failing is None else "healthy" if failing < 0.01 else "degraded" if failing < 0.05 else "unhealthy"
        assert (ins, outs) == (graph.in_degree(node), graph.out_degree(node)), f"{node}: degrees {ins}, {outs}"
        assert close(betweenness[node], share), f"{node}: betweenness {share} and not {betweenness[node]}"
        assert is_on_path == (on_path[node] > 0), f"{node}: on_critical_path {is_on_path}"
        assert requests == len(asked) and close(len(asked) / seconds, rate), f"{node}: {requests} requests and not {len(asked)}"
        assert close(failing, error_rate) and health == wanted, f"{node}: {error_rate}, {health} and not {failing}, {wanted}"
    return len(said)


def check_bottlenecks(rows, traces, is_in_range):
    sums = collections.defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0.0])
    for trace in traces.values():
        for span in filter(is_in_range, trace.spans.values()):
            inside = sum(max(0, min(child.end, span.end) - max(child.start, span.start)) for child in trace.children(span))
            of_span = (1, (span.end - span.start) / MS, span.self_ms, inside / MS, span.critical_ms)
            key = (span.service, span.name)
            sums[key] = [a + b for a, b in zip(sums[key], of_span, strict=True)]
    assert len(rows) == len(sums), f"{len(rows)} operations and not {len(sums)}"
    all_critical = sum(of_key[4] for of_key in sums.values())
    for service, name, calls, total, own, waiting, working_share, child, parallelism, critical, critical_share in rows:
        wanted = sums[service, name]
        for a, b in zip(wanted, (calls, total, own, child, critical), strict=True):
            assert abs(a - b) <= 1e-6, f"{service} {name}: {b} and not {a}"
        covered = wanted[1] - wanted[2]
        assert abs(covered - waiting) <= 1e-6, f"{service} {name}: waiting"
        assert close(wanted[2] / wanted[1] if wanted[1] else None, working_share, 1e-6), f"{service} {name}: working_share"
        assert close(wanted[3] / covered if waiting > 0 else None, parallelism, 1e-6), f"{service} {name}: parallelism {parallelism}"
        assert close(critical / all_critical if all_critical else None, critical_share, 1e-6), f"{service} {name}: critical_share"
    order = [(-row[9], -row[3], row[0], row[1]) for row in rows]
    assert order == sorted(order), "the order of bottlenecks"


def main():
    connection = psycopg.connect(f"host=127.0.0.1 port={int(sys.argv[1])} user=ada dbname=traces")

    def ask(sql):
        return list(connection.execute(sql, binary=True))

    spans = [Span(*row[:9], json.loads(row[9] or "{}"), *row[10:]) for row in ask(SPANS)]
    by_trace = collections.defaultdict(list)
    for span in spans:
        by_trace[span.trace].append(span)
    traces = {trace: Trace(of_trace) for trace, of_trace in by_trace.items()}
    links = collections.defaultdict(list)
    for trace, span, linked_trace, linked_span in ask(LINKS):
        links[trace, span].append((linked_trace, linked_span))
    calls = list(calls_of(traces, links))

    said = [Call(*row) for row in ask(
        "SELECT trace_id, span_id, caller, callee, caller_type, callee_type, connection, status_code, duration_ms FROM service_calls()")]
    assert collections.Counter(said) == collections.Counter(calls), f"calls {collections.Counter(said) ^ collections.Counter(calls)}"
    edges = check_edges(ask("SELECT * FROM service_map()"), calls)
    check_edges(ask("SELECT * FROM service_edges"), calls)
    nodes = check_nodes(ask("SELECT * FROM service_nodes"), traces, calls, lambda span: True)
    check_bottlenecks(ask("SELECT * FROM bottlenecks()"), traces, lambda span: True)

    starts = sorted(span.start for span in spans)
    since, until = starts[len(starts) // 3], starts[len(starts) * 2 // 3]

    def is_in_range(span):
        return since <= span.start < until

    def time(ns):
        second = datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC).replace(tzinfo=None)
        return f"'{second.isoformat()}.{ns % 10**9:09}Z'"

    in_range = f"(since => {time(since)}, until => {time(until)})"
    some = [call for call in calls if is_in_range(traces[call.trace].spans[call.span])]
    assert 0 < len(some) < len(calls)
    check_edges(ask(f"SELECT * FROM service_map{in_range}"), some)
    check_nodes(ask(f"SELECT * FROM service_nodes{in_range}"), traces, some, is_in_range)
    check_bottlenecks(ask(f"SELECT * FROM bottlenecks{in_range}"), traces, is_in_range)
    print(f"{len(spans)} spans have the service map that they should have: {edges} edges, {nodes} nodes")


main()
