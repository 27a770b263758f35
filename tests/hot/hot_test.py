#!/usr/bin/env python3
"""No hot operation takes more instructions than its bound, and none locks, fences, calls or allocates.

usage: hot_test.py --compiler "GNU 12" HOT_OPERATIONS            judges by bounds.json beside this file
       hot_test.py --compiler "GNU 12" --print HOT_OPERATIONS    prints bounds.json, this compiler's part made anew
       hot_test.py --compiler "GNU 12" --path 'send<Dense8>' HOT_OPERATIONS    prints an operation's success path

HOT_OPERATIONS is the program of hot_operations.cpp, as built by the presets release and clang. After a change that is
meant to cost more (or that costs less), for each of them:

    hot_test.py --compiler "GNU 12" --print build/release/bin/hot_operations > new && mv new tests/hot/bounds.json

How: callgrind counts how often each instruction is executed, exactly and alike in every run. What is executed more
often with more messages is the success path; the difference, divided by the calls between, is what one call costs.
Set-up drops out. That path is then read in the disassembly.

A bound is on the function's own instructions, its loop included; those of memcpy depend on the processor, so its calls
are counted instead. It may be called where "memcpy" says so: for copies of a length that only run time knows.

Exit codes: 0 all within bounds, 1 not, 2 usage, 77 there is no bound for this compiler or this processor.
"""

import argparse
import copy
import json
import math
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field

BOUNDS = pathlib.Path(__file__).resolve().parent / "bounds.json"
SKIPPED = 77

# Both multiples of 64, so that what happens every 64th message is in the difference with its exact share.
FEWER, MORE = 256, 768
BATCH = 16  # messages a call of send_some and receive_some

HEADROOM = 0  # of a new bound over the count, which is exact; one instruction may be the store that costs a third
SLACK = 3  # below its bound a count is worth a note

# What each function of `planted` must be found out by: one of these words. The compilers fence in different ways.
PLANTED = {
    "fence": ("lock", "mfence"),
    "locked_counter": ("lock",),
    "exchange": ("xchg",),
    "allocation": ("operator new",),
    "call_of_a_function": ("rand",),
    "full_fence": ("mfence",),
    "store_fence": ("sfence",),
    "load_fence": ("lfence",),
    "system_call": ("syscall",),
    "jump_out": ("leaves for elsewhere",),
    "spilled_store": ("to the stack",),
}


class CannotMeasure(Exception):
    """A tool failed, or the program carried something else than was sent."""


@dataclass
class Instruction:
    text: str
    source: str


@dataclass
class Operation:
    """A function and its instructions by address."""

    name: str
    instructions: dict = field(default_factory=dict)


@dataclass
class Cost:
    """What one call of an operation costs."""

    instructions: float = 0
    calls: dict = field(default_factory=dict)  # by callee
    faults: list = field(default_factory=list)  # whatever the bounds are
    calls_at: dict = field(default_factory=dict)  # by callee, the calling instructions
    path: list = field(default_factory=list)  # the instructions, each with how often a call executes it


@dataclass
class Profile:
    """How often each instruction of the program was executed, and which functions each called."""

    executed: dict = field(default_factory=lambda: defaultdict(int))
    called: dict = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))


def run(*command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("VALGRIND", "DEBUGINFOD"))}
    environment["LC_ALL"] = "C"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    except FileNotFoundError as missing:
        raise CannotMeasure(f"{command[0]} is not installed (.ci/install test)") from missing
    except subprocess.TimeoutExpired as late:
        raise CannotMeasure(f"{' '.join(command)} did not end within 60 s") from late
    if done.returncode != 0:
        raise CannotMeasure(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}")
    return done.stdout


# ----------------------------------------------------------------------------------------------------------------------


FUNCTION = re.compile(r"[0-9a-f]+ <(.*)>:")
OPERATION = re.compile(r"(?:^|\s)(hot|planted)::(\w+)<hot::(\w+)>\(")
INSTRUCTION = re.compile(r"\s+([0-9a-f]+):\t(.+)")
SOURCE = re.compile(r"(/.*:\d+)(?: \(discriminator \d+\))?")


def read_disassembly(lines):
    """The operations in objdump's output, by name: `send<Dense8>`, `planted::fence`."""
    operations, operation, source = {}, None, "?"
    for line in lines:
        if function := FUNCTION.fullmatch(line):
            found = OPERATION.search(function[1])
            operation = None
            # A part that the compiler split off is outside: going there is a call.
            if found and "[clone" not in function[1]:
                name = f"{found[2]}<{found[3]}>" if found[1] == "hot" else f"planted::{found[2]}"
                operation = operations[name] = Operation(name)
            source = "?"
        elif operation is None:
            continue
        elif instruction := INSTRUCTION.fullmatch(line):
            text = re.sub(r" <.*\+0x[0-9a-f]+>$", "", instruction[2])  # of a jump: the function that it is in
            text = re.sub(r"\s+", " ", text).strip()
            operation.instructions[int(instruction[1], 16)] = Instruction(text, source)
        elif where := SOURCE.fullmatch(line):
            source = os.path.normpath(where[1])
    return operations


