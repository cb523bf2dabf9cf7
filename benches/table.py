"""Writes the results table of README.md, between its two marks, from the newest results of benches/throughput.sh.

    table.py            writes it
    table.py --check    exits 1 if the README says something else
"""

import glob
import json
import os
import re
import sys

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
README = os.path.join(REPO, "README.md")
BEGIN, END = "<!-- results: benches/table.py -->", "<!-- end of results -->"
CAPTURE, DRAIN, SHORT = "watch --once", "drain --format raw", "watch --once, 15-byte lines"


def newest():
    """The newest results that hold figures for programs: path and figures."""
    for path in sorted(glob.glob(os.path.join(REPO, "benches", "results", "*-throughput.md")), reverse=True):
        with open(path, encoding="utf-8") as report:
            found = re.search(r"```json\n(.*?)\n```", report.read(), re.DOTALL)
        if found:
            return os.path.relpath(path, REPO), json.loads(found[1])
    return None, None


def figure(values, digits=0):
    return f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f}–{values['max']:,.{digits}f})"


def rows(found):
    """What is measured, and the figure."""
    commands = found["commands"]
    capture, size = commands[CAPTURE], found["corpus"]["bytes"] / 1e6
    yield f"capture of {size:,.0f} MB of session logs, everything on", figure(capture["mb_per_s"]) + " MB/s"
    for name, ratio in found["capture_to"].items():
        other = commands[name]["mb_per_s"]["median"]
        yield f"the same to `{name}` ({other:,.0f} MB/s)", figure(ratio, 2) + " times as fast"
    yield "memory at its peak", figure(capture["rss_mib"]) + " MiB"
    yield "processor", figure(capture["cpu_s_per_gb"], 2) + " s per GB"
    if SHORT in commands:
        yield "capture of lines of 15 bytes", figure(commands[SHORT]["lines_per_s"]) + " lines/s"
    yield "`drain --format raw` into a synced file", figure(commands[DRAIN]["mb_per_s"]) + " MB/s"
    for name, ratio in found.get("drain_to", {}).items():
        other = commands[name]["mb_per_s"]["median"]
        yield f"the same to `{name}` ({other:,.0f} MB/s)", figure(ratio, 2) + " times as fast"
    if "written_per_byte" in capture:
        yield "written to the disk, a byte captured", figure(capture["written_per_byte"], 2)
    if "read_per_byte" in capture:
        yield "read, a byte captured", figure(capture["read_per_byte"], 2)
    if "syncs" in found:
        yield "syncs of a backlog, a MB", f"{found['syncs_per_mb']:.2f}"
        yield "syncs of a line that comes alone", f"{found['syncs_per_lone_line']:.1f}"
    wrong = sum(count for verdict in found["checked"] for key, count in verdict.items() if key != "records")
    yield "records missing, extra, doubled, changed or out of order", f"{wrong} of {found['corpus']['records']:,}, each time"


def table():
    path, found = newest()
    if not found:
        return ""
    lines = [f"| | median of {found['rounds']} rounds (range) |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in rows(found)]
    return "\n".join(["", *lines, "", f"The machine, and how it was measured: [{path}]({path}).", ""])


def main():
    with open(README, encoding="utf-8") as readme:
        text = readme.read()
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: README.md has no {BEGIN} and {END}")
    wanted = before + begin + table() + end + after
    if "--check" in sys.argv[1:]:
        sys.exit(0 if text == wanted else "error: the README's results are not the newest ones; run benches/table.py")
    if text != wanted:
        with open(README, "w", encoding="utf-8") as readme:
            readme.write(wanted)


if __name__ == "__main__":
    main()
