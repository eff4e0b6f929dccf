"""Uses the shell as a person at a terminal does: completion, Ctrl-C, history. Arguments: the program, then its own."""

import os
import pty
import re
import select
import sys
import tempfile
import time


class Terminal:
    def __init__(self, command):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.environ["XDG_STATE_HOME"] = state
            os.execv(command[0], command)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def wait_for(self, text, seconds=30):
        """Reads until `text` has come, forgets all up to it."""
        end = time.monotonic() + seconds
        while text not in self.plain():
            assert time.monotonic() < end, f"{text!r} did not come; there is {self.plain()[-300:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    break
        before, found, after = self.plain().partition(text)
        assert found, f"{text!r} did not come; there is {before[-300:]!r}"
        self.seen = after

    def plain(self):
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen)

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


state = tempfile.mkdtemp()
shell = Terminal(sys.argv[1:])
shell.wait_for("spanhouse=> ")

# Completion: of a command, and of a column.
shell.type("\\tim\t\r")
shell.wait_for("Timing is on.")
deadline = time.monotonic() + 30
while True:
    # The names are read in the background: the first Tab may come too early.
    shell.type("select service_n\t")
    time.sleep(0.3)
    shell.type(" from spans limit 1;\r")
    try:
        shell.wait_for("service_name from spans", 3)
        break
    except AssertionError:
        assert time.monotonic() < deadline, "no completion"
        shell.seen = ""
shell.wait_for("(1 row)")
shell.wait_for("Time: ")

# Completion of an attribute's key, which is read out of the spans.
deadline = time.monotonic() + 30
while True:
    shell.type("select count(attributes['KEY\t) from spans;\r".replace("KEY", "retr"))
    try:
        shell.wait_for("count(attributes['retry'])", 3)
        break
    except AssertionError:
        assert time.monotonic() < deadline, "no completion of a key"
        shell.type("\x03")
        shell.seen = ""
shell.wait_for("(1 row)")

# Ctrl-C at the prompt clears what was typed, also over lines.
shell.type("select (\r")
shell.wait_for("spanhouse(> ")
shell.type("nonsense\x03")
shell.wait_for("spanhouse=> ")

# Ctrl-C stops a statement within a second, and the shell goes on.
endless = "select count(*) from spans a, spans b, spans c, spans d, spans e where a.duration_ns + e.duration_ns >= 0;"
shell.type(endless + "\r")
time.sleep(1)
shell.type("\x03")
pressed = time.monotonic()
shell.wait_for("canceling statement due to user request")
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
