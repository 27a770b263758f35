"""bench/run, in a small tree of its own whose bench, build and packages are made up: a whole run replaces the results,
and nothing else does."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import synthetic

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = "# a project\n\n<!-- measured: begin -->\n<!-- measured: end -->\n"
CHARTS = {"latency.svg", "percentiles.svg", "throughput.svg", "frames.svg", "wake.svg"}


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nimsync-run-")
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)
        (self.tree / "bench").mkdir()
        for each in ("run", "plot", "report"):
            shutil.copy(ROOT / "bench" / each, self.tree / "bench")
        (self.tree / "README.md").write_text(README, encoding="utf-8")
        (self.tree / "measured.json").write_text(json.dumps(synthetic.results()), encoding="utf-8")
        program(self.tree / ".ci/install", "#!/bin/sh\n")
        program(self.tree / "path/cmake", "#!/bin/sh\necho cmake $@\n")
        self.bench('echo "$@" > arguments; cat measured.json')
        self.results = self.tree / "bench/results"
        self.aside = self.tree / "build/release/bench-results"

    def bench(self, script):
        program(self.tree / "build/release/bin/nimsync_bench", f"#!/bin/sh\n{script}\n")

    def start(self, *options):
        return subprocess.Popen(
            [str(self.tree / "bench/run"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PATH": f"{self.tree / 'path'}:{os.environ['PATH']}"},
        )

    def run_it(self, *options):
        """Exit code and complaints."""
        with self.start(*options) as process:
            _, complaints = process.communicate(timeout=60)
        return process.returncode, complaints

    def state(self):
        """All that a run may replace."""
        files = [self.tree / "README.md", *(each for each in self.results.rglob("*") if each.is_file())]
        return {each: each.read_bytes() for each in files}

    def whole(self):
        code, complaints = self.run_it()
        self.assertEqual(code, 0, complaints)
        return complaints

    def expect_untouched(self, code, *options):
        """A run that ends with that code, and after which all is as before."""
        before = self.state()
        ended, complaints = self.run_it(*options)
        self.assertEqual(ended, code, complaints)
        self.assertIn("bench/results is as it was", complaints)
        self.assertEqual(self.state(), before)
        self.assertFalse(list(self.results.glob(".new*")))

    def test_a_run_without_options_replaces_results_charts_and_the_readmes_part(self):
        self.results.mkdir()
        (self.results / "older.svg").touch()
        self.whole()
        self.assertEqual({each.name for each in self.results.iterdir()}, CHARTS | {"latest.json"})
        self.assertEqual((self.results / "latest.json").read_bytes(), (self.tree / "measured.json").read_bytes())
        check = [sys.executable, "bench/report", "--check", "bench/results/latest.json", "README.md"]
        self.assertEqual(subprocess.run(check, cwd=self.tree, timeout=60, check=False).returncode, 0)
        for chart in CHARTS:
            self.assertIn(f"](bench/results/{chart})", (self.tree / "README.md").read_text(encoding="utf-8"))
        self.assertEqual((self.tree / "arguments").read_text(encoding="utf-8"), "--json\n")

    def test_a_run_with_options_leaves_the_results_and_the_readme_alone_and_says_so(self):
        self.whole()
        before = self.state()
        code, complaints = self.run_it("--quick", "--only", "rtt")
        self.assertEqual(code, 0, complaints)
        self.assertIn("bench/results and README.md stay as they are", complaints)
        self.assertEqual(self.state(), before)
        self.assertEqual({each.name for each in self.aside.iterdir()}, CHARTS | {"latest.json"})
        self.assertEqual((self.tree / "arguments").read_text(encoding="utf-8"), "--quick --only rtt --json\n")

    def test_a_bench_that_fails_replaces_nothing(self):
        self.whole()
        self.bench("head -c 1000 measured.json; exit 3")
        self.expect_untouched(3)

    def test_results_that_can_not_be_drawn_replace_nothing(self):
        self.whole()
        self.bench("head -c 1000 measured.json")
        self.expect_untouched(1)

    def test_a_signal_ends_the_bench_and_replaces_nothing(self):
        self.whole()
        before = self.state()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number.name):
                fifo = self.tree / f"began.{number.name}"
                os.mkfifo(fifo)
                # It says that it began by the open, and that it is gone by the end of the file.
                self.bench(f'head -c 1000 measured.json; exec 3> {fifo}; trap "" INT; exec cat {self.hold()}')
                process = self.start()
                self.addCleanup(process.kill)
                with open(fifo, "rb") as alive:
                    process.send_signal(number)
                    _, complaints = process.communicate(timeout=60)
                    self.assertEqual(alive.read(), b"")
                self.assertEqual(process.returncode, 128 + number, complaints)
                self.assertEqual(self.state(), before)
                self.assertFalse(list(self.results.glob(".new*")))

    def hold(self):
        """A FIFO that has nothing to read, and ends with the test at the latest: whoever reads it then ends too."""
        fifo = self.tree / "hold"
        if not fifo.exists():
            os.mkfifo(fifo)
            held = os.open(fifo, os.O_RDWR)
            self.addCleanup(os.close, held)
        return fifo

    def test_a_readme_without_markers_fails_before_anything_is_measured(self):
        (self.tree / "README.md").write_text("# a project\n", encoding="utf-8")
        code, complaints = self.run_it()
        self.assertEqual(code, 1, complaints)
        self.assertIn("<!-- measured: begin -->", complaints)
        self.assertFalse((self.tree / "arguments").exists())
        self.assertEqual(self.run_it("--quick")[0], 0)

    def test_peers_that_can_not_be_installed_are_said_and_do_not_end_it(self):
        program(self.tree / ".ci/install", "#!/bin/sh\n[ $1 != peers ]\n")
        self.assertIn("the peers' packages could not be installed", self.whole())

    def test_a_build_that_fails_ends_it(self):
        program(self.tree / "path/cmake", "#!/bin/sh\nexit 4\n")
        self.assertEqual(self.run_it()[0], 4)
        self.assertFalse(self.results.exists() or (self.tree / "arguments").exists())

    def test_help_is_its_own_and_measures_nothing(self):
        with self.start("--help") as process:
            said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertIn("usage: bench/run", said)
        self.assertFalse((self.tree / "arguments").exists())


if __name__ == "__main__":
    unittest.main()
