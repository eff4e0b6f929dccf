"""Writes a session of the shell as a person sees it, for the docs. Arguments: the program, a data directory, columns, then what is typed.

    python tests/clients/record_shell.py target/debug/spanhouse DIR 100 "EXPLAIN ANALYZE SELECT count(*) FROM spans;"
"""

import sys
import tempfile

from terminal import Terminal

program, data_dir, columns, *typed = sys.argv[1:]
home = tempfile.mkdtemp()
environment = {"XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home, "PAGER": "cat", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
shell = Terminal([program, "repl", "--data-dir", data_dir], environment, rows=1000, columns=int(columns))
shell.wait_for("spanhouse=> ")
for line in typed:
    shell.type(line + "\r")
    answer = shell.answer("spanhouse=> ").replace("\r", "")
    print(f"spanhouse=> {line}\n{answer}".rstrip())
shell.type("\\q\r")
sys.exit(shell.exit_code())
