#!/usr/bin/env python3
"""Compares spanhouse with DuckDB and ClickHouse: the same spans, the same questions, the same machine.

usage: benches/peers/run.py [--data DIR] [--sets boutique,trainticket] [--no-cold] [--growth] [--output FILE] …

Loads each set into spanhouse (over OTLP into `serve`, sealed and compacted), DuckDB and ClickHouse (chDB), asks all of them all questions of
`questions/`, checks that the answers agree, and prints Markdown: least (and median) milliseconds, ratio to the best peer, bytes per span, load
time and peak memory. spanhouse is asked over the Postgres protocol; the peers in process, with their rows fetched into Python.
The first run makes a virtual environment in the cache directory and prepares the sets there; later runs reuse both.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    options = arguments()
    inside_environment(options.cache)
    import comparison

    comparison.run(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spanhouse-peers"
    parser.add_argument("--binary", type=Path, default=target / "release" / "spanhouse", help="the build to measure")
    parser.add_argument("--data", type=Path, default=Path("."), help="where boutique.otlp.zst and trainticket.otlp.zst are")
    parser.add_argument("--cache", type=Path, default=cache, help="where environment, prepared sets and tables are kept")
    parser.add_argument("--sets", default="boutique", help="boutique, trainticket, boutique*5, generated:20000000; several with commas between")
    parser.add_argument("--questions", default="", help="only questions whose file name has one of these words; several with commas between")
    parser.add_argument("--engines", default="spanhouse,duckdb,clickhouse")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9, help="how often a warm engine is asked each question")
    parser.add_argument(
        "--cold", action=argparse.BooleanOptionalAction, default=True, help="also ask fresh processes whose data has left the page cache"
    )
    parser.add_argument("--cold-rounds", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="also ask spanhouse about one hour of boutique once and ten times over")
    parser.add_argument("--reload", action="store_true", help="load into spanhouse again, even when this build has done it")
    parser.add_argument("--output", type=Path, help="write the report to a file as well")
    options = parser.parse_args()
    for name in ("binary", "data", "cache"):
        setattr(options, name, getattr(options, name).resolve())
    return options


def inside_environment(cache: Path) -> None:
    """Goes on in a virtual environment that has the requirements, made when it is missing."""
    requirements = HERE / "requirements.txt"
    folder = cache / f"venv-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    python = folder / "bin" / "python"
    finished = folder / "finished"
    if not finished.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements], check=True)
        finished.touch()
    os.execv(python, [str(python), *sys.argv])


if __name__ == "__main__":
    main()
