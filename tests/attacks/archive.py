# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repositories to be attacked, of each package family in the same words."""

from __future__ import annotations

import abc
import os
import shutil
import typing as t

from ansible_collections.os_image.composer.tests.support.deb_repository import DebRepository
from ansible_collections.os_image.composer.tests.support.rpm_repository import RpmRepository
from ansible_collections.os_image.composer.tests.support.signing_keys import SigningKey


class Archive(abc.ABC):
    """A repository on a server.

    :ivar root: Its directory.
    :ivar place: The path of its URL, without a slash at the end.
    """

    family: t.ClassVar[str]

    def __init__(self, root: str, place: str) -> None:
        self.root = root + place
        self.place = place

    @abc.abstractmethod
    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        key: SigningKey | None,
        needs: str = "",
        provides: str = "",
        essential: bool = False,
    ) -> None:
        """Add a package.

        :param key: Signs the package, where packages are signed.
        """

    @abc.abstractmethod
    def publish(
        self,
        key: SigningKey | None,
        *,
        date: int,
        valid_until: int | None = None,
        identity: str = "",
        when: int | None = None,
    ) -> None:
        """Write the metadata.

        :param identity: What the repository says that it is.
        :param when: When the signature was made.
        """

    @property
    @abc.abstractmethod
    def document(self) -> str:
        """The URL's path of the signed document."""

    @property
    @abc.abstractmethod
    def index(self) -> str:
        """The URL's path of the package index."""

    @abc.abstractmethod
    def package(self, name: str, version: str = "1.0") -> str:
        """Return the URL's path of a package."""

    @property
    @abc.abstractmethod
    def metadata(self) -> str:
        """The directory of all metadata."""

    def file(self, path: str) -> str:
        """Return the file of a URL's path."""
        return self.root + path[len(self.place) :]

    def save(self, directory: str) -> None:
        """Keep the metadata as it is."""
        shutil.copytree(self.metadata, directory)

    def restore(self, directory: str) -> None:
        """Publish what was kept."""
        shutil.rmtree(self.metadata)
        shutil.copytree(directory, self.metadata)


class DebArchive(Archive):
    """A repository with a Release file."""

    family = "deb"

    def __init__(self, root: str, place: str) -> None:
        super().__init__(root, place)
        self._repository = DebRepository(self.root, by_hash=False, compressions=(".gz",))

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        key: SigningKey | None,  # noqa: ARG002
        needs: str = "",
        provides: str = "",
        essential: bool = False,
    ) -> None:
        fields = {"Depends": needs, "Provides": provides, "Essential": "yes" if essential else ""}
        chosen = {field: value for field, value in fields.items() if value}
        self._repository.add_package(name, version, fields=chosen)

    def publish(
        self,
        key: SigningKey | None,
        *,
        date: int,
        valid_until: int | None = None,
        identity: str = "",
        when: int | None = None,
    ) -> None:
        self._repository.fields = {"Label": identity}
        self._repository.publish(key, date=date, valid_until=valid_until, signed_at=when)

    @property
    def document(self) -> str:
        return f"{self.place}/dists/stable/InRelease"

    @property
    def index(self) -> str:
        return f"{self.place}/dists/stable/main/binary-amd64/Packages.gz"

    def package(self, name: str, version: str = "1.0") -> str:
        return f"{self.place}/pool/main/{name}_{version}_amd64.deb"

    @property
    def metadata(self) -> str:
        return os.path.join(self.root, "dists")


class RpmArchive(Archive):
    """A repository with a repomd.xml."""

    family = "rpm"

    def __init__(self, root: str, place: str) -> None:
        super().__init__(root, place)
        self._repository = RpmRepository(self.root)

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        key: SigningKey | None,
        needs: str = "",
        provides: str = "",
        essential: bool = False,  # noqa: ARG002
    ) -> None:
        chosen = {tag: value for tag, value in {"Requires": needs, "Provides": provides}.items() if value}
        self._repository.add_package(name, f"{version}-1", key=key, tags=chosen)

    def publish(
        self,
        key: SigningKey | None,
        *,
        date: int,
        valid_until: int | None = None,  # noqa: ARG002
        identity: str = "",
        when: int | None = None,
    ) -> None:
        options = [f"--repo={identity}"] if identity else []
        self._repository.publish(None, revision=date, options=options)
        self._repository.sign(key, when=when)

    @property
    def document(self) -> str:
        return f"{self.place}/repodata/repomd.xml"

    @property
    def index(self) -> str:
        return self.place + self._repository.data("primary")[len(self.root) :]

    def package(self, name: str, version: str = "1.0") -> str:
        return f"{self.place}/{name}-{version}-1.noarch.rpm"

    @property
    def metadata(self) -> str:
        return self._repository.repodata


__all__ = ("Archive", "DebArchive", "RpmArchive")
