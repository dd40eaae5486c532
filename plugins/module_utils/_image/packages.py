# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The packages that are installed in an image, from the package manager's own database."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import (
    ParserSandbox,
    hand_over,
    output_directory,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB

_DPKG_STATUS = "/var/lib/dpkg/status"
_RPM_DATABASES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_RPM_FILES = ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
# A line of JSON for each package; names and versions of RPM have no characters that JSON would have to escape.
_RPM_FORMAT = '\\{"name": "%{NAME}", "version": "%{EVR}", "arch": "%{ARCH}"\\}\\n'

Package = t.Dict[str, str]


class ImageFiles(t.Protocol):
    """The files of an image."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; V(None) when there is none."""


def read_packages(
    files: ImageFiles, *, temp_dir: str, runner: ParserSandbox
) -> t.Tuple[t.List[Package], t.Optional[str]]:
    """Return the installed packages, C(name), C(version) and C(arch) of each, sorted; and why none can be known."""
    status = files.read(_DPKG_STATUS)
    if status:
        return sorted(_dpkg_packages(status), key=_key), None
    for directory in _RPM_DATABASES:
        database = {name: files.read(f"{directory}/{name}") for name in _RPM_FILES}
        found = {name: data for name, data in database.items() if data}
        if found:
            try:
                return sorted(_rpm_packages(found, temp_dir, runner), key=_key), None
            except (CommandError, ToolMissingError, ValueError) as exc:
                return [], f"The packages are unknown, as the RPM database cannot be read: {exc}"
    return [], None


def _key(package: Package) -> t.Tuple[str, str, str]:
    return package["name"], package["arch"], package["version"]


def _dpkg_packages(status: bytes) -> t.Iterator[Package]:
    for stanza in status.decode("utf-8", errors="replace").split("\n\n"):
        fields = {}
        for line in stanza.split("\n"):
            key, separator, value = line.partition(": ")
            if separator and key in ("Package", "Version", "Architecture", "Status"):
                fields[key] = value.strip()
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            yield {
                "name": fields["Package"],
                "version": fields.get("Version", ""),
                "arch": fields.get("Architecture", ""),
            }


def _rpm_packages(database: t.Mapping[str, bytes], temp_dir: str, runner: ParserSandbox) -> t.List[Package]:
    rpm = find_tool("rpm")
    size = sum(len(data) for data in database.values())
    with output_directory(size, temp_dir=temp_dir, what="The RPM database") as directory:
        for name, data in database.items():
            with open(os.path.join(directory, name), "xb") as stream:
                stream.write(data)
                hand_over(stream.fileno())
        command = [rpm, "--dbpath", directory, "-qa", "--qf", _RPM_FORMAT]
        done = runner.writing(directory, most=2 * size + 64 * MIB).run(command, log_output=False)
    found = [json.loads(line) for line in done.text.splitlines() if line.startswith("{")]
    return [package for package in found if package["name"] != "gpg-pubkey"]


__all__ = ("Package", "read_packages")
