"""What the scripts beside this one share: the address of the server, and a check that says what it found."""

import datetime as dt
import sys

HOST = "127.0.0.1"
USER = "ada"
DATABASE = "spanhouse"
PORT = int(sys.argv[1]) if sys.argv[1].isdigit() else None
UTC = dt.timezone.utc

# The spans of tests/fixtures/pg.otlp.json, in the order of their times.
NAMES = ["GET /cart", "SELECT cart", "GET /", "render"]
FIRST = dt.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


failed = []


def check(name, got, expected):
    """Notes what does not hold; `finish` fails with all of it."""
    if got == expected:
        print(f"ok {name}")
    else:
        failed.append(f"{name}: got {got!r}, expected {expected!r}")


def refused(name, error, work):
    try:
        work()
        failed.append(f"{name}: nothing was refused")
    except error:
        print(f"ok {name}")


def finish(word):
    assert not failed, "\n" + "\n".join(failed)
    print(word)
