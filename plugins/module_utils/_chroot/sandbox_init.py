# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The first process of a sandbox; a program of its own, which needs the standard library alone.

The sandbox starts it as C(python3 -I -S THIS SPEC_FD -- COMMAND...). It makes the namespaces and the mounts, detaches
the host's root, gives up all capabilities but :data:`CAPABILITIES`, and stays as process 1 while the command runs: when
process 1 ends, for whatever reason, the kernel kills everything else in the namespace. It never changes its user, and
only loses capabilities, as anything else would make the kernel forget that it has to die with its parent; and it never
becomes the command itself, which might.

The specification is JSON: C(root), C(hostname), C(environment), C(binds) [[source, target, read-only]], C(files) {path
below /run: content}, C(filter) (descriptor of a seccomp filter), C(directory), and C(network) [program, arguments...]
of what connects a network namespace with the outside, or null. Targets are paths in the tree without symbolic links.
With C(outside) [[source, target, read-only]] the command is one of the host: it gets a root directory of its own with
nothing but what is named there, and with the tree at :data:`TREE`.

A command of the host that reads what nobody vouches for has no tree (C(root) is null), and is told C(user) [uid, gid,
other gids], as whom it runs without any capability, C(limits) {name of a resource: most} and C(keep_free) {path: bytes
that it leaves of the file system there, with some inodes}. After C(timeout) seconds it ends in any case. Who is not
root gets such a sandbox, too, as himself (other gids are null).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
import typing as t

# <linux/sched.h>
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# <sys/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000
MNT_DETACH = 0x2
# <sys/statvfs.h>
ST_NOATIME = 0x400
ST_NODIRATIME = 0x800
ST_RELATIME = 0x1000
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

#: Where a program of the host finds the tree.
TREE = "/tree"

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "ptmx": "pts/ptmx",
    "stderr": "/proc/self/fd/2",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
}

# pivot_root(2), which libraries do not have, by the host's machine.
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

#: What root may do in the sandbox: what container runtimes give by default, without MKNOD and NET_RAW. The numbers are
#: those of <linux/capability.h>.
CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
# Seconds between two looks at what a command has used up.
LOOK_EVERY = 0.25
FREE_INODES = 100
# <linux/capability.h>: _LINUX_CAPABILITY_VERSION_3
CAPABILITY_VERSION = 0x20080522

# Of /proc and /sys: what cannot be seen, as container runtimes have it.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Turn a failed system call into an OSError that says what was tried."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, fs_type: str, flags: int = 0, options: str = "") -> None:
    """Call mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), fs_type.encode())
    check(libc.mount(*arguments, ctypes.c_ulong(flags), options.encode()), f"mount {fs_type or source} on {target}")


def bind(source: str, target: str, read_only: bool) -> None:
    """Show C(source) at C(target)."""
    mount(source, target, "", MS_BIND)
    if read_only:
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def bind_device(source: str, target: str) -> None:
    """Show a device node of the host at C(target), for use alone: mode, owner and times are those of the host's own."""
    mount(source, target, "", MS_BIND)
    flags = MS_RDONLY | MS_NOSUID | MS_NOEXEC | kept_flags(target)
    mount("none", target, "", MS_BIND | MS_REMOUNT | flags)


def kept_flags(path: str) -> int:
    """Return the flags of a mount that a user who is not root must not take away when he changes others."""
    flags = os.statvfs(path).f_flag
    # ST_NOSUID, ST_NODEV and ST_NOEXEC have the same numbers; times are another matter.
    times = (ST_NOATIME, MS_NOATIME), (ST_NODIRATIME, MS_NODIRATIME), (ST_RELATIME, MS_RELATIME)
    return flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC) | sum(ms for st, ms in times if flags & st)


