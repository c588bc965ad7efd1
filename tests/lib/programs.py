#!/usr/bin/python3
"""Runs the compiled test programs of a build for tests/run: as many at once as there are processors, and one more, because some of them wait.

    programs.py [--long] [--tool COMMAND] [--pattern WORDS] --counts FILE BUILD LABEL

A line for each program, in the order of their names, whichever ends first; behind a failed one the end of what it said. FILE gets how many tests passed and failed.
--tool: valgrind and the like. Programs of tests/unit alone, in their short form; none of whose sandbox forbids what tools do."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys

# Those that measure time: one after the other, when the others are done.
ALONE = {"test_timing"}
# A sandbox forbids what valgrind does.
NO_TOOLS = {"test_confine", "test_filters", "test_sandbox", "test_takeover"}
TOOL_FOUND = re.compile(r"^==\d+== |WARNING: ThreadSanitizer", re.M)


def programs(options):
    found = []
    for pattern in ("unit/test_*",) if options.tool else ("unit/test_*", "fault/fault_*", "fuzz/fuzz_*"):
        for path in sorted((options.build / "tests").glob(pattern)):
            if path.suffix == "" and path.is_file() and os.access(path, os.X_OK) and options.pattern in path.name:
                if not (options.tool and path.name in NO_TOOLS):
                    found.append(path)
    return found


def run(program, options):
    """(line or lines to print, passed, failed)"""
    environment = {**os.environ, "LONG": "yes" if options.long and not options.tool else "", "PRINT_SETTINGS": str(options.build / "src/config/print_settings")}
    patience = 7200 if options.long else 900
    done = subprocess.run(["timeout", str(patience), *options.tool, program], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    said, status = done.stdout.decode(errors="replace"), done.returncode
    # What a tool finds in a process that its test kills does not reach the status.
    if options.tool and TOOL_FOUND.search(said):
        status = "tool"

    ok = len(re.findall(r"^\[ *OK \]", said, re.M))
    # cmocka says these twice: when it happens, and in the end.
    skipped, bad = (len(set(re.findall(rf"^\[ *{result} *\] ([a-z].*)", said, re.M))) for result in ("SKIPPED", "FAILED"))
    name = options.label + program.name
    if status == 0 and ok + skipped > 0:
        seeds = "".join(f", seed {seed}" for seed in re.findall(r"^first seed (.*)", said, re.M))
        return f"  ok    {name} ({ok}){seeds}", ok, 0
    end = "".join(f"\n        {line}" for line in said.splitlines()[-60:])
    return f"  FAIL  {name} (exit {status}){end}", ok, max(bad, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--tool", type=shlex.split, default=[])
    parser.add_argument("--pattern", default="")
    parser.add_argument("--counts", type=pathlib.Path, required=True)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("label")
    options = parser.parse_args()

    passed = failed = 0
    every = programs(options)
    alone = [p for p in every if p.name in ALONE]
    with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        together = pool.map(lambda p: run(p, options), [p for p in every if p not in alone])
        for line, ok, bad in together:
            print(line, flush=True)
            passed, failed = passed + ok, failed + bad
    for program in alone:
        line, ok, bad = run(program, options)
        print(line, flush=True)
        passed, failed = passed + ok, failed + bad
    if not every and not options.pattern:
        print(f"  FAIL  {options.label}{options.build}: no test programs")
        failed = 1
    options.counts.write_text(f"{passed} {failed}\n")


sys.exit(main())
