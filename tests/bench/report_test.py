"""bench/report writes made-up results between a README's markers, and its --check tells whether they are there."""

import json
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

import synthetic

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LATEST = ROOT / "bench/results/latest.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
BEFORE, AFTER = "# a project\n\nwords\n\n", "\n\n## What follows\n\nno newline at its end"


def report(*arguments):
    """Exit code and complaints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/report"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


class Report(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nimsync-report-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.readme = self.folder / "README.md"
        self.readme.write_text(f"{BEFORE}{BEGIN}\nold\n{END}{AFTER}", encoding="utf-8")
        self.latest = self.folder / "bench/results/latest.json"
        self.latest.parent.mkdir(parents=True)
        self.write(synthetic.results())

    def write(self, results):
        self.latest.write_text(json.dumps(results), encoding="utf-8")

    def written(self, results=None):
        """The README with these results in it."""
        if results is not None:
            self.write(results)
        code, complaints = report(self.latest, self.readme)
        self.assertEqual((code, complaints), (0, ""))
        return self.readme.read_text(encoding="utf-8")

    def expect_failure(self, reason, *arguments):
        """One line, exit code 1, and the README as it was."""
        before = self.readme.read_bytes() if self.readme.exists() else None
        code, complaints = report(*(arguments or (self.latest, self.readme)))
        self.assertEqual(code, 1, complaints)
        self.assertEqual(len(complaints.splitlines()), 1, complaints)
        self.assertIn(reason, complaints)
        self.assertEqual(self.readme.read_bytes() if self.readme.exists() else None, before)

    def test_only_what_lies_between_the_markers_changes(self):
        text = self.written()
        self.assertTrue(text.startswith(f"{BEFORE}{BEGIN}\n"), text[:200])
        self.assertTrue(text.endswith(f"\n{END}{AFTER}"), text[-200:])
        self.assertNotIn("old", text.splitlines())

    def test_writing_twice_is_writing_once(self):
        once = self.written()
        self.assertEqual(self.written(), once)

    def test_it_names_the_program_the_machine_and_the_rounds(self):
        text = self.written()
        machine = "Synthetic &amp; Sons &lt;9&gt; 'Quoted', 2 processors, Linux 6.1.0-test"
        self.assertIn(f"nimsync_bench 0.1.0 on {machine}", text)
        self.assertIn("51 rounds", text)
        self.assertIn("(bench/results/latest.json)", text)

    def test_each_workload_has_one_table(self):
        text = self.written()
        heads = ("Round trip", "Throughput, one call a message", "Throughput, many messages a call", "Frames")
        heads += ("A single thread, send and receive in turn", "Waking a receiver that sleeps")
        for head in heads + ("Opening an existing channel", "Goals", "Left out"):
            self.assertEqual(text.count(f"**{head}**"), 1, head)

    def test_a_tables_rows_are_as_long_as_its_head(self):
        for block in self.written().split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            self.assertLessEqual(len({line.count("|") for line in lines}), 1, block)

    def test_a_cell_is_the_median_and_its_ratio(self):
        text = self.written()
        self.assertIn("| nimsync stamped | 133 (1.10) | 138 (1.14) |", text)
        self.assertIn("| boost spsc_queue, managed segment | 235 (1.94) |", text)
        self.assertIn("| connect, open, map | 314 (5.23) |", text)
        self.assertIn("| nimsync, doorbell | 31.0 | 58.9 |", text)

    def test_what_was_not_measured_is_a_dash(self):
        results = synthetic.results()
        del results["tables"][0]["rows"][1]
        for ratio in results["tables"][1]["rows"][1]["ratios"]:
            ratio.update({"median": 0, "q1": 0, "q3": 0, "count": 0})
        results["tables"][2]["rows"][1]["value"] = {"median": 0, "q1": 0, "q3": 0, "count": 0}
        row = next(line for line in self.written(results).splitlines() if line.startswith("| nimsync stamped |"))
        cells = [cell.strip() for cell in row.split("|")][2:6]
        self.assertEqual(sorted(cells), sorted(["–", "138", "–", "151 (1.25)"]))

    def test_goals_say_what_was_measured_and_whether_that_is_enough(self):
        text = self.written()
        self.assertIn("| rtt 8 B: nimsync stamped / two-line ping-pong | at most 1.25 | 1.07 | met |", text)
        self.assertIn("| at least 2 | 1.64 | **falls short** |", text)
        self.assertIn("1 of 2 met", text)

    def test_a_goal_that_is_just_missed_does_not_look_met(self):
        results = synthetic.results()
        results["goals"][0].update({"value": 1.2529, "met": False})
        self.assertIn("| at most 1.25 | 1.253 | **falls short** |", self.written(results))

    def test_who_was_left_out_is_said_with_the_reason(self):
        results = synthetic.results()
        for table in results["tables"]:
            if table["workload"] == "frames":
                table["left_out"].append({"contestant": "posix message queue", "reason": "messages | are <too> long"})
        text = self.written(results)
        self.assertIn("- iceoryx (rtt 4 KiB): RouDi did not start\n", text)
        self.assertIn("- posix message queue (frames): messages \\| are &lt;too&gt; long\n", text)

    def test_charts_are_embedded_where_they_are(self):
        self.assertNotIn("![", self.written())
        (self.latest.parent / "latency.svg").touch()
        (self.latest.parent / "another.svg").touch()
        text = self.written()
        self.assertEqual(text.count("!["), 1)
        self.assertIn("](bench/results/latency.svg)", text)

    def test_a_workload_of_a_later_bench_has_its_table_too(self):
        results = synthetic.results()
        results["tables"][-1]["workload"] = "broadcast"
        self.assertIn("**broadcast** (µs; ", self.written(results))

    def test_the_check_passes_after_writing_and_fails_once_a_number_is_another(self):
        self.written()
        self.assertEqual(report("--check", self.latest, self.readme), (0, ""))
        text = self.readme.read_text(encoding="utf-8")
        self.readme.write_text(text.replace("133 (1.10)", "123 (1.10)", 1), encoding="utf-8")
        self.expect_failure("run bench/report", "--check", self.latest, self.readme)
        self.readme.write_text(text, encoding="utf-8")
        results = synthetic.results()
        results["tables"][0]["rows"][1]["value"]["median"] += 20
        self.write(results)
        self.expect_failure("run bench/report", "--check", self.latest, self.readme)

    def test_the_check_does_not_care_about_the_rest(self):
        self.readme.write_text(self.written() + "more", encoding="utf-8")
        self.assertEqual(report("--check", self.latest, self.readme), (0, ""))

    def test_markers_must_be_there_once_and_in_order(self):
        for text in ("", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"x {BEGIN}\n{END}"):
            with self.subTest(text):
                self.readme.write_text(text, encoding="utf-8")
                self.expect_failure("<!-- measured: ")
                self.expect_failure("<!-- measured: ", "--check", self.latest, self.readme)

    def test_nothing_else_is_left_in_the_folder_and_the_files_mode_stays(self):
        self.readme.chmod(0o640)
        self.written()
        self.assertEqual({each.name for each in self.folder.iterdir()}, {"README.md", "bench"})
        self.assertEqual(stat.S_IMODE(self.readme.stat().st_mode), 0o640)

    def test_results_that_can_not_be_used_fail(self):
        self.expect_failure("No such file", self.folder / "none.json", self.readme)
        self.write(synthetic.results() | {"version": 1})
        self.expect_failure("version")
        self.write(synthetic.results() | {"tables": []})
        self.expect_failure("no table")

    def test_a_readme_that_can_not_be_read_fails(self):
        self.expect_failure("No such file", self.latest, self.folder / "none.md")
        self.expect_failure("Not a directory", self.latest, self.readme / "below")
        self.readme.write_bytes(b"\xff\xfe")
        self.expect_failure("UTF-8")

    def test_wrong_usage_is_told_apart(self):
        for arguments in ((), ("one",), ("one", "two", "three"), ("--none", "one", "two")):
            with self.subTest(arguments):
                code, complaints = report(*arguments)
                self.assertEqual(code, 2, complaints)
                self.assertIn("usage: ", complaints)

    @unittest.skipUnless(LATEST.exists(), "no results are committed")
    def test_this_repositorys_readme_says_what_its_committed_results_do(self):
        self.assertEqual(report("--check", LATEST, ROOT / "README.md"), (0, ""))


if __name__ == "__main__":
    unittest.main()
