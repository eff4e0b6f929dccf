"""Uses the shell as a person at a terminal does: completion, Ctrl-C, history. Arguments: the program, then its own."""

import os
import sys
import tempfile

from shell import CANCELLED, ENDLESS, PROMPT, Shell

state = tempfile.mkdtemp()
shell = Shell(sys.argv[1:], {"XDG_STATE_HOME": state})
shell.wait_for(PROMPT)

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
shell.type("nonsense")
shell.press()
shell.wait_for(PROMPT)

# One Ctrl-C stops a statement and the shell goes on, however soon after Enter it is pressed.
for after in [0, 0.01, 0.05, 0.1, 0.3, 1, 2]:
    shell.stops(ENDLESS, after=after)

# So it does in a file, of which nothing more is asked.
files = tempfile.mkdtemp()
endless_file = os.path.join(files, "endless.sql")
with open(endless_file, "w") as script:
    script.write(f"select 'begun' as b;\n{ENDLESS}\nselect 'never' as n;\n")
for after in [0, 0.1, 1]:
    shell.stops(f"\\i {endless_file}", after=after)

# What is typed after Enter is kept until the answer has come.
shell.ask("select 'one' as a;\rselect 'tw' || 'o' as b;\rselect 'thr' || 'ee' as c;", "one", "two", "three")

# A press when the answer is there already stops nothing: the shell lives, and the next statement is not stopped.
for after in range(10):
    shell.type("select 'answer' || 'ed' as a;\r")
    shell.wait_for("answered")
    if after % 2:
        shell.wait_for("(1 row)")
    shell.press()
    shell.drain(0.3)
    shell.type("\r")
    shell.wait_for(PROMPT)
    assert CANCELLED not in shell.ask("select 'it lives' || ' on' as l;", "it lives on")

# The arrow brings the last statement back, and Enter in the middle of a long line leaves the cursor below it.
shell.ask("select 40 + 2;", " 42")
shell.ask("\x1b[A", " 42")
shell.ask("select '" + "x" * 150 + "' as " + "y" * 20 + ";\x1b[H\x1b[C", "x" * 40)

# Ctrl-C forgets what was typed before it, and not what was typed after it.
shell.type(f"{ENDLESS}\rselect 'nev' || 'er';\r\x03select 'aft' || 'er';\r")
assert "never" not in shell.wait_for("after"), "what was typed before Ctrl-C was asked"
shell.wait_for(PROMPT)

shell.type("\x04")
code = shell.exit_code()

# The next session remembers this one.
with open(os.path.join(state, "spanhouse", "history")) as history:
    assert "select 40 + 2;" in history.read()
print(f"exit code {code}")
