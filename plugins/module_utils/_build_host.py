# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The build host: the programs, libraries, kernel features and space that it has."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import platform
import shutil
import sys
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._emulation import ARCHITECTURES, emulation_problem
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.distribution import read_distribution
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import (
    HOST_LIBRARIES,
    HOST_TOOLS,
    packages_for,
)
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

Facts = t.Dict[str, t.Any]

# Booting images in virtual machines is no part of building them.
_TOOLS: t.Sequence[str] = [name for name, tool in HOST_TOOLS.items() if tool.package.purpose == "build"]

# From <linux/kvm.h>: _IO(0xAE, 0x00) and _IO(0xAE, 0x01).
_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01

# Each line of output is a feature that works; everything is gone when the namespace is.
_NAMESPACE_TRIAL = """\
echo namespaces
mount -t tmpfs none "$1" || exit 0
echo tmpfs
mount -t proc none "$1" && echo proc && umount "$1"
"""
_OVERLAY_TRIAL = """\
cd "$1" && mkdir lower upper work merged && echo content > lower/file &&
mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work merged &&
rm merged/file && mkdir merged/file && echo overlay
"""


def existing_parent(path: str) -> str:
    """Return the nearest directory above C(path), or C(path) itself, that exists."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _tool_facts() -> Facts:
    facts: Facts = {}
    for name in _TOOLS:
        try:
            facts[name] = {"path": find_tool(name), "version": tool_version(name)}
        except ToolMissingError:
            continue
    return facts


def _library_facts() -> Facts:
    facts: Facts = {}
    # What was installed since this interpreter started has to be found too.
    importlib.invalidate_caches()
    for name in HOST_LIBRARIES:
        try:
            library = import_library(name)
        except ToolMissingError:
            continue
        facts[name] = str(getattr(library, "__version__", ""))
    return facts


def missing_packages(packages: t.Sequence[str], *, family: str) -> t.List[str]:
    """Return those of C(packages) that are not installed, in the same order.

    :param family: The family of the host's distribution, see :func:`read_distribution`.
    """
    if not packages:
        return []
    runner = CommandRunner()
    if family == "debian":
        command = [find_tool("dpkg-query"), "-W", "-f", "${Package} ${db:Status-Status}\\n"]
    else:
        command = [find_tool("rpm"), "-q", "--qf", "%{NAME} installed\\n"]
    # Its status is not 0 when it does not know one of the names.
    done = runner.run([*command, *packages], check=False)
    installed = {line.split()[0] for line in done.text.splitlines() if line.endswith(" installed")}
    missing = [name for name in packages if name not in installed]
    if family == "debian":
        return missing
    # dnf installs a package by what it provides, too; rpm then tells that package's name, not what was asked for.
    return [name for name in missing if runner.run([*command[:1], "-q", "--whatprovides", name], check=False).rc != 0]


def _try_in_namespace(script: str, directory: str) -> t.Tuple[t.List[str], str]:
    """Run a shell script in throw-away namespaces, and return the lines that it printed, and its last complaint."""
    try:
        runner = CommandRunner()
        unshare = find_tool("unshare")
        done = runner.run(
            [
                *(unshare, "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL"),
                *("--propagation", "private", "--", "/bin/sh", "-c", script, "sh", directory),
            ],
            check=False,
            timeout=30,
        )
    except ComposerError as exc:
        return [], str(exc)
    complaints = done.error_text.splitlines()
    return done.text.split(), complaints[-1] if complaints else ""


def _kernel_facts(directory: str) -> Facts:
    facts: Facts = {"release": platform.release(), "namespaces": False, "tmpfs": False, "proc": False, "overlay": False}
    facts["complaint"] = ""
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=directory, prefix=".build-host-info.") as trial:
        for script in (_NAMESPACE_TRIAL, _OVERLAY_TRIAL):
            features, complaint = _try_in_namespace(script, trial)
            facts.update(dict.fromkeys(features, True))
            facts["complaint"] = facts["complaint"] or complaint
    return facts


def _kvm_facts() -> Facts:
    facts: Facts = {"device": os.path.exists("/dev/kvm"), "accessible": False}
    with contextlib.suppress(OSError):
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        try:
            if fcntl.ioctl(device, _KVM_GET_API_VERSION) == 12:
                os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
                facts["accessible"] = True
        finally:
            os.close(device)
    return facts


def _emulation_facts(directory: str) -> t.Dict[str, t.Optional[str]]:
    """Return why the programs of each architecture do not run here; V(None) for those that do."""
    facts: t.Dict[str, t.Optional[str]] = {}
    for arch in ARCHITECTURES:
        try:
            facts[arch] = emulation_problem(arch, directory=directory)
        except (ComposerError, OSError) as exc:
            facts[arch] = f"that cannot be tried: {exc}"
    return facts


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _kernel_problems(kernel: Facts, directory: str) -> t.List[str]:
    why = f" ({kernel['complaint']})" if kernel["complaint"] else ""
    if not kernel["namespaces"]:
        return [
            f"The kernel does not let root make mount, PID, IPC and UTS namespaces{why}. When the build host is a "
            "container, give it CAP_SYS_ADMIN and a seccomp profile that allows unshare and mount. When it is a plain "
            "chroot, let its root directory be a mount point."
        ]
    problems = [
        f"A file system of the type {name} cannot be mounted in a new namespace of the build host{why}. When the host "
        "is a container, let it run with the right to mount."
        for name in ("tmpfs", "proc")
        if not kernel[name]
    ]
    if not kernel["overlay"]:
        problems.append(
            f"An overlay cannot be mounted over {directory}{why}. Load the kernel module overlay, and let the work "
            "directory be on a file system that can hold its upper layer (ext4, xfs, btrfs or tmpfs; not an overlay)."
        )
    return problems


def wanted_packages(
    choices: t.Iterable[t.Mapping[str, t.Sequence[str]]],
    *,
    family: str,
    machine: str,
    foreign: t.Sequence[str] = (),
) -> t.List[str]:
    """Return the packages that fit a host, sorted.

    :param choices: Mappings from C(all), a family, C(family-machine) or C(family-for-architecture) to names.
    :param foreign: The architectures that count for the last of these; never the host's own.
    """
    keys = ("all", family, f"{family}-{machine}", *(f"{family}-for-{arch}" for arch in foreign if arch != machine))
    return sorted({name for choice in choices for key in keys for name in choice.get(key) or ()})


def probe_build_host(
    *,
    work_dir: str,
    space: t.Mapping[str, int],
    packages: t.Iterable[t.Mapping[str, t.Sequence[str]]] = (),
    purposes: t.Sequence[str] = (),
    foreign_architectures: t.Sequence[str] = (),
) -> Facts:
    """Find out what the host has and can do.

    :param work_dir: Where roots are built; it, or the nearest directory above it, must be able to hold overlay layers.
    :param space: Directories, each with the bytes that must be free there.
    :param packages: Distribution packages that should be installed, see :func:`wanted_packages`.
    :param purposes: What the host is for, see :data:`PURPOSES`; the packages for that should be installed, too.
    :param foreign_architectures: Those that images shall be built for, beside the host's own.
    :returns: Facts by subject, and C(problems): full sentences, empty when images can be built here.
    """
    distribution = read_distribution()
    family, machine = distribution["family"], platform.machine()
    wanted_here = {
        *wanted_packages(packages, family=family, machine=machine, foreign=foreign_architectures),
        *packages_for(purposes, family=family, machine=machine, foreign=foreign_architectures),
    }
    tools, libraries = _tool_facts(), _library_facts()
    directory = existing_parent(work_dir)
    kernel = _kernel_facts(directory)
    emulation = _emulation_facts(directory)
    problems: t.List[str] = []
    is_root = os.geteuid() == 0
    if not is_root:
        problems.append("The modules do not run as root on the build host. Use become.")
    else:
        problems += _kernel_problems(kernel, directory)
    if not family:
        problems.append(
            f"The build host runs {distribution['name'] or 'an unknown distribution'}, which is not supported. "
            "Use a host with Debian, Ubuntu, Fedora, Enterprise Linux or Azure Linux."
        )
    free: Facts = {}
    for path, wanted in sorted(space.items()):
        free[path] = shutil.disk_usage(existing_parent(path)).free
        if free[path] < wanted:
            problems.append(
                f"Only {free[path] / (1 << 30):.1f} GiB are free for {path}, but {wanted / (1 << 30):.1f} GiB are "
                "wanted. Make room, or name a directory on a larger file system."
            )
    return {
        "distribution": distribution,
        "architecture": machine,
        "architectures": [arch for arch, problem in emulation.items() if problem is None],
        "processors": len(os.sched_getaffinity(0)),
        "memory": _memory_bytes(),
        "root": is_root,
        "python": {"executable": sys.executable, "version": platform.python_version(), "libraries": libraries},
        "tools": tools,
        "kernel": kernel,
        "kvm": _kvm_facts(),
        "free_space": free,
        "missing_tools": [name for name in _TOOLS if name not in tools],
        "missing_libraries": [name for name in HOST_LIBRARIES if name not in libraries],
        "missing_packages": missing_packages(sorted(wanted_here), family=family) if family else [],
        "missing_emulators": {arch: emulation[arch] for arch in foreign_architectures if emulation[arch] is not None},
        "problems": problems,
    }


__all__ = (
    "existing_parent",
    "missing_packages",
    "probe_build_host",
    "wanted_packages",
)
