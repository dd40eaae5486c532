# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small RPM packages, made by rpmbuild."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import LockedPackage
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH

_MACROS = {
    "__os_install_post": "%{nil}",
    "_binary_payload": "w1.gzdio",
    "_build_id_links": "none",
    "_buildhost": "localhost",
    "_build_name_fmt": "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
    "clamp_mtime_to_source_date_epoch": "1",
    "debug_package": "%{nil}",
    "use_source_date_epoch_as_buildtime": "1",
}


@dataclasses.dataclass
class Rpm:
    """A package to be built.

    :ivar files: Contents by path; V(None) for a directory, and C(-> target) for a symbolic link.
    :ivar tags: Lines of the preamble, such as C(Requires: x).
    :ivar scripts: Sections by their first lines, such as C(%post -p <lua>).
    :ivar modes: Modes by path.
    :ivar owners: Users and groups by path, with a comma between them.
    :ivar capabilities: Capabilities by path, as for C(setcap).
    :ivar devices: Major and minor numbers of character devices by path.
    """

    name: str
    files: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    tags: t.Sequence[str] = ()
    scripts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    version: str = "1.0"
    release: str = "1"
    arch: str = "noarch"
    modes: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    license: str = "MIT"
    owners: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    capabilities: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    devices: t.Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def build(self, directory: pathlib.Path, *, tree: pathlib.Path | None = None) -> pathlib.Path:
        """Build the package into a directory; returns its path.

        :param tree: A tree whose files are all in the package.
        """
        work = directory / f".{self.name}"
        source = work / "root"
        if tree is not None:
            shutil.copytree(tree, source, symlinks=True)
        source.mkdir(parents=True, exist_ok=True)
        lines = []
        for path, content in self.files.items():
            target = source / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            mark = f"%attr({self.modes.get(path, '-')},{self.owners.get(path, 'root,root')}) "
            if path in self.capabilities:
                mark += f"%caps({self.capabilities[path]}) "
            if content is None:
                target.mkdir(exist_ok=True)
                mark += "%dir "
            elif content.startswith("-> "):
                target.symlink_to(content[3:])
            else:
                target.write_text(content)
            lines.append(f"{mark}{path}")
        for path, (major, minor) in self.devices.items():
            lines.append(f"%dev(c,{major},{minor}) %attr({self.modes.get(path, '0640')},root,root) {path}")
        if tree is not None:
            for entry in sorted(source.rglob("*")):
                if entry.is_symlink() or not entry.is_dir():
                    lines.append(f"/{entry.relative_to(source)}")
                elif not any(entry.iterdir()):
                    lines.append(f"%dir /{entry.relative_to(source)}")
        spec = [
            *(f"Name: {self.name}", f"Version: {self.version}", f"Release: {self.release}", "Summary: A test"),
            *(f"License: {self.license}", "Vendor: Tests", "URL: https://example.org/", "AutoReqProv: no"),
            *([] if self.arch != "noarch" else ["BuildArch: noarch"]),
            *self.tags,
            *("%description", "A package of a test."),
        ]
        for head, script in self.scripts.items():
            spec += [head, script]
        (work / "spec").write_text("\n".join([*spec, "%files", *lines, ""]))
        macros = {**_MACROS, "_topdir": str(work / "top"), "_rpmdir": str(directory), "_dbpath": str(work / "db")}
        defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work), "SOURCE_DATE_EPOCH": str(EPOCH)}
        command = ["rpmbuild", "-bb", "--quiet", "--nodeps", "--target", self.arch, "--buildroot", str(source)]
        done = subprocess.run(
            [*command, *defines, str(work / "spec")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()
        shutil.rmtree(work)
        return directory / f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    def lock_entry(self, path: pathlib.Path, *, layer: int, repository: str = "tiny") -> dict[str, t.Any]:
        """Return the package's entry of a lock."""
        epoch = next((tag.partition(":")[2].strip() for tag in self.tags if tag.startswith("Epoch:")), "")
        return {
            "name": self.name,
            "version": f"{epoch}{':' if epoch else ''}{self.version}-{self.release}",
            "arch": self.arch,
            "sha256": sha256_file(str(path)),
            "size": path.stat().st_size,
            "layer": layer,
            "filename": path.name,
            "repository": repository,
        }

    def locked(self, path: pathlib.Path, *, repository: str = "tiny") -> LockedPackage:
        """Return the package as the installer takes it."""
        return LockedPackage.of(self.lock_entry(path, layer=0, repository=repository), str(path.parent))


__all__ = ("Rpm",)
