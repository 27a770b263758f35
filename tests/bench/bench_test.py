#!/usr/bin/env python3
"""nimsync_bench as a stranger uses it: what it carries is verified, everyone is measured or named, and whatever goes wrong
ends in a sentence and leaves nothing behind. Not how fast anything was.

usage: bench_test.py NIMSYNC_BENCH [UNITTEST OPTION...]
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BENCH = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
WATCHDOG_S = 240

RECORD_PEERS = {
    "boost spsc_queue, managed segment", "boost spsc_queue, two threads", "boost message_queue",
    "readerwriterqueue, two threads", "pipe", "unix stream socket", "unix seqpacket socket", "posix message queue",
    "zeromq ipc", "iceoryx 2"}
MESSAGE_PEERS = {"boost message_queue", "pipe", "unix stream socket", "unix seqpacket socket", "posix message queue",
                 "zeromq ipc", "iceoryx 2"}
NIMSYNC = {"nimsync stamped", "nimsync stamped, protected", "nimsync dense", "nimsync dense, protected"}
EXPECTED = {
    "rtt": RECORD_PEERS | NIMSYNC | {"two-line ping-pong", "bare ring stamped", "bare ring dense"},
    "throughput": RECORD_PEERS | NIMSYNC | {name + ", in place" for name in NIMSYNC} | {
        "nimsync stamped, class member", "nimsync dense, class member", "dirty lines", "bare ring stamped",
        "bare ring dense"},
    "batch": {name + ", copied" for name in NIMSYNC} | {
        "nimsync dense, in place", "nimsync dense, protected, in place", "dirty lines",
        "boost spsc_queue, managed segment"},
    "frames": MESSAGE_PEERS | {"nimsync framed, 256 KiB ring", "nimsync framed, 1 MiB ring",
                               "nimsync framed, 4 MiB ring", "nimsync framed, 8 MiB ring", "memcpy", "memcpy, 1 MiB",
                               "dirty lines, 4 MiB"},
    "single-thread": {"nimsync stamped", "nimsync dense", "boost spsc_queue, heap",
                      "boost spsc_queue, fixed capacity", "readerwriterqueue"},
    "wake": (MESSAGE_PEERS | {"nimsync, default", "nimsync, backoff 1-100 ms"}),
    "blocking": {"stamped, doorbell", "stamped, busy", "dense, doorbell", "dense, busy"},
    "wait-set": {"10 channels", "many channels"},
    "open": {"bare JSON round trip", "connect, open, map", "create", "remove"},
}


def run(*options, program=BENCH, **more):
    return subprocess.run([program, *options], capture_output=True, text=True, timeout=WATCHDOG_S, **more)


def children_of(pid):
    """The running processes that `pid` started, by name."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                name, rest = file.read().rsplit(")", 1)
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if int(parent) == pid and state != "Z":
            found.append((int(entry), name.split("(", 1)[1]))
    return found


