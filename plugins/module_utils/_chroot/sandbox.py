# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The sandbox of commands in a root tree, where they can neither see nor change anything of the host."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot import sandbox_init
from ansible_collections.os_image.composer.plugins.module_utils._chroot.launcher import (
    host_programs,
    launcher,
    protected_interpreter,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    CompletedCommand,
    find_tool,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._namespace import enter_mount_namespace
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: What each command finds in its environment, and nothing else.
ENVIRONMENT: t.Mapping[str, str] = {
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "INITRD": "No",
    "KERNEL_INSTALL_BYPASS": "1",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/sh",
    "SYSTEMD_OFFLINE": "1",
    "TERM": "dumb",
    "TZ": "UTC",
}

_KERNEL_DIRECTORIES = ("/dev/", "/proc/", "/sys/")

_STUB = "#!/bin/sh\nexit 0\n"

#: What a sandbox with a network does not reach beside the host itself: link-local addresses, and where clouds tell
#: machines who they are, keys among it (AWS, GCP, Azure, OpenStack: link-local; Azure's wire server; Alibaba; Oracle).
UNREACHABLE = ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32")

# Where slirp4netns answers questions for names, from the host's resolver.
_RESOLVER = "10.0.2.3"


class Sandbox:
    """Runs commands in a tree: own mount, PID, IPC, UTS and network namespaces, own /dev, /proc, /run and /tmp.

    Nothing survives a command but what it wrote into the tree; everything dies with this process.

    :param root: Absolute path of the tree; it must be a directory of this process's mount namespace.
    :param runner: Starts the sandbox and logs what the commands say.
    :param source_date_epoch: What C(SOURCE_DATE_EPOCH) tells the commands.
    :param environment: More variables for all commands.
    :param hostname: What the host is called for them.
    """

    def __init__(
        self,
        root: str,
        runner: CommandRunner,
        *,
        source_date_epoch: int,
        environment: t.Mapping[str, str] | None = None,
        hostname: str = "localhost",
    ) -> None:
        self.root = root
        self._hostname = hostname
        self._runner = runner
        self._environment = {**ENVIRONMENT, "SOURCE_DATE_EPOCH": str(source_date_epoch), **(environment or {})}

    def run(
        self,
        argv: t.Sequence[str],
        *,
        outside: bool = False,
        data: bytes | None = None,
        network: bool = False,
        binds: t.Mapping[str, str] | None = None,
        stubs: t.Sequence[str] = (),
        files: t.Mapping[str, str] | None = None,
        environment: t.Mapping[str, str] | None = None,
        check: bool = True,
        merge_output: bool = True,
        log_output: bool = True,
        timeout: float = 3600,
        what: str | None = None,
    ) -> CompletedCommand:
        """Run a command to its end.

        :param outside: It is a program of the build host, which finds the tree at C(sandbox_init.TREE), and of the
            host its programs and C(binds) alone. What it runs itself with the tree as its root directory sees neither.
        :param data: Bytes for its standard input.
        :param network: Let it reach what the host reaches, but nothing of the host itself, nor what only hosts should
            ask (see :data:`UNREACHABLE`); otherwise there is only a loopback device.
        :param binds: Paths of the host by paths of the tree, which are shown there read-only; beside the tree for a
            program of the host.
        :param stubs: Programs of the tree (absolute paths) that do nothing and succeed meanwhile, where they exist.
        :param files: Texts by paths below /run, which are there meanwhile; those that begin with C(#!) are executable.
        :param environment: More variables.
        :param check: Raise when its exit status is not 0.
        :param what: What was being done, as the subject of the error message.
        :raises ChrootError: The sandbox could not be made.
        :raises CommandError: The command failed.
        """
        enter_mount_namespace()
        tree = TreeFiles(self.root)
        contents = {path[len("/run/") :]: text for path, text in (files or {}).items()}
        mounts: list[tuple[str, str, bool]] = []
        beside: list[tuple[str, str, bool]] = []
        if outside:
            beside = host_programs()
            beside += [(source, target, True) for target, source in (binds or {}).items()]
        else:
            mounts = [(source, _place(tree, target), True) for target, source in (binds or {}).items()]
        for stub in stubs:
            target = _place(tree, stub)
            if tree.is_file(target):
                contents[".stub"] = _STUB
                mounts.append(("/run/.stub", target, True))
        made = self._share_resolver(contents, mounts) if network else None
        spec = {
            "root": self.root,
            "hostname": self._hostname,
            "network": _connection() if network else None,
            "environment": {**self._environment, **(environment or {})},
            "binds": mounts,
            "outside": beside,
            "files": contents,
            "directory": "/",
        }
        try:
            with protected_interpreter(), launcher(spec) as (prefix, descriptors):
                done = self._runner.run(
                    [*prefix, *argv],
                    data=data,
                    check=False,
                    merge_output=merge_output,
                    log_output=log_output,
                    timeout=timeout,
                    pass_fds=descriptors,
                    what=what or f"The command {os.path.basename(argv[0])!r}",
                )
        finally:
            if made is not None:
                tree.remove(made)
        if done.rc == sandbox_init.SANDBOX_FAILED:
            raise ChrootError(
                f"Commands cannot be run in the root tree {self.root}. {(done.error_text or done.text).strip()}.",
                remedy="Check that the build host's kernel allows mount, PID, IPC, UTS and network namespaces to root.",
            )
        if check:
            self._runner.check(done, what=what)
        return done

    def _share_resolver(self, files: dict[str, str], mounts: list[tuple[str, str, bool]]) -> str | None:
        """Let names be resolved by the host's resolver, whatever the tree's /etc/resolv.conf is.

        Returns the path, in the tree, of a file that was made only to be covered, and has to go afterwards.
        """
        content = f"nameserver {_RESOLVER}\n"
        tree = TreeFiles(self.root)
        target = _place(tree, "/etc/resolv.conf")
        if target.startswith("/run/"):
            files[target[len("/run/") :]] = content
            return None
        files[".resolv.conf"] = content
        mounts.append(("/run/.resolv.conf", target, True))
        if tree.exists(target):
            return None
        tree.write(target, b"")
        return target


def _place(tree: TreeFiles, path: str) -> str:
    """Return where a path of the tree leads.

    :raises ChrootError: To what is none of the tree's in the sandbox, and has links of the kernel's own in it.
    """
    place = tree.resolve(path)
    if place.startswith(_KERNEL_DIRECTORIES):
        raise ChrootError(
            f"The path {path} of the image leads to {place}, which is the kernel's.",
            remedy="Look for the package or script that has made the link.",
        )
    return place


def _connection() -> dict[str, t.Any]:
    """Return how a sandbox is connected, see :class:`sandbox_init.Network`.

    slirp4netns makes all connections as a process without rights of its own, so no interface, route or packet filter of
    the host changes.
    """
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"]
    return {
        "connect": [find_tool("slirp4netns"), *options],
        "ip": find_tool("ip"),
        "blocked": UNREACHABLE,
    }


__all__ = ("ENVIRONMENT", "Sandbox")
