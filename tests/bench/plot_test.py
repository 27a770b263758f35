"""bench/plot draws every chart from made-up results, the same bytes each time, and fails in one line without leaving
anything half-done."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import synthetic

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LATEST = ROOT / "bench/results/latest.json"
CHARTS = {"latency.svg", "percentiles.svg", "throughput.svg", "frames.svg", "wake.svg"}


def plot(*arguments):
    """Exit code and complaints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/plot"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def texts(svg):
    """Every text in a chart; not well-formed XML is an error."""
    root = xml.etree.ElementTree.fromstring(svg.read_bytes())
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


class Plot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nimsync-plot-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.charts = self.folder / "charts"

    def written(self, results):
        path = self.folder / "results.json"
        path.write_text(results if isinstance(results, str) else json.dumps(results), encoding="utf-8")
        return path

    def draw(self, results):
        """What it said, when it could be drawn."""
        code, complaints = plot(self.written(results), self.charts)
        self.assertEqual(code, 0, complaints)
        return complaints

    def found(self):
        return {each.name for each in self.charts.iterdir()}

    def expect_failure(self, path, reason, folder=None):
        """One line, exit code 1, and no chart."""
        code, complaints = plot(path, folder or self.charts)
        self.assertEqual(code, 1, complaints)
        self.assertEqual(len(complaints.splitlines()), 1, complaints)
        self.assertIn(reason, complaints)
        self.assertFalse(self.charts.exists())

    def test_every_workload_has_its_chart(self):
        self.assertEqual(self.draw(synthetic.results()), "")
        self.assertEqual(self.found(), CHARTS)

    def test_each_chart_is_well_formed_and_names_the_machine(self):
        self.draw(synthetic.results())
        for name in CHARTS:
            with self.subTest(name):
                machine = f"{synthetic.MACHINE['processor']}, 2 processors, Linux 6.1.0-test"
                self.assertIn(machine, texts(self.charts / name))

    def test_each_chart_has_a_white_ground(self):
        self.draw(synthetic.results())
        for name in CHARTS:
            with self.subTest(name):
                self.assertRegex((self.charts / name).read_text(encoding="utf-8"), r'<rect [^>]*fill="#ffffff"')

    def test_the_latency_chart_shows_every_layout_and_peer_and_the_ping_pong(self):
        self.draw(synthetic.results())
        shown = texts(self.charts / "latency.svg")
        for name in [f"nimsync {layout}" for layout in synthetic.LAYOUTS] + list(synthetic.PEERS):
            self.assertEqual(shown.count(name), 1, name)
        self.assertFalse([text for text in shown if text.startswith("bare ring")])
        for size in ("8 B", "64 B"):
            self.assertIn(f"{size};  dashed: two-line ping-pong, 121 ns", shown)

    def test_the_throughput_chart_shows_each_layouts_fastest_variant_and_the_limits(self):
        self.draw(synthetic.results())
        shown = texts(self.charts / "throughput.svg")
        for layout in synthetic.LAYOUTS:
            self.assertIn(f"nimsync {layout}, in place", shown)
            self.assertNotIn(f"nimsync {layout}", shown)
            self.assertNotIn(f"nimsync {layout}, class member", shown)
        for name in ("dirty lines", "memcpy", synthetic.BOOST, "readerwriterqueue, two threads", "iceoryx"):
            self.assertIn(name, shown)

    def test_a_chart_says_whom_it_had_no_room_for(self):
        self.draw(synthetic.results())
        for name in ("throughput.svg", "percentiles.svg"):
            with self.subTest(name):
                shown = texts(self.charts / name)
                rest = [text for text in shown if text.startswith("Not drawn, but in the tables: ")]
                self.assertEqual(len(rest), 1)
                for peer in synthetic.PEERS:
                    self.assertTrue(peer in shown or peer in rest[0], peer)

    def test_the_percentile_charts_go_from_the_median_to_one_in_a_thousand(self):
        self.draw(synthetic.results())
        for name in ("percentiles.svg", "wake.svg"):
            with self.subTest(name):
                shown = texts(self.charts / name)
                self.assertTrue({"p50", "p90", "p99", "p99.9"} <= set(shown), shown)

    def test_the_frames_chart_shows_every_ring_and_the_limit(self):
        self.draw(synthetic.results())
        shown = texts(self.charts / "frames.svg")
        for ring in ("256 KiB", "1 MiB", "4 MiB", "8 MiB"):
            self.assertIn(f"nimsync framed, {ring} ring", shown)
        self.assertIn("memcpy, 1 MiB", shown)

    def test_the_same_results_give_the_same_bytes(self):
        self.draw(synthetic.results())
        before = {each.name: each.read_bytes() for each in self.charts.iterdir()}
        self.draw(synthetic.results())
        self.assertEqual({each.name: each.read_bytes() for each in self.charts.iterdir()}, before)

    def test_names_are_never_commands(self):
        results = synthetic.results()
        evil = "peer'; system('touch evil') `touch evil` $(touch evil) \"\n!touch evil\n@x^{2} <&>"
        for table in results["tables"]:
            table["rows"][-1]["contestant"] = evil
        results["machine"]["processor"] = evil
        self.draw(results)
        self.assertFalse((self.folder / "evil").exists() or pathlib.Path("evil").exists())
        shown = "".join(texts(self.charts / "latency.svg"))
        self.assertIn("peer'; system('touch evil') `touch evil` $(touch evil) \"", shown)
        self.assertIn("@x^{2} <&>", shown)

    def test_a_workload_that_was_not_measured_has_no_chart_and_no_older_one(self):
        self.draw(synthetic.results())
        results = synthetic.results()
        results["tables"] = [table for table in results["tables"] if table["workload"] != "frames"]
        self.assertIn("no frames.svg: ", self.draw(results))
        self.assertEqual(self.found(), CHARTS - {"frames.svg"})

    def test_whom_nothing_was_kept_of_is_left_out_of_the_charts(self):
        results = synthetic.results()
        for table in results["tables"]:
            table["rows"][-1]["value"] = {"median": 0, "q1": 0, "q3": 0, "count": 0}
            table["rows"][-1]["percentiles"] = None
        self.draw(results)
        self.assertNotIn("iceoryx", texts(self.charts / "latency.svg"))
        self.assertNotIn("iceoryx", texts(self.charts / "throughput.svg"))

    def test_one_size_and_one_contestant_are_enough(self):
        results = synthetic.results()
        kept = [("rtt", 64), ("throughput", 64), ("frames", 64), ("frames", 256)]
        results["tables"] = [table for table in results["tables"] if (table["workload"], table["size"]) in kept]
        for table in results["tables"]:
            table["rows"] = [row for row in table["rows"] if row["kind"] == "nimsync"][:1]
        self.draw(results)
        self.assertEqual(self.found(), {"latency.svg", "throughput.svg", "frames.svg"})

    def test_results_that_are_not_there_fail(self):
        self.expect_failure(self.folder / "none.json", "none.json: No such file")

    def test_results_that_are_no_json_fail(self):
        for text in ("", "{", '{"version": NaN}', "[" * 100_000):
            with self.subTest(text[:20]):
                self.expect_failure(self.written(text), "results.json")

    def test_another_version_fails(self):
        for version in (1, 3, "2", None):
            with self.subTest(version):
                self.expect_failure(self.written(synthetic.results() | {"version": version}), "version")
        self.expect_failure(self.written("[]"), "version")

    def test_results_without_a_table_fail(self):
        self.expect_failure(self.written(synthetic.results() | {"tables": []}), "no table")
        results = synthetic.results()
        for table in results["tables"]:
            table["rows"] = []
        self.expect_failure(self.written(results), "no table")

    def test_a_field_that_is_missing_or_of_another_type_is_named(self):
        results = synthetic.results()
        del results["tables"][0]["rows"][2]["value"]["median"]
        self.expect_failure(self.written(results), "tables[0].rows[2].value has no 'median'")
        results = synthetic.results()
        results["tables"][1]["size"] = "8"
        self.expect_failure(self.written(results), "tables[1].size")

    def test_a_folder_that_can_not_be_written_fails(self):
        file = self.written(synthetic.results())
        self.expect_failure(file, "can't be written", folder=file / "charts")

    def test_wrong_usage_is_told_apart(self):
        for arguments in ((), ("one",), ("one", "two", "three"), ("--none", "one", "two")):
            with self.subTest(arguments):
                code, complaints = plot(*arguments)
                self.assertEqual(code, 2, complaints)
                self.assertIn("usage: ", complaints)

    @unittest.skipUnless(LATEST.exists(), "no results are committed")
    def test_the_committed_charts_are_those_of_the_committed_results(self):
        code, complaints = plot(LATEST, self.charts)
        self.assertEqual(code, 0, complaints)
        committed = {each.name: each for each in LATEST.parent.glob("*.svg")}
        self.assertEqual(set(committed), self.found())
        for name, file in committed.items():
            self.assertEqual(file.read_bytes(), (self.charts / name).read_bytes(), name)


if __name__ == "__main__":
    unittest.main()
