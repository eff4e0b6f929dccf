"""The data sets: their requests and their staged spans, made once and kept."""

import json
import multiprocessing
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import otlp
import parameters
import staging
from parameters import Topics

# Requests that one wave of copying holds in memory.
WAVE_REQUESTS = 2000
TOPICS = {
    "boutique": Topics(group_key="rpc.method", rare_key="rpc.method", numeric_key="http.status_code"),
    "trainticket": Topics(group_key="http.route", rare_key="http.route", numeric_key="http.status_code"),
    "generated": Topics(group_key="db.query.summary", rare_key="messaging.message.id", numeric_key="http.response.status_code"),
}


@dataclass(frozen=True)
class DataSet:
    name: str
    requests: Path
    staging: Path
    # Where it is loaded into.
    folder: Path
    spans: int
    parameters: dict[str, str]


def prepare(name: str, data: Path, cache: Path, binary: Path, workers: int) -> DataSet:
    """A set by name: `boutique`, `trainticket`, these several times over (`boutique*5`), or `generated:SPANS`."""
    kind, _, _ = _parse(name)
    folder = folder_of(name, cache)
    requests = requests_of(name, data, cache, binary, workers)
    staged, facts_file = folder / "staging", folder / "facts.json"
    # What an earlier version staged may lack a column.
    columns = str(staging.SCHEMA)
    facts = json.loads(facts_file.read_text()) if facts_file.exists() and staged.exists() else {}
    if facts.get("columns") != columns:
        facts_file.unlink(missing_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        facts = {"spans": staging.stage(requests, staged, workers), "columns": columns}
        facts_file.write_text(json.dumps(facts))
    spans = facts["spans"]
    return DataSet(name, requests, staged, folder, spans, parameters.find(staged, TOPICS[kind]))


def requests_of(name: str, data: Path, cache: Path, binary: Path, workers: int) -> Path:
    """The set's requests: the file that came, or one in the set's folder."""
    kind, copies, generated = _parse(name)
    source = data / f"{kind}.otlp.zst"
    if copies == 1 and not generated:
        return source
    requests = folder_of(name, cache) / "requests.otlp.zst"
    if not requests.exists():
        requests.parent.mkdir(parents=True, exist_ok=True)
        if generated:
            _generate(binary, generated, requests)
        else:
            otlp.write_requests(requests, _copies(source, copies, workers))
    return requests


def folder_of(name: str, cache: Path) -> Path:
    """Where what is made of a set is kept."""
    return cache / name.replace("*", "-times-").replace(":", "-")


def _parse(name: str) -> tuple[str, int, int | None]:
    if match := re.fullmatch(r"generated:(\d+)", name):
        return "generated", 1, int(match[1])
    if match := re.fullmatch(r"(boutique|trainticket)(?:\*(\d+))?", name):
        return match[1], int(match[2] or 1), None
    raise SystemExit(f"no data set is called {name}: take boutique, trainticket, boutique*5 or generated:20000000")


def _generate(binary: Path, spans: int, file: Path) -> None:
    unfinished = file.with_name("part-" + file.name)
    subprocess.run([binary, "generate", "--spans", str(spans), "--out", unfinished], check=True, capture_output=True)
    unfinished.rename(file)


def _copies(source: Path, copies: int, workers: int) -> Iterator[bytes]:
    """One copy after the other, each later in time than the one before."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waves = partial(staging.batched, size=WAVE_REQUESTS)
        extents = [extent for wave in waves(otlp.read_requests(source)) for extent in pool.map(otlp.extent_ns, wave, chunksize=50)]
        extent_ns = max(last for _, last in extents) - min(first for first, _ in extents)
        days_each = -(-extent_ns // otlp.DAY_NS)
        for number in range(copies):
            for wave in waves(otlp.read_requests(source)):
                yield from pool.map(otlp.copied, wave, repeat(number), repeat(days_each), chunksize=50)
