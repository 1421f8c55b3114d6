"""Runs the peers in turns and writes the tables of README.md. For run.sh."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import tables
from peers import HERE, PEERS, WORK, build, last_line, machine

LOADS = [(load, workers) for workers in (0, 2) for load in ("yield", "spawn", "echo")]
# How long a peer may take to find out that the runtime is idle.
SETTLES = 2
PAGE = os.sysconf("SC_PAGE_SIZE")
# What peers write to disk.
SCRATCH = WORK / "scratch"


class Lengths:
    """How often, and how long in seconds."""

    def __init__(self, is_short):
        self.rounds = 1 if is_short else 6
        self.slice = 0.2 if is_short else 0.7
        self.blocks = 3 if is_short else 10
        self.healthy = 1 if is_short else 6
        self.stops = 1 if is_short else 5
        self.idle = 1 if is_short else 5


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextmanager
def running(peer, *arguments):
    """A peer's program, with an empty place for what it writes. It is killed if it does not end."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir()
    program = subprocess.Popen(
        [str(part) for part in (*peer.command(), *arguments)],
        env=os.environ | {"TMPDIR": str(SCRATCH)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def run(peer, *arguments):
    """What a peer prints, as lists of words. None, and the reason kept, if it fails."""
    with running(peer, *arguments) as program:
        try:
            said, complaint = program.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            return fail(peer, arguments, "it does not end")
    if program.returncode:
        return fail(peer, arguments, last_line(complaint))
    return [line.split() for line in said.splitlines()]


def fail(peer, arguments, reason):
    peer.trouble = f"{' '.join(map(str, arguments))}: {reason}"
    say(f"{peer.name}: {peer.trouble}")


def in_turns(number):
    """All that run, each in every place once."""
    able = [peer for peer in PEERS if not peer.trouble]
    start = number * 5 % len(able)
    return able[start:] + able[:start]


def throughput(lengths):
    """For each load and peer, its rate over that of the bare one in the same round. Of a bare one, its rate."""
    kept = defaultdict(list)
    for load, workers in LOADS:
        for number in range(lengths.rounds):
            say(f"throughput: {load}, {workers} workers, round {number + 1}")
            rates = {}
            for peer in in_turns(number):
                if workers in peer.workers and (said := run(peer, "throughput", load, workers, lengths.slice)):
                    rates[peer.name] = float(said[-1][1])
            for peer in PEERS:
                if peer.name in rates and peer.bare in rates:
                    unit = 1 if peer.is_bare else rates[peer.bare]
                    kept[peer.name, load, workers].append(rates[peer.name] / unit)
    return kept


def stalls(lengths):
    """For each peer and number of workers, what it says of each block."""
    told = {}
    for workers in (0, 2):
        for peer in in_turns(0):
            if not peer.watches or workers not in peer.workers:
                continue
            say(f"stalls: {peer.name}, {workers} workers")
            said = run(peer, "stalls", workers, lengths.blocks) or []
            told[peer.name, workers] = [list(map(float, line[1:])) for line in said if line[0] == "block"]
    return told


def healthy(lengths):
    """For each peer, what it says of a healthy runtime, and of one that is stopped now and then."""
    alarms = {}
    for peer in in_turns(0):
        if not peer.watches:
            continue
        say(f"healthy: {peer.name}")
        counts = []
        for stops in (0, lengths.stops):
            counts.append([0, 0])
            for workers in peer.workers:
                for place, count in enumerate(alarms_of(peer, workers, lengths, stops)):
                    counts[-1][place] += count
        alarms[peer.name] = counts
    return alarms


def alarms_of(peer, workers, lengths, stops):
    arguments = ["healthy", workers, max(lengths.healthy, stops)]
    with running(peer, *arguments) as program:
        if is_ready(peer, arguments, program):
            for _ in range(stops):
                time.sleep(0.4)
                program.send_signal(signal.SIGSTOP)
                time.sleep(0.4)
                program.send_signal(signal.SIGCONT)
            said = [line.split() for line in program.communicate()[0].splitlines()]
            if said and said[-1][0] == "alarms":
                return list(map(int, said[-1][1:]))
    return [0, 0]


def is_ready(peer, arguments, program):
    """Waits until it is."""
    if any(line == "ready\n" for line in program.stdout):
        return True
    return bool(fail(peer, arguments, last_line(program.stderr.read())))


def idle(lengths):
    """For each peer and number of workers, what an idle runtime costs a second."""
    cost = {}
    for workers in (0, 2):
        for peer in in_turns(0):
            if workers not in peer.workers:
                continue
            say(f"idle: {peer.name}, {workers} workers")
            arguments = ["idle", workers, lengths.idle + SETTLES + 10]
            with running(peer, *arguments) as program:
                if is_ready(peer, arguments, program):
                    time.sleep(SETTLES)
                    began, before = time.monotonic(), usage(program.pid)
                    time.sleep(lengths.idle)
                    after, seconds = usage(program.pid), time.monotonic() - began
                    cost[peer.name, workers] = {
                        "cpu": (after["cpu"] - before["cpu"]) / 1e6 / seconds,
                        "wakes": (after["wakes"] - before["wakes"]) / seconds,
                        "threads": after["threads"],
                        "memory": after["memory"] / 2**20,
                    }
    return cost


def usage(pid):
    """The CPU time in ns, the wake-ups, the threads and the resident memory of a process."""
    process = Path("/proc") / str(pid)
    total = {"cpu": 0, "wakes": 0, "threads": 0}
    for task in (process / "task").iterdir():
        total["cpu"] += int((task / "schedstat").read_text().split()[0])
        total["wakes"] += int(re.search(r"\nvoluntary_ctxt_switches:\t(\d+)", (task / "status").read_text()).group(1))
        total["threads"] += 1
    total["memory"] = int((process / "statm").read_text().split()[1]) * PAGE
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a try of each; prints the tables")
    is_short = parser.parse_args().short
    lengths = Lengths(is_short)
    # If a run was killed.
    shutil.rmtree(WORK / "build" / "cold", ignore_errors=True)
    for peer in PEERS:
        say(f"building {peer.name}")
        build(peer, is_cold=not is_short)
    # In this order, as builds leave a machine warm.
    found = {"cost": idle(lengths), "kept": throughput(lengths), "told": stalls(lengths), "alarms": healthy(lengths)}
    text = tables.text(PEERS, LOADS, lengths, machine(), **found)
    if is_short:
        print(text)
    else:
        tables.write(HERE / "README.md", text)


if __name__ == "__main__":
    main()
