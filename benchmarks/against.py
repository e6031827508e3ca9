"""Is this version as fast as another one, say the commit before a change?

    git worktree add ../before COMMIT
    python benchmarks/against.py ../before [--rounds 3]

Training steps, likelihood and sampling of ``tabular.py``, of our own flows alone. Every round is a
fresh process of either version, each with the ``mflows`` and the benchmarks of its own tree; ratios
are those of each round, 1 for the same speed, more where this version is faster. The other version
has to have ``ours.questions``.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from timing import milliseconds, ratio

CHILD = """
from timing import measure
import json, statistics
from ours import questions
from sizes import MIDDLE, SMALL
found = {}
for size, points in ((SMALL, 1000), (MIDDLE, 500)):
    for name, seconds in measure(questions(size, points), 9).items():
        found[f"{size.title}: {name}"] = statistics.median(seconds)
print(json.dumps(found))
"""


def seconds(tree: Path) -> dict[str, float]:
    """Seconds of a step, or a call, by the version in a tree."""
    environment = os.environ | {"PYTHONPATH": f"{tree / 'benchmarks'}{os.pathsep}{tree / 'src'}"}
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="checkout of the other version")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    trees = {"other": given.other.resolve(), "this": Path(__file__).resolve().parents[1]}
    rounds = [{name: seconds(tree) for name, tree in trees.items()} for _ in range(given.rounds)]
    table = Table("", "other, ms", "this, ms", "other / this")
    for question in rounds[0]["this"]:
        other, this = ([each[name][question] for each in rounds] for name in trees)
        table.add_row(question, milliseconds(other), milliseconds(this), ratio(other, this))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
