#!/usr/bin/env python3
"""Executes the shell blocks of a Markdown file, in order, in one shell, as a reader would.

    run_blocks.py SOURCE_DIR BUILD_DIR FILE.md

The shell starts in a temporary directory that shows the source tree through links, so that what the commands write does
not land in the tree, and finds the programs of the build. Lines that call `make` are not executed here (`make check` is
what runs this test; `make demo` has a test of its own), but their targets must exist. Everything started by the blocks is
ended with the shell's process group.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

TIME_LIMIT_S = 120


def shell_blocks(text):
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def make_targets(makefile):
    with open(makefile) as f:
        return set(re.findall(r"^([a-z-]+):", f.read(), flags=re.MULTILINE))


def script_of(blocks, targets):
    lines = ["set -euo pipefail"]
    for block in blocks:
        for line in block.splitlines():
            call = re.match(r"make ([a-z-]+)", line)
            if call and call.group(1) not in targets:
                sys.exit("error: the document calls `make %s`, which does not exist" % call.group(1))
            if not call:
                lines.append(line)
    return "\n".join(lines) + "\n"


def link_tree(source, build, where):
    for entry in os.listdir(source):
        if entry != ".git" and not entry.startswith("build"):
            os.symlink(os.path.join(source, entry), os.path.join(where, entry))
    os.symlink(build, os.path.join(where, "build"))


def main():
    source, build, document = sys.argv[1:]
    with open(document) as f:
        blocks = shell_blocks(f.read())
    if not blocks:
        sys.exit("error: %s has no shell blocks" % document)
    script = script_of(blocks, make_targets(os.path.join(source, "Makefile")))
    with tempfile.TemporaryDirectory(prefix="dango-doc-") as where:
        link_tree(source, build, where)
        env = {**os.environ, "PATH": os.path.join(where, "build", "bin") + ":" + os.environ["PATH"]}
        shell = subprocess.Popen(["bash", "-c", script], cwd=where, env=env, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
        try:
            status = shell.wait(timeout=TIME_LIMIT_S)
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    sys.exit(status)


if __name__ == "__main__":
    main()
