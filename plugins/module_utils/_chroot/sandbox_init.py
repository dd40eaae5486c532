# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The first process of a sandbox; a program of its own, which needs the standard library alone.

The sandbox starts it as C(python3 -I -S THIS SPEC_FD -- COMMAND...). It makes the namespaces and the mounts, detaches
the host's root, and stays as process 1 while the command runs: when process 1 ends, for whatever reason, the kernel
kills everything else in the namespace. It never changes its credentials, which would make the kernel forget that it
has to die with its parent, and never becomes the command itself, which might.

The specification is JSON: C(root), C(hostname), C(network), C(environment), C(binds) [[source, target, read-only]],
C(files) {path below /run: content}, C(no_sync), C(directory). Targets are paths in the tree without symbolic links.
With C(outside) [[source, target]] the command is one of the host: it gets a root directory of its own with nothing but
what is named there, read-only, and with the tree at :data:`TREE`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import typing as t

# <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# <sys/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
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

# What counts is the host's machine, also for programs of another one: their emulator makes the host's system calls.
# machine: (AUDIT_ARCH of <linux/audit.h>, numbers of pivot_root, and of fsync, fdatasync, msync, sync, syncfs,
# sync_file_range)
SYSTEM_CALLS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, 155, (74, 75, 26, 162, 306, 277)),
    "aarch64": (0xC00000B7, 41, (82, 83, 227, 81, 267, 84)),
}

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


