"""Uses psql as a person at a terminal does: Tab completes keywords, tables, schemas and columns. Arguments: psql, then its own."""

import sys

from terminal import Terminal

shell = Terminal(sys.argv[1:], {"PAGER": "cat", "PSQLRC": "/dev/null", "INPUTRC": "/dev/null"})
shell.wait_for("=> ")
for typed, completed in [
    ("SEL", "SELECT"),
    ("SELECT * FROM span_t", "span_tree"),
    ("SELECT * FROM tra", "traces"),
    ("SELECT * FROM traces.span_t", "traces.span_tree"),
    ("SELECT * FROM traces.service_e", "traces.service_edges"),
    ("SELECT * FROM spans WHERE service_n", "service_name"),
    ("SELECT * FROM spans WHERE duration_m", "duration_ms"),
    ("\\d traces.li", "traces.links"),
]:
    shell.completes(typed, completed)
shell.type("SELECT 40 + 2;\r")
shell.wait_for(" 42")
shell.wait_for("=> ")
shell.type("SELECT 40 + 2 AS watched \\watch 0.1\r")
for _ in range(3):
    shell.wait_for("(every 0.1s)")
    shell.wait_for(" 42")
shell.type("\x03")
shell.wait_for("=> ")
shell.type("\x04")
print(f"exit code {shell.exit_code()}")
