"""Checks the rules of the code that no compiler knows: who may include whom, names, lengths.

Run as the test `tidy`; `tidy_self_test` (cmake/tidy_test.py) proves that each rule can fail.
Usage: tidy.py [ROOT]. Prints `file:line: rule: message` for each finding and exits 1 if any.
"""
import os
import re
import sys

# -- the rules, as data ----------------------------------------------------------------------

# Modules from the ground up; each may include those named. docs/architecture.md draws it.
LAYERS = {
    "base": {"base"},
    "include": {"include"},
    "proto": {"proto"},
    "storage": {"storage", "base", "proto"},
    "runtime": {"runtime", "base", "proto"},
    "model": {"model", "base"},
    "actors": {"actors", "model", "runtime", "storage", "base", "proto"},
    "gateway": {"gateway", "actors", "runtime", "storage", "base", "proto"},
    "node": {"node", "gateway", "actors", "model", "runtime", "storage", "base", "proto"},
    "cli": {"cli", "node", "gateway", "actors", "runtime", "storage", "base", "proto"},
    "bench": {"bench", "cli", "gateway", "storage", "actors", "runtime", "base", "proto", "tests"},
    "examples": {"examples", "cli", "base", "proto", "include"},
}

# Single headers that cross a line on purpose: the interfaces that a pure core implements.
LAYER_EXCEPTIONS = {
    "runtime": {"storage/projection.hpp", "storage/record.hpp"},
}

# (what is included, files that may do so, why). The first fitting entry decides.
THIRD_PARTY = [
    (r"rocksdb/", r"(tests/)?storage/|tests/support/crash_file_system|bench/", "RocksDB stays inside storage/"),
    (r"caf/fwd\.hpp", r".*", ""),
    (r"caf/all\.hpp", r"$^", "include the CAF header you use"),
    (
        r"caf/",
        r"actors/|node/|gateway/[a-z_]*(connection|bridge|actor|gateway)[a-z_]*\.(cpp|hpp)"
        r"|tests/(actors|node|gateway|support)/",
        "CAF stays in actors/, node/ and the gateway's connection files",
    ),
    (
        r"boost/beast",
        r"gateway/|cli/|bench/|tests/|examples/",
        "Beast stays in the gateway and in clients",
    ),
    (
        r"boost/asio",
        r"gateway/|cli/|bench/|tests/|examples/|actors/io_[a-z_]+\.(cpp|hpp)|actors/relay_[a-z_]+\.(cpp|hpp)",
        "Asio stays in the gateway, in clients and in actors of I/O threads",
    ),
    (r"curl/", r"model/", "libcurl stays in model/"),
    (r"CLI/", r"cli/|bench/|examples/", "the command line stays in cli/"),
    (r"toml\.hpp", r"base/config", "settings are read in base/config*.cpp"),
    (
        r".*\.pb\.h",
        r"(.*codec.*|storage/.*|.*\.cpp|tests/.*|bench/.*)$",
        "Protobuf types stay in codecs, never in headers that others include",
    ),
]

BANNED_NAME_WORDS = {"manager", "util", "utils", "helper", "helpers", "misc", "common"}

LINES_MAX = 600
TEST_LINES_MAX = 800

# (pattern in code, files that may, message)
BANNED_CODE = [
    (
        r"\bstd::j?thread\b(?!::)",
        r"storage/|actors/reader_pool|gateway/(io_threads|gateway|listener)|node/(node|signals)"
        r"|model/chat_client"
        r"|cli/|bench/|tests/|examples/",
        "threads exist only where docs/architecture.md lists them",
    ),
    (
        r"\b(system_clock|steady_clock|high_resolution_clock)::now\b",
        r"base/clock\.cpp|cli/|bench/|tests/|examples/",
        "time comes from callboard::clock",
    ),
    (
        r"\bstd::(rand|random_device|mt19937(_64)?)\b|\bs?rand\(",
        r"base/(uuid|random)|cli/|bench/|tests/|examples/|gateway/[a-z_]+\.cpp",
        "randomness comes from a seeded source that is handed in",
    ),
    (
        r"\bsleep_for\b|(?<!ctx\.)\bsleep_until\b|\busleep\(|(?<![\w.:])sleep\(",
        # Storage tests poll real threads while they move a clock by hand; workflows sleep durably.
        r"include/|runtime/workflow/|tests/runtime/workflow/|tests/support/eventually\.hpp|tests/storage/|cli/|bench/|examples/|storage/",
        "tests wait for what they expect, not for time (tests/support/eventually.hpp)",
    ),
    (r"\bcaf::infinite\b", r"tests/", "every request has a finite timeout"),
    (r"\baout\(", r"$^", "logs go through base/log.hpp"),
    (
        r"\bstd::(cout|cerr|clog)\b",
        r"cli/|bench/|tests/|examples/",
        "logs go through base/log.hpp",
    ),
    (
        r"^\s*using namespace (?!(std::)?\w*literals|std::\w+_literals)(std|boost|caf|rocksdb|google)\b",
        r"tests/|bench/|examples/|cli/",
        "names of libraries are written with their namespace",
    ),
    (r"\b(FIXME|TODO|XXX)\b", r"$^", "finish it, or write it into an issue"),
    (r"catch \(\.\.\.\) *\{\s*\}", r"$^", "no error is swallowed"),
]

