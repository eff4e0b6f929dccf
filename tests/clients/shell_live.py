"""Uses the live parts of the shell as a person at a terminal does: pager, editor, watch, tail, notes, preferences, another server.

Arguments: the program, a data directory that a server has, the server's OTLP endpoint and its URL for PostgreSQL clients.
"""

import os
import subprocess
import sys
import tempfile
import time

from shell import CANCELLED, ENDLESS, PROMPT, Shell

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
shell = Shell([program, "repl", "--data-dir", data_dir], environment, rows=24, columns=100)

# A mistake in the preferences is told by its line, and the rest holds.
shell.wait_for("config.toml:3: there is no key colour")
shell.wait_for(PROMPT)
shell.ask("select null as n;", "nothing")

# What does not fit goes to the pager; what does stays here.
shell.ask("select 'short' as s;", "short", "(1 row)")
assert not os.path.exists(paged)
shell.type("select span_id from spans limit 60;\r")
shell.answer(PROMPT)
with open(paged) as file:
    assert "(60 rows)" in file.read()

# Ctrl-C while the pager shows something is for the pager; the shell lives, and the next statement is not stopped.
slow_pager = os.path.join(home, "slow_pager")
with open(slow_pager, "w") as script:
    script.write("#!/bin/sh\ntrap '' INT\nsleep 1\ncat > /dev/null\n")
os.chmod(slow_pager, 0o755)
shell.ask(f"\\pset pager {slow_pager}", "The pager is")
for after in [0.2, 1]:
    shell.type("select span_id from spans limit 60;\r")
    time.sleep(after)
    shell.press()
    shell.wait_for(PROMPT)
    shell.drain(2)
    shell.ask("select 'it lives' || ' on' as l;", "it lives on")
shell.ask("\\pset pager off", "The pager is off.")

# The editor's text is taken as typed.
shell.ask("\\e", "from the editor", "(1 row)")

# Keys of vi: Escape leaves insertion, 0 goes to the beginning, x takes a letter away.
shell.type("zselect 40 + 2 as v;\x1b")
time.sleep(1)
shell.type("0x")
time.sleep(0.2)
shell.type("\r")
shell.wait_for(" 42")
shell.wait_for(PROMPT)

# An attribute that no span has is told, once the names have been read.
end = time.monotonic() + 30
while True:
    shell.type("select count(attributes['http.rout']) from spans;\r")
    shell.wait_for("(1 row)")
    before = shell.wait_for(PROMPT)
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
shell.press()
before = shell.wait_for(PROMPT)
assert CANCELLED not in before, before
# One press is enough at any moment, be it in the statement or between two.
for after in [0, 0.1, 1]:
    shell.stops("select 'once more' as w \\watch 0.1", told=None, after=after)
    shell.stops(ENDLESS[:-1] + " \\watch", told=None, after=after)
    shell.stops("\\tail", told=None, after=after)

# Spans are shown as they arrive.
shell.type("\\tail service_name = 'storefront-web'\r")
shell.wait_for("\n")
shell.drain()
arguments = [program, "generate", "--traces", "5", "--seed", "77", "--start", "now", "--to", endpoint]
subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
shell.wait_for("storefront-web ")
shell.press()
shell.wait_for(PROMPT)

# Another server, and the completion of its attributes; then back.
shell.type(f"\\c {url}\r")
shell.wait_for("You are connected to postgres://")
shell.wait_for(PROMPT)
shell.completes("select count(attributes['http.rou", "attributes['http.route']")
shell.type("begin;\r")
shell.wait_for("spanhouse=*> ")
shell.type("commit;\r")
shell.wait_for(PROMPT)
for after in [0, 0.05, 0.3, 1, 2]:
    shell.stops(ENDLESS, after=after, seconds=10)
shell.stops("select 'once more' as w \\watch 0.1", told=None, after=0.5)
shell.stops("\\tail", told=None, after=0.5)
shell.ask("\\c local", "again.")
shell.type("\\q\r")
print(f"exit code {shell.exit_code()}")
