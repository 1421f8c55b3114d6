"""Runs the peers in turns and writes the tables of README.md. For run.sh."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import tables
from peers import HERE, PEERS, build, last_line, machine

LOADS = [(load, workers) for workers in (0, 2) for load in ("yield", "spawn", "echo")]
PAGE = os.sysconf("SC_PAGE_SIZE")


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


def run(peer, *arguments):
    """What a peer prints, as lists of words. None, and the reason kept, if it fails."""
    try:
        ended = subprocess.run(
            [*peer.command(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return fail(peer, arguments, "it does not end")
    if ended.returncode:
        return fail(peer, arguments, last_line(ended.stderr))
    return [line.split() for line in ended.stdout.splitlines()]


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
            if peer.is_bare or peer.bare == "bare" and peer.binary == "bare" or workers not in peer.workers:
                continue
            say(f"stalls: {peer.name}, {workers} workers")
            said = run(peer, "stalls", workers, lengths.blocks) or []
            told[peer.name, workers] = [list(map(float, line[1:])) for line in said if line[0] == "block"]
    return told


def healthy(lengths):
    """For each peer, what it says of a healthy runtime, and of one that is stopped now and then."""
    alarms = {}
    for peer in in_turns(0):
        if peer.is_bare or peer.binary == "bare":
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


def is_ready(running):
    return any(line == "ready\n" for line in running.stdout)


def alarms_of(peer, workers, lengths, stops):
    command = [*peer.command(), "healthy", str(workers), str(max(lengths.healthy, stops))]
    with subprocess.Popen(map(str, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        is_ready(running)
        for _ in range(stops):
            time.sleep(0.4)
            running.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            running.send_signal(signal.SIGCONT)
        said = [line.split() for line in running.stdout]
    if running.returncode or not said or said[-1][0] != "alarms":
        fail(peer, ["healthy"], "it printed no alarms")
        return [0, 0]
    return list(map(int, said[-1][1:]))


def idle(lengths):
    """For each peer and number of workers, what an idle runtime costs a second."""
    cost = {}
    for workers in (0, 2):
        for peer in in_turns(0):
            if workers not in peer.workers:
                continue
            say(f"idle: {peer.name}, {workers} workers")
            command = [*peer.command(), "idle", str(workers), str(lengths.idle + 10)]
            with subprocess.Popen(map(str, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
                if is_ready(running):
                    began, before = time.monotonic(), usage(running.pid)
                    time.sleep(lengths.idle)
                    after, seconds = usage(running.pid), time.monotonic() - began
                    cost[peer.name, workers] = {
                        "cpu": (after["cpu"] - before["cpu"]) / 1e6 / seconds,
                        "wakes": (after["wakes"] - before["wakes"]) / seconds,
                        "threads": after["threads"],
                        "memory": after["memory"] / 2**20,
                    }
                running.kill()
    return cost


def usage(pid):
    """The CPU time in ns, the wake-ups, the threads and the resident memory of a process."""
    process = Path("/proc") / str(pid)
    total = {"cpu": 0, "wakes": 0, "threads": 0}
    for task in (process / "task").iterdir():
        total["cpu"] += int((task / "schedstat").read_text().split()[0])
        total["threads"] += 1
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total["wakes"] += int(line.split()[1])
    total["memory"] = int((process / "statm").read_text().split()[1]) * PAGE
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a try of each; prints the tables")
    is_short = parser.parse_args().short
    lengths = Lengths(is_short)
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


main()
