# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage on a real signed repository of RPM packages: from its URL to the lock."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.lock import read_lock
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_resolve import PackageResolve
from ansible_collections.os_image.composer.tests.support.build_state import leave
from ansible_collections.os_image.composer.tests.support.http_server import FileServer
from ansible_collections.os_image.composer.tests.support.rpm_repository import BUILT, RpmRepository
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template

PROVIDER = "toy-toy1-x86_64"


class Build:
    """A build directory whose template a test may change."""

    def __init__(self, server: FileServer, keys: Keys, directory: pathlib.Path) -> None:
        self.directory = directory
        self.packages = ["app"]
        self.system: dict[str, t.Any] = {}
        self.mirrors: dict[str, str] = {"toy": server.url}
        self.repository: dict[str, t.Any] = {
            "name": "toy",
            "mirror": "toy",
            # What a template's repository has in any case.
            "suite": "toy",
            "components": ["main"],
            "priority": 500,
            "allow_packages": [],
            "gpgcheck": True,
            "keys": [keys.archive.public],
            "fingerprints": [keys.archive.fingerprint],
        }

    def run(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run the stage."""
        build = BuildDirectory(str(self.directory / "build"))
        system = {"packages": self.packages, "kernel": {"version": "6.6", "packages": ["kernel"]}, **self.system}
        document = {
            "provider_id": PROVIDER,
            "provider": whole_provider(
                family="rpm",
                package_arch="x86_64",
                essential={"packages": ["filesystem", "bash"]},
                bootloader_packages=["boot"],
                repositories=[self.repository],
            ),
            "template": whole_template(systemConfig=system),
            "files": {},
            "directories": {"cache_dir": str(self.directory / "cache"), "work_dir": "/w", "config_dir": "/c"},
            "sources": [],
            "warnings": [],
        }
        leave(build, "image_template_validate", document=("template.json", document))
        return run_stage(PackageResolve(build, StageOptions(check_mode=check), mirrors=self.mirrors, **options))

    def lock(self) -> dict[str, t.Any]:
        """Read the lock."""
        return t.cast("dict[str, t.Any]", json.loads((self.directory / "build" / "packages.lock.json").read_text()))


@pytest.fixture(scope="module")
def published(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make the repository once."""
    root = tmp_path_factory.mktemp("published")
    repository = RpmRepository(str(root))

    def add(name: str, version: str = "1.0-1", built: int = BUILT, **tags: str) -> None:
        named = {"RequiresPre": "Requires(pre)"}
        repository.add_package(
            name, version, key=keys.archive, built=built, tags={named.get(tag, tag): text for tag, text in tags.items()}
        )

    add("filesystem")
    add("bash", RequiresPre="filesystem", Requires="libc", Provides="/bin/sh")
    # A circle, which scripts decide.
    add("libc", Requires="libc-common", RequiresPre="filesystem")
    add("libc-common", RequiresPre="libc")
    add("app", "2:1.0-1", built=BUILT + 5, Requires="lib >= 1, (plugin if missing)", Recommends="nice")
    add("lib", Requires="/bin/sh")
    add("nice")
    add("deep", Requires="/usr/share/nice/data")
    add("boot")
    add("kernel", "6.6.1-1")
    add("kernel", "6.12.1-1", built=BUILT + 99)
    repository.publish(keys.archive, revision=BUILT + 50)
    return root


@pytest.fixture
def build(published: pathlib.Path, server: FileServer, keys: Keys, tmp_path: pathlib.Path) -> Build:
    shutil.copytree(published, server.root, dirs_exist_ok=True)
    return Build(server, keys, tmp_path)


def test_the_lock_says_what_is_installed_why_and_from_where(build: Build, server: FileServer, keys: Keys) -> None:
    result = build.run()
    lock = build.lock()
    assert (result["changed"], result["packages"]) == (True, 8)
    assert lock["requested"] == ["filesystem", "bash", "kernel", "boot", "app"]
    assert [(entry["name"], entry["reason"], entry["layer"], entry["depends"]) for entry in lock["packages"]] == [
        ("filesystem", "essential", 0, []),
        ("libc", "dependency", 0, ["filesystem", "libc-common"]),
        ("libc-common", "dependency", 0, ["libc"]),
        ("bash", "essential", 0, ["filesystem", "libc"]),
        ("boot", "bootloader", 1, []),
        ("kernel", "kernel", 1, []),
        ("lib", "dependency", 1, ["bash"]),
        ("app", "system", 1, ["lib"]),
    ]
    app = lock["packages"][-1]
    assert (app["version"], app["arch"], app["filename"]) == ("2:1.0-1", "noarch", "app-1.0-1.noarch.rpm")
    assert app["url"] == f"{server.url}/app-1.0-1.noarch.rpm"
    assert (app["license"], app["source"]) == ("MIT", "app-1.0-1.src.rpm")
    assert app["size"] == os.path.getsize(os.path.join(server.root, "app-1.0-1.noarch.rpm"))
    assert [entry["version"] for entry in lock["packages"] if entry["name"] == "kernel"] == ["6.6.1-1"]
    (repository,) = lock["repositories"]
    assert repository["signed_by"] == [keys.archive.fingerprint]
    # The newest package of the lock, not of the repository.
    assert lock["source_date_epoch"] == BUILT + 5
    assert read_lock(str(build.directory / "build" / "packages.lock.json"), provider_id=PROVIDER) == lock
    dot = (build.directory / "build" / "chrootpkgs.dot").read_text()
    assert '  "app" -> "lib";' in dot


def test_an_unchanged_repository_changes_nothing(build: Build, server: FileServer) -> None:
    build.run()
    lock = build.lock()
    server.heal()
    assert build.run()["changed"] is False
    assert server.paths() == ["/repodata/repomd.xml"]
    assert build.run(offline=True)["changed"] is False
    build.packages = ["lib"]
    result = build.run(offline=True)
    assert result["package_changes"]["removed"] == ["app 2:1.0-1"]
    (lib,) = (entry for entry in build.lock()["packages"] if entry["name"] == "lib")
    assert lib == {**next(entry for entry in lock["packages"] if entry["name"] == "lib"), "reason": "system"}


def test_a_new_package_is_told(build: Build, server: FileServer, keys: Keys) -> None:
    build.run()
    repository = RpmRepository(server.root)
    repository.add_package("app", "3:0.5-1", key=keys.archive)
    repository.publish(keys.archive, revision=BUILT + 60)
    result = build.run()
    assert result["rebuild_reason"].startswith("package metadata changed: toy")
    assert result["package_changes"] == {
        "added": [],
        "removed": ["lib 1.0-1"],
        "changed": ["app 2:1.0-1 -> 3:0.5-1"],
    }


def test_weak_dependencies_are_installed_where_the_template_says_so(build: Build) -> None:
    build.system["weakDependencies"] = True
    build.run()
    assert "nice" in [entry["name"] for entry in build.lock()["packages"]]


def test_a_check_leaves_nothing(build: Build) -> None:
    assert build.run(check=True)["changed"] is True
    assert not (build.directory / "build" / "packages.lock.json").exists()
    build.run()
    build.packages.append("nice")
    result = build.run(check=True)
    assert result["changed"] is True
    assert "nice" not in [entry["name"] for entry in build.lock()["packages"]]


def test_a_check_does_without_file_lists(build: Build, server: FileServer) -> None:
    build.run()
    build.packages.append("deep")
    result = build.run(check=True)
    assert result["changed"] is True
    assert "The package metadata has to be fetched first" in result["rebuild_reason"]
    assert not any("filelists" in path for path in server.paths())
    assert build.run()["package_changes"]["added"] == ["deep 1.0-1", "nice 1.0-1"]


def test_what_cannot_be_resolved(build: Build) -> None:
    build.packages = ["app", "ap"]
    with pytest.raises(
        ResolveError, match=r"There is no package 'ap'.*Similar names: app\.[^$]*Repositories searched: toy"
    ):
        build.run()
    build.packages = ["kernel=6.12.1"]
    with pytest.raises(ResolveError, match=r"'kernel' is asked for in several versions at once: 6\.12\.1-1, 6\.6\.1-1"):
        build.run()


def test_a_repository_with_the_wrong_signature(build: Build, server: FileServer, keys: Keys) -> None:
    RpmRepository(server.root).sign(keys.stranger)
    with pytest.raises(SignatureError, match="which is not one of the repository's keys"):
        build.run()
    assert not (build.directory / "build" / "packages.lock.json").exists()


def test_an_architecture_that_is_not_served(build: Build, server: FileServer, keys: Keys) -> None:
    repository = RpmRepository(server.root)
    repository.add_package("foreign", key=keys.archive, arch="aarch64", files={})
    repository.publish(keys.archive, revision=BUILT + 60)
    build.packages = ["foreign"]
    with pytest.raises(ResolveError, match=r"'foreign' is there for another architecture only: aarch64 \(toy\)\."):
        build.run()
