"""A program in a terminal of its own, and a person who types."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time


class Terminal:
    def __init__(self, command, environment, rows=0, columns=0):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if rows:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ["TERM"] = "xterm"
            os.environ.update(environment)
            os.execvp(command[0], command)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def wait_for(self, text, seconds=30):
        """Reads until `text` has come, forgets all up to it; returns what came before."""
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
        return before

    def answer(self, prompt):
        """What comes between the line that was just entered and the next prompt; the editor draws the prompt anew with each key."""
        self.wait_for("\n")
        return self.wait_for(prompt)

    def drain(self, seconds=2):
        """Reads until nothing has come for a while, and forgets it."""
        while select.select([self.fd], [], [], seconds)[0]:
            os.read(self.fd, 65536)
        self.seen = ""

    def raw_until(self, text, seconds=30):
        """Reads until `text` has come, and gives all that came with its colours."""
        end = time.monotonic() + seconds
        while text not in self.plain():
            assert time.monotonic() < end, f"{text!r} did not come; there is {self.seen[-300:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        seen, self.seen = self.seen, ""
        return seen

    def plain(self):
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07", "", self.seen)

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def completes(self, typed, wanted, clear="\x15", seconds=30):
        """Types a text and Tab until `wanted` has come: the names may still be read in the background."""
        end = time.monotonic() + seconds
        while True:
            self.seen = ""
            self.type(typed + "\t")
            try:
                self.wait_for(wanted, 2)
                return
            except AssertionError:
                assert time.monotonic() < end, f"{typed!r} and Tab gave {self.plain()[-300:]!r}, not {wanted!r}"
            finally:
                self.type(clear)
                time.sleep(0.1)
