# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The module's own mount namespace, and mounts in it.

Everything that a stage mounts, it mounts after :func:`enter_mount_namespace`. So the host never sees these mounts, and
the kernel takes them away with the process, however that ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError

# <linux/sched.h> and <sys/mount.h>; the same numbers on all architectures that a build host can have.
_CLONE_NEWNS = 0x00020000
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 0x2
_UMOUNT_NOFOLLOW = 0x8

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_LIBC.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_LIBC.unshare.argtypes = [ctypes.c_int]

# The process that has entered its own namespace: a fork of it has entered it too, but counts for itself.
_entered_by = 0
# That process and the directory with its mount points.
_mount_points: tuple[int, str] | None = None


def enter_mount_namespace() -> None:
    """Give this process a mount namespace of its own; does nothing when it has one already.

    Call it in the main thread, before other threads are started that need the mounts: threads that exist already
    stay where they are.

    :raises ChrootError: The process may not, or the kernel cannot.
    """
    global _entered_by  # noqa: PLW0603  (a property of the process, as the namespace itself is)
    if _entered_by == os.getpid():
        return
    if os.geteuid() != 0:
        raise ChrootError(
            "Root trees are made in mount namespaces, which only root may create, and this module runs as user "
            f"{os.geteuid()}.",
            remedy="Run the play with become: true.",
        )
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES):
            raise ChrootError(
                "The kernel does not let this process create a mount namespace, although it runs as root.",
                remedy="In a container, give it the capability SYS_ADMIN, and a seccomp profile that allows unshare().",
            )
        raise ChrootError(
            f"The kernel of the build host cannot create a mount namespace: {os.strerror(code)}.",
            remedy="Boot a kernel that has CONFIG_NAMESPACES.",
        )
    mount("none", "/", "", flags=_MS_PRIVATE | MS_REC)
    _entered_by = os.getpid()


def mount(source: str, target: str, fs_type: str, *, flags: int = 0, options: str = "") -> None:
    """Mount C(source) on C(target), as mount(2) does.

    :raises ChrootError: The kernel refuses; the message says what, where and why.
    """
    done = _LIBC.mount(os.fsencode(source), os.fsencode(target), fs_type.encode(), flags, os.fsencode(options))
    if done != 0:
        code = ctypes.get_errno()
        what = f"the file system {fs_type}" if fs_type else source
        remedy = None
        if code == errno.ENODEV:
            remedy = f"Boot a kernel that has the file system {fs_type}, or load its module: modprobe {fs_type}."
        elif code == errno.EINVAL and fs_type == "overlay":
            remedy = (
                "Put work_dir on a file system that can hold overlay layers: ext4, xfs or btrfs, not another overlay, "
                "not NFS."
            )
        raise ChrootError(f"Cannot mount {what} on {target}: {os.strerror(code)}.", remedy=remedy)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show C(source) at C(target) too, without what is mounted below it."""
    mount(source, target, "", flags=MS_BIND)
    if read_only:
        mount("none", target, "", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(target: str) -> None:
    """Take away what is mounted on C(target); at once for everybody, even while it is in use."""
    if _LIBC.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise ChrootError(f"Cannot unmount {target}: {os.strerror(ctypes.get_errno())}.")


def mount_point(parent: str) -> str:
    """Make an empty directory to mount something on, which nobody else sees and which leaves nothing behind.

    The directories of a process lie in one small tmpfs. It covers C({parent}/.mnt) of the first call; that directory is
    made when it is missing, and stays, empty for everybody else.
    """
    global _mount_points  # noqa: PLW0603  (a property of the process, as the namespace itself is)
    enter_mount_namespace()
    if _mount_points is None or _mount_points[0] != os.getpid():
        path = os.path.join(parent, ".mnt")
        os.makedirs(path, mode=0o700, exist_ok=True)
        mount("tmpfs", path, "tmpfs", flags=MS_NOSUID | MS_NODEV, options="mode=0700,size=1m")
        _mount_points = (os.getpid(), path)
    return tempfile.mkdtemp(dir=_mount_points[1])


def overlay_path(path: str) -> str:
    """Return C(path) as it has to be written among the options of an overlay."""
    return "".join(f"\\{char}" if char in "\\:," else char for char in path)


__all__ = (
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "bind",
    "enter_mount_namespace",
    "mount",
    "mount_point",
    "overlay_path",
    "unmount",
)
