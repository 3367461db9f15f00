"""How long the command line takes to start, in multiples of a Python that does nothing.

    python benchmarks/startup.py [--rounds 40] [--clock cpu|wall] [--json]

`python -c pass`, `mmkit list-plugins --plain` and `mmkit --help` run as processes of their own, in rounds of random
order. The processor time of the children is read by default: beside other work it says what the program costs, where
wall time says how busy the machine was. Goals: list-plugins 7 times, at most 10; --help at most 14. The number of
installed distributions is printed with the figures, because every one of them is looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from mmkit.registry.catalog import installed
from mmkit.speed.interleave import interleave

NOTHING = "python -c pass"
GOALS = {"mmkit list-plugins --plain": 10.0, "mmkit --help": 14.0}


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(command: str):
    program, *rest = command.split()
    path = str(Path(sys.executable).with_name(program))
    # An installed package has its bytecode; a checkout gets it in the warm-up, unless that is forbidden.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run([path, *rest], check=True, stdout=subprocess.DEVNULL, env=environ)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()

    timings = interleave(
        {command: process(command) for command in (NOTHING, *GOALS)},
        rounds=given.rounds,
        clock=cpu_of_children if given.clock == "cpu" else time.perf_counter,
    )
    found = {
        "python": platform.python_version(),
        "distributions": len(installed().versions),
        "rounds": timings.rounds,
        "clock": given.clock,
        "milliseconds": {name: round(1000 * timings.median(name), 1) for name in timings.seconds},
        "quartiles": {name: [round(1000 * end, 1) for end in timings.quartiles(name)] for name in timings.seconds},
        "ratios": {name: timings.compare(name, NOTHING).as_json() for name in GOALS},
    }
    missed = []
    for name, most in GOALS.items():
        ratio = timings.compare(name, NOTHING)
        of_medians = timings.median(name) / timings.median(NOTHING)
        found["ratios"][name] |= {"of_medians": of_medians, "most": most}
        # The quartile must hold, too: three rounds of four stay within the goal.
        if (
            sorted(a / b for a, b in zip(timings.seconds[name], timings.seconds[NOTHING], strict=True))[
                3 * timings.rounds // 4
            ]
            > most
        ):
            missed.append(name)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        print(
            f"Python {found['python']}, {found['distributions']} distributions, {timings.rounds} rounds, {given.clock}"
        )
        for name in timings.seconds:
            low, high = found["quartiles"][name]
            line = f"{name:<28} {found['milliseconds'][name]:7.1f} ms ({low} to {high})"
            if name in GOALS:
                ratio = found["ratios"][name]
                bounds = f", 95 % {ratio['low']:.2f} to {ratio['high']:.2f}" if ratio["low"] is not None else ""
                line += (
                    f"  {ratio['ratio']:.2f} times{bounds}; of medians {ratio['of_medians']:.2f}; goal {GOALS[name]:g}"
                )
            print(line)
    for name in missed:
        print(f"{name} misses its goal", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
