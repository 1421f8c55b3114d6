"""Python's loopmon and a bare asyncio.sleep loop, for sampling.rs.

Arguments: the subject, the interval and the time to measure for, in seconds.
Prints the CPU time of the process in seconds, then each lag in seconds.
"""

import asyncio
import sys
import time

import loopmon

WARM_UP = 0.2


async def bare(interval, lags):
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(interval)
        lags.append(loop.time() - began - interval)


async def measure(subject, interval, window):
    lags = []
    if subject == "loopmon":

        async def note(lag, tasks, data_at):
            lags.append(lag)

        loopmon.create(interval=interval, callbacks=(note,))
    else:
        sleeping = asyncio.create_task(bare(interval, lags))
    await asyncio.sleep(WARM_UP)
    lags.clear()
    began = time.process_time()
    await asyncio.sleep(window)
    print(time.process_time() - began, *lags)


asyncio.run(measure(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