def directory(path: str) -> str:
    """Make a directory when it is missing; refuse anything else under its name."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "is not a directory in the tree", path) from None
    return path


def fill_dev(path: str, *, with_terminals: bool = True) -> None:
    """Make a /dev with nothing of the host but what cannot do any harm."""
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64m")
    for name in DEVICES:
        os.close(os.open(f"{path}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        bind_device(f"/dev/{name}", f"{path}/{name}")
    for name, target in DEVICE_LINKS.items():
        os.symlink(target, f"{path}/{name}")
    os.mkdir(f"{path}/pts")
    if with_terminals:
        mount("devpts", f"{path}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    os.mkdir(f"{path}/shm")
    os.chmod(f"{path}/shm", 0o1777)


def fill_proc(base: str) -> None:
    """Mount /proc of the own PID namespace.

    Most of it is the whole machine's, to the modes of its files: it is read-only, and some of it out of sight.
    """
    mount("proc", directory(f"{base}/proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    mask(base)


def mask(base: str) -> None:
    """Cover what is nobody's business in a sandbox, as far as it is there."""
    for path in MASKED_PATHS:
        if os.path.isdir(base + path):
            mount("tmpfs", base + path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "size=0,mode=0555")
        elif os.path.exists(base + path):
            bind_device("/dev/null", base + path)


