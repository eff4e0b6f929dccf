"""Adds a user as a person at a terminal does. Arguments: spanhouse, a data directory."""

import sys

from terminal import Terminal

program, data_dir = sys.argv[1], sys.argv[2]


def asked(name, first, second, end):
    """Types two passwords; gives the exit code."""
    terminal = Terminal([program, "user", "add", name, "--data-dir", data_dir], {})
    terminal.wait_for(f"Password for {name}: ")
    terminal.type(first + "\r")
    if second is not None:
        seen = terminal.wait_for("Once more: ")
        terminal.type(second + "\r")
        assert seen.strip() == "", f"it is seen: {seen!r}"
    seen = terminal.wait_for(end)
    assert second is None or second not in seen, f"it is seen: {seen!r}"
    return terminal.exit_code()


codes = [
    asked("ada", "pencxx\x7f\x7fil", "pencil", "ada is a user now"),
    asked("bob", "pencil", "chalk", "the two differ"),
    asked("eve", "\x03", None, "interrupted"),
]
print("exit codes", *codes)
