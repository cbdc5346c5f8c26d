"""Lists and runs the benchmarks."""

import argparse
import ast
import json
import sys
from importlib import import_module
from pathlib import Path

from tests import benchmarks
from tests.benchmarks.ground import benchmark_ground


def summaries() -> dict[str, str]:
    """The benchmarks that there are, each with the first line of what it says of itself."""
    (folder,) = map(Path, benchmarks.__path__)
    trees = {file.stem: ast.parse(file.read_text()) for file in sorted(folder.glob("*.py"))}
    return {
        name: ast.get_docstring(tree).splitlines()[0]
        for name, tree in trees.items()
        if any(isinstance(one, ast.FunctionDef) and one.name == "measure" for one in tree.body)
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; none lists them")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how much data; at 1, each says how long it takes"
    )
    parser.add_argument("--days", type=float, help="how much, in days of readings; 30 are scale 1")
    parser.add_argument("--minutes", type=float, help="how long `link` watches its memory")
    parser.add_argument("--parts", nargs="+", help="what `scale` measures, in its order")
    options = parser.parse_args(arguments)
    further = {"link": {"minutes": options.minutes}, "scale": {"parts": options.parts}}
    scale = options.scale if options.days is None else options.days / 30
    known = summaries()
    if unknown := set(options.names) - known.keys():
        parser.error(f"There is no benchmark {', '.join(sorted(unknown))}; see the list without.")
    if not options.names:
        for name, summary in known.items():
            print(f"{name:12} {summary}")
        return 0
    for name in options.names:
        extra = {key: value for key, value in further.get(name, {}).items() if value}
        with benchmark_ground():
            figures = import_module(f"tests.benchmarks.{name}").measure(scale=scale, **extra)
        print(json.dumps({"benchmark": name, "scale": round(scale, 3), **figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