def make_mounts(spec: dict[str, t.Any]) -> None:
    """Mount everything that the command shall see."""
    base = spec["root"]
    # pivot_root wants a mount point, and the tree may be a plain directory. A device node that a package has made is
    # of no use to anybody here.
    mount(base, base, "", MS_BIND | MS_REC)
    mount("none", base, "", MS_BIND | MS_REMOUNT | MS_NODEV)
    fill_dev(directory(f"{base}/dev"))
    # A writable one lets a package change the host's devices.
    mount("sysfs", directory(f"{base}/sys"), "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    fill_proc(base)
    mount("tmpfs", directory(f"{base}/run"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    os.mkdir(f"{base}/run/lock")
    os.chmod(f"{base}/run/lock", 0o1777)
    mount("tmpfs", directory(f"{base}/tmp"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, content in spec["files"].items():
        path = f"{base}/run/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(path, 0o755 if content.startswith("#!") else 0o644)
    for source, target, read_only in spec["binds"]:
        if source.startswith("/run/") and source[5:] in spec["files"]:
            source = base + source
        elif target.startswith("/run/"):
            os.makedirs(base + target)
        bind(source, base + target, read_only)


def make_outside(spec: dict[str, t.Any]) -> str:
    """Make a root directory for a program of the host; returns its path.

    It covers a directory that every host has, so what shall be seen in it is opened first: it may lie there itself.
    """
    sources = [(os.open(source, os.O_PATH), source, target, read_only) for source, target, read_only in spec["outside"]]
    if spec["root"]:
        tree = os.open(spec["root"], os.O_PATH)
        devices = os.open("dev", os.O_PATH | os.O_NOFOLLOW, dir_fd=tree)
        sources += [(tree, "", TREE, False), (devices, "", "/dev", False)]
    base = "/tmp"  # noqa: S108
    mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
    for descriptor, source, target, read_only in sources:
        os.makedirs(os.path.dirname(base + target), exist_ok=True)
        if source and os.path.islink(source):
            os.symlink(os.readlink(source), base + target)
            continue
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.mkdir(base + target)
        else:
            os.close(os.open(base + target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(f"/proc/self/fd/{descriptor}", base + target, "", MS_BIND | (0 if source else MS_REC))
        if source:
            flags = MS_RDONLY if read_only else MS_NOSUID | MS_NODEV | MS_NOEXEC
            mount("none", base + target, "", MS_BIND | MS_REMOUNT | flags | kept_flags(base + target))
        os.close(descriptor)
    if not spec["root"]:
        fill_dev(directory(f"{base}/dev"), with_terminals=False)
    fill_proc(base)
    os.chmod(directory(f"{base}/tmp"), 0o1777)
    return base


def enter_root(root: str) -> None:
    """Make the tree the root, and detach the old one, so that nothing can find its way back."""
    os.chdir(root)
    check(libc.syscall(ctypes.c_long(PIVOT_ROOT[os.uname().machine]), b".", b"."), f"pivot_root to {root}")
    check(libc.umount2(b".", MNT_DETACH), "detach the host's root")
    os.chdir("/")


def exchange_null() -> None:
    """Let standard streams that are the host's /dev/null be that of the sandbox: who has one could change its mode."""
    for number in range(3):
        status = os.fstat(number)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3):
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, number)
            os.close(null)


def raise_loopback() -> None:
    """Switch on the loopback device of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # SIOCSIFFLAGS with IFF_UP | IFF_RUNNING
        fcntl.ioctl(control.fileno(), 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


class SockFprog(ctypes.Structure):
    """struct sock_fprog of <linux/filter.h>."""

    _fields_: t.ClassVar = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def give_up_capabilities(user: list[t.Any] | None) -> None:
    """Keep :data:`CAPABILITIES` alone, for this process and for whatever it starts, as whoever that runs.

    What becomes a user keeps none at all; this process can still make it that user.
    """
    bounding = 0 if user else sum(1 << number for number in CAPABILITIES.values())
    kept = sum(1 << CAPABILITIES[name] for name in ("SETGID", "SETUID")) if user else bounding
    with open("/proc/sys/kernel/cap_last_cap", "rb") as stream:
        last = int(stream.read())
    for number in range(last + 1):
        if not bounding >> number & 1:
            check(libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0), f"give up the capability {number}")
    check(libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0), "give up capabilities")
    header = struct.pack("=II", CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable, first of the lower 32 capabilities, then of the others.
    data = struct.pack("=6I", kept, kept, 0, 0, 0, 0)
    check(libc.capset(header, data), "give up capabilities")


def filter_system_calls(descriptor: int) -> None:
    """Install the seccomp filter, struct sock_filter one after another, that a descriptor holds."""
    with os.fdopen(descriptor, "rb") as stream:
        code = stream.read()
    filters = SockFprog(len(code) // 8, code)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "set no_new_privs")
    check(
        libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(filters), 0, 0),
        "filter system calls",
    )


def die_with(parent: int) -> None:
    """Make the kernel kill this process with its parent, which holds the other end of the pipe C(parent)."""
    check(libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")
    watch = select.poll()
    watch.register(parent, 0)
    if watch.poll(0):
        os._exit(137)


def execute(argv: list[str], environment: dict[str, str]) -> t.NoReturn:
    """Become the command, found as a shell finds it.

    Not by os.execvpe, which imports modules of the host's Python, whose root is out of reach by now.
    """
    places = [""] if "/" in argv[0] else [f"{place}/" for place in environment.get("PATH", "").split(":")]
    reason = os.strerror(errno.ENOENT)
    for place in places:
        try:
            os.execve(place + argv[0], argv, environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            reason = os.strerror(exc.errno or errno.EIO)
            if exc.errno != errno.EACCES:
                break
    os.write(2, f"{argv[0]}: {reason}\n".encode())
    os._exit(127)


def run(argv: list[str], spec: dict[str, t.Any]) -> int:
    """Run the command as a child of process 1, and reap whatever else is left to it."""
    child = os.fork()
    if child == 0:
        # Without a terminal that it could type on.
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(spec["directory"])
        for name, most in spec.get("limits", {}).items():
            limit_resource(getattr(resource, name), most)
        if spec.get("user"):
            become(*spec["user"])
        execute(argv, spec["environment"])
    signal.signal(signal.SIGALRM, look_after(spec))
    if spec.get("timeout"):
        signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY, LOOK_EVERY)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return exit_code(status)


def leave_no_core() -> None:
    """Let no crash leave a core, nor be handed to the host's handler: that is what 1 stands for, and not 0."""
    # 0 can only be taken back with CAP_SYS_RESOURCE.
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def limit_resource(number: int, most: int) -> None:
    """Set a limit that nobody can raise again; one that is lower already stays."""
    hard = resource.getrlimit(number)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (least, least))


def become(uid: int, gid: int, groups: list[int] | None) -> None:
    """Become a user who has no rights: with the last user ID that is 0 all capabilities go.

    :param groups: Null for who is that user, whose capabilities go when the command starts.
    """
    if groups is None:
        return
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def enter_user_namespace() -> None:
    """Let somebody who is not root make the other namespaces, as the user who he is."""
    uid, gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER), "create a user namespace")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
            stream.write(content)


def look_after(spec: dict[str, t.Any]) -> t.Callable[[int, t.Any], None]:
    """Return what ends everything when the time is over, or when too little is left of a file system."""
    end = time.monotonic() + spec.get("timeout", 0)

    def look(_signal: int, _frame: t.Any) -> None:
        if time.monotonic() > end:
            os._exit(OUT_OF_TIME)
        for path, least in spec["keep_free"].items():
            there = os.statvfs(path)
            if there.f_bavail * there.f_frsize < least or (there.f_files and there.f_favail < FREE_INODES):
                os._exit(OUT_OF_SPACE)

    return look


def exit_code(status: int) -> int:
    """Return what a shell would make of a wait status."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Network:
    """What connects the network namespace of the sandbox with the outside, as a process beside it.

    :param spec: C(connect), the program and those of its arguments that this class does not know; C(ip), the program
        that sets routes; C(blocked), networks that cannot be reached.
    """

    def __init__(self, spec: dict[str, t.Any]) -> None:
        self._spec = spec
        go, self._go = os.pipe()
        self._ready, ready = os.pipe()
        # Another process watches that this one lives.
        alive, self._alive = os.pipe()
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            for descriptor in (self._go, self._ready, self._alive):
                os.close(descriptor)
            die_with(alive)
            # Closed without a word: there is no sandbox.
            if not os.read(go, 1):
                os._exit(1)
            os.set_inheritable(ready, True)
            name, *options = spec["connect"]
            command = [name, *options, f"--ready-fd={ready}", "--netns-type=path", f"/proc/{parent}/ns/net", "tap0"]
            # Its own words would be among those of the command.
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.execv(name, command)  # noqa: S606
        for descriptor in (go, ready, alive):
            os.close(descriptor)

    def connect(self) -> None:
        """Connect this process's network namespace, from which nothing is reachable yet."""
        os.write(self._go, b".")
        if not os.read(self._ready, 1):
            raise OSError(errno.ENETUNREACH, f"{os.path.basename(self._spec['connect'][0])} connects no network")
        for network in self._spec["blocked"]:
            command = [self._spec["ip"], "route", "add", "prohibit", network]
            if os.spawnv(os.P_WAIT, command[0], command) != 0:  # noqa: S606
                raise OSError(errno.ENETUNREACH, f"{' '.join(command)} failed")

    def close(self) -> None:
        """End the process."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def keep_to_itself() -> None:
    """Let no descriptor of this process but its standard streams reach the command."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            # That of the listing itself is closed by now.
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)


def main() -> t.NoReturn:
    """Make the sandbox and run the command in it."""
    with os.fdopen(int(sys.argv[1])) as stream:
        spec = json.load(stream)
    argv = sys.argv[3:]
    os.umask(0o022)
    leave_no_core()
    keep_to_itself()
    network = Network(spec["network"]) if spec["network"] else None
    try:
        if os.geteuid() != 0:
            enter_user_namespace()
        namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
        check(libc.unshare(namespaces), "create namespaces")
        mount("none", "/", "", MS_PRIVATE | MS_REC)
        raise_loopback()
        if network is not None:
            network.connect()
        # These two are entered by the next child alone. Not every kernel has clocks that could differ (CONFIG_TIME_NS).
        libc.unshare(CLONE_NEWTIME)
        check(libc.unshare(CLONE_NEWPID), "create a PID namespace")
    except OSError as exc:
        fail(exc)
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(reader)
        status = os.waitpid(first, 0)[1]
        if network is not None:
            network.close()
        os._exit(exit_code(status))
    os.close(writer)
    try:
        die_with(reader)
        socket.sethostname(spec["hostname"])
        if spec["root"]:
            make_mounts(spec)
        enter_root(make_outside(spec) if spec["outside"] else spec["root"])
        exchange_null()
        give_up_capabilities(spec.get("user"))
        filter_system_calls(spec["filter"])
    except OSError as exc:
        fail(exc)
    os._exit(run(argv, spec))


def fail(exc: OSError) -> t.NoReturn:
    """End, because there is no sandbox."""
    sys.stderr.write(f"The sandbox cannot be made: {exc}\n")
    sys.stderr.flush()
    os._exit(SANDBOX_FAILED)


#: The exit status that says that the command was not even tried; no program of a package uses it.
SANDBOX_FAILED = 213
#: Exit statuses of a sandbox that came to its end before the command did.
OUT_OF_TIME = 214
OUT_OF_SPACE = 215

if __name__ == "__main__":
    main()
