"""The peers: where each is, how it is built, what it weighs."""

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parent.parent / "target" / "peers"
CRATES = ["tree", "-e", "normal", "--prefix", "none", "--no-dedupe"]


@dataclass
class Peer:
    name: str
    package: str
    binary: str = ""
    features: str = ""
    arguments: tuple = ()
    # What it is compared with.
    bare: str = "bare"
    # On which runtimes it is for: 0 workers are a `current_thread` runtime.
    workers: tuple = (0, 2)
    # Columns of the tables that it is not for, and what they say then.
    cannot: dict = field(default_factory=dict)
    trouble: str = ""
    weight: dict = field(default_factory=dict)

    @property
    def is_bare(self):
        return self.bare == self.name

    @property
    def watches(self):
        return not self.is_bare and self.binary != "bare"

    @property
    def is_python(self):
        return self.package == "python"

    def command(self):
        if self.is_python:
            return [WORK / "python/bin/python", "-B", HERE / "python/peer.py", *self.arguments]
        return [WORK / "bin" / f"{self.package}-{self.binary}{self.features}"]


NOT_FOR_IT = "–"
AFTERWARDS = {"live": NOT_FOR_IT}
NO_WORKER = {"worker": NOT_FOR_IT}
NO_PLACE = NO_WORKER | {"names": NOT_FOR_IT}

PEERS = [
    Peer("bare", "by-hand", "bare"),
    Peer("bare, again", "by-hand", "bare"),
    Peer("loopmon", "loopmon", "peer-loopmon", cannot={"names": "with stack"}),
    Peer("loopmon with stack", "loopmon", "peer-loopmon", "stack"),
    Peer("tokio-metrics, runtime", "tokio-metrics", "runtime", cannot=AFTERWARDS | NO_PLACE),
    Peer("tokio-metrics, tasks", "tokio-metrics", "tasks", cannot=AFTERWARDS | NO_PLACE),
    Peer("console-subscriber", "console-subscriber", "peer-console-subscriber", cannot=NO_WORKER),
    Peer("tokio-blocked", "tokio-blocked", "peer-tokio-blocked", cannot=AFTERWARDS),
    Peer("dial9", "dial9", "peer-dial9", cannot=AFTERWARDS | {"after": NOT_FOR_IT}),
    Peer("hotpath", "hotpath", "peer-hotpath", cannot=AFTERWARDS),
    Peer("tokio-eld", "tokio-eld", "peer-tokio-eld", workers=(0,), cannot=AFTERWARDS | NO_PLACE),
    Peer("async-profiler-agent", "async-profiler-agent", "peer-async-profiler-agent", cannot=AFTERWARDS),
    Peer("heartbeat (re-created)", "by-hand", "heartbeat", cannot=AFTERWARDS | NO_PLACE),
    Peer("Sentry's heartbeat (re-created)", "by-hand", "sentry", cannot=NO_PLACE),
    Peer("spawn probe (re-created)", "by-hand", "probe", cannot=NO_PLACE),
]
for loop in ["asyncio", "uvloop"]:
    only = {"workers": (0,), "cannot": AFTERWARDS | NO_PLACE}
    bare = f"{loop}, bare"
    PEERS += [
        Peer(bare, "python", arguments=("bare", loop), bare=bare, **only),
        Peer(f"{loop}, Python's loopmon", "python", arguments=("loopmon", loop), bare=bare, **only),
    ]


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error")]
    return (errors or lines or ["it said nothing"])[0 if errors else -1]


def cargo(package, *arguments):
    """In the package's own folder, as that is where Cargo looks for its flags."""
    return subprocess.run(
        ["cargo", *arguments], cwd=HERE / package, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def build(peer, is_cold):
    """Builds a peer. Cold, it is alone, and what is compiled is deleted once its program is copied."""
    if peer.is_python:
        peer.weight = {"lines": lines(HERE / "python/peer.py")}
        return
    for other in PEERS:
        if other.weight and other.command() == peer.command():
            peer.weight = other.weight
            return
    features = ["--features", peer.features] if peer.features else []
    fetched = cargo(peer.package, "fetch", "--quiet")
    target = WORK / "build" / ("cold" if is_cold else "warm")
    began = time.monotonic()
    built = fetched if fetched.returncode else cargo(
        peer.package, "build", "--release", "--quiet", "--target-dir", target,
        "--bin", peer.binary, *features,
    )  # fmt: skip
    seconds = time.monotonic() - began
    try:
        keep(peer, built, target, seconds, features)
    finally:
        if is_cold:
            shutil.rmtree(target, ignore_errors=True)


def keep(peer, built, target, seconds, features):
    """Copies what was built, and notes what it weighs."""
    if built.returncode:
        peer.trouble = f"does not build: {last_line(built.stderr)}"
        return
    program = peer.command()[0]
    program.parent.mkdir(exist_ok=True)
    shutil.copy(target / "release" / peer.binary, program)
    tree = cargo(peer.package, *CRATES, *features)
    crates = {line.split(" (")[0] for line in tree.stdout.splitlines() if line}
    peer.weight = {
        "crates": len(crates),
        "seconds": seconds,
        "flags": flags(peer.package),
        "lines": lines(source(peer)),
        "version": version(peer.package),
    }


def source(peer):
    alone = HERE / peer.package / "src/main.rs"
    return alone if alone.exists() else HERE / peer.package / f"src/bin/{peer.binary}.rs"


def flags(package):
    config = HERE / package / ".cargo/config.toml"
    if not config.exists():
        return ""
    return " ".join(re.findall(r'"([^"]*)"', config.read_text()))


def version(package):
    lock = (HERE / package / "Cargo.lock").read_text()
    found = re.search(rf'name = "{package}"\nversion = "([^"]*)"', lock)
    return found.group(1) if found else ""


def lines(path):
    """The lines of code between `user` and `end`, which is what a user of the peer writes."""
    count, inside = 0, False
    for line in map(str.strip, path.read_text().splitlines()):
        if line in ("// user", "# user"):
            inside = True
        elif line in ("// end", "# end"):
            inside = False
        else:
            count += inside and bool(line) and not line.startswith(("//", "# "))
    return count


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    return {
        "date": time.strftime("%Y-%m-%d"),
        "rustc": " ".join(rustc.split()[:2]),
        "cores": os.cpu_count(),
        "model": model.group(1) if model else "an unknown processor",
    }


def save(name, what):
    (WORK / name).write_text(json.dumps(what, indent=1))
