"""Uses the live parts of the shell as a person at a terminal does: pager, editor, watch, tail, notes, preferences, another server.

Arguments: the program, a data directory that a server has, the server's OTLP endpoint and its URL for PostgreSQL clients.
"""

import os
import subprocess
import sys
import tempfile
import time

from terminal import Terminal

program, data_dir, endpoint, url = sys.argv[1:]
home = tempfile.mkdtemp()
os.makedirs(os.path.join(home, "spanhouse"))
paged = os.path.join(home, "paged")
editor = os.path.join(home, "editor.sh")
with open(editor, "w") as script:
    script.write("#!/bin/sh\nprintf \"select 'from the editor' as e;\\n\" > \"$1\"\n")
os.chmod(editor, 0o755)
with open(os.path.join(home, "spanhouse", "config.toml"), "w") as preferences:
    preferences.write(f'theme = "light"\nkeys = "vi"\ncolour = "red"\nnull = "nothing"\npager = "cat > {paged}"\n')
environment = {"XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home, "VISUAL": editor, "LC_ALL": "C.UTF-8"}
shell = Terminal([program, "repl", "--data-dir", data_dir], environment, rows=24, columns=100)

# A mistake in the preferences is told by its line, and the rest holds.
shell.wait_for("config.toml:3: there is no key colour")
shell.wait_for("spanhouse=> ")
shell.type("select null as n;\r")
shell.wait_for("nothing")
shell.wait_for("spanhouse=> ")

# What does not fit goes to the pager; what does stays here.
shell.type("select 'short' as s;\r")
shell.wait_for("short")
shell.wait_for("(1 row)")
shell.wait_for("spanhouse=> ")
assert not os.path.exists(paged)
shell.type("select span_id from spans limit 60;\r")
shell.answer("spanhouse=> ")
with open(paged) as file:
    assert "(60 rows)" in file.read()
shell.type("\\pset pager off\r")
shell.wait_for("The pager is off.")
shell.wait_for("spanhouse=> ")

# The editor's text is taken as typed.
shell.type("\\e\r")
shell.wait_for("from the editor")
shell.wait_for("(1 row)")
shell.wait_for("spanhouse=> ")

# Keys of vi: Escape leaves insertion, 0 goes to the beginning, x takes a letter away.
shell.type("zselect 40 + 2 as v;\x1b")
time.sleep(1)
shell.type("0x")
time.sleep(0.2)
shell.type("\r")
shell.wait_for(" 42")
shell.wait_for("spanhouse=> ")

# An attribute that no span has is told, once the names have been read.
end = time.monotonic() + 30
while True:
    shell.type("select count(attributes['http.rout']) from spans;\r")
    shell.wait_for("(1 row)")
    before = shell.wait_for("spanhouse=> ")
    if "NOTE:" in before:
        assert "no span has attributes['http.rout']; did you mean 'http.route'?" in before, before
        break
    assert time.monotonic() < end, before
    time.sleep(1)

# A statement is watched until Ctrl-C, which is no error.
shell.type("select 'again' as w \\watch 0.2\r")
for _ in range(3):
    shell.wait_for("again")
    shell.wait_for("(1 row)")
shell.type("\x03")
before = shell.wait_for("spanhouse=> ")
assert "canceling" not in before, before

# Spans are shown as they arrive.
shell.type("\\tail service_name = 'storefront-web'\r")
shell.wait_for("\n")
shell.drain()
arguments = [program, "generate", "--traces", "5", "--seed", "77", "--start", "now", "--to", endpoint]
subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
shell.wait_for("storefront-web ")
shell.type("\x03")
shell.wait_for("spanhouse=> ")

# Another server, and the completion of its attributes; then back.
shell.type(f"\\c {url}\r")
shell.wait_for("You are connected to postgres://")
shell.wait_for("spanhouse=> ")
shell.completes("select count(attributes['http.rou", "attributes['http.route']")
shell.type("begin;\r")
shell.wait_for("spanhouse=*> ")
shell.type("commit;\r")
shell.wait_for("spanhouse=> ")
endless = "select count(*) from spans a, spans b, spans c, spans d where a.duration_ns + d.duration_ns >= 0;"
shell.type(endless + "\r")
pressed = shell.stop_statement()
shell.wait_for("spanhouse=> ")
shell.type("select 'it goes on' as g;\r")
shell.wait_for("(1 row)")
assert time.monotonic() - pressed < 10, "the server's statement went on"
shell.wait_for("spanhouse=> ")
shell.type("\\c local\r")
shell.wait_for("again.")
shell.wait_for("spanhouse=> ")
shell.type("\\q\r")
print(f"exit code {shell.exit_code()}")
