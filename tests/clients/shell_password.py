"""Connects the shell to a server that wants a password, and types it. Arguments: the program, the server's URL without the password, the password."""

import sys
import tempfile

from terminal import Terminal

program, url, password = sys.argv[1:]
home = tempfile.mkdtemp()
shell = Terminal([program, "repl", url], {"XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home}, rows=24, columns=80)
shell.wait_for("Password for postgres://")
shell.wait_for(": ")
shell.type(password + "\r")
seen = shell.wait_for("spanhouse=> ")
assert password not in seen, f"it is seen: {seen!r}"
shell.type("select current_user as who;\r")
shell.wait_for("(1 row)")
shell.wait_for("spanhouse=> ")
shell.type("\\c\r")
shell.wait_for("This is postgres://")
shell.wait_for("spanhouse=> ")
shell.type("\\q\r")
print(f"exit code {shell.exit_code()}")
