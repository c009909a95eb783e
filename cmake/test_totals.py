"""Adds up the JUnit reports of several ctest runs and prints `N passed, N failed`.

A Catch2 program counts by its test cases, any other test as one. A program that ends without its
summary (crash, timeout) counts as one failure. Lines that begin with `skipped:` name what a test
could not do on this machine. Exits 1 if anything failed or nothing ran.
"""
import re
import sys
import xml.etree.ElementTree as xml

ALL_PASSED = re.compile(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)")
SOME_FAILED = re.compile(r"^test cases:\s+(\d+)(.*)$", re.M)


def count(output, ok):
    """(passed, failed) of one ctest test."""
    if match := ALL_PASSED.search(output):
        # A sanitizer may still fail the program after its last test.
        return (int(match.group(1)), 0 if ok else 1)
    if match := SOME_FAILED.search(output):
        failed = re.search(r"(\d+) failed", match.group(2))
        bad = int(failed.group(1)) if failed else 0
        return (int(match.group(1)) - bad, bad if ok else max(bad, 1))
    return (1, 0) if ok else (0, 1)


def main(reports):
    passed = failed = skipped = 0
    broken = []
    for report in reports:
        for test in xml.parse(report).getroot().iter("testcase"):
            output = test.findtext("system-out") or ""
            if test.get("status") in ("disabled", "notrun") and test.find("skipped") is not None:
                skipped += 1
                continue
            ok = test.find("failure") is None and test.get("status") == "run"
            good, bad = count(output, ok)
            for line in re.findall(r"^skipped: .*$", output, re.M):
                print(f"{test.get('name')}: {line}")
                skipped += 1
            passed += good
            failed += bad
            if bad:
                broken.append(f"{report}: {test.get('name')}")
    for name in broken:
        print(f"failed: {name}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