class Bench(unittest.TestCase):
    @staticmethod
    def traces():
        """What the bench, its registry and RouDi could leave; nothing else may use these folders meanwhile."""
        temporary = {"/tmp/" + name for name in os.listdir("/tmp") if name.startswith(("nimsync", "roudi", "iox"))}
        return temporary | {"/dev/shm/" + name for name in os.listdir("/dev/shm")}

    def setUp(self):
        self.before = self.traces()

    def tearDown(self):
        self.assertEqual(self.traces() - self.before, set(), "left behind")

    def started(self, *options):
        """A long run that has forked its measuring processes."""
        process = subprocess.Popen([BENCH, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + WATCHDOG_S
        while time.monotonic() < deadline:
            measuring = [pid for pid, name in children_of(process.pid) if name == "nimsync_bench"]
            if len(measuring) == 2:
                return process, measuring
            if process.poll() is not None:
                self.fail(f"it ended with {process.returncode}: {process.stderr.read()}")
            time.sleep(0.02)
        process.kill()
        self.fail("it forked no measuring processes")

    def assert_gone(self, pids):
        deadline = time.monotonic() + WATCHDOG_S
        for pid in pids:
            while os.path.exists(f"/proc/{pid}"):
                self.assertLess(time.monotonic(), deadline, f"process {pid} is still there")
                time.sleep(0.02)

    def test_a_quick_run_measures_or_names_every_contestant_and_judges_its_goals(self):
        done = run("--quick", "--sizes", "8,16", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["version"], 2)
        self.assertEqual({table["workload"] for table in report["tables"]}, set(EXPECTED))
        for table in report["tables"]:
            measured = {row["contestant"] for row in table["rows"]}
            named = {each["contestant"] for each in table["left_out"]}
            self.assertEqual(EXPECTED[table["workload"]] - measured - named, set(), table["workload"])
            for each in table["left_out"]:
                self.assertTrue(each["reason"], each)
            for row in table["rows"]:
                self.assertGreater(row["kept"], 0, (table["workload"], row["contestant"]))
        self.assertTrue(report["goals"])
        for goal in report["goals"]:
            bound_met = goal["value"] <= goal["at_most"] if "at_most" in goal else goal["value"] >= goal["at_least"]
            self.assertEqual(goal["met"], bound_met and goal["value"] > 0, goal)

    def test_one_processor_is_not_enough(self):
        done = run("--quick", preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("two processes that spin need two", done.stderr)

    def test_a_registry_that_is_missing_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            alone = shutil.copy(BENCH, folder)
            done = run("--quick", program=alone)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nimsyncd", done.stderr)

    def test_unknown_words_are_refused(self):
        for options in (["--only", "latency"], ["--sizes", "eight"], ["--cpus", "0"], ["--rounds", "3"], ["--slow"]):
            done = run(*options)
            self.assertEqual(done.returncode, 2, options)
            self.assertTrue(done.stderr, options)

    def test_a_size_that_no_workload_has_is_said(self):
        for options in (["--only", "rtt"], []):
            done = run("--quick", "--sizes", "7", *options)
            self.assertEqual(done.returncode, 1)
            self.assertIn("messages of those sizes", done.stderr)

    def test_processors_that_are_not_there_are_said(self):
        done = run("--quick", "--cpus", "0,4095")
        self.assertEqual(done.returncode, 1)
        self.assertIn("processor 4095", done.stderr)

    def test_an_output_that_cannot_be_written_is_said_before_the_run(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in (folder, os.path.join(folder, "no", "file")):
                done = run("--output", path)  # a whole run, were it not refused
                self.assertEqual(done.returncode, 1)
                self.assertIn(path, done.stderr)

    def test_an_output_keeps_what_it_held_when_the_run_ends_early(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results")
            with open(path, "w", encoding="utf-8") as file:
                file.write("earlier results")
            process, _ = self.started("--only", "rtt", "--sizes", "8", "--rounds", "10000", "--output", path)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=WATCHDOG_S)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), "earlier results")

    def test_nobody_reading_what_it_says_is_no_reason_to_leave_things_behind(self):
        process, _ = self.started("--quick", "--only", "rtt", "--sizes", "8")
        everyone = [pid for pid, _ in children_of(process.pid)]
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=WATCHDOG_S), 1)
        self.assert_gone(everyone)

    def test_a_full_disk_is_said(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for options, out in ((["--output", "/dev/full"], subprocess.PIPE), ([], full)):
                done = subprocess.run([BENCH, "--quick", "--only", "single-thread", "--sizes", "8", *options],
                                      stdout=out, stderr=subprocess.PIPE, text=True, timeout=WATCHDOG_S, check=False)
                self.assertEqual(done.returncode, 1, options)
                self.assertIn("could not be written", done.stderr)

    def test_a_measured_process_that_dies_ends_the_run(self):
        for victim in (0, 1):
            process, measuring = self.started("--only", "rtt", "--sizes", "8", "--rounds", "10000")
            everyone = [pid for pid, _ in children_of(process.pid)]
            os.kill(measuring[victim], signal.SIGKILL)
            _, errors = process.communicate(timeout=WATCHDOG_S)
            self.assertEqual(process.returncode, 1)
            self.assertIn("was ended by a signal: Killed", errors)
            self.assert_gone(everyone)

    def test_a_signal_ends_everything(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            process, _ = self.started("--only", "rtt,throughput", "--rounds", "10000")
            everyone = [pid for pid, _ in children_of(process.pid)]
            process.send_signal(number)
            process.communicate(timeout=WATCHDOG_S)
            self.assertEqual(process.returncode, 128 + number)
            self.assert_gone(everyone)

    def test_a_registry_that_dies_ends_the_run_and_leaves_no_segment(self):
        process, _ = self.started("--only", "rtt,throughput,frames", "--rounds", "20")
        everyone = children_of(process.pid)
        registry = [pid for pid, name in everyone if name == "nimsyncd"]
        self.assertEqual(len(registry), 1, everyone)
        os.kill(registry[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=WATCHDOG_S)
        self.assertEqual(process.returncode, 1, errors)
        self.assertIn("nimsyncd was ended by a signal: Killed", errors)
        self.assert_gone([pid for pid, _ in everyone])


if __name__ == "__main__":
    if not BENCH:
        sys.exit(__doc__)
    unittest.main()
