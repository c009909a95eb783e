"""Checks that the public headers are those for which `module_interface` was last thought about.

A module that was built with other headers than the node is refused by that number, which a person
raises. Beside it, in include/callboard/module.hpp, stands a digest of all public headers without
comments and blanks: a header that changes makes this test fail until somebody has decided.

Usage: check_interface.py [--record] [ROOT]. `--record` writes the digest of the headers as they are.
"""
import hashlib
import os
import re
import sys

HEADERS = os.path.join("include", "callboard")
NUMBER = os.path.join(HEADERS, "module.hpp")
RECORD = re.compile(r"(\bmodule_interface = )(\d+)(;)(?: +// headers ([0-9a-f]*))?")

# A quote behind a digit separates digits.
TOKENS = re.compile(
    r"""(?P<dropped>//[^\n]*|/\*.*?\*/|\s+)
    |(?P<kept>R"(?P<end>[^(\s]*)\(.*?\)(?P=end)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z])'(?:\\.|[^'\\\n])+'|.)""",
    re.S | re.X,
)


def code_of(text):
    """The text without comments and without blanks that are no part of a literal."""
    return "".join(match["kept"] or "" for match in TOKENS.finditer(text))


def digest_of(root):
    """Of all headers, by name; the number itself and what is recorded beside it do not count."""
    seen = hashlib.sha256()
    folder = os.path.join(root, HEADERS)
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".hpp"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = RECORD.sub(r"\1\3", file.read())
        seen.update(f"{name}\0{code_of(text)}\0".encode())
    return seen.hexdigest()[:16]


def check(root):
    """Nothing, or what is wrong."""
    with open(os.path.join(root, NUMBER), encoding="utf-8") as file:
        number = RECORD.search(file.read())
    if not number:
        return f"{NUMBER} has no line `module_interface = N;`"
    digest = digest_of(root)
    if number[4] == digest:
        return None
    return (
        f"{NUMBER}: the public headers have changed since module_interface was {number[2]}.\n"
        "Would a module that was built before still fit: does no class, function or constant that\n"
        "compiled code relies on differ? If it would not, raise module_interface, with a line in\n"
        "CHANGELOG.md (modules must be built anew). Then record the headers, in either case:\n"
        "    python3 cmake/check_interface.py --record\n"
        f"recorded {number[4] or 'none'}, now {digest}"
    )


def record(root):
    path = os.path.join(root, NUMBER)
    digest = digest_of(root)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(RECORD.sub(rf"\g<1>\g<2>\g<3>  // headers {digest}", text))


def main(arguments):
    is_record = "--record" in arguments
    rest = [one for one in arguments if one != "--record"]
    root = rest[0] if rest else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if is_record:
        record(root)
    wrong = check(root)
    print(wrong or "interface: the public headers are those of module_interface")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
