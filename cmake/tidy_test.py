"""Proves that every rule of tidy.py can fail, on small trees made for it."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy

HEADER = "// A thing.\n#pragma once\n"


class TidyTest(unittest.TestCase):
    def findings(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text)
            return tidy.check(root).findings

    def assert_rule(self, rule, files):
        found = self.findings(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(f": {rule}: ", found[0])

    def test_a_sound_tree_has_no_findings(self):
        self.assertEqual(self.findings({
            "base/thing.hpp": HEADER,
            "runtime/core.hpp": HEADER + '#include "base/thing.hpp"\n'
                                '#include "storage/record.hpp"\n',
            "storage/record.hpp": HEADER,
            "storage/store.cpp": "// Stores.\n#include <rocksdb/db.h>\n",
            "base/clock.cpp": "// Time.\nauto t = std::chrono::steady_clock::now();\n",
            "gateway/session_actor.cpp": "// Bridge.\n#include <caf/actor.hpp>\n",
            "tests/base/thing.test.cpp": '#include "base/thing.hpp"\n',
        }), [])

    def test_a_lower_module_includes_a_higher_one(self):
        self.assert_rule("layer", {"base/a.hpp": HEADER + '#include "storage/journal.hpp"\n'})
        self.assert_rule("layer", {"runtime/a.hpp": HEADER + '#include "storage/journal.hpp"\n'})
        self.assert_rule("layer", {"storage/a.hpp": HEADER + '#include "runtime/core.hpp"\n'})
        self.assert_rule("layer", {"model/a.hpp": HEADER + '#include "runtime/core.hpp"\n'})
        self.assert_rule("layer", {"actors/a.hpp": HEADER + '#include "gateway/gateway.hpp"\n'})
        self.assert_rule("layer", {"gateway/a.hpp": HEADER + '#include "node/node.hpp"\n'})
        self.assert_rule("layer", {"node/a.hpp": HEADER + '#include "cli/main.hpp"\n'})

    def test_a_library_leaks_out_of_its_module(self):
        for path, include in (
            ("runtime/a.hpp", "rocksdb/db.h"),
            ("storage/a.hpp", "caf/actor.hpp"),
            ("gateway/http_session.hpp", "caf/actor.hpp"),
            ("actors/a.hpp", "boost/beast/core.hpp"),
            ("storage/a.hpp", "boost/asio.hpp"),
            ("gateway/a.hpp", "CLI/CLI.hpp"),
            ("actors/a.hpp", "caf/all.hpp"),
            ("actors/a.hpp", "curl/curl.h"),
        ):
            self.assert_rule("third-party", {path: HEADER + f"#include <{include}>\n"})
        self.assert_rule(
            "third-party", {"runtime/a.hpp": HEADER + '#include "proto/journal.pb.h"\n'})

    def test_caf_and_beast_meet_in_one_file_through_a_header(self):
        self.assert_rule("heavy", {
            "gateway/connection_actor.cpp":
                "// Both.\n#include <caf/actor.hpp>\n#include \"gateway/socket.hpp\"\n",
            "gateway/socket.hpp": HEADER + "#include <boost/beast/websocket.hpp>\n",
        })

    def test_a_file_name_says_nothing(self):
        self.assert_rule("name", {"base/string_utils.hpp": HEADER})
        self.assert_rule("name", {"actors/topic_manager.hpp": HEADER})
        self.assert_rule("name", {"tests/common/thing.hpp": HEADER})

    def test_a_file_is_too_long(self):
        self.assert_rule("length", {"base/a.hpp": HEADER + "int x;\n" * 600})
        self.assert_rule("length", {"tests/base/a.test.cpp": "int x;\n" * 801})

    def test_a_header_lacks_its_first_lines(self):
        self.assert_rule("pragma", {"base/a.hpp": "// A thing.\n"})
        self.assert_rule("purpose", {"base/a.hpp": "#pragma once\n"})
        self.assert_rule("purpose", {"base/a.cpp": "int x;\n"})

    def test_code_calls_what_it_must_not(self):
        for path, line in (
            ("actors/a.cpp", "std::jthread t{[] {}};"),
            ("runtime/a.cpp", "auto t = std::chrono::system_clock::now();"),
            ("runtime/a.cpp", "auto t = std::chrono::steady_clock::now();"),
            ("runtime/a.cpp", "std::random_device seed;"),
            ("tests/base/a.test.cpp", "std::this_thread::sleep_for(1s);"),
            ("actors/a.cpp", "self->request(x, caf::infinite, y);"),
            ("actors/a.cpp", "aout(self) << x;"),
            ("base/a.cpp", "std::cout << x;"),
            ("base/a.cpp", "using namespace std;"),
            ("base/a.cpp", "// FIXME later"),
            ("base/a.cpp", "catch (...) {}"),
        ):
            self.assert_rule("banned", {path: f"// A thing.\n{line}\n"})

    def test_comments_and_strings_may_mention_banned_calls(self):
        self.assertEqual(self.findings({
            "base/a.cpp": '// Not std::jthread.\nauto x = "steady_clock::now";\n'}), [])


if __name__ == "__main__":
    unittest.main()
