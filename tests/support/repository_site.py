# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository on a server, and a build host that uses it: the same for every package family."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Timeouts
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import Repository
from ansible_collections.os_image.composer.tests.support.http_server import FileServer
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import repositories


class RepositorySite:
    """What a test of one package family does with its repository.

    :cvar kind: The family's class.
    :cvar package_arch: The architecture of the packages.
    :cvar unverified: How the names end of files that are kept before they are verified.
    """

    kind: t.ClassVar[type[Repository[t.Any]]]
    package_arch: t.ClassVar[str]
    unverified: t.ClassVar[tuple[str, ...]]

    def __init__(self, server: FileServer, keys: Keys, directory: pathlib.Path) -> None:
        self.server = server
        self.keys = keys
        self.metadata_dir = directory / "metadata"
        self.build_log = directory / "build.log"
        self.config: dict[str, t.Any] = {
            "name": "test",
            "url": server.url,
            "priority": 500,
            "allow_packages": [],
            "gpgcheck": True,
            "keys": [keys.archive.public],
            "fingerprints": [keys.archive.fingerprint],
        }

    def refresh_all(
        self,
        *configs: t.Mapping[str, t.Any],
        offline: bool = False,
        now: int | None = None,
        mirrors: t.Mapping[str, str] | None = None,
    ) -> list[RepositoryMetadata]:
        """Bring the metadata of several repositories up to date."""
        with Downloader(workers=4, attempts=2, backoff=0.01, timeouts=Timeouts(connect=2, read=2)) as downloader:
            return refresh_repositories(
                self.kind,
                repositories(*configs),
                package_arch=self.package_arch,
                metadata_dir=str(self.metadata_dir),
                mirrors=mirrors,
                downloader=downloader,
                offline=offline,
                progress=Progress("pkg_resolve", build_log=str(self.build_log)),
                now=now,
            )

    def refresh(self, *, offline: bool = False, now: int | None = None, **changes: t.Any) -> RepositoryMetadata:
        """Bring the metadata of the repository up to date.

        :param changes: Of its configuration.
        """
        return self.refresh_all({**self.config, **changes}, offline=offline, now=now)[0]

    def refused(self, *, offline: bool = False, now: int | None = None, **changes: t.Any) -> str:
        """Refresh, which must fail and leave what was there; return the message."""
        before = self.snapshot()
        with pytest.raises(RepositoryError) as caught:
            self.refresh(offline=offline, now=now, **changes)
        after = self.snapshot()
        assert {name: data for name, data in after.items() if name in before} == before
        # Nothing that was not verified has got a name by which it would be used.
        assert [name for name in after if name not in before and not name.endswith(self.unverified)] == []
        return str(caught.value)

    def snapshot(self) -> dict[str, bytes]:
        """Return all files of the metadata by their paths, but for locks."""
        return {
            str(path.relative_to(self.metadata_dir)): path.read_bytes()
            for path in self.metadata_dir.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    def log(self) -> list[str]:
        """Return the lines of the build log, without their times."""
        lines = self.build_log.read_text().splitlines()
        return [line.partition("pkg_resolve ")[2] for line in lines]


__all__ = ("RepositorySite",)
