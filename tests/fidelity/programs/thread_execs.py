"""A thread other than the first one calls execve: the kernel gives it the number of the process."""

import os
import threading

COMMAND = ("sh", "-c", "umask > /dev/null; echo from a thread")

waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
thread = threading.Thread(target=os.execv, args=("/bin/sh", COMMAND))
thread.start()
thread.join()
