# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories of loose packages of both families, indexed, resolved and fetched."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Download
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm_signature import (
    SignedRepository,
    verify_packages,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb import DebResolver
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import Package
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm import RpmResolver
from ansible_collections.os_image.composer.tests.support.deb_repository import DebRepository
from ansible_collections.os_image.composer.tests.support.rpm_repository import build_package, sign_package
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import repositories
from ansible_collections.os_image.composer.tests.support.tiny_debian import Deb


class Loose:
    """A directory of loose packages, and a build host that uses it."""

    def __init__(self, kind: t.Type[Resolver], tmp_path: pathlib.Path) -> None:
        self.kind = kind
        self.arch = "amd64" if kind is DebResolver else "x86_64"
        self.directory = tmp_path / "loose packages"
        self.metadata_dir = tmp_path / "metadata"
        self.config: dict[str, t.Any] = {
            "name": "local",
            "path": f"{self.directory}/",
            "suite": "local",
            "components": ["main"],
            "priority": 900,
            "allow_packages": [],
            "gpgcheck": False,
        }

    def add(self, name: str, *, needs: str = "", folder: str = "") -> str:
        directory = str(self.directory / folder)
        if self.kind is RpmResolver:
            tags = {"Requires": needs} if needs else None
            return build_package(directory, name, tags=tags, files={f"/opt/{name}/data": name})
        fields = {"Depends": needs} if needs else None
        return DebRepository(directory, suite="./").add_package(name, "1.0-1", fields=fields)

    def refresh(self, *, offline: bool = False, **changes: t.Any) -> RepositoryMetadata:
        with Downloader(workers=1) as downloader:
            (metadata,) = refresh_repositories(
                self.kind.repository_type,
                repositories({**self.config, **changes}),
                package_arch=self.arch,
                metadata_dir=str(self.metadata_dir),
                mirrors=None,
                downloader=downloader,
                offline=offline,
            )
        return metadata

    def resolve(self, name: str) -> list[Package]:
        resolver = self.kind(arch=self.arch, cache_dir=None)
        resolver.pool.load([self.refresh()])
        chosen = resolver.solve(resolver.select([Request(name, "system")]))
        return sorted((resolver.pool.package(number) for number in chosen), key=lambda package: package.name)


@pytest.fixture(params=[DebResolver, RpmResolver], ids=["deb", "rpm"])
def loose(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Loose:
    """Make a directory for packages of each family."""
    made = Loose(request.param, tmp_path)
    made.directory.mkdir()
    return made


def test_loose_packages_are_resolved_and_fetched(loose: Loose, tmp_path: pathlib.Path) -> None:
    paths = {"app": loose.add("app", needs="lib"), "lib": loose.add("lib", folder="more#1")}
    packages = loose.resolve("app")
    assert [package.name for package in packages] == ["app", "lib"]
    for package in packages:
        target = tmp_path / package.filename
        download = Download((package.url,), str(target), package.sha256, package.size, "the package")
        with Downloader(workers=1) as downloader:
            downloader.fetch_all([download])
        assert target.read_bytes() == pathlib.Path(paths[package.name]).read_bytes()


def test_a_loose_repository_is_described(loose: Loose) -> None:
    loose.add("app")
    metadata = loose.refresh()
    assert (metadata.name, metadata.priority, metadata.date) == ("local", 900, 0)
    assert (metadata.signed_by, metadata.valid_until) == ((), None)
    assert metadata.base_url == f"file://{str(loose.directory).replace(' ', '%20')}"


def test_the_index_is_made_again_when_the_packages_change(loose: Loose) -> None:
    path = loose.add("app")
    first = loose.refresh()
    before = os.stat(first.indexes[0].path).st_mtime_ns
    assert loose.refresh(offline=True) == first
    assert os.stat(first.indexes[0].path).st_mtime_ns == before
    # Not what the clock says, but what the packages are makes the metadata.
    os.unlink(first.indexes[0].path)
    assert loose.refresh() == first
    pathlib.Path(first.indexes[0].path).write_text("damaged")
    assert loose.refresh() == first
    loose.add("lib")
    second = loose.refresh()
    assert second.fingerprint() != first.fingerprint()
    os.unlink(path)
    assert [package.name for package in loose.resolve("lib")] == ["lib"]


def test_another_default_of_createrepo_c(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1.0 has zstd for its default, which this one does not know."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "createrepo_c").write_text('#!/bin/sh\nexec /usr/bin/createrepo_c --general-compress-type=xz "$@"\n')
    (programs / "createrepo_c").chmod(0o755)
    monkeypatch.setattr(_command, "_SEARCH_PATH", f"{programs}:{_command._SEARCH_PATH}")
    loose = Loose(RpmResolver, tmp_path)
    loose.add("app")
    assert [package.name for package in loose.resolve("app")] == ["app"]


def test_an_empty_directory_is_told(loose: Loose) -> None:
    suffix = ".rpm" if loose.kind is RpmResolver else ".deb"
    with pytest.raises(RepositoryError, match=rf"loose packages of the repository 'local' holds no {suffix} files\."):
        loose.refresh()
    with pytest.raises(RepositoryError, match=r"/nowhere of the repository 'local' does not exist on the build host\."):
        loose.refresh(path="/nowhere")


def test_a_file_that_is_no_package_is_told(loose: Loose) -> None:
    path = loose.add("app")
    pathlib.Path(path).with_name(f"bad{pathlib.Path(path).suffix}").write_text("no package")
    with pytest.raises(RepositoryError, match=r"bad\.(deb|rpm)"):
        loose.refresh()


@pytest.mark.parametrize(("name", "shown"), [(b"caf\xe9", r"caf\udce9"), (b"two\nlines", r"two\nlines")])
def test_a_name_that_cannot_be_written_down_is_told(loose: Loose, name: bytes, shown: str) -> None:
    path = pathlib.Path(loose.add("app"))
    os.rename(path, os.path.join(os.fsencode(path.parent), name + os.fsencode(path.suffix)))
    with pytest.raises(RepositoryError, match=re.escape(f"holds the file '{shown}{path.suffix}', whose name is not ")):
        loose.refresh()


def test_debs_have_no_signatures_to_check(tmp_path: pathlib.Path) -> None:
    loose = Loose(DebResolver, tmp_path)
    loose.add("app")
    with pytest.raises(SignatureError, match="have no signatures that could be checked. Set gpgcheck: false"):
        loose.refresh(gpgcheck=True)


def test_debs_of_other_architectures_are_left_out(tmp_path: pathlib.Path) -> None:
    loose = Loose(DebResolver, tmp_path)
    repository = DebRepository(str(loose.directory), suite="./")
    for name, architecture in (("app", "amd64"), ("data", "all"), ("arm", "arm64")):
        repository.add_package(name, architecture=architecture)
    resolver = DebResolver(arch="amd64", cache_dir=None)
    resolver.pool.load([loose.refresh()])
    assert resolver.pool.names() == {"app", "data"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        bytes.lower,
        lambda data: data.replace(b": ", b":\t"),
        lambda data: data.replace(b"Nobody", b"Jos\xe9"),
    ],
    ids=["lines of Windows", "lower case", "tabs", "Latin-1"],
)
def test_control_data_of_loose_debs_in_every_form_that_dpkg_takes(
    tmp_path: pathlib.Path, edit: t.Callable[[bytes], bytes]
) -> None:
    loose = Loose(DebResolver, tmp_path)
    loose.directory.mkdir()
    for name, fields in (("app", {"Depends": "lib (>= 1)"}), ("lib", {})):
        Deb(name, fields=fields, edit_control=edit).build(loose.directory)
    assert [package.name for package in loose.resolve("app")] == ["app", "lib"]


def test_the_signatures_of_loose_rpms_count(tmp_path: pathlib.Path, keys: Keys) -> None:
    loose = Loose(RpmResolver, tmp_path)
    path = loose.add("app")
    assert loose.refresh(gpgcheck=True, keys=[keys.archive.public]).gpgcheck is True
    demanded = SignedRepository("local", (keys.archive.public,), ())
    with pytest.raises(SignatureError, match="app 1.0-1 .*: it is not signed"):
        verify_packages({demanded: {"app 1.0-1": path}}, runner=CommandRunner(), workers=1)
    sign_package(path, keys.archive)
    assert verify_packages({demanded: {"app 1.0-1": path}}, runner=CommandRunner(), workers=1) == 1


def test_file_lists_of_loose_rpms(tmp_path: pathlib.Path) -> None:
    loose = Loose(RpmResolver, tmp_path)
    loose.add("app", needs="/opt/lib/data")
    loose.add("lib")
    assert [package.name for package in loose.resolve("app")] == ["app", "lib"]
