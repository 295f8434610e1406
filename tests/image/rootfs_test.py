"""What is in the assembled file systems, and what rootfs.sh refuses. ROOTFS: a directory with one for each image."""
import collections
import hashlib
import json
import os
import pathlib
import re
import ssl
import stat
import subprocess
import tempfile
import unittest

import images
from images import DOCKERFILES, ROOT, SBOM, USER, programs

ROOTFS = pathlib.Path(os.environ["ROOTFS"])
SIZES = {"controller": 52, "agent": 45, "emulator": 46}  # MB that an image may have at most
SHELLS = re.compile(r"^(ba|da|a|z|k|c|tc|fi)?sh$|^(busybox|toybox|perl.*|python.*|env|coreutils)$")


def files(image):
    """Each regular file, as a path below the root."""
    return sorted(p for p in (ROOTFS / image).rglob("*") if p.is_file() and not p.is_symlink())


def inside(image, path):
    return str(path.relative_to(ROOTFS / image))


def readelf(option, path):
    return subprocess.run(["readelf", option, "-W", path], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def needed(path):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", path)))


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def sbom(image):
    return json.loads((ROOTFS / image / SBOM).read_text())


def each_image(test):
    def wrapper(self):
        for image in DOCKERFILES:
            with self.subTest(image=image):
                test(self, image)
    return wrapper


class Content(unittest.TestCase):
    @each_image
    def test_NothingCanBeExecutedButTheProgramsAndTheLoader(self, image):
        executable = [inside(image, p) for p in files(image) if p.stat().st_mode & 0o111]
        loader = [p for p in executable if pathlib.PurePath(p).name.startswith("ld-linux")]
        self.assertEqual(len(loader), 1)
        self.assertEqual(sorted(executable), sorted([f"usr/local/bin/{p}" for p in programs(image)] + loader))

    @each_image
    def test_ThereIsNoShellAndNoPackageManager(self, image):
        names = [p.name for p in (ROOTFS / image).rglob("*") if "dpkg" not in p.parts[-3:]]
        self.assertEqual([name for name in names if SHELLS.match(name) or name in ("apt", "apt-get", "dpkg")], [])

    @each_image
    def test_EveryLibraryThatIsNeededIsThereAndNoOther(self, image):
        here = {p.name: p for p in (ROOTFS / image / "usr/lib").rglob("*.so*")}
        wanted, open_ends = set(), [ROOTFS / image / "usr/local/bin" / program for program in programs(image)]
        while open_ends:
            for name in needed(open_ends.pop()) - wanted:
                self.assertIn(name, here)
                wanted.add(name)
                open_ends.append(here[name])
        self.assertGreater(len(wanted), 50)
        reached = {here[name].resolve() for name in wanted}
        self.assertEqual({p for p in files(image) if ".so" in p.name}, reached)

    @each_image
    def test_TheLoaderIsWhereTheProgramsLookForIt(self, image):
        for program in programs(image):
            (path,) = re.findall(r"interpreter: (\S+)\]", readelf("-l", ROOTFS / image / "usr/local/bin" / program))
            self.assertTrue((ROOTFS / image / path[1:]).resolve().is_relative_to(ROOTFS / image), path)
            self.assertTrue((ROOTFS / image / path[1:]).exists(), path)

    @each_image
    def test_LinksLeadToFilesOfTheImage(self, image):
        for path in (ROOTFS / image).rglob("*"):
            if path.is_symlink():
                self.assertFalse(os.readlink(path).startswith("/"), path)
                self.assertTrue(path.exists() and path.resolve().is_relative_to(ROOTFS / image), path)

    @each_image
    def test_TheUserMayWriteNothingButTmp(self, image):
        for path in [ROOTFS / image, *(ROOTFS / image).rglob("*")]:
            if path.is_symlink():
                continue
            mode = path.stat().st_mode
            if path == ROOTFS / image / "tmp":
                self.assertEqual(stat.S_IMODE(mode), 0o1777)
                self.assertEqual(list(path.iterdir()), [])
                continue
            self.assertNotEqual(path.stat().st_uid, USER, path)
            self.assertFalse(mode & 0o022, f"{path}: {oct(mode)}")
            self.assertFalse(mode & (stat.S_ISUID | stat.S_ISGID), f"{path}: {oct(mode)}")
            self.assertTrue(stat.S_ISDIR(mode) or stat.S_ISREG(mode), path)
            self.assertTrue(mode & 0o004, f"{path}: the user cannot read it")

    @each_image
    def test_ProgramsAreStrippedAndHardened(self, image):
        for program in programs(image):
            path = ROOTFS / image / "usr/local/bin" / program
            self.assertNotRegex(readelf("-S", path), r"\.(symtab|debug_info)\b")
            self.assertRegex(readelf("-h", path), r"Type:\s+DYN")  # position independent
            self.assertIn("GNU_RELRO", readelf("-l", path))
            self.assertRegex(readelf("-d", path), r"BIND_NOW|Flags:.*NOW")
            self.assertRegex(readelf("-l", path), r"GNU_STACK\s+\S+ \S+ \S+ \S+ \S+ RW ")
            self.assertNotRegex(readelf("-d", path), r"\((RPATH|RUNPATH)\)")

    @each_image
    def test_ItIsSmall(self, image):
        size = sum(p.stat().st_size for p in files(image)) / 1e6
        own = sum((ROOTFS / image / "usr/local/bin" / p).stat().st_size for p in programs(image)) / 1e6
        print(f"size    {image}: {size:.1f} MB, of which programs {own:.1f} MB; {sum('.so' in p.name for p in files(image))} libraries of "
              f"{len(list((ROOTFS / image / 'usr/share/doc').iterdir()))} Debian packages", flush=True)
        self.assertLess(size, SIZES[image])

    @each_image
    def test_UsersNamesAndAuthoritiesAreThere(self, image):
        etc = ROOTFS / image / "etc"
        self.assertIn(f"nonroot:x:{USER}:{USER}:", (etc / "passwd").read_text())
        self.assertIn(f"nonroot:x:{USER}:", (etc / "group").read_text())
        self.assertIn("hosts: files dns", (etc / "nsswitch.conf").read_text())
        self.assertIn("VERSION_CODENAME=", (etc / "os-release").read_text())
        self.assertGreater(len(ssl.create_default_context(cafile=etc / "ssl/certs/ca-certificates.crt").get_ca_certs()), 100)


class BillOfMaterials(unittest.TestCase):
    @each_image
    def test_ItListsEveryFileWithItsDigest(self, image):
        listed = {f["fileName"]: {c["algorithm"]: c["checksumValue"] for c in f["checksums"]} for f in sbom(image)["files"]}
        there = {"./" + inside(image, p): p for p in files(image) if inside(image, p) != SBOM}
        self.assertEqual(set(listed), set(there))
        for name, digests in listed.items():
            content = there[name].read_bytes()
            self.assertEqual(digests, {"SHA1": hashlib.sha1(content).hexdigest(), "SHA256": hashlib.sha256(content).hexdigest()}, name)

    @each_image
    def test_CopyrightFilesAndRecordsForScannersAreThoseOfItsPackages(self, image):
        owning = {p["name"] for p in sbom(image)["packages"] if p["filesAnalyzed"]} - {programs(image)[0]}
        documented = {p.name for p in (ROOTFS / image / "usr/share/doc").iterdir()}
        self.assertEqual(documented, owning)
        for name in owning:
            self.assertTrue((ROOTFS / image / "usr/share/doc" / name / "copyright").stat().st_size, name)
            record = (ROOTFS / image / "var/lib/dpkg/status.d" / name).read_text()
            self.assertRegex(record, rf"(?m)^Package: {re.escape(name)}$")
            self.assertRegex(record, r"(?m)^Version: \S+$")

    @each_image
    def test_ItIsWellFormed(self, image):
        document = sbom(image)
        self.assertEqual((document["spdxVersion"], document["SPDXID"], document["dataLicense"]), ("SPDX-2.3", "SPDXRef-DOCUMENT", "CC0-1.0"))
        self.assertEqual(document["name"].rsplit("-", 1)[0], programs(image)[0])
        self.assertRegex(document["creationInfo"]["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        ids = collections.Counter(e["SPDXID"] for e in document["packages"] + document["files"] + [document])
        self.assertEqual([i for i, count in ids.items() if count > 1], [])
        for relation in document["relationships"]:
            self.assertLessEqual({relation["spdxElementId"], relation["relatedSpdxElement"]}, set(ids))
        related = {r["relatedSpdxElement"] for r in document["relationships"]}
        self.assertEqual(set(ids) - related, {"SPDXRef-DOCUMENT"})


class PackagesOfThisMachine(unittest.TestCase):
    @each_image
    def test_EveryLibraryBelongsToTheDebianPackageThatInstalledIt(self, image):
        document, packages = sbom(image), {p["SPDXID"]: p for p in sbom(image)["packages"]}
        names = {f["SPDXID"]: f["fileName"] for f in document["files"]}
        owner = {names[r["relatedSpdxElement"]]: packages[r["spdxElementId"]] for r in document["relationships"] if r["relatedSpdxElement"] in names}
        libraries = ["./" + inside(image, p) for p in files(image) if is_elf(p) and "usr/local/bin" not in str(p)]
        self.assertGreater(len(libraries), 50)
        for library in libraries:
            name, path = owner[library]["name"], library[1:]
            installed = subprocess.run(["dpkg-query", "-L", name], capture_output=True, text=True, check=True).stdout.splitlines()
            self.assertTrue({path, path.removeprefix("/usr")} & set(installed), f"{path}: not of {name}")

    @each_image
    def test_PackagesCarryTheInstalledVersionAndSource(self, image):
        debian = {p["name"]: p for p in sbom(image)["packages"] if p.get("supplier") == "Organization: Debian"}
        self.assertGreater(len(debian), 20)
        for name, package in debian.items():
            # Of several architectures the first line is that of the machine.
            done = subprocess.run(["dpkg-query", "-W", "-f", r"${Version} ${source:Package} ${source:Version}\n", name], capture_output=True, text=True, check=True)
            version, source, source_version = done.stdout.splitlines()[0].split()
            self.assertEqual(package["versionInfo"], version)
            self.assertEqual(package["sourceInfo"], f"built from source package: {source} {source_version}")
            (reference,) = package["externalRefs"]
            self.assertTrue(reference["referenceLocator"].startswith(f"pkg:deb/debian/{name.replace('+', '%2B')}@"), reference)
        self.assertIn("nlohmann-json3-dev", debian)  # leaves no library behind


class Assembling(unittest.TestCase):
    SCRIPT = ROOT / "tests/image/rootfs.sh"

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="apim-failover-image.")
        self.addCleanup(self.folder.cleanup)
        self.program = ROOTFS / "agent/usr/local/bin" / programs("agent")[0]

    def assemble(self, *arguments, **environment):
        return subprocess.run([self.SCRIPT, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment})

    def refused(self, message, *arguments, **environment):
        done = self.assemble(*arguments, **environment)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(message, done.stderr)

    def test_TheSameProgramsGiveTheSameBytes(self):
        digests = set()
        for name in ("one", "two"):
            done = self.assemble(f"{self.folder.name}/{name}", self.program, SOURCE_DATE_EPOCH="1700000000")
            self.assertEqual(done.returncode, 0, done.stderr)
            packed = subprocess.run(["tar", "--sort=name", "-C", f"{self.folder.name}/{name}", "-c", "."], capture_output=True, check=True).stdout
            digests.add(hashlib.sha256(packed).hexdigest())
        self.assertEqual(len(digests), 1)

    def test_ADirectoryThatExistsIsRefused(self):
        self.refused("exists; it must be a new directory", self.folder.name, self.program)

    def test_AProgramThatIsMissingIsRefused(self):
        self.refused('"/no/program" is no program', f"{self.folder.name}/r", "/no/program")

    def test_ALibraryThatIsNotInstalledIsRefused(self):
        broken = pathlib.Path(self.folder.name, "broken")
        broken.write_bytes(self.program.read_bytes().replace(b"libcares.so.2\0", b"libcarez.so.2\0"))
        broken.chmod(0o755)
        self.refused(f'"{broken}" needs libraries that are not installed: libcarez.so.2', f"{self.folder.name}/r", broken)
        self.assertFalse(os.path.exists(f"{self.folder.name}/r"))  # nothing half-made is left to be shipped

    def test_ALibraryFromElsewhereIsRefused(self):
        (library,) = [p for p in files("agent") if p.name.startswith("libz.so.1.")]
        place = pathlib.Path(self.folder.name, "elsewhere/libz.so.1")
        place.parent.mkdir()
        place.write_bytes(library.read_bytes())
        self.refused(f'"{place.resolve()}" is of no Debian package', f"{self.folder.name}/r", self.program, LD_LIBRARY_PATH=str(place.parent))

    def test_ADateThatIsNoNumberIsRefused(self):
        self.refused('SOURCE_DATE_EPOCH is "today"', f"{self.folder.name}/r", self.program, SOURCE_DATE_EPOCH="today")

    def test_WithoutProgramsItSaysHowItIsCalled(self):
        self.refused("tests/image/rootfs.sh DIRECTORY PROGRAM...", f"{self.folder.name}/r")


if __name__ == "__main__":
    # What an engine has built holds what was current in Debian then, and not what this machine has installed.
    images.run(Content, BillOfMaterials, *(() if os.environ.get("BUILT_BY") else (PackagesOfThisMachine, Assembling)))
