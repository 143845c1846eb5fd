"""Worker processes with queues, shared memory and locks, started by fork and by spawn."""

import multiprocessing
from multiprocessing import shared_memory


def square(number: int) -> int:
    return number * number


def fill(name: str) -> None:
    block = shared_memory.SharedMemory(name)
    block.buf[0] = 42
    block.close()


def main() -> None:
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, sum(pool.map(square, range(100))))
    block = shared_memory.SharedMemory(create=True, size=64)
    worker = multiprocessing.get_context("fork").Process(target=fill, args=(block.name,))
    worker.start()
    worker.join()
    print(block.buf[0])
    block.close()
    block.unlink()


if __name__ == "__main__":
    main()