def read_profile(lines, program):
    """callgrind's output, of `program` alone. Its format: the manual's chapter on it; nothing is compressed here."""
    profile = Profile()
    in_program = False
    callee = calls = None
    for line in lines:
        if line.startswith("ob="):
            in_program = line[3:] == program
        elif line.startswith("cfn="):
            callee = line[4:]
        elif line.startswith("calls="):
            calls = int(line[6:].split()[0])
        elif line.startswith("0x"):
            address, _, cost = line.split()
            if calls is not None:  # this line is the call's, its cost the callee's
                if in_program:
                    profile.called[int(address, 16)][callee] += calls
                calls = None
            elif in_program:
                profile.executed[int(address, 16)] += int(cost)
    return profile


def count(program, messages, folder):
    out = os.path.join(folder, f"{messages}.callgrind")
    # --skip-plt would add the jump to a shared library to the instruction that calls.
    run("valgrind", "-q", "--tool=callgrind", "--dump-instr=yes", "--skip-plt=no", "--compress-strings=no",
        "--compress-pos=no", f"--callgrind-out-file={out}", program, str(messages))  # fmt: skip
    with open(out, encoding="utf-8", errors="replace") as lines:
        return read_profile((line.rstrip("\n") for line in lines), program)


# ----------------------------------------------------------------------------------------------------------------------


def callee_of(text):
    """The name that a call instruction calls, None for any other instruction."""
    called = re.match(r"(?:bnd |notrack )*call\S*\s+(.*)", text)
    if not called:
        return None
    named = re.search(r"<(.*?)(?:@plt)?>", called[1])
    return named[1] if named else called[1]


def fault_of(text):
    """What is wrong with an instruction on a success path, None when nothing is."""
    words = text.split("#")[0].split(None, 1)
    name, operands = words[0], words[1] if len(words) == 2 else ""
    if name in ("lock", "xacquire", "xrelease"):
        return "is locked"
    if name in ("mfence", "sfence", "lfence", "serialize", "cpuid"):
        return "is a fence"
    if re.fullmatch("xchg[bwlq]?", name) and "(" in operands:
        return "is locked, as every xchg with memory"
    if name in ("syscall", "sysenter", "int"):
        return "is a system call"
    return None


# Operations on an endpoint in a local variable, one message a call and copied: all that they keep fits into registers.
IN_REGISTERS = re.compile(r"(send|receive)<(Stamped|Dense)\d+>|planted::spilled_store")


def spill_of(operation, text, times):
    """What is wrong with a store to the stack for every message, where there need be none; None for all else. Between two
    stores to a ring it ends the overlap of their misses (include/nimsync/ring.hpp)."""
    stores = re.fullmatch(r"mov\w*\s+[%$][^,]+,-?(0x)?[0-9a-f]*\(%rsp\)", text.split("#")[0].strip())
    if stores and times > 0.5 and IN_REGISTERS.fullmatch(operation):
        return "stores to the stack for every message"
    return None


def cost_of(operation, fewer, more):
    """What a call costs, from the two profiles."""
    cost = Cost()
    calls = (MORE - FEWER) / (BATCH if "_some<" in operation.name else 1)
    for address, instruction in sorted(operation.instructions.items()):
        times = (more.executed[address] - fewer.executed[address]) / calls
        if times == 0:
            continue
        cost.instructions += times
        cost.path.append(f"{times:8.3f}  {address:x}: {instruction.text:50}  {instruction.source}")
        callee = callee_of(instruction.text)
        shown = f"{address:x}: {instruction.text}    {instruction.source}"
        if callee is not None:
            cost.calls[callee] = cost.calls.get(callee, 0) + times
            cost.calls_at.setdefault(callee, []).append(shown)
        else:
            if fault := fault_of(instruction.text) or spill_of(operation.name, instruction.text, times):
                cost.faults.append(f"{shown}\n      {fault}")
            for left_for, often in more.called[address].items():  # a jump out of the function
                if often != fewer.called[address][left_for]:
                    cost.faults.append(f"{shown}\n      leaves for {left_for}")
    if cost.instructions == 0:
        cost.faults.append("was not executed")
    return cost


def measure(program):
    """The costs of all operations by name."""
    operations = read_disassembly(
        run("objdump", "-d", "-C", "-l", "-w", "--no-show-raw-insn", "-j", ".text", program).splitlines()
    )
    with tempfile.TemporaryDirectory(prefix="nimsync-hot-") as folder:
        # valgrind 3.19 gives up on what Clang 14 says for debuggers, and needs none of it.
        bare = os.path.join(os.path.realpath(folder), "hot_operations")
        run("objcopy", "--strip-debug", program, bare)
        fewer, more = count(bare, FEWER, folder), count(bare, MORE, folder)
    return {name: cost_of(operation, fewer, more) for name, operation in sorted(operations.items())}


# ----------------------------------------------------------------------------------------------------------------------


