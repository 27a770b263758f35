#!/usr/bin/env python3
"""On aarch64, each operation of the rings and of the sleep protocol has the barriers that barriers.json says.

usage: barriers_test.py [--compiler CXX] [--include FOLDER]            judges by barriers.json beside this file
       barriers_test.py [--compiler CXX] [--include FOLDER] --print    prints barriers.json made anew

x86 orders nearly everything by itself, so that a release which was meant and not written shows nowhere. On aarch64 it
is an instruction: an acquire is `ldar`, a release `stlr`, a fence `dmb`. Where one is missing an order is missing, and
where there is one more the hot path pays for it. That it is the right one, and that they suffice, is for
tests/model to say.

The operations are those of barriers.cpp; what the compiler makes a function of its own counts there. The counts are of
one compiler: another may copy a barrier into two branches. After a change that is meant, read what --print says:

    barriers_test.py --print > new && mv new tests/aarch64/barriers.json

Exit codes: 0 as in the table, 1 not, 2 usage or nothing could be measured (no cross compiler: .ci/install check).
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE / "barriers.json"

# As the library is built for release; for the oldest processors, which have neither `ldapr` nor `cas`; atomic
# read-modify-writes, if ever there should be one, not hidden in calls of libgcc.
OPTIONS = ["-std=c++20", "-O2", "-DNDEBUG", "-Wall", "-Wextra", "-Werror", "-march=armv8-a", "-mno-outline-atomics"]


class CannotMeasure(Exception):
    """A tool is missing or failed."""


def run(*command):
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError as missing:
        raise CannotMeasure(f"{command[0]} is not installed (.ci/install check)") from missing
    except subprocess.TimeoutExpired as late:
        raise CannotMeasure(f"{command[0]} did not end within 120 s") from late
    if done.returncode != 0:
        raise CannotMeasure(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


FUNCTION = re.compile(r"[0-9a-f]+ <(.*)>:")
RING = re.compile(r"barriers::(?:Sending|Receiving|Sleeping)<nimsync::v1::(\w+)<.*>::(\w+)\(")
INSTRUCTION = re.compile(r"\s+[0-9a-f]+:\t(\S+)\s*(.*)")
BARRIER = re.compile(r"(?:ldap?u?r|lda?xp?r?|stlu?r|stl?xp?r?|cas|swp|ldadd|ldclr|ldset|ldeor)[a-z]*")
FENCES = ("dmb", "dsb", "isb")


def short(function):
    """`DenseSender::try_send` of what objdump calls it."""
    if ring := RING.search(function):
        return f"{ring[1]}::{ring[2]}"
    name, longer = re.sub(r" \[clone .*", "", function), ""
    while name != longer:
        name, longer = re.sub(r"<[^<>]*>", "", name), name
    return re.sub(r"\bv1::|\bbarriers::|\bnimsync::", "", name.split("(")[0]).split(" ")[-1]


def barrier_of(mnemonic, operands):
    if mnemonic in FENCES:
        return f"{mnemonic} {operands}".strip()
    return mnemonic if BARRIER.fullmatch(mnemonic) else None


def count(disassembly):
    """The barriers of each function, by its name and then by their kind."""
    counts, here = {}, None
    for line in disassembly.splitlines():
        if function := FUNCTION.fullmatch(line):
            here = counts.setdefault(short(function[1]), {})  # with the parts that were split off it
        elif instruction := INSTRUCTION.fullmatch(line):
            if barrier := barrier_of(instruction[1], instruction[2]):
                here[barrier] = here.get(barrier, 0) + 1
    return counts


def measure(compiler, include):
    with tempfile.TemporaryDirectory(prefix="nimsync-barriers-") as folder:
        made = pathlib.Path(folder) / "barriers.o"
        run(compiler, *OPTIONS, f"-I{include}", "-c", HERE / "barriers.cpp", "-o", made)
        return count(run(re.sub(r"-(g\+\+|c\+\+)(-\d+)?$", "-objdump", compiler), "-dCw", "--no-show-raw-insn", made))


def written(version, counts):
    """barriers.json: a function a line."""
    lines = [f"    {json.dumps(name)}: {json.dumps(each, sort_keys=True)}" for name, each in sorted(counts.items())]
    return f'{{\n  "compiler": {json.dumps(version)},\n  "barriers": {{\n' + ",\n".join(lines) + "\n  }\n}"


def judge(counts, expected):
    """What differs, a sentence each."""
    for name in sorted(counts.keys() | expected.keys()):
        if name not in expected:
            yield f"{name} is not in the table"
        elif name not in counts:
            yield f"{name} is in the table, and is no function any more"
        else:
            for kind in sorted(counts[name].keys() | expected[name].keys()):
                is_, should = counts[name].get(kind, 0), expected[name].get(kind, 0)
                if is_ != should:
                    yield f"{name} has {is_} {kind}, and the table says {should}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--include", default=HERE.parent.parent / "include")
    parser.add_argument("--print", action="store_true")
    arguments = parser.parse_args()
    try:
        version = "g++ " + run(arguments.compiler, "-dumpversion").strip().split(".")[0]
        counts = measure(arguments.compiler, arguments.include)
    except CannotMeasure as why:
        print(f"cannot measure: {why}", file=sys.stderr)
        return 2
    if arguments.print:
        print(written(version, counts))
        return 0
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    if version != table["compiler"]:
        print(f"cannot measure: the table is of {table['compiler']}, this is {version}: see --print", file=sys.stderr)
        return 2
    differences = list(judge(counts, table["barriers"]))
    print("\n".join(differences) or f"{len(counts)} functions have the barriers that the table says")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
