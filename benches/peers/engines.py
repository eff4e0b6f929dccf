"""The three engines behind one interface, each in a process of its own."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

Rows = list[tuple[Any, ...]]
START_SECONDS = 120
STATEMENT_TIMEOUT = "300s"


@dataclass(frozen=True)
class Answer:
    columns: list[str]
    rows: Rows
    wall_ms: float
    # Of the engine and of the client that takes its rows, on all cores.
    cpu_ms: float


class Engine(Protocol):
    """An open data set. What a file of data is, and how it is asked, is known here only."""

    def ask(self, sql: str) -> tuple[list[str], Rows]: ...

    def process_ids(self) -> list[int]:
        """The processes whose time and memory count, the caller's own among them where the engine runs in it."""
        ...

    def close(self) -> None: ...


class Spanhouse:
    """A server of its own, asked over the Postgres protocol as any client asks it."""

    def __init__(self, folder: Path, threads: int, binary: Path) -> None:
        import psycopg

        self.server = Server(folder, binary, threads)
        host, port = self.server.addresses["postgres"].rsplit(":", 1)
        self.connection = psycopg.connect(host=host, port=port, user="bench", dbname="spanhouse", autocommit=True)

    def ask(self, sql: str) -> tuple[list[str], Rows]:
        cursor = self.connection.execute(sql)
        return [column.name for column in cursor.description or []], cursor.fetchall()

    def process_ids(self) -> list[int]:
        return [self.server.process.pid]

    def close(self) -> None:
        self.connection.close()
        self.server.stop()


class DuckDb:
    def __init__(self, folder: Path, threads: int, _binary: Path) -> None:
        import duckdb

        self.connection = duckdb.connect(folder / "spans.duckdb", read_only=True, config={"threads": threads})

    def ask(self, sql: str) -> tuple[list[str], Rows]:
        cursor = self.connection.execute(sql)
        return [column[0] for column in cursor.description], cursor.fetchall()

    def process_ids(self) -> list[int]:
        return [os.getpid()]

    def close(self) -> None:
        self.connection.close()


class ClickHouse:
    def __init__(self, folder: Path, threads: int, _binary: Path) -> None:
        import chdb

        self.connection = chdb.connect(str(folder))
        self.connection.query(f"SET max_threads = {threads}")

    def ask(self, sql: str) -> tuple[list[str], Rows]:
        table = self.connection.query(sql, "ArrowTable")
        columns = [column.to_pylist() for column in table.columns]
        return table.column_names, list(zip(*columns))

    def process_ids(self) -> list[int]:
        return [os.getpid()]

    def close(self) -> None:
        self.connection.close()


ENGINES: dict[str, Callable[[Path, int, Path], Engine]] = {"spanhouse": Spanhouse, "duckdb": DuckDb, "clickhouse": ClickHouse}


class Server:
    """A spanhouse server on free ports of the loopback address, in a data directory."""

    def __init__(self, folder: Path, binary: Path, threads: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = open(folder.with_name(folder.name + ".log"), "ab")
        listen = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "off", "--postgres", "127.0.0.1:0", "--admin-listen", "off"]
        command: list[str | Path] = [binary, "serve", "--data-dir", folder, *listen, "--statement-timeout", STATEMENT_TIMEOUT]
        # It takes as many threads as it may use cores.
        cores = sorted(os.sched_getaffinity(0))[:threads]
        address_file = folder / "server.json"
        address_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.addresses = self._addresses(address_file)

    def _addresses(self, file: Path) -> dict[str, str]:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode}, see {self.log.name}")
            try:
                return json.loads(file.read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.02)
        raise RuntimeError(f"the server did not start within {START_SECONDS} s, see {self.log.name}")

    def stop(self) -> int:
        """Asks it to move all spans into the table and to end, and waits; returns the most bytes that were resident in its life."""
        self.process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.log.close()
        if self.process.returncode != 0:
            raise RuntimeError(f"the server ended with status {self.process.returncode}, see {self.log.name}")
        return usage.ru_maxrss * 1024


class Worker:
    """An engine in a process of its own, so that its memory can be told from the others', and a crash ends only it."""

    def __init__(self, engine: str, folder: Path, threads: int, binary: Path) -> None:
        self.engine = engine
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        arguments = (theirs, engine, folder, threads, binary)
        self.process = multiprocessing.get_context("spawn").Process(target=_work, args=arguments)
        self.process.start()
        theirs.close()
        self._receive()

    def ask(self, sql: str) -> Answer:
        """Asks and takes all rows. Raises RuntimeError with the engine's words when it refuses."""
        return self._call("ask", sql)

    def peak_bytes(self) -> int:
        """The most memory that was resident since the engine was opened."""
        return self._call("peak_bytes")

    def close(self) -> None:
        self._call("close")
        self.process.join()

    def _call(self, *message: Any) -> Any:
        self.pipe.send(message)
        return self._receive()

    def _receive(self) -> Any:
        try:
            succeeded, value = self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.engine} ended") from None
        if not succeeded:
            raise RuntimeError(value)
        return value


def _work(pipe: Connection, name: str, folder: Path, threads: int, binary: Path) -> None:
    engine = None
    while True:
        try:
            if engine is None:
                engine = ENGINES[name](folder, threads, binary)
                value = None
            else:
                value = _answer(engine, *pipe.recv())
            pipe.send((True, value))
        except EOFError:
            return
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
            if engine is None:
                return
        if engine is not None and value == "closed":
            return


def _answer(engine: Engine, command: str, *arguments: Any) -> Any:
    match command:
        case "ask":
            return _timed(engine, *arguments)
        case "peak_bytes":
            return sum(_peak_bytes(process_id) for process_id in engine.process_ids())
        case "close":
            engine.close()
            return "closed"
    raise ValueError(f"no command {command}")


def _timed(engine: Engine, sql: str) -> Answer:
    processes = {*engine.process_ids(), os.getpid()}
    cpu = sum(map(_cpu_seconds, processes))
    started = time.perf_counter()
    columns, rows = engine.ask(sql)
    wall = time.perf_counter() - started
    return Answer(columns, rows, wall * 1000, (sum(map(_cpu_seconds, processes)) - cpu) * 1000)


def _cpu_seconds(process_id: int) -> float:
    # The kernel's clock of a process's CPU time: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of its headers.
    return time.clock_gettime(~process_id << 3 | 2)


def _peak_bytes(process_id: int) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {process_id} tells no peak of its memory")
