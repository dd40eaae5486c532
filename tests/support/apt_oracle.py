# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apt itself says about a repository: apt-get in an empty root directory, with one package source."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

_CONFIGURATION = """\
Dir "{root}";
Dir::Bin::methods "/usr/lib/apt/methods";
Dir::State::status "{root}/status";
Dir::Etc::trusted "/nonexistent";
APT::Architecture "{architecture}";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


class AptOracle:
    """apt with a repository as its only source.

    :param source: The source in apt's one-line form, without C(deb) and options.
    :param key: The file with the keys that may sign it.
    """

    def __init__(
        self, root: pathlib.Path, source: str, key: str | os.PathLike[str], *, architecture: str = "amd64"
    ) -> None:
        for name in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "etc/apt/apt.conf.d"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        (root / "etc/apt/sources.list").write_text(f"deb [signed-by={os.fspath(key)}] {source}\n")
        configuration = root / "apt.conf"
        configuration.write_text(_CONFIGURATION.format(root=root, architecture=architecture))
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "APT_CONFIG": str(configuration)}

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["apt-get", *arguments],
            env=self._environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def update(self) -> None:
        """Fetch the metadata.

        :raises AssertionError: apt does not take them.
        """
        done = self._run("update")
        assert done.returncode == 0, done.stdout

    def installs(self, *requests: str) -> list[str]:
        """Return the packages that a request brings, C(name version), sorted."""
        done = self._run("install", "--simulate", *requests)
        assert done.returncode == 0, done.stdout
        found = re.findall(rb"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE)
        return sorted(f"{name.decode()} {version.decode()}" for name, version in found)


__all__ = ("AptOracle",)
