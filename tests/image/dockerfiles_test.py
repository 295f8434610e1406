"""The Dockerfiles: what they name is there, and agrees with the rest of the repository. Nothing is built."""
import json
import os
import re
import subprocess
import unittest

import images
from images import DOCKERFILES, ROOT, SBOM, assembled, instructions, programs, stages

IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
ADMITTED = [line[1:] for line in IGNORED if line.startswith("!")]


def copied(image):
    """The paths of the context that the Dockerfile copies, with the place of the instruction."""
    for place, (name, rest) in enumerate(instructions(image)):
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                yield place, source


def context(image):
    """Every file of the build stage, as a path from the repository's root."""
    found = set()
    for _, source in copied(image):
        path = ROOT / source
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p.name != "Dockerfile"]
        found |= {str(p.relative_to(ROOT)) for p in files}
    return found


def version():
    return re.search(r"^project\(.* VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.M).group(1)


class Dockerfiles(unittest.TestCase):
    def test_EveryPathThatIsCopiedExistsAndIsAdmittedToTheContext(self):
        self.assertEqual([line for line in IGNORED if line and line[0] not in "#!"], ["*", "**/Dockerfile"])
        for image in DOCKERFILES:
            with self.subTest(image=image):
                for _, source in copied(image):
                    self.assertTrue((ROOT / source).exists(), source)
                    self.assertTrue(any(source == a or source.startswith(a + "/") for a in ADMITTED), f"{source}: not in .dockerignore")

    def test_TheContextAdmitsNothingThatNoImageCopies(self):
        used = {source for image in DOCKERFILES for _, source in copied(image)}
        self.assertEqual(set(ADMITTED), used)

    def test_EveryScriptIsCopiedBeforeItRuns(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                where = {source: place for place, source in reversed(list(copied(image)))}
                scripts = [(place, script) for place, (name, rest) in enumerate(instructions(image)) if name == "RUN"
                           for script in re.findall(r"\btests/\S+\.sh\b", rest)]
                self.assertEqual([script for _, script in scripts], ["tests/image/packages.sh", "tests/image/rootfs.sh"])
                for place, script in scripts:
                    self.assertLess(where[script], place, script)
                    self.assertTrue(os.access(ROOT / script, os.X_OK), f"{script}: not executable")
                self.assertLess(where["tests/setup.sh"], scripts[0][0], "packages.sh reads setup.sh")

    def test_EverySourceThatIsIncludedIsInTheContext(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                files = context(image)
                missing = set()
                for file in files:
                    if not file.endswith((".cc", ".h")):
                        continue
                    for name in re.findall(r'^#include "([^"]+)"', (ROOT / file).read_text(), re.M):
                        generated = re.sub(r"(\.grpc)?\.pb\.h$", ".proto", name)
                        # Headers of libraries stand in quotes too; they are no files of the repository.
                        if name not in files and f"proto/{generated}" not in files and (ROOT / name).exists():
                            missing.add(f"{file}: {name}")
                self.assertFalse(missing)

    def test_EveryDirectoryThatCMakeNamesIsInTheContext(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                files = context(image)
                lists = [("CMakeLists.txt", "")] + ([("tests/CMakeLists.txt", "tests/")] if self.builds_tests(image) else [])
                for name, prefix in lists:
                    self.assertIn(name, files)
                    for directory in re.findall(r"^failover_library\(\w+ (\S+)", (ROOT / name).read_text(), re.M):
                        self.assertTrue(any(f.startswith(f"{prefix}{directory}/") and f.endswith(".cc") for f in files), directory)
                for glob in re.findall(r"GLOB \w+_sources CONFIGURE_DEPENDS (\w+)/", (ROOT / "tests/CMakeLists.txt").read_text()) if len(lists) > 1 else []:
                    self.assertTrue(any(f.startswith(f"tests/{glob}/") for f in files), glob)

    @staticmethod
    def builds_tests(image):
        return any("-DFAILOVER_TESTS=ON" in rest for name, rest in instructions(image) if name == "RUN")

    def test_WhatShipsIsBuiltForReleaseAndWithoutCrashPoints(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                (build,) = [rest for name, rest in instructions(image) if name == "RUN" and "cmake" in rest]
                self.assertIn("cmake --preset release ", build)
                self.assertEqual("-DFAILOVER_TESTS=OFF" in build, image != "emulator")
                self.assertEqual(build.split("--target ")[1].split(), programs(image))
        self.assertIn("release", [p["name"] for p in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]])

    def test_PackagesComeFromTheListOfTheSetupAlone(self):
        listed = subprocess.run([ROOT / "tests/image/packages.sh", "--list"], capture_output=True, text=True, check=True).stdout.split()
        text = (ROOT / "tests/setup.sh").read_text()
        wanted = re.findall(r"^([^|\n]+)\|", re.search(r"packages_build='\n(.*?)'", text, re.S).group(1), re.M)
        self.assertGreater(len(wanted), 10)
        self.assertEqual(listed, wanted + ["ca-certificates"])
        for image in DOCKERFILES:
            with self.subTest(image=image):
                self.assertNotRegex(" ".join(rest for _, rest in instructions(image)), r"\b(apt|apt-get|dpkg|curl|wget)\b")

    def test_LayersUpToTheSourcesAreTheSameInEveryImage(self):
        first = {json.dumps(instructions(image)[:11]) for image in DOCKERFILES}
        self.assertEqual(len(first), 1)
        self.assertIn("controller controller", json.loads(first.pop())[10])

    def test_TheFinalStageIsEmptyButForTheAssembledFileSystem(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                last = stages(image)[-1]
                self.assertEqual(last[0], ("FROM", "scratch"))
                self.assertEqual([rest for name, rest in last if name in ("COPY", "ADD", "RUN")], [f"--from=build {assembled(image)[0]}/ /"])

    def test_ItRunsAsANumberedUserWithItsFirstProgram(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                last = dict(stages(image)[-1])
                self.assertEqual(last["USER"], f"{images.USER}:{images.USER}")  # a number: Kubernetes can tell that it is not root
                self.assertEqual(json.loads(last["ENTRYPOINT"]), [f"/usr/local/bin/{programs(image)[0]}"])
                self.assertEqual(last["ENV"], "PATH=/usr/local/bin")

    def test_LabelsNameTheVersionAndTheBillOfMaterials(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                last = stages(image)[-1]
                labels = dict(re.findall(r'(\S+)="([^"]*)"', dict(last)["LABEL"]))
                self.assertEqual(labels["io.apim-failover.sbom"], f"/{SBOM}")
                self.assertEqual(labels["org.opencontainers.image.version"], "${VERSION}")
                self.assertIn(("ARG", f"VERSION={version()}"), last)
                for key in ("title", "description", "revision", "source"):
                    self.assertTrue(labels[f"org.opencontainers.image.{key}"], key)

    def test_EveryCommandAndImageOfTheChartsIsBuiltHere(self):
        titles = {re.search(r'image\.title="([^"]+)"', dict(stages(image)[-1])["LABEL"]).group(1): image for image in DOCKERFILES}
        commands, repositories = set(), set()
        for file in (ROOT / "charts").rglob("*"):
            if file.suffix in (".yaml", ".tpl") and "templates" in file.parts:
                commands |= set(re.findall(r"^\s*command: \[([\w-]+)\]$", file.read_text(), re.M))
            if file.name == "values.yaml":
                repositories |= set(re.findall(r"^\s*repository: (\S+)$", file.read_text(), re.M))
        self.assertEqual(repositories, set(titles))
        self.assertTrue(commands)
        self.assertLessEqual(commands, {program for image in DOCKERFILES for program in programs(image)})
        for chart in (ROOT / "charts").glob("*/Chart.yaml"):
            self.assertRegex(chart.read_text(), rf'(?m)^appVersion: "?{re.escape(version())}"?$')


if __name__ == "__main__":
    images.run(Dockerfiles)
