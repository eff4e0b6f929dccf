"""One run of the comparison, from the sets to the report."""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import datasets
import measure
import questions
import report
from datasets import DataSet
from engines import Worker
from load import Loaded, Source, load
from questions import Question

GROWTH_TIMES = 10


def run(options: argparse.Namespace) -> None:
    report_text = [f"# spanhouse beside DuckDB and ClickHouse, {time.strftime('%Y-%m-%d %H:%M')}\n"]
    for name in options.sets.split(","):
        report_text += _compare(name, options)
    if options.growth:
        report_text += _growth(options)
    text = "\n".join(report_text)
    print(text)
    if options.output:
        options.output.write_text(text)


def _compare(name: str, options: argparse.Namespace) -> list[str]:
    data = _prepared(name, options)
    loaded = {engine: _loaded(engine, data, options) for engine in options.engines.split(",")}
    asked = [question for question in _asked(data, options) if not question.growth_only]
    with ExitStack() as stack:
        workers = {engine: _worker(engine, data, options, stack) for engine in loaded}
        results = []
        for question in asked:
            _say(f"{data.name}: {question.title}")
            results.append(measure.warm(question, workers, options.rounds))
        peaks = {engine: worker.peak_bytes() for engine, worker in workers.items()}
    text = [f"## {data.name}: {data.spans:,} spans\n"]
    text.append(report.environment(options.threads, (one.version for one in loaded.values()), data.parameters) + "\n")
    text.append(report.loads(loaded, data.spans, peaks))
    warm = {result.question.name: result.timings for result in results}
    text += ["### Warm: least (median) ms\n", report.times(warm, results, cpu=True)]
    text += ["### Slower than the best peer\n", report.misses(warm, results)]
    if wrong := report.disagreements(results):
        text += ["### Not the same answer\n", wrong + "\n"]
    if options.cold:
        folders = {engine: _folder(engine, data) for engine in loaded}
        cold = {}
        for question in asked:
            _say(f"{data.name}, cold: {question.title}")
            cold[question.name] = measure.cold(question, folders, options.threads, options.binary, options.cold_rounds)
        text += ["### Cold: least (median) ms\n", report.times(cold, results, cpu=False)]
    return text


def _growth(options: argparse.Namespace) -> list[str]:
    """The questions about one hour, asked of a table and of one that is ten times larger."""
    small = _prepared("boutique", options)
    cache, name = options.cache / "sets", f"boutique*{GROWTH_TIMES}"
    _say(f"{name}: preparing")
    requests = datasets.requests_of(name, options.data, cache, options.binary, options.threads)
    # The parameters are the small set's: its hour is in the large one as well.
    large = replace(small, name=name, requests=requests, folder=datasets.folder_of(name, cache), spans=small.spans * GROWTH_TIMES)
    with ExitStack() as stack:
        for data in (small, large):
            _loaded("spanhouse", data, options)
        once, ten_times = (_worker("spanhouse", data, options, stack) for data in (small, large))
        rows = []
        for question in questions.read(small.parameters):
            if question.of_an_hour:
                _say(f"growth: {question.title}")
                rows.append((question.title, *measure.growth(question, once, ten_times, options.rounds)))
    return [f"## One hour of {small.spans:,} and of {large.spans:,} spans: least (median) ms\n", report.growth(rows)]


def _prepared(name: str, options: argparse.Namespace) -> DataSet:
    _say(f"{name}: preparing")
    return datasets.prepare(name, options.data, options.cache / "sets", options.binary, options.threads)


def _loaded(engine: str, data: DataSet, options: argparse.Namespace) -> Loaded:
    _say(f"{data.name}: loading into {engine}")
    source = Source(data.requests, data.staging, options.threads, options.binary)
    return load(engine, source, _folder(engine, data), again=options.reload and engine == "spanhouse")


def _asked(data: DataSet, options: argparse.Namespace) -> list[Question]:
    words = [word for word in options.questions.split(",") if word]
    return [question for question in questions.read(data.parameters) if not words or any(word in question.name for word in words)]


def _worker(engine: str, data: DataSet, options: argparse.Namespace, stack: ExitStack) -> Worker:
    worker = Worker(engine, _folder(engine, data), options.threads, options.binary)
    stack.callback(worker.close)
    return worker


def _folder(engine: str, data: DataSet) -> Path:
    return data.folder / engine


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
