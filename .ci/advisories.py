"""Holds the packages of a Cargo.lock against the advisories of RustSec, in a clone of rustsec/advisory-db.

    python3 .ci/advisories.py ADVISORY_DB Cargo.lock

Prints each advisory that a locked version falls under, and ends with 1 when one of them is neither known nor about upkeep only.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

# What is known, and why it does no harm here. An entry that no locked version falls under any more is an error: it is to be removed.
KNOWN = {
    "RUSTSEC-2026-0194": "quick-xml reads answers of the object store only, which is trusted with the table; object_store does not take a newer one yet",
    "RUSTSEC-2026-0195": "as RUSTSEC-2026-0194",
    "RUSTSEC-2026-0253": "needs a key whose drop panics; ours are texts and numbers",
}


def version(text):
    """A version as something that compares as SemVer has it; a pre-release comes before its release."""
    text = text.split("+")[0]
    numbers, _, pre = text.partition("-")
    parts = [int(part) for part in numbers.split(".")]
    parts += [0] * (3 - len(parts))
    names = [(0, int(name), "") if name.isdigit() else (1, 0, name) for name in pre.split(".")] if pre else []
    return (*parts[:3], 0 if pre else 1, names)


def matches(requirement, locked):
    """Whether a version meets a requirement of Cargo's, such as `>= 1.2, < 2`."""
    for part in requirement.split(","):
        operator, wanted = re.fullmatch(r"\s*(>=|<=|>|<|=|\^|~)?\s*(\S+)\s*", part).groups()
        low, given = version(wanted), wanted.split("-")[0].split("+")[0].split(".")
        if operator in (None, "^", "~"):
            if operator == "~":
                kept = min(len(given), 2) - 1
            else:
                kept = next((place for place, number in enumerate(given) if int(number) > 0), len(given) - 1)
            high = [int(number) for number in (given + ["0", "0"])[:3]]
            high = high[:kept] + [high[kept] + 1] + [0] * (2 - kept)
            meets = low <= locked < (*high, 0, [])
        else:
            meets = {">=": locked >= low, "<=": locked <= low, ">": locked > low, "<": locked < low, "=": locked == low}[operator]
        if not meets:
            return False
    return True


def documents(database, names):
    """The advisories about crates of these names, as text; from files, or from git where there is no work tree."""
    folder = Path(database, "crates")
    if folder.is_dir():
        for name in names:
            for path in sorted(folder.glob(f"{name}/RUSTSEC-*.md")):
                yield path.read_text(encoding="utf-8")
        return
    git = ["git", "-C", database]
    listed = subprocess.run([*git, "ls-tree", "-r", "--name-only", "HEAD", "crates"], check=True, capture_output=True, text=True)
    for path in listed.stdout.split():
        if path.split("/")[1] in names and path.endswith(".md"):
            yield subprocess.run([*git, "show", f"HEAD:{path}"], check=True, capture_output=True, text=True).stdout


def main(database, lock):
    locked = {}
    for package in tomllib.loads(Path(lock).read_text())["package"]:
        if package.get("source", "").startswith("registry+"):
            locked.setdefault(package["name"], set()).add(package["version"])
    read, unknown, met = 0, 0, set()
    for text in documents(database, locked):
        advisory = tomllib.loads(re.search(r"```toml\n(.*?)\n```", text, re.S).group(1))
        about, versions = advisory["advisory"], advisory.get("versions", {})
        read += 1
        if "withdrawn" in about:
            continue
        good = versions.get("patched", []) + versions.get("unaffected", [])
        for own in sorted(locked[about["package"]]):
            if any(matches(requirement, version(own)) for requirement in good):
                continue
            title = re.search(r"^# (.*)", text, re.M).group(1)
            met.add(about["id"])
            if about.get("informational") in ("unmaintained", "notice"):
                print(f"note     {about['id']} {about['package']} {own}: {title}")
            elif about["id"] in KNOWN:
                print(f"known    {about['id']} {about['package']} {own}: {title}; {KNOWN[about['id']]}")
            else:
                unknown += 1
                print(f"ADVISORY {about['id']} {about['package']} {own}: {title}; take one of {versions.get('patched')}")
    gone = sorted(set(KNOWN) - met)
    for name in gone:
        print(f"{name} is met no more: take it out of the list in {__file__}")
    if not read:
        sys.exit(f"there is no advisory about any locked package in {database}: is it a clone of rustsec/advisory-db?")
    print(f"{len(locked)} packages against {read} advisories about them: {unknown} unknown")
    return 1 if unknown or gone else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
