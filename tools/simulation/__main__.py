"""Run the scenarios, and print their figures. The exit status is 1 if anything is wrong.

python -m tools.simulation          all scenarios, in two minutes
"""

import argparse
import logging
import sys
import warnings

from tools.simulation.figures import described, problems
from tools.simulation.scenarios import SCENARIOS, simulate


def main() -> int:
    """Run the scenarios, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.simulation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="scenarios whose name contains this text")
    parser.add_argument("--workers", type=int, help="the number of workers (default: 100)")
    parser.add_argument("--records", type=int, help="the number of records on the server")
    parser.add_argument("--own-limits", action="store_true", help="do not share the limit, which must fail")
    parser.add_argument("--seed", type=int, default=1, help="the seed of all random choices (default: 1)")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    changes = {"workers": options.workers, "records": options.records}
    given = {name: value for name, value in changes.items() if value is not None}
    is_wrong = not chosen
    for scenario in chosen:
        outcome = simulate(scenario._replace(**given, shares_limit=not options.own_limits), options.seed)
        print(f"{scenario.workers} workers: {scenario.name}")
        for name, figure in described(outcome):
            print(f"  {name}: {figure}")
        for problem in problems(outcome):
            print(f"  WRONG: {problem}")
            is_wrong = True
    return 1 if is_wrong else 0


if __name__ == "__main__":
    warnings.simplefilter("error")
    logging.disable(logging.WARNING)  # hundreds of records about 429s, as intended
    sys.exit(main())