SOURCE_FOLDERS = [*LAYERS, "tests", "include"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# -- reading ---------------------------------------------------------------------------------


def sources(root):
    for folder in SOURCE_FOLDERS:
        for where, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".hpp", ".cpp", ".proto")):
                    yield os.path.relpath(os.path.join(where, name), root)


def code_of(line):
    """The line without comments and string contents (both may mention anything)."""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    return line.split("//", 1)[0]


class tree:
    """All files of the tree with their includes and what the checks found."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        self.findings = []
        for path in sources(root):
            with open(os.path.join(root, path), encoding="utf-8") as file:
                self.files[path] = file.read().splitlines()
        self.includes = {
            path: [
                (number, match.group(2))
                for number, line in enumerate(lines, 1)
                if (match := INCLUDE.match(line))
            ]
            for path, lines in self.files.items()
        }

    def report(self, path, line, rule, message):
        self.findings.append(f"{path}:{line}: {rule}: {message}")


# -- checks ----------------------------------------------------------------------------------


def check_layers(tree):
    for path, includes in tree.includes.items():
        module = path.split("/")[0]
        if module not in LAYERS:
            continue
        for line, target in includes:
            used = target.split("/")[0]
            if used not in SOURCE_FOLDERS or used in LAYERS[module]:
                continue
            if target in LAYER_EXCEPTIONS.get(module, ()):
                continue
            tree.report(path, line, "layer", f"{module} must not include {used} ({target})")


def check_third_party(tree):
    for path, includes in tree.includes.items():
        for line, target in includes:
            for pattern, allowed, why in THIRD_PARTY:
                if re.match(pattern, target):
                    if not re.match(allowed, path):
                        tree.report(path, line, "third-party", f"{target}: {why}")
                    break


def reaches(tree, path, pattern, seen):
    """True if `path` includes a header that matches, directly or through our own headers."""
    for _, target in tree.includes.get(path, ()):
        if re.match(pattern, target) and target != "caf/fwd.hpp":
            return True
        if target in tree.files and target not in seen:
            seen.add(target)
            if reaches(tree, target, pattern, seen):
                return True
    return False


def check_heavy_pairs(tree):
    for path in tree.files:
        if not path.endswith(".cpp"):
            continue
        if reaches(tree, path, r"caf/", set()) and reaches(tree, path, r"boost/beast", set()):
            tree.report(path, 1, "heavy", "CAF and Beast in one file take 35 s to compile; split it")


def check_names(tree):
    for path in tree.files:
        for part in path.split("/"):
            words = set(re.split(r"[_.\-]", part))
            if banned := words & BANNED_NAME_WORDS:
                tree.report(path, 1, "name", f"'{banned.pop()}' says nothing; name the duty")


def check_shape(tree):
    for path, lines in tree.files.items():
        bound = TEST_LINES_MAX if path.startswith("tests/") else LINES_MAX
        if len(lines) > bound:
            tree.report(path, len(lines), "length", f"{len(lines)} lines; split by {bound}")
        if path.endswith(".hpp") and "#pragma once" not in lines[:40]:
            tree.report(path, 1, "pragma", "a header begins with #pragma once")
        own_header = path.endswith(".cpp") and path[:-4] + ".hpp" in tree.files
        needs_purpose = not own_header and not path.endswith(".test.cpp")
        if needs_purpose and not (lines and lines[0].startswith("//")):
            tree.report(path, 1, "purpose", "the first line says what the file is for")


def check_code(tree):
    for path, lines in tree.files.items():
        if path.endswith(".proto"):
            continue
        for number, line in enumerate(lines, 1):
            code = code_of(line)
            for pattern, allowed, why in BANNED_CODE:
                # Unfinished business hides in comments, everything else in code.
                text = line if "FIXME" in pattern else code
                if re.search(pattern, text) and not re.match(allowed, path):
                    tree.report(path, number, "banned", why)


def check(root):
    found = tree(root)
    for rule in (
        check_layers, check_third_party, check_heavy_pairs, check_names, check_shape, check_code
    ):
        rule(found)
    return found


def main(arguments):
    root = arguments[0] if arguments else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = check(root)
    for finding in found.findings:
        print(finding)
    print(f"tidy: {len(found.files)} files, {len(found.findings)} findings")
    return 1 if found.findings or not found.files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
