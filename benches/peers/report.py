"""The comparison as Markdown."""

import math
from collections.abc import Iterable, Mapping

from load import Loaded
from measure import Result, Timing

OURS = "spanhouse"


def environment(threads: int, versions: Iterable[str], parameters: Mapping[str, str]) -> str:
    asked = ", ".join(f"{name} `{value}`" for name, value in parameters.items())
    return f"{threads} threads each. {'; '.join(versions)}.\n\nAsked about: {asked}."


def loads(loaded: Mapping[str, Loaded], spans: int, peaks: Mapping[str, int]) -> str:
    rows = [
        (
            name,
            f"{one.data_bytes / spans:.1f}",
            f"{one.data_bytes / 2**20:,.1f}",
            f"{one.seconds:.1f}",
            f"{one.peak_bytes / 2**20:,.0f}",
            f"{peaks[name] / 2**20:,.0f}" if name in peaks else "",
        )
        for name, one in loaded.items()
    ]
    table = _table(("engine", "bytes per span", "MiB of data", "load, s", "peak MiB, load", "peak MiB, questions"), rows)
    theirs = [one.data_bytes for name, one in loaded.items() if name != OURS]
    if OURS not in loaded or not theirs:
        return table
    return table + f"\nBytes per span to the best peer: {loaded[OURS].data_bytes / min(theirs):.2f}.\n"


def times(timings: Mapping[str, Mapping[str, Timing]], results: Iterable[Result], *, cpu: bool) -> str:
    """A row a question: least and median milliseconds, and ours over the best peer's. `timings` is by question and engine."""
    names = list(next(iter(timings.values())))
    rows, ratios = [], []
    for result in results:
        of_question = timings[result.question.name]
        ratio, cpu_ratio = _ratio(of_question, "wall_ms"), _ratio(of_question, "cpu_ms")
        cells = [result.question.title, f"{result.rows:,}", *(_cell(of_question[name]) for name in names)]
        cells += [_shown(ratio), "no" if result.disagreements else "yes"]
        if cpu:
            cells.append(" / ".join(_cpu(of_question[name]) for name in names))
            cells.append(_shown(cpu_ratio))
        rows.append(cells)
        ratios.append((ratio, cpu_ratio))
    head = ["question", "rows", *names, "to best peer", "agree"]
    if cpu:
        head += ["CPU ms: " + " / ".join(names), "to best peer"]
    walls = [ratio for ratio, _ in ratios if ratio is not None]
    text = _table(head, rows)
    if walls:
        text += f"\nGeometric mean of ours over the best peer's: {_geometric_mean(walls):.2f}"
        if cpu:
            text += f" (CPU time {_geometric_mean([ratio for _, ratio in ratios if ratio is not None]):.2f})"
        text += f"; slower than it: {sum(ratio > 1 for ratio in walls)} of {len(walls)}.\n"
    return text


def misses(timings: Mapping[str, Mapping[str, Timing]], results: Iterable[Result]) -> str:
    """The questions that a peer answers sooner, or alone, the worst first."""
    rows = []
    for result in results:
        of_question = timings[result.question.name]
        best = _best_peer(of_question, "wall_ms")
        ratio = _ratio(of_question, "wall_ms")
        if best is None or (ratio is not None and ratio <= 1):
            continue
        ours = "failed" if ratio is None else f"{of_question[OURS].best_ms:.1f}"
        cells = (result.question.title, ours, f"{of_question[best].best_ms:.1f}", _shown(ratio), best, _shown(_ratio(of_question, "cpu_ms")))
        rows.append((math.inf if ratio is None else ratio, cells))
    rows.sort(reverse=True)
    return _table(("question", "our ms", "best peer's ms", "ratio", "peer", "ratio of CPU time"), [row for _, row in rows])


def disagreements(results: Iterable[Result]) -> str:
    lines = [f"- {result.question.title}: {text}" for result in results for text in result.disagreements]
    failures = [
        f"- {result.question.title}: {name} failed: {timing.failure}"
        for result in results
        for name, timing in result.timings.items()
        if timing.failure
    ]
    return "\n".join(lines + failures)


def growth(rows: Iterable[tuple[str, Timing, Timing, str | None]]) -> str:
    cells = [
        (title, _cell(small), _cell(large), f"{large.best_ms / small.best_ms:.2f}", difference or "yes")
        for title, small, large, difference in rows
    ]
    return _table(("question", "once", "ten times", "ratio", "agree"), cells)


def _ratio(timings: Mapping[str, Timing], what: str) -> float | None:
    best = _best_peer(timings, what)
    if best is None or not timings[OURS].wall_ms:
        return None
    return min(getattr(timings[OURS], what)) / min(getattr(timings[best], what))


def _best_peer(timings: Mapping[str, Timing], what: str) -> str | None:
    peers = [name for name, timing in timings.items() if name != OURS and timing.wall_ms]
    return min(peers, key=lambda name: min(getattr(timings[name], what)), default=None) if OURS in timings else None


def _geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _cell(timing: Timing) -> str:
    return f"{timing.best_ms:.1f} ({timing.median_ms:.1f})" if timing.wall_ms else "failed"


def _cpu(timing: Timing) -> str:
    return f"{min(timing.cpu_ms):.0f}" if timing.cpu_ms else "failed"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
