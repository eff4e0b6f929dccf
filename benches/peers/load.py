"""Loads a data set into each engine, in its own best native table, and says what that took."""

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from engines import Server

TABLES = Path(__file__).parent / "tables"
HOUR_NS = 3_600_000_000_000
# What DuckDB sorts at a time.
SORTED_SPANS = 3_000_000


@dataclass(frozen=True)
class Loaded:
    seconds: float
    # Files of data only, without logs and catalogues.
    data_bytes: int
    peak_bytes: int
    version: str


@dataclass(frozen=True)
class Source:
    requests: Path
    staging: Path
    threads: int
    binary: Path


def load(engine: str, source: Source, folder: Path, *, again: bool) -> Loaded:
    """Loads, unless the folder holds what the same version has loaded already."""
    note = folder.with_name(folder.name + ".json")
    version = VERSIONS[engine](source)
    if note.exists() and not again:
        loaded = Loaded(**json.loads(note.read_text()))
        if loaded.version == version:
            return loaded
    note.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # A process of its own, so that its peak of memory is the load's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, data_bytes, peak_bytes = pool.submit(LOADERS[engine], source, folder).result()
    loaded = Loaded(seconds, data_bytes, peak_bytes, version)
    note.write_text(json.dumps(asdict(loaded)))
    return loaded


def load_spanhouse(source: Source, folder: Path) -> tuple[float, int, int]:
    """Over OTLP/gRPC, until the last span is acknowledged and sealed, and the table is compacted."""
    started = time.monotonic()
    server = Server(folder, source.binary, source.threads)
    endpoint = "http://" + server.addresses["otlp_grpc"]
    sent = subprocess.run([source.binary, "import", "--to", endpoint, source.requests], capture_output=True, text=True)
    if sent.returncode != 0:
        raise RuntimeError(f"import failed: {sent.stdout}{sent.stderr}")
    peak_bytes = max(server.stop(), _compact(source.binary, folder))
    seconds = time.monotonic() - started
    return seconds, sum(Path(file).stat().st_size for file in _live_files(folder / "table")), peak_bytes


def _compact(binary: Path, folder: Path) -> int:
    """Brings the table to its final form at once; returns the most bytes that were resident."""
    process = subprocess.Popen([binary, "compact", "--data-dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"compact failed: {words}")
    return usage.ru_maxrss * 1024


def _live_files(table: Path) -> list[str]:
    from deltalake import DeltaTable

    return DeltaTable(table).file_uris()


def load_duckdb(source: Source, folder: Path) -> tuple[float, int, int]:
    import duckdb

    file = folder / "spans.duckdb"
    connection = duckdb.connect(file, config={"threads": source.threads})
    seconds = _run_all(connection.execute, "duckdb", source.staging, list(_hours(connection, source.staging)))
    ((data_bytes,),) = connection.execute("SELECT block_size * used_blocks FROM pragma_database_size()").fetchall()
    connection.close()
    return seconds, data_bytes, _own_peak_bytes()


def _hours(connection, staging: Path) -> Iterator[tuple[int, int]]:
    """Ranges of time of whole hours, each with no more spans than are sorted at a time (or one hour)."""
    counts = f"SELECT start_ns // {HOUR_NS} AS hour, count(*) FROM read_parquet('{staging}/*.parquet') GROUP BY hour ORDER BY hour"
    first, spans, hour = None, 0, 0
    for hour, count in connection.execute(counts).fetchall():
        if first is not None and spans + count > SORTED_SPANS:
            yield first * HOUR_NS, hour * HOUR_NS
            first, spans = None, 0
        first, spans = hour if first is None else first, spans + count
    yield (first or 0) * HOUR_NS, (hour + 1) * HOUR_NS


def load_clickhouse(source: Source, folder: Path) -> tuple[float, int, int]:
    import chdb

    connection = chdb.connect(str(folder))
    connection.query(f"SET max_threads = {source.threads}, max_insert_threads = {source.threads}")
    seconds = _run_all(connection.query, "clickhouse", source.staging)
    parts = connection.query("SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = 'default'", "ArrowTable")
    connection.close()
    return seconds, parts["bytes"][0].as_py(), _own_peak_bytes()


def _run_all(execute: Callable[[str], object], engine: str, staging: Path, ranges: Sequence[tuple[int, int]] = ()) -> float:
    """Runs a table's statements, those that name a range of time for each of them; returns the seconds that they took."""
    script = (TABLES / f"{engine}.sql").read_text().replace("{staging}", str(staging))
    started = time.monotonic()
    for statement in script.split(";\n"):
        if "{from_ns}" in statement:
            for from_ns, until_ns in ranges:
                execute(statement.replace("{from_ns}", str(from_ns)).replace("{until_ns}", str(until_ns)))
        elif statement.strip():
            execute(statement)
    return time.monotonic() - started


def _own_peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _binary_version(source: Source) -> str:
    """A build is told from another by its bytes, as builds of one version differ."""
    text = subprocess.run([source.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    with open(source.binary, "rb") as file:
        return f"{text}, build {hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"


def _duckdb_version(_source: Source) -> str:
    return f"DuckDB {importlib.metadata.version('duckdb')}, table {_fingerprint('duckdb')}"


def _clickhouse_version(_source: Source) -> str:
    return f"ClickHouse of chDB {importlib.metadata.version('chdb')}, table {_fingerprint('clickhouse')}"


def _fingerprint(engine: str) -> str:
    return hashlib.sha256((TABLES / f"{engine}.sql").read_bytes()).hexdigest()[:8]


VERSIONS = {"spanhouse": _binary_version, "duckdb": _duckdb_version, "clickhouse": _clickhouse_version}
LOADERS = {"spanhouse": load_spanhouse, "duckdb": load_duckdb, "clickhouse": load_clickhouse}
