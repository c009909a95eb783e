"""Proves that check_interface.py sees what changes code, and nothing else."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_interface

MODULE = "// Modules.\n#pragma once\ninline constexpr int module_interface = 7;\n"
STEP = 'struct step {\n  int tries = 1\'000;  // how often\n  const char* name = "a // b";\n};\n'


class InterfaceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        os.makedirs(os.path.join(self.root, check_interface.HEADERS))
        self.write("module.hpp", MODULE)
        self.write("step.hpp", STEP)
        check_interface.record(self.root)

    def path(self, name):
        return os.path.join(self.root, check_interface.HEADERS, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_what_is_recorded_stands_beside_the_number(self):
        self.assertRegex(self.read("module.hpp"), r"module_interface = 7;  // headers [0-9a-f]{16}\n")
        self.assertIsNone(check_interface.check(self.root))

    def test_comments_blanks_and_the_number_do_not_count(self):
        self.write("step.hpp", "/* A\n step. */\n" + STEP.replace("how often", "tries").replace("\n", "\n\n"))
        self.write("module.hpp", self.read("module.hpp").replace("= 7", "= 8"))
        self.assertIsNone(check_interface.check(self.root))

    def test_code_literals_and_files_count(self):
        for change in (
            STEP.replace("int", "long"),
            STEP.replace("1'000", "2'000"),
            STEP.replace("a // b", "a // c"),
            STEP.replace("a // b", "a  // b"),
            STEP.replace("};", "  int more = 0;\n};"),
        ):
            self.write("step.hpp", change)
            wrong = check_interface.check(self.root)
            self.assertIn("check_interface.py --record", wrong or "", change)
            self.assertIn("module_interface was 7", wrong)
        self.write("step.hpp", STEP)
        self.write("more.hpp", "#pragma once\n")
        self.assertIsNotNone(check_interface.check(self.root))
        check_interface.record(self.root)
        self.assertIsNone(check_interface.check(self.root))

    def test_a_number_with_nothing_recorded_is_told(self):
        self.write("module.hpp", MODULE)
        self.assertIn("recorded none", check_interface.check(self.root) or "")


if __name__ == "__main__":
    unittest.main()
