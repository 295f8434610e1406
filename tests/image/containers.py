"""Runs programs in the assembled file systems as a container runtime does, without one: read-only root, uid 65532, no
capabilities, no new privileges, own network. To be called in own mount, network and process namespaces (see run.sh)."""
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import struct
import subprocess

from images import USER

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
# With root there are 65532 and all the rest; in a user namespace only one user, who is renamed on the way into the image.
OWN_NAMESPACE = pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1"


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def make_read_only(target):
    try:
        mount("-o", "remount,bind,ro", target)
    except OSError:  # in a user namespace what the host has taken away stays away
        mount("-o", "remount,bind,ro,nosuid,nodev", target)


def bind(source, target, read_only=True):
    mount("--bind", source, target)
    if read_only:
        make_read_only(target)


def prepare_network():
    """Loopback, and name servers may have port 53, as on Kubernetes' nodes."""
    with socket.socket() as s:
        name = struct.pack("16sH14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(s, 0x8914, name)             # SIOCSIFFLAGS
    pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Container:
    """One image with its mounts. `read_only` and `writable`: place in the image → directory or file of the host; the
    places are made here, as a runtime makes them. /tmp is a file system in memory when it is asked for."""

    def __init__(self, root, read_only=None, writable=None, tmp=True):
        self.root = pathlib.Path(root)
        for place, source in {**(read_only or {}), **(writable or {})}.items():
            target = self.root / place[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True) if os.path.isdir(source) else target.touch()
        bind(self.root, self.root)
        self._devices()
        mount("-t", "proc", "proc", self.root / "proc")
        if tmp:
            mount("-t", "tmpfs", "-o", "mode=1777,size=16m,nosuid,nodev", "tmp", self.root / "tmp")
        for place, source in (read_only or {}).items():
            bind(source, self.root / place[1:])
        for place, source in (writable or {}).items():
            bind(source, self.root / place[1:], read_only=False)

    def _devices(self):
        devices = self.root / "dev"
        mount("-t", "tmpfs", "-o", "mode=755,size=64k", "dev", devices)
        for name in ("null", "zero", "full", "random", "urandom"):
            (devices / name).touch()
            mount("--bind", f"/dev/{name}", devices / name)
        make_read_only(devices)

    def enter(self):
        """Makes the calling process one of the container. The program that it becomes holds no capability."""
        if OWN_NAMESPACE:
            check(LIBC.unshare(CLONE_NEWUSER))
            pathlib.Path("/proc/self/setgroups").write_text("deny")
            pathlib.Path("/proc/self/uid_map").write_text(f"{USER} 0 1")
            pathlib.Path("/proc/self/gid_map").write_text(f"{USER} 0 1")
        os.chroot(self.root)
        os.chdir("/")
        capability = 0
        while LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
            capability += 1
        if not OWN_NAMESPACE:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
        check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))

    def start(self, log, *command, **environment):
        """The running program; its output goes to the file `log`."""
        with open(log, "w", encoding="utf-8") as output:
            return subprocess.Popen([f"/usr/local/bin/{command[0]}", *command[1:]], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                    env={"PATH": "/usr/local/bin", **environment}, preexec_fn=self.enter)

    def run(self, *command, **environment):
        return subprocess.run([f"/usr/local/bin/{command[0]}", *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=60, env={"PATH": "/usr/local/bin", **environment}, preexec_fn=self.enter)

    def inside(self, function):
        """What `function` returns (a text) when it runs in a process of the container."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self.enter()
                os.write(writing, function().encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as answer:
            text = answer.read()
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"the process in the container ended with {os.waitstatus_to_exitcode(status)}")
        return text


def stop(process, seconds=15):
    """The exit code after SIGTERM; -9 when it had to be killed."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
