"""Kills `sync --write` at random moments, 200 times, and says what became of it (see `campaign`).

    PYTHONPATH=tests python -m faults.killing --server sekmet --kills 200

Exit status 1 after any violation of exactly-once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from contextlib import ExitStack

from faults.campaign import Campaign, carry_out
from faults.proxy import Fault, Rule
from servers import running

SERVERS = {"sekmet": running.sekmet, "hapi": running.hapi, "medplum": running.medplum}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="sekmet", help="sekmet, hapi, medplum, or the base URL of any other")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", choices=["1", "2", "half"], default="half", help="half: two in every second round")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--plain", action="store_true", help="start each run from nothing instead of forking it")
    parser.add_argument("--blind", action="store_true", help="a server that ignores If-None-Exist")
    parser.add_argument("--faults", action="store_true", help="a faulty network as well")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        started = SERVERS.get(chosen.server)
        campaign = Campaign(
            server=stack.enter_context(started()) if started else chosen.server,
            kills=chosen.kills,
            writers=chosen.writers,
            ledger=stack.enter_context(running.postgresql()) if chosen.ledger == "postgresql" else "",
            seed=chosen.seed,
            forked=not chosen.plain,
            rules=tuple(Rule(fault, 0.03, "writes") for fault in Fault) if chosen.faults else (),
            blind=chosen.blind,
        )
        summary = asyncio.run(carry_out(campaign, say))
    print(f"{' '.join(sys.argv[1:])}, seed {chosen.seed}\n{summary.text}")  # noqa: T201
    return 1 if summary.found.violations else 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