def directory(path: str) -> str:
    """Make a directory when it is missing; refuse anything else under its name."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "is not a directory in the tree", path) from None
    return path


def fill_dev(path: str) -> None:
    """Make a /dev with nothing of the host but what cannot do any harm."""
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64m")
    for name in DEVICES:
        os.close(os.open(f"{path}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mount(f"/dev/{name}", f"{path}/{name}", "", MS_BIND)
    for name, target in DEVICE_LINKS.items():
        os.symlink(target, f"{path}/{name}")
    os.mkdir(f"{path}/pts")
    mount("devpts", f"{path}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    os.mkdir(f"{path}/shm")
    os.chmod(f"{path}/shm", 0o1777)


def make_mounts(spec: dict[str, t.Any]) -> None:
    """Mount everything that the command shall see."""
    root = spec["root"]
    # pivot_root wants a mount point, and the tree may be a plain directory.
    mount(root, root, "", MS_BIND | MS_REC)
    fill_dev(directory(f"{root}/dev"))
    mount("proc", directory(f"{root}/proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # A writable one lets a package change the host's devices.
    mount("sysfs", directory(f"{root}/sys"), "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    mount("tmpfs", directory(f"{root}/run"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    os.mkdir(f"{root}/run/lock")
    os.chmod(f"{root}/run/lock", 0o1777)
    mount("tmpfs", directory(f"{root}/tmp"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, content in spec["files"].items():
        path = f"{root}/run/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(path, 0o755 if content.startswith("#!") else 0o644)
    for source, target, read_only in spec["binds"]:
        if source.startswith("/run/") and source[5:] in spec["files"]:
            source = root + source
        elif target.startswith("/run/"):
            os.makedirs(root + target)
        bind(source, root + target, read_only)


def make_outside(spec: dict[str, t.Any]) -> str:
    """Make a root directory for a program of the host; returns its path.

    It covers a directory that every host has, so what shall be seen in it is opened first: it may lie there itself.
    """
    tree = spec["root"]
    sources = [(os.open(source, os.O_PATH), source, target) for source, target in spec["outside"]]
    sources += [(os.open(path, os.O_PATH), "", target) for path, target in ((tree, TREE), (f"{tree}/dev", "/dev"))]
    root = "/tmp"  # noqa: S108
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
    for descriptor, source, target in sources:
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        if source and os.path.islink(source):
            os.symlink(os.readlink(source), root + target)
            continue
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.mkdir(root + target)
        else:
            os.close(os.open(root + target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(f"/proc/self/fd/{descriptor}", root + target, "", MS_BIND | (0 if source else MS_REC))
        if source:
            mount("none", root + target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
        os.close(descriptor)
    mount("proc", directory(f"{root}/proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chmod(directory(f"{root}/tmp"), 0o1777)
    return root


def enter_root(root: str) -> None:
    """Make the tree the root, and detach the old one, so that nothing can find its way back."""
    os.chdir(root)
    check(libc.syscall(ctypes.c_long(SYSTEM_CALLS[os.uname().machine][1]), b".", b"."), f"pivot_root to {root}")
    check(libc.umount2(b".", MNT_DETACH), "detach the host's root")
    os.chdir("/")


def raise_loopback() -> None:
    """Switch on the loopback device of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # SIOCSIFFLAGS with IFF_UP | IFF_RUNNING
        fcntl.ioctl(control.fileno(), 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


class SockFprog(ctypes.Structure):
    """struct sock_fprog of <linux/filter.h>."""

    _fields_: t.ClassVar = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def ignore_sync() -> None:
    """Let all calls that wait for the disk succeed at once: a tree that a crash cuts short is thrown away anyway.

    Where the kernel does not allow the filter everything works as well, only slower.
    """
    machine = SYSTEM_CALLS.get(os.uname().machine)
    if machine is None:
        return
    architecture, _pivot_root, calls = machine

    def instruction(code: int, true: int, false: int, value: int) -> bytes:
        return struct.pack("HBBI", code, true, false, value)

    load, jump_equal, leave = 0x20, 0x15, 0x06
    program = [instruction(load, 0, 0, 4), instruction(jump_equal, 0, len(calls) + 1, architecture)]
    program.append(instruction(load, 0, 0, 0))
    program += [instruction(jump_equal, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    # SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with 0, which is success
    program += [instruction(leave, 0, 0, 0x7FFF0000), instruction(leave, 0, 0, 0x00050000)]
    code = b"".join(program)
    filters = SockFprog(len(program), code)
    # No no_new_privs: root may set a filter without it, and setuid programs keep working.
    libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(filters), 0, 0)


def die_with(parent: int) -> None:
    """Make the kernel kill this process with its parent, which holds the other end of the pipe C(parent)."""
    check(libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")
    watch = select.poll()
    watch.register(parent, 0)
    if watch.poll(0):
        os._exit(137)


def run(argv: list[str], spec: dict[str, t.Any]) -> int:
    """Run the command as a child of process 1, and reap whatever else is left to it."""
    child = os.fork()
    if child == 0:
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(spec["directory"])
        try:
            os.execvpe(argv[0], argv, spec["environment"])  # noqa: S606
        except OSError as exc:
            sys.stderr.write(f"{argv[0]}: {exc.strerror}\n")
            os._exit(127)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return exit_code(status)


def exit_code(status: int) -> int:
    """Return what a shell would make of a wait status."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> t.NoReturn:
    """Make the sandbox and run the command in it."""
    with os.fdopen(int(sys.argv[1])) as stream:
        spec = json.load(stream)
    argv = sys.argv[3:]
    os.umask(0o022)
    namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC
    check(libc.unshare(namespaces | (0 if spec["network"] else CLONE_NEWNET)), "create namespaces")
    mount("none", "/", "", MS_PRIVATE | MS_REC)
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(reader)
        os._exit(exit_code(os.waitpid(first, 0)[1]))
    os.close(writer)
    try:
        die_with(reader)
        socket.sethostname(spec["hostname"])
        if not spec["network"]:
            raise_loopback()
        make_mounts(spec)
        enter_root(make_outside(spec) if spec["outside"] else spec["root"])
        if spec["no_sync"]:
            ignore_sync()
    except OSError as exc:
        sys.stderr.write(f"The sandbox cannot be made: {exc}\n")
        os._exit(SANDBOX_FAILED)
    os._exit(run(argv, spec))


#: The exit status that says that the command was not even tried; no program of a package uses it.
SANDBOX_FAILED = 213

if __name__ == "__main__":
    main()
