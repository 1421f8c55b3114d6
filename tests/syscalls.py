#!/usr/bin/env python3
"""Runs `tests/closed_look.rs` under strace, and shows that the watchdog's thread, from its first wait to its
last, maps and unmaps nothing, starts no thread, and waits for no lock for long."""

import re
import subprocess
import sys
import tempfile

FORBIDDEN = "brk clone clone3 madvise mmap mprotect mremap munmap".split()
LONG = 0.02  # seconds; its own locks are held for microseconds
CALL = re.compile(r"^(\d+)<loopmon-watch.*?> (?:<\.\.\. )?(\w+)(.*?)(?: <([\d.]+)>)?$")


def faults(trace):
    watchdogs = {}
    for line in trace:
        if match := CALL.match(line.strip()):
            call = match[2], match[3], float(match[4] or 0)
            watchdogs.setdefault(match[1], []).append(call)
    if not watchdogs:
        yield "no watchdog was seen"
    for calls in watchdogs.values():
        waits = [at for at, (name, given, _) in enumerate(calls) if name == "futex" and "WAIT" in given]
        if len(waits) < 30:
            yield f"only {len(waits)} waits of a watchdog were seen"
        for name, given, took in calls[waits[0] : waits[-1]] if waits else []:
            if name in FORBIDDEN or (name == "futex" and "NULL" in given and took > LONG):
                yield f"{name}{given} took {took} s"


def main(program):
    with tempfile.NamedTemporaryFile("r") as trace:
        traced = ["futex", *FORBIDDEN]
        strace = ["strace", "-f", "-Y", "-T", "-e", "trace=" + ",".join(traced), "-o", trace.name]
        # To be traced is to be paused, which the test then finds.
        subprocess.run([*strace, program], stdout=subprocess.DEVNULL)
        found = list(faults(trace))
    print(*found or ["the watchdog maps nothing, starts nothing, and waits for no lock"], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
