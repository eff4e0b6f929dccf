"""Trees of traces worked out here, with networkx and numpy, against what the server says.

Usage: span_trees.py PORT. Reads all spans, makes the tree of each trace from the definitions in docs/sql.md, and compares every column of
`span_tree`, and what `traces` says of trees. Prints a line with the number of spans and traces; ends with an error at the first that differs.
"""

import collections
import sys

import networkx as nx
import numpy as np
import psycopg

sys.setrecursionlimit(100_000)
MS = 1_000_000
SPANS = """
SELECT trace_id, span_id, parent_span_id, timestamp::bigint, end_timestamp::bigint, service_name, span_name, span_kind, status_code
FROM spans"""
TREE = """
SELECT trace_id, span_id, timestamp::bigint, end_timestamp::bigint, depth, nset_left, nset_right, child_count, self_ms, critical_ms,
    is_orphan, root_service, root_name, parent_service, parent_name, path, clock_skew_ms
FROM span_tree"""

TRACES = """
SELECT trace_id, complete, critical_path, parallelism, max_depth, error_origin_service, timestamp::bigint, end_timestamp::bigint, orphan_count,
    hops, edges, longest_ms, error_services
FROM traces"""

Span = collections.namedtuple("Span", "trace id parent start end service name kind status")


def order(span):
    return (span.start, span.id, span.start - span.end)


def graph_of(spans):
    """Edges from parents to children, after circles are cut; and the spans that name a parent which is not there."""
    spans = sorted(spans, key=order)
    first = {}
    for at, span in enumerate(spans):
        first.setdefault(span.id, at)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(spans)))
    orphans = set()
    for at, span in enumerate(spans):
        if span.parent is None:
            continue
        if span.parent in first:
            graph.add_edge(first[span.parent], at)
        else:
            orphans.add(at)
    for circle in list(nx.simple_cycles(graph)):
        top = min(circle)
        graph.remove_edges_from(list(graph.in_edges(top)))
    return spans, graph, orphans


def own_ns(spans, children, at):
    """The union of what children cover, by marking the stretches between all the moments at which one begins or ends."""
    span = spans[at]
    clipped = [(max(spans[c].start, span.start), min(spans[c].end, span.end)) for c in children]
    clipped = [(a, b) for a, b in clipped if a < b]
    if not clipped:
        return span.end - span.start
    moments = np.unique(np.array(clipped, dtype=np.int64))
    covered = np.zeros(len(moments) - 1, dtype=bool)
    for a, b in clipped:
        covered[np.searchsorted(moments, a) : np.searchsorted(moments, b)] = True
    return span.end - span.start - int(np.diff(moments)[covered].sum())


def walk(spans, children, at, start, end, path):
    """The last-finishing-child walk, by its definition; `at` is None above several tops."""
    moment, rest = end, set(children[at])
    while True:
        def clip(child):
            return max(spans[child].start, start), min(spans[child].end, end)

        fits = [c for c in rest if clip(c)[0] < clip(c)[1] <= moment]
        if not fits:
            break
        last = min(fits, key=lambda c: (-spans[c].end, order(spans[c])))
        rest.remove(last)
        path.append((at, clip(last)[1], moment))
        walk(spans, children, last, *clip(last), path)
        moment = clip(last)[0]
    path.append((at, start, moment))


def skew_ns(spans, graph, at, parent, skews):
    child, above = spans[at], spans[parent]
    if child.service == above.service:
        return skews[parent]
    start, length = above.start + skews[parent], above.end - above.start
    if child.kind == "CONSUMER" or child.end - child.start > length:
        return max(start - child.start, 0)
    if start <= child.start and child.end <= start + length:
        return 0
    return start + (length - (child.end - child.start)) // 2 - child.start


