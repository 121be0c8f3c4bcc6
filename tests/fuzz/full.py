"""The long run: ./run evidence fuzz [--seconds 600] [--seed N] [--target NAME]

All targets in turn, each in a process of its own (a finding may kill it), on the checked build: with
AddressSanitizer and UBSan. An input that makes trouble is put into the corpus. Exit code 1: there was one.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.driver import CORPUS, Fuzzer, last_input
from tests.fuzz.targets import TARGETS, folder

STUCK_SECONDS = 120


def fuzz(name: str, seed: int, seconds: float, last: str, done: str) -> None:
    fuzzer = Fuzzer(name, seed, Path(last))
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
            fuzzer.run(1000)
            Path(done).write_text(f"{fuzzer.executions} {fuzzer.accepted}")
        faulthandler.cancel_dump_traceback_later()
    finally:
        shutil.rmtree(folder(), ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run evidence fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    chosen = parser.parse_args()
    names = chosen.target or list(TARGETS)
    total = findings = 0
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            last, done = f"{work}/last", f"{work}/done"
            Path(done).write_text("0 0")
            process = multiprocessing.get_context("spawn").Process(
                target=fuzz, args=(name, chosen.seed, chosen.seconds / len(names), last, done)
            )
            process.start()
            process.join()
            executions, accepted = map(int, Path(done).read_text().split())
            total += executions
            print(f"{name}, seed {chosen.seed}: {executions} executions, {accepted} accepted", flush=True)
            if process.exitcode != 0:
                findings += 1
                data = last_input(Path(last))
                kept = CORPUS / TARGETS[name].corpus / hashlib.sha256(data).hexdigest()[:12]
                kept.write_bytes(data)
                print(f"{name}: ended with {process.exitcode}; the input is {kept}", flush=True)
    print(f"{total} executions, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
