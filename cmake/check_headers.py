"""Checks that every header compiles alone, that is, includes all that it uses.

A header that is the first include of a .cpp file is proved by the build of that file, unless
precompiled headers go before; only the others are compiled here (syntax only, in parallel). Usage:
check_headers.py BUILD_FOLDER.
"""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("base", "storage", "runtime", "model", "actors", "gateway", "node", "cli", "tests", "bench")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+\.hpp)"', re.M)
ANY_INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"][^>\"]+[>\"])", re.M)


def compile_commands(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        return json.load(file)


def headers_and_first_includes(commands):
    precompiled = {c["file"] for c in commands if "-include-pch" in c["command"]}
    headers, proved = [], set()
    for folder in FOLDERS:
        for where, _, files in os.walk(os.path.join(ROOT, folder)):
            for name in files:
                path = os.path.join(where, name)
                if name.endswith(".hpp"):
                    headers.append(os.path.relpath(path, ROOT))
                elif name.endswith(".cpp") and path not in precompiled:
                    with open(path, encoding="utf-8") as file:
                        first = ANY_INCLUDE.search(file.read())
                    if first:
                        proved.add(first.group(1).strip('"<>'))
    return sorted(headers), proved


def flags_by_module(commands):
    """Compiler and flags of some file of each module, without the file itself."""
    flags = {}
    for entry in commands:
        module = os.path.relpath(entry["file"], ROOT).split(os.sep)[0]
        words = [w for w in shlex.split(entry["command"]) if "ccache" not in os.path.basename(w)]
        kept, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word in ("-o", "-c", "-MF", "-MT", "-Xclang"):
                # What is passed by -Xclang is of precompiled headers.
                skip = True
            elif word not in ("-MD", entry["file"]):
                kept.append(word)
        # The file with the most include folders can compile any header of its module.
        if len(kept) > len(flags.get(module, [])):
            flags[module] = kept
    return flags


def compile_alone(header, flags):
    command = [*flags, "-fsyntax-only", "-Wno-pragma-once-outside-header", "-x", "c++", header]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return header, done.returncode, done.stderr


def main(build):
    commands = compile_commands(build)
    headers, proved = headers_and_first_includes(commands)
    flags = flags_by_module(commands)
    fallback = max(flags.values(), key=len)
    open_headers = [h for h in headers if h not in proved]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(compile_alone, h, flags.get(h.split("/")[0], fallback))
            for h in open_headers
        ]
        for job in jobs:
            header, code, output = job.result()
            if code:
                bad += 1
                print(f"{header} does not compile alone:\n{output[:2000]}")
    print(f"headers: {len(headers)} in all, {len(open_headers)} compiled alone, {bad} bad")
    return 1 if bad or not headers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
