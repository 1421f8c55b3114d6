"""The workload in Python, bare or beside Python's loopmon: `peer.py bare|loopmon asyncio|uvloop MODE…`.

The modes, and what it prints, are those of workload/src/lib.rs.
"""

import asyncio
import os
import random
import sys
import time

import loopmon
import uvloop

THRESHOLD = 0.1
INTERVAL = 0.1
LENGTH = 0.3
WARM_UP = 0.5
COOL_DOWN = 1.5

counted = 0
running = set()
reports = []


def spawn(coroutine):
    task = asyncio.create_task(coroutine)
    running.add(task)
    return task


async def yielding():
    global counted
    while True:
        counted += 1
        await asyncio.sleep(0)


async def nothing():
    pass


async def spawning():
    global counted
    while True:
        await asyncio.gather(*[asyncio.create_task(nothing()) for _ in range(64)])
        counted += 64


async def answer(reader, writer):
    while True:
        writer.write(await reader.readexactly(64))


async def ask(port):
    global counted
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(bytes(64))
        await reader.readexactly(64)
        counted += 1


async def echoing():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*[ask(port) for _ in range(16)])


async def throughput(load, seconds):
    loads = {"yield": [yielding] * 1000, "spawn": [spawning], "echo": [echoing]}
    for each in loads[load]:
        spawn(each())
    await asyncio.sleep(WARM_UP)
    began, before = time.perf_counter(), counted
    await asyncio.sleep(seconds)
    print(f"rate {(counted - before) / (time.perf_counter() - began):.1f}")


async def short_task(chance):
    while True:
        await asyncio.sleep(0.005 + chance.random() * 0.04)
        began = time.perf_counter()
        while time.perf_counter() - began < 20e-6:
            pass


def load_user(spins):
    began = time.perf_counter()
    if not spins:
        time.sleep(LENGTH)
    while time.perf_counter() - began < LENGTH:
        pass


async def stalls(count):
    for seed in range(200):
        spawn(short_task(random.Random(seed)))
    await asyncio.sleep(WARM_UP)
    chance = random.Random(count)
    blocks = []
    for number in range(count):
        await asyncio.sleep(0.6 + chance.random() * 0.3)
        began = time.perf_counter()
        load_user(number % 2 == 1)
        blocks.append((began, time.perf_counter()))
    await asyncio.sleep(COOL_DOWN)
    judge(blocks)


async def healthy(seconds):
    for seed in range(200):
        spawn(short_task(random.Random(seed)))
    await asyncio.sleep(WARM_UP)
    print("ready", flush=True)
    await asyncio.sleep(seconds)
    judge([])


async def idle(seconds):
    await asyncio.sleep(COOL_DOWN)
    print("ready", flush=True)
    await asyncio.sleep(seconds)


def judge(blocks):
    for number, (began, ended) in enumerate(blocks):
        until = blocks[number + 1][0] if number + 1 < len(blocks) else float("inf")
        told = [at for at in reports if began <= at < until]
        late = (told[0] - began - THRESHOLD) * 1e3 if told else float("nan")
        is_live = any(at <= ended for at in told)
        print(f"block {int(bool(told))} {int(is_live)} {late:.1f} 0 0 0 0")
    begins = blocks[0][0] if blocks else float("inf")
    print(f"alarms {sum(at < begins for at in reports)} 0")


async def main(peer, mode, arguments):
    if peer == "loopmon":
        # user
        async def report(lag, tasks, data_at):
            if lag >= THRESHOLD:
                reports.append(time.perf_counter())

        loopmon.create(interval=INTERVAL, callbacks=(report,))
        # end
    match mode, *arguments:
        case "throughput", load, _, seconds:
            await throughput(load, float(seconds))
        case "stalls", _, count:
            await stalls(int(count))
        case "healthy", _, seconds:
            await healthy(float(seconds))
        case "idle", _, seconds:
            await idle(float(seconds))
    sys.stdout.flush()
    # The tasks go on for ever.
    os._exit(0)


peer, loop, mode, *arguments = sys.argv[1:]
runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None)
runner.run(main(peer, mode, arguments))
