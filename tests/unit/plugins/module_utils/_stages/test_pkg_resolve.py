# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage: documents, layers, changes, check mode, and a given lock."""

from __future__ import annotations

import dataclasses
import faulthandler
import hashlib
import json
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    DocumentError,
    RepositoryError,
    ResolveError,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._resolver import index_limits, solution
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages import pkg_resolve
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_resolve import PackageResolve
from ansible_collections.os_image.composer.tests.support.build_state import leave
from ansible_collections.os_image.composer.tests.support.package_index import repository
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template

INDEX = """
    base
    Essential: yes
    Pre-Depends: libc
    Depends: awk

    libc

    mawk
    Provides: awk
    Priority: required

    gawk
    Provides: awk

    app
    Depends: lib

    lib

    boot

    linux-image-amd64
"""


@dataclasses.dataclass
class Build:
    """A build directory whose template and repositories a test may change."""

    directory: pathlib.Path
    repositories: list[RepositoryMetadata]
    packages: list[str]
    offline: list[bool]
    reachable: bool = True

    def run(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run the stage."""
        build = BuildDirectory(str(self.directory / "build"))
        system = {"packages": self.packages, "kernel": {"packages": ["linux-image-amd64"]}}
        document = {
            "provider_id": "debian-debian12-x86_64",
            "provider": whole_provider(bootloader_packages=["boot"]),
            "template": whole_template(systemConfig=system),
            "files": {},
            "directories": {"cache_dir": str(self.directory / "cache"), "work_dir": "/w", "config_dir": "/c"},
            "sources": [],
            "warnings": [],
        }
        leave(build, "image_template_validate", document=("template.json", document))
        return run_stage(PackageResolve(build, StageOptions(check_mode=check), **options))

    def lock(self) -> dict[str, t.Any]:
        """Read the lock."""
        return t.cast("dict[str, t.Any]", json.loads((self.directory / "build" / "packages.lock.json").read_text()))


@pytest.fixture
def build(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Make a build whose repositories are verified already."""
    made = Build(tmp_path, [repository(tmp_path, INDEX)], ["app"], [])

    def refresh(_kind: t.Any, _configured: t.Any, *, offline: bool, **_options: t.Any) -> list[RepositoryMetadata]:
        made.offline.append(offline)
        if not made.reachable:
            raise RepositoryError("The repository 'stable' is down.")
        return made.repositories

    monkeypatch.setattr(pkg_resolve, "refresh_repositories", refresh)
    return made


def test_the_lock_says_what_is_installed_why_and_from_where(build: Build) -> None:
    result = build.run()
    lock = build.lock()
    assert result["changed"] is True
    assert result["rebuild_reason"] == "not built yet"
    assert result["packages"] == 7
    assert result["download_size"] == 7000
    assert result["lock_file"] == str(build.directory / "build" / "packages.lock.json")
    assert lock["provider_id"] == "debian-debian12-x86_64"
    assert lock["requested"] == ["base", "linux-image-amd64", "boot", "app"]
    assert lock["repositories"] == [
        {
            "name": "stable",
            "url": "http://mirror.example.org/debian",
            "suite": "stable",
            "metadata_digest": build.repositories[0].metadata_digest,
            "signed_by": ["A" * 40],
            "gpgcheck": True,
        }
    ]
    assert lock["source_date_epoch"] == 1_700_000_000
    assert [(package["name"], package["layer"], package["reason"]) for package in lock["packages"]] == [
        ("libc", 0, "dependency"),
        ("mawk", 0, "dependency"),
        ("base", 0, "essential"),
        ("boot", 1, "bootloader"),
        ("lib", 1, "dependency"),
        ("app", 1, "system"),
        ("linux-image-amd64", 1, "kernel"),
    ]
    base = lock["packages"][2]
    assert base["depends"] == ["libc", "mawk"]
    assert base["url"] == "http://mirror.example.org/debian/pool/base_1.0-1.deb"
    assert base["filename"] == "base_1.0-1_amd64.deb"
    assert base["installed_size"] == 10240


def test_the_picture_is_written_to_all_its_places(build: Build) -> None:
    wanted = build.directory / "graph.dot"
    result = build.run(dot_file=str(wanted))
    assert result["dot_file"] == str(wanted)
    picture = wanted.read_text()
    assert '"app" -> "lib";' in picture
    assert (build.directory / "build" / "chrootpkgs.dot").read_text() == picture
    cache = build.directory / "cache" / "pkgCache" / "debian-debian12-x86_64"
    assert (cache / "chrootpkgs.dot").read_text() == picture


def test_a_picture_that_cannot_be_written_is_explained(build: Build) -> None:
    with pytest.raises(ResolveError, match=r"Cannot write the dependency graph /nowhere/graph\.dot: No such file"):
        build.run(dot_file="/nowhere/graph.dot")


def test_what_a_foreign_repository_may_not_replace_is_told(build: Build) -> None:
    vendor = "base\nVersion: 99:13\nEssential: yes\n\ntool"
    build.repositories.append(repository(build.directory, vendor, name="vendor", foreign=True))
    build.packages.append("tool")
    build.run()
    chosen = {package["name"]: package["version"] for package in build.lock()["packages"]}
    assert (chosen["base"], chosen["tool"]) == ("1.0-1", "1.0-1")
    log = (build.directory / "build" / "build.log").read_text()
    assert (
        "Not taken from the repository 'vendor', because they would replace packages of the provider: base 99:13. "
        "Packages that shall be taken nevertheless belong into its allowPackages, which then has to name all that are "
        "taken from it ('*' for every one)" in log
    )


def test_a_second_run_changes_nothing(build: Build) -> None:
    build.run()
    result = build.run()
    assert result["changed"] is False
    assert result["package_changes"] == {"added": [], "removed": [], "changed": []}


def test_another_package_is_told_in_words(build: Build) -> None:
    build.run()
    build.packages.append("gawk")
    checked = build.run(check=True)
    result = build.run()
    assert result["changed"] is True
    assert result["rebuild_reason"] == "requested packages changed: gawk (system) added"
    # Check mode tells what would be, not what the last run did.
    assert {**checked, "msg": "", "duration": 0} == {**result, "msg": "", "duration": 0}
    assert result["package_changes"] == {"added": ["gawk 1.0-1"], "removed": ["mawk 1.0-1"], "changed": []}
    # What the image decides otherwise belongs to its own chroot environment.
    assert {package["name"] for package in build.lock()["packages"] if package["layer"] == 0} == {
        "base",
        "gawk",
        "libc",
    }


def test_images_of_one_provider_share_the_chroot_environment(build: Build) -> None:
    build.run()
    before = [package for package in build.lock()["packages"] if package["layer"] == 0]
    build.packages[:] = ["lib"]
    build.run()
    assert [package for package in build.lock()["packages"] if package["layer"] == 0] == before


def test_new_metadata_is_told_in_words(build: Build) -> None:
    build.run()
    updates = repository(
        build.directory, INDEX.replace("    lib\n", "    lib\n    Version: 1.1-1\n"), date=1_800_000_000
    )
    build.repositories = [updates]
    result = build.run()
    assert result["rebuild_reason"] == "package metadata changed: stable"
    assert result["package_changes"] == {"added": [], "removed": [], "changed": ["lib 1.0-1 -> 1.1-1"]}
    assert build.lock()["source_date_epoch"] == 1_800_000_000


def test_an_image_of_the_same_packages_keeps_its_date(build: Build) -> None:
    build.run()
    build.repositories = [repository(build.directory, INDEX + "\n\n    unrelated", date=1_800_000_000)]
    build.run()
    assert build.lock()["source_date_epoch"] == 1_700_000_000


def test_another_mirror_only_changes_where_packages_lie(build: Build) -> None:
    build.run()
    build.repositories = [repository(build.directory, INDEX, base_url="http://other.example.org")]
    result = build.run()
    assert result["rebuild_reason"].startswith(
        "mirrors changed: stable http://mirror.example.org/debian -> http://other"
    )
    assert result["package_changes"] == {"added": [], "removed": [], "changed": []}
    assert build.lock()["packages"][0]["url"].startswith("http://other.example.org/pool/")


def test_check_mode_shows_the_packages_and_writes_nothing(build: Build) -> None:
    result = build.run(check=True)
    assert result["changed"] is True
    assert result["diff"]["after"]["packages"]["app"] == "1.0-1"
    assert not (build.directory / "build" / "packages.lock.json").exists()
    assert build.offline == [True]


def test_check_mode_on_a_virgin_host_would_build(build: Build) -> None:
    build.reachable = False
    result = build.run(check=True)
    assert result["changed"] is True
    assert result["rebuild_reason"].startswith("The package metadata has to be fetched first: The repository 'stable'")


def test_a_repository_that_is_down_is_an_error_and_keeps_the_lock(build: Build) -> None:
    build.run()
    before = build.lock()
    build.reachable = False
    with pytest.raises(RepositoryError, match="is down"):
        build.run()
    assert build.lock() == before


def test_offline_is_handed_on(build: Build) -> None:
    build.run(offline=True)
    assert build.offline == [True]


def test_a_failure_keeps_the_last_lock(build: Build) -> None:
    build.run()
    before = build.lock()
    build.packages.append("nothing")
    with pytest.raises(ResolveError, match="There is no package 'nothing'"):
        build.run()
    assert build.lock() == before


def _with_sha512_alone(build: Build) -> tuple[pathlib.Path, bytes]:
    """Let the repository describe one package by its SHA-512 alone; return its file, which is not there yet."""
    content = b"the package"
    index = f"""
    {INDEX.strip()}

    only
    SHA512: {hashlib.sha512(content).hexdigest()}
    Size: {len(content)}
    """
    site = build.directory / "site"
    (site / "pool").mkdir(parents=True)
    build.repositories[:] = [repository(build.directory, index, base_url=f"file://{site}")]
    build.packages.append("only")
    return site / "pool" / "only_1.0-1.deb", content


def test_a_package_with_sha512_alone_is_fetched_for_its_digest(build: Build) -> None:
    path, content = _with_sha512_alone(build)
    path.write_bytes(content)
    build.run()
    (package,) = (entry for entry in build.lock()["packages"] if entry["name"] == "only")
    assert package["sha256"] == hashlib.sha256(content).hexdigest()
    assert "sha512" not in package
    cached = build.directory / "cache/pkgCache/debian-debian12-x86_64" / package["filename"]
    assert cached.read_bytes() == content
    # From now on no network is needed.
    path.unlink()
    assert build.run(offline=True)["changed"] is False
    assert build.run(offline=True, check=True)["changed"] is False


@pytest.mark.parametrize("content", [b"the packagE", b"short"])
def test_another_file_than_that_with_the_sha512_is_refused(build: Build, content: bytes) -> None:
    path, _content = _with_sha512_alone(build)
    path.write_bytes(content)
    with pytest.raises(RepositoryError, match=r"The package only 1\.0-1 \(amd64\) could not be downloaded"):
        build.run()
    assert not (build.directory / "build" / "packages.lock.json").exists()


def test_without_a_network_the_packages_with_sha512_alone_are_named(build: Build) -> None:
    path, content = _with_sha512_alone(build)
    path.write_bytes(content)
    with pytest.raises(RepositoryError, match=r"SHA-512 alone are not in the package cache .*: only 1\.0-1\. Run"):
        build.run(offline=True)
    assert build.run(check=True)["rebuild_reason"].startswith("The package metadata has to be fetched first: Packages")
    assert [path.name for path in (build.directory / "cache/pkgCache/debian-debian12-x86_64").iterdir()] == ["metadata"]


def test_a_given_lock_is_used_as_it_is(build: Build) -> None:
    build.run()
    given = build.directory / "given.lock.json"
    lock = build.lock()
    lock["packages"][0]["version"] = "0.9-1"
    given.write_text(json.dumps(lock))
    build.offline.clear()
    result = build.run(lock_file=str(given))
    assert build.offline == []
    assert build.lock() == lock
    assert result["package_changes"]["changed"] == ["libc 1.0-1 -> 0.9-1"]
    assert build.run(lock_file=str(given))["changed"] is False


def test_a_lock_made_for_another_template_is_refused(build: Build) -> None:
    build.run()
    given = build.directory / "given.lock.json"
    given.write_text(json.dumps(build.lock()))
    build.packages.append("gawk")
    with pytest.raises(ResolveError, match=r"given\.lock\.json was made without gawk, which the template asks for"):
        build.run(lock_file=str(given))


def test_without_a_template_there_is_nothing_to_resolve(tmp_path: pathlib.Path) -> None:
    (tmp_path / "build").mkdir()
    with pytest.raises(DocumentError, match="The stage image_template_validate has not been completed"):
        run_stage(PackageResolve(BuildDirectory(str(tmp_path / "build")), StageOptions()))


def _with_alternatives(build: Build, number: int) -> str:
    """Add a repository with a dependency of many alternatives; return the path of its index."""
    stanza = "hostile\nDepends: " + " | ".join(f"a{index}" for index in range(number))
    build.repositories.append(repository(build.directory, stanza, name="vendor", foreign=True))
    return build.repositories[-1].indexes[0].path


@pytest.mark.parametrize("check", [False, True])
def test_an_index_beyond_a_limit_is_refused_by_name(build: Build, check: bool) -> None:
    path = _with_alternatives(build, 100_000)
    with pytest.raises(RepositoryError) as caught:
        build.run(check=check)
    assert (
        f"The package index {path} of the repository 'vendor' is not read: the package 'hostile' has a dependency with "
        "100000 alternatives (Depends), and more than 1000 are not read." in str(caught.value)
    )
    assert not (build.directory / "build" / "packages.lock.json").exists()


@pytest.mark.parametrize("check", [False, True])
def test_what_crashes_libsolv_is_an_error_in_words(
    build: Build, check: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As if there were no limit, or none for what somebody finds next."""
    monkeypatch.setattr(index_limits, "ALTERNATIVES", 10**9)
    path = _with_alternatives(build, 200_000)
    faulthandler.disable()
    try:
        with pytest.raises(ResolveError) as caught:
            build.run(check=check)
    finally:
        faulthandler.enable()
    assert str(caught.value).startswith(
        f"libsolv has crashed with the signal SIGSEGV when reading the package index {path} of the repository "
        "'vendor'. The metadata of a repository is damaged, or made to do this: take the repository out of the template"
    )
    assert capfd.readouterr() == ("", "")
    # What is sound goes on.
    build.repositories.pop()
    assert build.run()["packages"] == 7


def test_an_error_that_nobody_expected_is_in_the_log(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> t.NoReturn:
        raise KeyError("surprise")

    monkeypatch.setattr(solution, "make_lock", fail)
    with pytest.raises(ResolveError, match="An unknown error came up when looking for packages that fit together in"):
        build.run()
    log = (build.directory / "build" / "log" / "pkg_resolve.log").read_text()
    assert "Traceback" in log
    assert "KeyError: 'surprise'" in log