def judge_cost(cost, bound):
    """What is wrong with one operation's cost, a sentence each."""
    faults = list(cost.faults)
    if bound is not None and cost.instructions > bound["instructions"]:
        path = "\n      ".join(cost.path)
        faults.append(
            f"{cost.instructions:.2f} instructions a call, and its bound is {bound['instructions']}:\n      {path}"
        )
    for callee, often in cost.calls.items():
        allowed = bound.get(callee, 0) if bound is not None else math.inf if callee == "memcpy" else 0
        if often > allowed:
            why = f"calls {callee}, {allowed:g} times a call is allowed"
            faults.extend(f"{at}\n      {why}" for at in cost.calls_at[callee])
    return faults


def judge(costs, bounds):
    """All that is wrong, a list of (operation, sentence). Without bounds: in the disassembly."""
    found = []
    for name, cost in costs.items():
        if bounds is not None and name not in bounds:
            found.append((name, "has no bound"))
        found.extend((name, fault) for fault in judge_cost(cost, (bounds or {}).get(name)))
    found.extend((name, "has a bound, and isn't in the program") for name in bounds or {} if name not in costs)
    return found


def check_itself(hot, planted, bounds):
    """What the judgement should have found fault with, and didn't."""
    missed = [f"planted::{name} isn't in the program" for name in PLANTED if f"planted::{name}" not in planted]
    for name, cost in planted.items():
        words = PLANTED.get(name.removeprefix("planted::"), ())
        # By the bounds of no operation at all: each of these sends as the operations do, which call nothing.
        found = judge_cost(cost, {"instructions": math.inf})
        if not any(word in fault for fault in found for word in words):
            missed.append(f"{name} was to be found out by {' or '.join(words)}, and was by: {found}")
    # A bound that is one instruction too low, and a call too many, for every operation in turn.
    for name, cost in hot.items():
        low = copy.deepcopy(bounds or made_of(hot))
        low.setdefault(name, {})["instructions"] = round(cost.instructions - 1, 2)
        if not any(of == name and "its bound is" in fault for of, fault in judge(hot, low)):
            missed.append(f"{name} passed a bound that was one too low")
        if cost.calls:
            low[name] = {"instructions": math.inf}
            if not any(of == name and "calls memcpy" in fault for of, fault in judge(hot, low)):
                missed.append(f"{name} called what it may not, and passed")
    return missed


def made_of(costs):
    """New bounds. Calls of anything but memcpy get none: they are faults."""
    bounds = {}
    for name, cost in costs.items():
        bounds[name] = {"instructions": math.ceil((cost.instructions + HEADROOM) * 100) / 100}
        if cost.calls.get("memcpy"):
            bounds[name]["memcpy"] = math.ceil(cost.calls["memcpy"])
    return bounds


def written(all_bounds):
    """bounds.json: an operation a line."""
    sections = []
    for compiler, bounds in sorted(all_bounds.items()):
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(bound)}" for name, bound in sorted(bounds.items()))
        sections.append(f"  {json.dumps(compiler)}: {{\n{lines}\n  }}")
    return "{\n" + ",\n".join(sections) + "\n}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--path", metavar="OPERATION")
    parser.add_argument("program")
    arguments = parser.parse_args()

    if platform.machine() != "x86_64":
        print(f"SKIPPED: the disassembly of {platform.machine()} isn't known here, only that of x86_64")
        return SKIPPED
    all_bounds = json.loads(BOUNDS.read_text(encoding="utf-8")) if BOUNDS.exists() else {}
    try:
        costs = measure(os.path.realpath(arguments.program))
    except CannotMeasure as why:
        print(f"cannot measure: {why}", file=sys.stderr)
        return 1
    hot = {name: cost for name, cost in costs.items() if not name.startswith("planted::")}
    planted = {name: cost for name, cost in costs.items() if name.startswith("planted::")}
    if arguments.print:
        print(written({**all_bounds, arguments.compiler: made_of(hot)}))
        return 0
    if arguments.path:
        if arguments.path not in costs:
            parser.error(f"no operation {arguments.path}; there are {', '.join(costs)}")
        print("\n".join(costs[arguments.path].path))
        return 0

    bounds = all_bounds.get(arguments.compiler)
    for name, cost in hot.items():
        bound = (bounds or {}).get(name, {}).get("instructions")
        calls = "".join(f", {callee} {often:g}" for callee, often in cost.calls.items())
        note = ""
        if bound is not None and cost.instructions < bound - SLACK:
            note = "    note: far below its bound, which can be tightened (--print)"
        print(f"{name:28} {cost.instructions:8.2f}{calls}, bound {bound}{note}")
    found = judge(hot, bounds)
    for name, fault in found:
        print(f"FAULT in {name}:\n    {fault}")
    missed = check_itself(hot, planted, bounds)
    for miss in missed:
        print(f"THE TEST IS BLIND: {miss}")
    if not hot:
        print("FAULT: no operation found")
    if found or missed or not hot:
        return 1
    if bounds is None:
        print(f"SKIPPED: no bounds for {arguments.compiler} in {BOUNDS.name}; the counts were not judged")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
