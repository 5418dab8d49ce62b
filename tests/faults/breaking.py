"""Every fault of the proxy, one after the other, on the writes and reads of `sync --write` (see `campaign`).

    PYTHONPATH=tests python -m faults.breaking --server sekmet --rounds 3

Exit status 1 after any violation of exactly-once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import ExitStack
from dataclasses import replace

from faults.campaign import Campaign, Summary, carry_out
from faults.killing import SERVERS
from faults.proxy import ONLY_TRANSACTIONS, Fault, Rule
from servers import running


def broken(campaign: Campaign, fault: Fault, reads: int = 6) -> Summary:
    """Every second write is hit, up to four in a round, and some reads; then the network is good."""
    rate, most = (1.0, 2) if fault in ONLY_TRANSACTIONS else (0.5, 4)
    rules = (
        Rule(fault, rate, "writes", most * campaign.rounds),
        Rule(fault, 0.05, "reads", reads * campaign.rounds),
    )
    return asyncio.run(carry_out(replace(campaign, rules=rules)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="sekmet", help="sekmet, hapi, medplum, or the base URL of any other")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", choices=["1", "2", "half"], default="half")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", choices=list(Fault), action="append", default=[])
    chosen = parser.parse_args()
    worst = 0
    with ExitStack() as stack:
        started = SERVERS.get(chosen.server)
        server = stack.enter_context(started()) if started else chosen.server
        ledger = stack.enter_context(running.postgresql()) if chosen.ledger == "postgresql" else ""
        campaign = Campaign(server, rounds=chosen.rounds, writers=chosen.writers, ledger=ledger, seed=chosen.seed)
        for fault in map(Fault, chosen.fault or Fault):
            summary = broken(campaign, fault)
            print(f"== {fault}\n{summary.text}", flush=True)  # noqa: T201
            worst = max(worst, len(summary.found.violations))
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
