"""The data sets: their requests and their staged spans, made once and kept."""

import json
import multiprocessing
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
    # What was made of it stands beside these.
    folder: Path
    spans: int
    parameters: dict[str, str]


def prepare(name: str, data: Path, cache: Path, binary: Path, workers: int) -> DataSet:
    """A set by name: `boutique`, `trainticket`, these several times over (`boutique*5`), or `generated:SPANS`."""
    kind, copies, generated = _parse(name)
    folder = cache / name.replace("*", "-times-").replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    source = data / f"{kind}.otlp.zst"
    requests = source if copies == 1 and not generated else folder / "requests.otlp.zst"
    staged, facts_file = folder / "staging", folder / "facts.json"
    if not requests.exists():
        if generated:
            _generate(binary, generated, requests)
        else:
            otlp.write_requests(requests, _copies(source, copies, workers))
    if not facts_file.exists() or not staged.exists():
        facts_file.unlink(missing_ok=True)
        spans = staging.stage(requests, staged, workers)
        facts_file.write_text(json.dumps({"spans": spans}))
    spans = json.loads(facts_file.read_text())["spans"]
    return DataSet(name, requests, staged, folder, spans, parameters.find(staged, TOPICS[kind]))


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
    days_each = otlp.extent_days(otlp.read_requests(source))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for number in range(copies):
            for wave in staging.batched(otlp.read_requests(source), WAVE_REQUESTS):
                yield from pool.map(otlp.copied, wave, repeat(number), repeat(days_each), chunksize=50)
