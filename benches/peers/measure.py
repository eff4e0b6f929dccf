"""Asks the questions: warm and cold, the engines in turn, so that noise hits all alike."""

import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import answers
from engines import Answer, Worker
from questions import Question

WARM_UP_ROUNDS = 2


@dataclass
class Timing:
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    # Why there is no time.
    failure: str | None = None

    @property
    def best_ms(self) -> float:
        return min(self.wall_ms)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.wall_ms)

    def add(self, answer: Answer) -> None:
        self.wall_ms.append(answer.wall_ms)
        self.cpu_ms.append(answer.cpu_ms)


@dataclass
class Result:
    question: Question
    timings: dict[str, Timing]
    rows: int
    disagreements: list[str]


def warm(question: Question, workers: Mapping[str, Worker], rounds: int) -> Result:
    """Asks each engine some rounds for nothing, then `rounds` that count."""
    timings = {name: Timing() for name in workers}
    given: dict[str, Answer] = {}
    for number in range(-WARM_UP_ROUNDS, rounds):
        for name in _turn(list(workers), number):
            if timings[name].failure is not None:
                continue
            try:
                answer = workers[name].ask(question.sql[name])
            except RuntimeError as error:
                timings[name].failure = str(error).splitlines()[0]
                continue
            given.setdefault(name, answer)
            if number >= 0:
                timings[name].add(answer)
    rows = max((len(answer.rows) for answer in given.values()), default=0)
    return Result(question, timings, rows, _disagreements(question, given, workers))


def cold(question: Question, folders: Mapping[str, Path], threads: int, binary: Path, rounds: int) -> dict[str, Timing]:
    """Asks a fresh process each time, after the data's pages have left the cache."""
    timings = {name: Timing() for name in folders}
    for number in range(rounds):
        for name in _turn(list(folders), number):
            worker = Worker(name, folders[name], threads, binary)
            # What an engine still does on its first statement whatever that asks (ClickHouse: two seconds) belongs to its start.
            worker.ask("SELECT 1")
            drop_cache(folders[name])
            try:
                timings[name].add(worker.ask(question.sql[name]))
            except RuntimeError as error:
                timings[name].failure = str(error).splitlines()[0]
            worker.close()
    return timings


def drop_cache(folder: Path) -> None:
    """Asks the kernel to forget the pages of the folder's files; they are on disk already, or else stay."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def growth(question: Question, small: Worker, large: Worker, rounds: int) -> tuple[Timing, Timing, str | None]:
    """Asks the same of a small and a large table in turn; the answers must be the same."""
    timings = Timing(), Timing()
    difference = None
    for number in range(-WARM_UP_ROUNDS, rounds):
        given = [worker.ask(question.sql["spanhouse"]) for worker in (small, large)]
        difference = difference or answers.difference(question, *given)
        if number >= 0:
            for timing, answer in zip(timings, given):
                timing.add(answer)
    return *timings, difference


def _turn(names: list[str], number: int) -> list[str]:
    """The names in an order in which each round begins with another."""
    start = number % len(names)
    return names[start:] + names[:start]


def _disagreements(question: Question, given: Mapping[str, Answer], workers: Mapping[str, Worker]) -> list[str]:
    found = []
    names = list(given)
    for name in names[1:]:
        if difference := answers.difference(question, given[names[0]], given[name]):
            found.append(f"{names[0]} and {name}: {difference}")
    if question.quantiles and "duckdb" in workers:
        ranks = workers["duckdb"].ask(question.sql["ranks"]).rows
        for name, answer in given.items():
            if error := answers.quantile_error(question, answer, ranks):
                found.append(f"{name}: {error}")
    return found
