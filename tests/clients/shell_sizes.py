"""Looks at the shell in light, dark and colourless terminals, wide and narrow ones, and one without UTF-8. Arguments: the program, a data directory."""

import os
import re
import sys
import tempfile
import unicodedata

from terminal import Terminal

program, data_dir = sys.argv[1:]
DRAWINGS = ["\\map", "\\flame", "\\heatmap", "\\hist duration_ms", "explain analyze select count(*) from spans where duration_ms > 1;"]
PROMPT = "spanhouse=> "


def shell(environment, columns):
    home = tempfile.mkdtemp()
    plain = {"XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home, "PAGER": "cat", "LC_ALL": "C.UTF-8", "NO_COLOR": "", "COLORFGBG": ""}
    terminal = Terminal([program, "repl", "--data-dir", data_dir], {**plain, **environment}, rows=50, columns=columns)
    terminal.wait_for(PROMPT)
    return terminal


def width(line):
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


# The keyword's colour says which theme it is; without colours nothing but the text is sent.
for environment, keyword in [
    ({"COLORFGBG": "15;0"}, "\x1b[1;94mselect"),
    ({"COLORFGBG": "0;15"}, "\x1b[1;34mselect"),
    ({"NO_COLOR": "1"}, None),
    ({"TERM": "dumb"}, None),
]:
    terminal = shell(environment, 80)
    terminal.type("select 'a' as x;")
    seen = terminal.raw_until("'a' as x;")
    if keyword:
        assert keyword in seen and "\x1b[32m'a'" in seen, seen
    else:
        assert not re.search(r"\x1b\[[0-9;]+m", seen), seen
    terminal.type("\x15\\q\r")
    assert terminal.exit_code() == 0

# All drawings fit, and each letter is one that the terminal knows.
for columns, environment in [(40, {}), (60, {"LC_ALL": "C"}), (80, {}), (160, {"NO_COLOR": "1"})]:
    terminal = shell(environment, columns)
    folder = tempfile.mkdtemp()
    for number, command in enumerate(DRAWINGS):
        # The editor would fold a long line, so it comes from a file.
        with open(os.path.join(folder, str(number)), "w") as file:
            file.write(command + "\n")
        terminal.type(f"\\i {folder}/{number}\r")
        seen = terminal.answer(PROMPT)
        lines = seen.replace("\r", "").split("\n")
        assert len(lines) > 3, seen
        for line in lines:
            assert width(line) <= columns, f"{command} at {columns}: {width(line)}: {line}"
            assert environment.get("LC_ALL") != "C" or line.isascii(), line
    terminal.type("\\q\r")
    assert terminal.exit_code() == 0
print("exit code 0")
