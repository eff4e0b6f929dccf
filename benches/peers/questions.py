"""The questions: one file each, with a head and one section of SQL an engine."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "questions"
ENGINES = ("spanhouse", "duckdb", "clickhouse")


@dataclass(frozen=True)
class Question:
    name: str
    title: str
    # Columns that may be approximate, and the column's quantile: answers must lie within 1 % of the exact neighbours of that rank.
    quantiles: dict[str, float]
    # SQL by engine, and `ranks` (DuckDB's): as many columns of keys as the question has, then all values of a group as a sorted list.
    sql: dict[str, str]
    # Whether it asks about one hour, so that its cost must not grow with the table.
    of_an_hour: bool
    # Whether it is asked only about a table that grows.
    growth_only: bool


def read(parameters: dict[str, str]) -> list[Question]:
    """All questions, about what the parameters say, in the order of their file names."""
    return [_parse(file, parameters) for file in sorted(FOLDER.glob("*.sql"))]


def _parse(file: Path, parameters: dict[str, str]) -> Question:
    """A file begins with `-- title:` and perhaps `-- quantiles:` and `-- growth only`; `-- engine: NAME` begins a section."""
    head, *sections = re.split(r"^-- engine: (\S+)\n", file.read_text(), flags=re.MULTILINE)
    sql = {name: _filled(text, parameters) for name, text in zip(sections[::2], sections[1::2])}
    missing = set(ENGINES) - set(sql)
    title = re.search(r"^-- title: (.+)$", head, re.MULTILINE)
    if missing or title is None:
        raise ValueError(f"{file.name} lacks {', '.join(sorted(missing)) or 'a title'}")
    quantiles = re.findall(r"(\w+)=([\d.]+)", (re.search(r"^-- quantiles: (.+)$", head, re.MULTILINE) or [""])[0])
    name = re.sub(r"^\d+_", "", file.stem)
    of_an_hour = "{hour_from}" in sections[1]
    return Question(name, title[1], {column: float(q) for column, q in quantiles}, sql, of_an_hour, "-- growth only" in head)


def _filled(text: str, parameters: dict[str, str]) -> str:
    """Puts the parameters in, and of `{error? … : …}` the first part where the suspects are errors, else the second."""
    text = re.sub(r"\{error\? (.+?) : (.+?) \}", lambda match: match[1 if parameters["suspect"] == "error" else 2], text)
    return re.sub(r"\{(\w+)\}", lambda match: parameters[match[1]].replace("'", "''"), text).strip()
