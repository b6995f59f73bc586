"""What things cost, measured beside what people would pick instead.

    python -m tests.benchmarks [PART ...] [--rounds 5]

The packages that we are compared with get environments of their own, unmodified from the package index. They take
turns with us in every round, at one network on this machine; a ratio is made round by round, and medians count. A
contestant that did less than the work ends the benchmark. DATABASE_URL chooses the database of the parts that are
about us alone.
"""

import argparse
import os
import sys
from dataclasses import fields

import django

from .ceiling import show_ceiling
from .options import Options

PARTS = ("logins", "calls", "signing", "refreshing", "backlogs", "imports")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; else all")
    for field in fields(Options):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    args = vars(parser.parse_args())
    parts = args.pop("parts") or PARTS
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"not a part: {', '.join(unknown)}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    show_ceiling()
    missed = 0
    for part in parts:
        module = __import__(f"tests.benchmarks.parts.{part}", fromlist=["rows"])
        for row in module.rows(Options(**args)):
            missed += not row.is_kept
            print(row, flush=True)
    print(f"{missed} limits were missed" if missed else "every limit was kept")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
