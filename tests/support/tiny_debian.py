# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tiny distribution: trees and packages made of the build host's own programs, with the real dpkg among them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import LockedPackage
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file

#: The date of everything: 2024-01-01.
EPOCH = 1704067200

PROGRAMS = (
    *("cat", "chmod", "cp", "dash", "dpkg", "dpkg-deb", "dpkg-divert", "dpkg-query", "dpkg-split", "dpkg-trigger"),
    *("diff", "ldconfig", "start-stop-daemon"),
    *("env", "false", "grep", "id", "ip", "kill", "ls", "mkdir", "mv", "ps", "rm", "sed", "sleep", "stat", "sync"),
    *("tar", "touch", "true", "xargs"),
)

#: What a test's own Python needs to import this collection.
PYTHON_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and owners need root")


class Log:
    """Collects what commands say."""

    path = None

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


def copy_programs(root: pathlib.Path, names: t.Iterable[str]) -> None:
    """Copy programs of the build host with their libraries into a tree."""
    wanted = {shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") for name in names}
    libraries = subprocess.run(["ldd", *sorted(filter(None, wanted))], stdout=subprocess.PIPE, check=True).stdout
    for path in {*filter(None, wanted), *re.findall(r"(/\S+) \(0x", libraries.decode())}:
        target = root / os.path.realpath(os.path.dirname(path))[1:] / os.path.basename(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(path), target)


def fill_tree(root: pathlib.Path) -> None:
    """Put the programs with their libraries into a tree with a merged /usr."""
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("etc", "root", "var", "var/log", "tmp"):
        (root / name).mkdir(exist_ok=True)
    copy_programs(root, PROGRAMS)
    shutil.copy2(root / "usr/bin/dash", root / "usr/bin/sh")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nwww-data:x:33:\n")


@dataclasses.dataclass
class Deb:
    """A package to be built.

    :ivar files: Contents by path; V(None) for a directory, and C(-> target) for a symbolic link.
    :ivar control: Control files by name, such as C(postinst).
    :ivar edit_control: Brings the control file into another form.
    :ivar devices: Major and minor numbers of character devices by path.
    """

    name: str
    files: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    control: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    fields: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    version: str = "1.0-1"
    modes: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    devices: t.Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    edit_control: t.Callable[[bytes], bytes] = bytes

    def build(
        self, directory: pathlib.Path, *, tree: pathlib.Path | None = None, compression: str = "xz"
    ) -> pathlib.Path:
        """Build the package into a directory; returns its path."""
        source = directory / f".{self.name}"
        if tree is not None:
            shutil.copytree(tree, source, symlinks=True)
        for path, content in self.files.items():
            target = source / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.mkdir(exist_ok=True)
            elif content.startswith("-> "):
                target.symlink_to(content[3:])
            else:
                target.write_text(content)
            if path in self.modes:
                target.chmod(self.modes[path])
        for path, numbers in self.devices.items():
            target = source / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(target, 0o640 | stat.S_IFCHR, os.makedev(*numbers))
        meta = source / "DEBIAN"
        meta.mkdir(parents=True)
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "amd64",
            "Maintainer": "Nobody <nobody@example.org>",
            "Description": f"{self.name}\n A package of a test.",
            **self.fields,
        }
        text = "".join(f"{key}: {value}\n" for key, value in fields.items())
        (meta / "control").write_bytes(self.edit_control(text.encode()))
        for name, content in self.control.items():
            (meta / name).write_text(content)
            if content.startswith("#!"):
                (meta / name).chmod(0o755)
        path = directory / f"{self.name}_{self.version}_amd64.deb"
        environment = {"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH)}
        level = ["-z1"] if compression != "none" else []
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", f"-Z{compression}", *level, "-b", str(source), str(path)],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        shutil.rmtree(source)
        return path

    def lock_entry(self, path: pathlib.Path, *, layer: int) -> dict[str, t.Any]:
        """Return the package's entry of a lock."""
        return {
            "name": self.name,
            "version": self.version,
            "arch": self.fields.get("Architecture", "amd64"),
            "sha256": sha256_file(str(path)),
            "size": path.stat().st_size,
            "layer": layer,
            "filename": path.name,
        }

    def locked(self, path: pathlib.Path) -> LockedPackage:
        """Return the package as the installer takes it."""
        return LockedPackage.of(self.lock_entry(path, layer=0), str(path.parent))
