"""The shell in a terminal, and what its users do there again and again."""

import time

from terminal import Terminal

PROMPT = "spanhouse=> "
CANCELLED = "canceling statement due to user request"
ENDLESS = "select count(*) from spans a, spans b, spans c, spans d, spans e where a.duration_ns + e.duration_ns >= 0;"


class Shell(Terminal):
    def ask(self, line, *wanted):
        """Enters a line, and waits for what is wanted and then for the prompt; returns what came between."""
        self.type(line + "\r")
        for text in wanted:
            self.wait_for(text)
        return self.wait_for(PROMPT)

    def press(self):
        """Presses Ctrl-C once."""
        self.type("\x03")

    def stops(self, line, told=CANCELLED, after=0.0, seconds=5):
        """Enters a line that does not end by itself, and presses Ctrl-C once, so many seconds after Enter. The shell must say what is to be told, ask for the
        next statement, and answer it."""
        self.type(line + "\r")
        time.sleep(after)
        self.press()
        pressed = time.monotonic()
        if told:
            self.wait_for(told)
        self.wait_for(PROMPT)
        self.ask("select 40 + 2 as answer;", " 42")
        assert time.monotonic() - pressed < seconds, f"{line!r} went on for {time.monotonic() - pressed:.1f} s"
