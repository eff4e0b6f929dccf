"""pgcli as a person uses it: it completes names, shows tables, describes a relation and leaves.

Usage: pgcli_in_a_terminal.py PORT
"""

import sys
from pathlib import Path

from checks import DATABASE, HOST, PORT, USER, finish

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from terminal import Terminal  # noqa: E402

program = str(Path(sys.executable).with_name("pgcli"))
shell = Terminal([program, "-h", HOST, "-p", str(PORT), "-U", USER, "-d", DATABASE, "--less-chatty"], {"PAGER": "cat", "HOME": "/nonexistent", "XDG_CONFIG_HOME": sys.argv[2]})
shell.wait_for(f"{USER}@{HOST}")
for typed, shown in [
    ("SELECT span_name FROM spans ORDER BY timestamp LIMIT 1;\r", "GET /cart"),
    ("\\d traces.links\r", "linked_trace_id"),
    ("\\dt\r", "service_edges"),
    ("\\df red\r", "red"),
]:
    shell.type(typed)
    shell.wait_for(shown)
    shell.wait_for(f"{USER}@{HOST}")
for typed, completed in [("SELECT * FROM span_t", "span_tree"), ("SELECT * FROM spans WHERE duration_m", "duration_ms")]:
    shell.completes(typed, completed, clear="\x1b\x15")
shell.type("\\q\r")
assert shell.exit_code() == 0
finish("pgcli")
