"""``make replay``: which recorded scenarios onenode answers as a real API server did."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time

from tests.contract.kube_api_replay import load_scenario, replay_all, scenario_numbers
from tests.contract.test_kube_api_replay import OPEN


def main() -> int:
    """Print a line for each scenario; 1 if one that should be green is not."""
    # What the server logs about faults that scenarios make on purpose.
    logging.disable(logging.ERROR)
    began = time.monotonic()
    outcomes = asyncio.run(replay_all())
    green = 0
    unexpected = 0
    for number in scenario_numbers():
        error = outcomes[number]
        name = load_scenario(number)["scenario"][3:]
        if error is None:
            green += 1
            unexpected += number in OPEN
            state = "green" if number not in OPEN else "green, but listed as open"
        else:
            step = re.match(r"step (\d+) ", str(error))
            known = OPEN.get(number)
            unexpected += known is None
            reason = known[1] if known is not None else str(error)
            state = f"open at step {step[1] if step else '?'}: {reason}"
        print(f"{number}  {name:32} {state}")
    print(f"\n{green} of {len(outcomes)} green, {time.monotonic() - began:.0f} s")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
