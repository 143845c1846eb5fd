"""64 threads that wait for each other, each with calls of its own."""

import os
import threading
import time
from pathlib import Path

COUNT = 64
barrier = threading.Barrier(COUNT)
done: list[int] = []


def work(number: int) -> None:
    barrier.wait()
    with Path(f"file.{number}").open("w") as file:
        os.fchmod(file.fileno(), 0o600)
    if number % 2:
        time.sleep(0.001)
    else:
        os.sched_yield()
    os.getpriority(os.PRIO_PROCESS, 0)
    done.append(number)


threads = [threading.Thread(target=work, args=(number,)) for number in range(COUNT)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(done) == list(range(COUNT)), len(list(Path().iterdir())))
