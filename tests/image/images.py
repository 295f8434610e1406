"""The images: what their Dockerfiles say, and the runner of the tests beside this file.

  python3 images.py programs IMAGE     the programs of an image, one a line
"""
import pathlib
import re
import shlex
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKERFILES = {"controller": "controller/Dockerfile", "agent": "agent/Dockerfile", "emulator": "tests/azure_emulator/Dockerfile"}
SBOM = "usr/share/sbom/sbom.spdx.json"
USER = 65532


def instructions(image):
    """[(INSTRUCTION, rest)], continuation lines joined, comments gone."""
    text = (ROOT / DOCKERFILES[image]).read_text()
    lines = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def stages(image):
    """The instructions after each FROM."""
    found = []
    for name, rest in instructions(image):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def assembled(image):
    """The arguments with which the Dockerfile calls rootfs.sh: directory, programs."""
    (call,) = [rest for name, rest in instructions(image) if name == "RUN" and "rootfs.sh" in rest]
    words = shlex.split(call)
    return words[1], words[2:]


def programs(image):
    return [pathlib.PurePath(path).name for path in assembled(image)[1]]


class Result(unittest.TestResult):
    """One line for each test, as tests/run.sh shows it."""

    def __init__(self):
        super().__init__()
        self.passed = 0

    def addSuccess(self, test):
        print(f"ok      {test.id().split('.', 1)[1]}", flush=True)
        self.passed += 1

    def addSkip(self, test, reason):
        print(f"skipped image {test.id().split('.')[-1]}: {reason}", flush=True)

    def _failed(self, test, text):
        print(f"FAILED  {test.id().split('.', 1)[-1]}\n" + "\n".join("        " + line for line in text.splitlines()[-60:]), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failed(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._failed(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(subtest, (self.failures + self.errors)[-1][1])


def run(*classes):
    result = Result()
    for tests in classes:
        unittest.defaultTestLoader.loadTestsFromTestCase(tests).run(result)
    print(f"counted {result.passed}")
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "programs" or sys.argv[2] not in DOCKERFILES:
        sys.exit(f"images.py: found {sys.argv[1:]}; allowed: programs {'|'.join(DOCKERFILES)}")
    print("\n".join(programs(sys.argv[2])))
