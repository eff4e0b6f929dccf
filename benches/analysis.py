#!/usr/bin/env python3
"""Measures what the relations and functions that analyse traces take: all spans of a file, over the Postgres wire, warm.

usage: benches/analysis.py [--binary target/release/spanhouse] [--folder /tmp] [--rounds 5] [--only NAME] [--keep FOLDER] FILE.otlp.zst

The file is imported and compacted, into a folder that goes afterwards or, with --keep, into one that stays and is taken as it is the next time. Every
statement is asked once before it is timed. Prints, for each: the least and the median of the times in milliseconds, the spans of the table in a second of the median,
and the rows of the answer. Needs Linux and psycopg.
"""

import os
import shutil
import statistics
import subprocess
import tempfile

from lookups import Server, tables_parser

QUESTIONS = {
    "span_tree": "SELECT max(depth), max(nset_right), sum(self_ms), sum(critical_ms), count(*) FILTER (WHERE is_orphan) FROM span_tree",
    "span_tree: paths": "SELECT max(cardinality(path)), count(DISTINCT parent_name) FROM span_tree",
    "traces": "SELECT max(duration_ms), max(max_depth), avg(parallelism), count(error_origin_service) FROM traces",
    "service_map": "SELECT * FROM service_map()",
    "service_nodes": "SELECT * FROM service_nodes()",
    "bottlenecks": "SELECT * FROM bottlenecks()",
    "critical_path": "SELECT * FROM critical_path()",
    "critical_path of some": "SELECT * FROM critical_path(status_code = 'ERROR')",
    "error_propagation": "SELECT * FROM error_propagation()",
    "n_plus_one": "SELECT * FROM n_plus_one()",
    "descendants_of": "SELECT count(*) FROM descendants_of(status_code = 'ERROR')",
    "ancestors_of": "SELECT count(*) FROM ancestors_of(status_code = 'ERROR')",
    "compare": "SELECT * FROM compare(status_code = 'ERROR')",
    "trace_diff": "SELECT * FROM trace_diff(status_code = 'ERROR', parent_span_id IS NULL)",
    "anomalies": "SELECT * FROM anomalies(true, true)",
    "baseline": "SELECT * FROM baseline()",
    "deviations": "SELECT * FROM deviations('{last}'::timestamptz - INTERVAL '10 minutes', '{last}')",
    "forecast": "SELECT * FROM forecast('1 minute', 10, '1 hour')",
    "red": "SELECT * FROM red('1 minute')",
    "heatmap": "SELECT time, le_ms, sum(spans) FROM heatmap('1 minute') GROUP BY time, le_ms",
    "slow_queries": "SELECT * FROM slow_queries()",
    "span_metrics": "SELECT * FROM span_metrics",
    "flamegraph": "SELECT * FROM flamegraph()",
}


def main():
    options = arguments()
    folder = options.keep or tempfile.mkdtemp(prefix="spanhouse-analysis-", dir=options.folder)
    table = os.path.join(folder, "data")
    try:
        if not os.path.exists(table):
            spanhouse(options.binary, "import", table, options.file)
            spanhouse(options.binary, "compact", table)
        server = Server(options.binary, table, 1)
        try:
            measure(server, options)
        finally:
            server.stop()
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def arguments():
    parser = tables_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="what a question's name begins with")
    parser.add_argument("--keep", metavar="FOLDER", help="where the table stays")
    parser.add_argument("file")
    return parser.parse_args()


def spanhouse(binary, command, table, *rest):
    subprocess.run([binary, command, "--data-dir", table, *rest], check=True, stdout=subprocess.DEVNULL)


def measure(server, options):
    server.cursor.execute("SELECT count(*), max(timestamp)::text FROM spans")
    spans, last = server.cursor.fetchone()
    print(f"{spans:,} spans")
    print(f"{'question':24} {'least ms':>9} {'median ms':>9} {'spans/s':>12} {'rows':>8}")
    for name, sql in QUESTIONS.items():
        if options.only and not name.startswith(options.only):
            continue
        sql = sql.replace("{last}", last)
        try:
            server.ask(sql)
            asked = [server.ask(sql) for _ in range(options.rounds)]
        except Exception as error:
            print(f"{name:24} {error}")
            continue
        times, rows = [took_ms for took_ms, _ in asked], asked[0][1]
        median = statistics.median(times)
        print(f"{name:24} {min(times):9.1f} {median:9.1f} {spans / median * 1000:12,.0f} {rows:8}", flush=True)


if __name__ == "__main__":
    main()
