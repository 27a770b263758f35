"""The check of the floors passes on this tree, and finds each kind of breach that is planted in a copy of it."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PARTS = (".ci", "include", "lib", "daemon", "tools")


def check(root):
    """Exit code and output of the check."""
    done = subprocess.run(
        [sys.executable, str(root / ".ci/floors")], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


class Floors(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nimsync-floors-")
        self.addCleanup(folder.cleanup)
        self.copy = pathlib.Path(folder.name)
        for part in PARTS:
            shutil.copytree(ROOT / part, self.copy / part)
        shutil.copy(ROOT / "README.md", self.copy)

    def expect_breach(self, file, line, reason):
        """Plants `line` as the first of `file` (made when absent) and expects it to be the only breach."""
        path = self.copy / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line + "\n" + (path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
        code, output = check(self.copy)
        self.assertEqual(code, 1, output)
        breaches = output.splitlines()[:-1]
        self.assertEqual(len(breaches), 1, output)
        self.assertTrue(breaches[0].startswith(f"{file}:1: "), output)
        self.assertIn(reason, breaches[0])

    def test_this_tree_has_no_breach(self):
        code, output = check(ROOT)
        self.assertEqual(code, 0, output)

    def test_a_ring_that_includes_an_endpoint_is_a_breach(self):
        self.expect_breach("include/nimsync/stamped_ring.hpp", '#include "nimsync/endpoint.hpp"', "above")

    def test_the_layout_that_includes_a_ring_is_a_breach(self):
        self.expect_breach("include/nimsync/layout.hpp", "#include <nimsync/ring.hpp>", "above")

    def test_a_public_header_that_includes_an_inner_one_is_a_breach(self):
        self.expect_breach("include/nimsync/channel.hpp", '#include "os/segment.hpp"', "lib/os/segment.hpp")

    def test_a_public_header_that_includes_boost_is_a_breach(self):
        self.expect_breach("include/nimsync/registry.hpp", "#include <boost/version.hpp>", "boost/version.hpp")

    def test_a_file_that_includes_the_asio_leaf_is_a_breach(self):
        for file in ("include/nimsync/nimsync.hpp", "lib/client/registry.cpp", "tools/commands.cpp", "tools/main.cpp"):
            with self.subTest(file):
                before = (self.copy / file).read_text(encoding="utf-8")
                self.expect_breach(file, "#include <nimsync/asio.hpp>", "include/nimsync/asio.hpp")
                (self.copy / file).write_text(before, encoding="utf-8")

    def test_the_asio_leaf_that_includes_the_librarys_inside_is_a_breach(self):
        self.expect_breach("include/nimsync/asio.hpp", '#include "client/attachment.hpp"', "lib/client/attachment.hpp")

    def test_a_public_header_that_includes_the_systems_is_a_breach(self):
        self.expect_breach("include/nimsync/status.hpp", "  #  include <sys/mman.h>", "sys/mman.h")

    def test_the_protocol_that_does_io_is_a_breach(self):
        self.expect_breach("lib/protocol/varlink.cpp", "#include <sys/socket.h>", "sys/socket.h")

    def test_the_systems_side_that_speaks_json_is_a_breach(self):
        self.expect_breach("lib/os/line.cpp", "#include <nlohmann/json.hpp>", "nlohmann/json.hpp")

    def test_the_library_that_includes_the_daemon_is_a_breach(self):
        (self.copy / "daemon/planted.hpp").touch()
        self.expect_breach("lib/client/planted.cpp", '#include "daemon/planted.hpp"', "above")

    def test_the_daemon_that_includes_a_rings_algorithm_is_a_breach(self):
        for header in ("ring", "stamped_ring", "dense_ring", "framed_ring", "endpoint", "channel"):
            with self.subTest(header):
                self.expect_breach(f"daemon/planted_{header}.cpp", f'#include "nimsync/{header}.hpp"', header)
                (self.copy / f"daemon/planted_{header}.cpp").unlink()

    def test_a_tool_that_includes_the_librarys_inside_is_a_breach(self):
        self.expect_breach("tools/planted.cpp", '#include "protocol/varlink.hpp"', "lib/protocol/varlink.hpp")

    def test_a_tool_that_includes_the_daemon_is_a_breach(self):
        (self.copy / "daemon/planted.hpp").touch()
        self.expect_breach("tools/planted.cpp", '#include "../daemon/planted.hpp"', "daemon/planted.hpp")

    def test_a_file_that_includes_a_main_is_a_breach(self):
        (self.copy / "daemon/main.cpp").touch()
        self.expect_breach("daemon/planted.cpp", '#include "daemon/main.cpp"', "above")

    def test_a_file_of_no_floor_is_a_breach(self):
        self.expect_breach("include/nimsync/planted.hpp", "#pragma once", "no floor")

    def test_an_include_in_a_comment_is_none(self):
        path = self.copy / "include/nimsync/status.hpp"
        path.write_text("// #include <boost/version.hpp>\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
        code, output = check(self.copy)
        self.assertEqual(code, 0, output)

    def test_a_table_that_cant_be_read_fails_the_check(self):
        (self.copy / "README.md").write_text("no table\n", encoding="utf-8")
        code, output = check(self.copy)
        self.assertEqual(code, 2, output)
        self.assertIn("no table", output)


if __name__ == "__main__":
    unittest.main()
