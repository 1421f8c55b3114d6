"""The tables of README.md."""

from statistics import median

BEGIN, END = "<!-- tables -->\n", "<!-- end of the tables -->\n"
FLAVOURS = {0: "1 thread", 2: "2 workers"}


def text(peers, loads, lengths, machine, cost, kept, told, alarms):
    parts = [
        f"{machine['date']}, {machine['rustc']}, {machine['cores']} cores of {machine['model']}.\n",
        "### Throughput kept\n",
        throughput(peers, loads, kept),
        "### Stalls\n",
        stalls(peers, told, alarms),
        "### Cost when idle\n",
        idle(peers, cost),
        "### Weight\n",
        weight(peers),
    ]
    parts += [f"{peer.name} did not run: {peer.trouble}.\n" for peer in peers if peer.trouble]
    return "\n".join(parts)


def write(readme, text):
    """Puts the tables between their marks."""
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def table(head, rows):
    head = [head, ["---"] + ["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in head + rows)


def quartiles(values):
    values = sorted(values)
    low, high = values[len(values) // 4], values[-1 - len(values) // 4]
    return f"{100 * median(values):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def throughput(peers, loads, kept):
    rows = []
    for peer in peers:
        show = rate if peer.is_bare else quartiles
        cells = [kept.get((peer.name, *load)) for load in loads]
        rows.append([peer.name] + [show(cell) if cell else missing(peer) for cell in cells])
    return table(["% of bare"] + [f"{load}, {FLAVOURS[workers]}" for load, workers in loads], rows)


def rate(values):
    return f"{median(values) / 1e3:,.0f} k/s"


def missing(peer):
    return "did not run" if peer.trouble else "–"


def stalls(peers, told, alarms):
    head = ["", "1 thread: reported", "live", "after, ms", "2 workers: reported", "live", "after, ms"]
    head += ["right worker", "names", "false alarms", "when stopped"]
    rows = []
    for peer in peers:
        if peer.name not in alarms:
            continue
        cells = [cell for workers in (0, 2) for cell in reported(peer, told.get((peer.name, workers)))]
        both = [block for workers in (0, 2) for block in told.get((peer.name, workers), []) if block[0]]
        two = [block for block in told.get((peer.name, 2), []) if block[0]]
        worker = peer.cannot.get("worker") or share(two, 3)
        names = peer.cannot.get("names") or named(both)
        rows.append([peer.name, *cells, worker, names, *map(alarm, alarms[peer.name])])
    return table(head, rows)


def reported(peer, blocks):
    """How many were reported, how many live, and how long after the threshold."""
    if not blocks:
        return [missing(peer)] * 3
    after = [block[2] for block in blocks if block[0]]
    live = peer.cannot.get("live") or share(blocks, 1)
    return [share(blocks, 0), live, peer.cannot.get("after") or (f"{median(after):.0f}" if after else "")]


def share(blocks, column):
    return f"{sum(int(block[column]) for block in blocks)}/{len(blocks)}"


def named(blocks):
    """What most reports name: the line that blocks, the function, or where the task was spawned."""
    for column, name in [(5, "function, line"), (4, "function"), (6, "spawn site")]:
        if any(block[column] for block in blocks):
            return f"{name} {share(blocks, column)}"
    return "nothing"


def alarm(counts):
    alarms, excused = counts
    return f"{alarms} (and {excused} put down to the host)" if excused else str(alarms)


def idle(peers, cost):
    rows = []
    for peer in peers:
        cells = []
        for workers in (0, 2):
            of = cost.get((peer.name, workers))
            cells += [f"{of['cpu']:.2f}", f"{of['wakes']:.0f}", f"{of['threads']}", f"{of['memory']:.1f}"] if of else [missing(peer)] * 4
        rows.append([peer.name, *cells])
    columns = ["CPU, ms/s", "wake-ups/s", "threads", "memory, MiB"]
    return table(["", *[f"1 thread: {columns[0]}", *columns[1:]], *[f"2 workers: {columns[0]}", *columns[1:]]], rows)


def weight(peers):
    bare = peers[0].weight
    rows = []
    for peer in peers:
        of = peer.weight
        if not of or not peer.watches:
            continue
        crates, seconds = "", ""
        if "crates" in of and "crates" in bare:
            crates = f"{of['crates'] - bare['crates']:+}"
            seconds = f"{of['seconds'] - bare['seconds']:+.0f}"
        flags = f"`{of['flags']}`" if of.get("flags") else ""
        rows.append([peer.name, of.get("version", ""), crates, seconds, flags, str(of["lines"])])
    return table(["", "version", "crates", "cold build, s", "flags", "lines"], rows)