def expected(spans):
    """What each span's row must be, and what its trace's."""
    spans, graph, orphans = graph_of(spans)
    children = {at: sorted(graph.successors(at)) for at in graph}
    tops = [at for at in graph if graph.in_degree(at) == 0]
    roots = [at for at in tops if spans[at].parent is None]
    children[None] = roots or tops
    parent = {child: at for at, child in graph.edges}
    numbers, left, right, path_names, top_of, depth = iter(range(1, 2 * len(spans) + 1)), {}, {}, {}, {}, {}
    for top in tops:
        for above, at, kind in nx.dfs_labeled_edges(graph, top, sort_neighbors=sorted):
            if kind == "forward":
                left[at] = next(numbers)
                path_names[at] = (path_names[above] if at != top else []) + [spans[at].name]
                top_of[at], depth[at] = top, len(path_names[at]) - 1
            elif kind == "reverse":
                right[at] = next(numbers)
    path = []
    starts, ends = [spans[at].start for at in tops], [spans[at].end for at in tops]
    walk(spans, children, None, min(starts), max(ends), path)
    path = [(at, a, b) for at, a, b in reversed(path) if at is not None and a < b]
    critical = collections.Counter()
    for at, a, b in path:
        critical[at] += b - a
    skews = {}
    rows = []
    for at in nx.topological_sort(graph):
        skews[at] = skew_ns(spans, graph, at, parent[at], skews) if at in parent else 0
    for at, span in enumerate(spans):
        root = top_of[at] if spans[top_of[at]].parent is None else (roots or [None])[0]
        rows.append((
            span.trace, span.id, span.start, span.end, depth[at], left[at], right[at], len(children[at]),
            own_ns(spans, children[at], at) / MS, critical[at] / MS, at in orphans,
            None if root is None else spans[root].service, None if root is None else spans[root].name,
            spans[parent[at]].service if at in parent else None, spans[parent[at]].name if at in parent else None,
            path_names[at], skews[at] / MS,
        ))
    services = list(dict.fromkeys(spans[at].service for at, _, _ in path)) or None
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    parallelism = sum(span.end - span.start for span in spans) / (last - first) if last > first else None
    errors = sorted((at for at in graph if spans[at].status == "ERROR"), key=lambda at: (-depth[at], order(spans[at])))
    origin = spans[errors[0]].service if errors else None
    complete = bool(roots) and not orphans
    hops = [(spans[a].service, spans[b].service) for a, b in graph.edges if spans[a].service != spans[b].service]
    edges, failed = sorted({f"{a} → {b}" for a, b in hops}), sorted({spans[at].service for at in errors})
    longest = max(span.end - span.start for span in spans) / MS
    tree = (complete, services, parallelism, max(depth.values()), origin, first, last, len(orphans))
    return rows, (spans[0].trace, *tree, len(hops), edges, longest, failed)


def close(wanted, got):
    """Whether both are the same but for the rounding of a sum."""
    same = [a == b or (isinstance(a, float) and b is not None and abs(a - b) <= 1e-12 * abs(a)) for a, b in zip(wanted, got, strict=True)]
    return all(same)


def main():
    connection = psycopg.connect(f"host=127.0.0.1 port={int(sys.argv[1])} user=ada dbname=traces")
    traces = collections.defaultdict(list)
    for row in connection.execute(SPANS, binary=True):
        traces[row[0]].append(Span(*row))
    said = collections.defaultdict(list)
    for row in connection.execute(TREE, binary=True):
        said[row[0]].append(row)
    assert said.keys() == traces.keys(), "other traces"
    said_of_traces = {row[0]: row for row in connection.execute(TRACES, binary=True)}
    for trace, spans in traces.items():
        rows, of_trace = expected(spans)
        assert close(of_trace, said_of_traces[trace]), f"expected {of_trace}\n     got {said_of_traces[trace]}"
        wanted, got = sorted(rows, key=repr), sorted(said[trace], key=repr)
        for a, b in zip(wanted, got, strict=True):
            assert a == b, f"expected {a}\n     got {b}"
    print(f"{sum(map(len, traces.values()))} spans of {len(traces)} traces have the trees that they should have")


if __name__ == "__main__":
    main()
