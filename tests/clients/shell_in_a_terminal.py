"""Uses the shell as a person at a terminal does: completion, Ctrl-C, history. Arguments: the program, then its own."""

import os
import sys
import tempfile
import time

from terminal import Terminal

state = tempfile.mkdtemp()
shell = Terminal(sys.argv[1:], {"XDG_STATE_HOME": state})
shell.wait_for("spanhouse=> ")

# Completion: of a command, keywords, tables, columns, functions, and of attributes' keys and values, which the spans tell.
shell.type("\\tim\t\r")
shell.wait_for("Timing is on.")
for typed, completed in [
    ("SEL", "SELECT"),
    ("select * from tra", "traces"),
    ("select * from service_e", "service_edges"),
    ("select service_na", "service_name"),
    ("select count(*) from spans where duration_m", "duration_ms"),
    ("select quantileE", "quantileexact("),
    ("select count(attributes['retr", "attributes['retry']"),
    ("select * from spans where service_name = 'car", "service_name = 'cart'"),
    ("select * from spans where attributes['http.route'] in ('x', '/ca", "'/cart'"),
    ("\\hist duration_m", "duration_ms"),
    ("\\flame service_name = 'car", "service_name = 'cart'"),
    ("\\hist attributes['retr", "attributes['retry']"),
    ("\\pset the", "theme"),
    ("\\i /etc/passw", "/etc/passwd"),
]:
    shell.completes(typed, completed)

# Ctrl-C at the prompt clears what was typed, also over lines.
shell.type("select (\r")
shell.wait_for("spanhouse(> ")
shell.type("nonsense\x03")
shell.wait_for("spanhouse=> ")

# Ctrl-C stops a statement within a second, and the shell goes on.
endless = "select count(*) from spans a, spans b, spans c, spans d, spans e where a.duration_ns + e.duration_ns >= 0;"
shell.type(endless + "\r")
pressed = shell.stop_statement()
assert time.monotonic() - pressed < 2, "the statement went on"
shell.wait_for("spanhouse=> ")
shell.type("select 40 + 2;\r")
shell.wait_for(" 42")

# The arrow brings the last statement back.
shell.wait_for("spanhouse=> ")
shell.type("\x1b[A\r")
shell.wait_for(" 42")

shell.wait_for("spanhouse=> ")
shell.type("\x04")
code = shell.exit_code()

# The next session remembers this one.
with open(os.path.join(state, "spanhouse", "history")) as history:
    assert "select 40 + 2;" in history.read()
print(f"exit code {code}")
