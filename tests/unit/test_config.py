# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shipped configuration: every provider is complete, and trusts the keys that it says it does.

And its documentation: a distribution that is added as the page says works.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import tempfile
import typing as t
import urllib.parse

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import Assembly, assemble
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import (
    PACKAGE_ARCHITECTURES,
    expand_url,
)
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG, ROOT

OSV = CONFIG / "osv"
PAGE = ROOT / "docs" / "tasks" / "add-a-distribution.md"
PAGE_FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
#: Image types beside raw, which there is for every architecture.
OTHER_TYPES = ("iso", "initrd")

PROVIDERS = {
    "azure-linux/azl3": "rpm",
    "debian/debian12": "deb",
    "debian/debian13": "deb",
    "edge-microvisor-toolkit/emt3": "rpm",
    "redhat-compatible-distro/el10": "rpm",
    "ubuntu/ubuntu24": "deb",
    "ubuntu/ubuntu26": "deb",
    "wind-river-elxr/elxr12": "deb",
}
#: The vendor publishes the key only beside what it signs: templates name the repository and the key.
WITHOUT_REPOSITORIES = {"wind-river-elxr/elxr12"}
REPOSITORY_FILES = sorted(OSV.glob("*/*/providerconfigs/*_repo.yml"))
TARGETS = [
    (name, arch, image_type)
    for name in PROVIDERS
    for arch, image_type in [
        ("x86_64", "raw"),
        ("aarch64", "raw"),
        *(("x86_64", kind) for kind in OTHER_TYPES),
        *((("aarch64", "iso"),) if name.startswith("debian/") else ()),
    ]
]


def read(path: pathlib.Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def label(path: pathlib.Path) -> str:
    return "/".join((*path.parts[-4:-2], path.name))


def primary_fingerprints(path: pathlib.Path) -> set[str]:
    """Return the fingerprints of the primary keys in a file, as GnuPG finds them."""
    with tempfile.TemporaryDirectory() as home:
        command = ["gpg", "--homedir", home, "--batch", "--with-colons", "--show-keys", str(path)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    kinds = [line.split(":") for line in lines if line.startswith(("pub:", "sub:", "fpr:"))]
    return {fields[9] for before, fields in zip(kinds, kinds[1:]) if (before[0], fields[0]) == ("pub", "fpr")}


def key_problems(repository_file: pathlib.Path) -> list[str]:
    """Say what differs between the keys that repositories pin and those in the files that they name."""
    problems = []
    for repository in read(repository_file)["repositories"]:
        pinned: dict[pathlib.Path, set[str]] = {}
        for key in repository["keys"]:
            if "file" in key:
                path = (repository_file.parent / key["file"]).resolve()
                pinned.setdefault(path, set()).add(key["fingerprint"])
        for path, fingerprints in pinned.items():
            found = primary_fingerprints(path)
            problems += [f"{path.name} has no key {fingerprint}" for fingerprint in sorted(fingerprints - found)]
            problems += [
                f"{path.name} has the unpinned key {fingerprint}" for fingerprint in sorted(found - fingerprints)
            ]
    return problems


def assemble_minimal(folder: pathlib.Path, target: t.Mapping[str, str], config: pathlib.Path = CONFIG) -> Assembly:
    """Assemble a template that says nothing but the target: what comes out is the default template."""
    path = folder / "minimal.yml"
    path.write_text(yaml.safe_dump({"image": {"name": "minimal", "version": "1"}, "target": dict(target)}))
    return assemble(str(path), config_dir=str(config))


def test_the_list_is_that_of_the_directory() -> None:
    found = {f"{path.parts[-3]}/{path.parts[-2]}": read(path) for path in OSV.glob("*/*/config.yml")}
    assert {name: config["x86_64"]["pkgType"] for name, config in found.items()} == PROVIDERS
    for name, config in found.items():
        assert set(config) == {"x86_64", "aarch64"}
        assert all((entry["dist"], entry["arch"]) == (name.split("/")[1], arch) for arch, entry in config.items())


@pytest.mark.parametrize(("name", "arch", "image_type"), TARGETS, ids="-".join)
def test_default_templates_stand_for_themselves(name: str, arch: str, image_type: str, tmp_path: pathlib.Path) -> None:
    os_name, dist = name.split("/")
    target = {"os": os_name, "dist": dist, "arch": arch, "imageType": image_type}
    assembly = assemble_minimal(tmp_path, target)
    default, template, provider = assembly.default, assembly.template, assembly.provider
    # What is said of the target is true, and no two images share a name.
    assert default["target"] == target
    assert default["image"]["name"] == f"{dist}-default-{arch}"
    # Nobody should have to look into more than three files.
    assert len(assembly.levels) <= 3
    assert provider.data["family"] == PROVIDERS[name]
    assert provider.data["package_arch"] == PACKAGE_ARCHITECTURES[PROVIDERS[name]][arch]
    assert all(provider.bootloader_packages[bootloader] for bootloader in ("systemd-boot", "grub"))
    assert set(provider.bios_bootloader_packages) == ({"grub"} if arch == "x86_64" else set())
    assert any(provider.data["essential"].values())
    # Nobody knows a password; dm-verity is asked for, not given.
    assert not template["systemConfig"]["users"]
    assert not template["systemConfig"]["immutability"]["enabled"]
    # Host keys are made at the first boot; a command could put one and the same into all images.
    assert not template["systemConfig"]["configurations"]
    serial = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}[arch]
    assert template["systemConfig"]["kernel"]["cmdline"].split()[-1] == f"console={serial},115200"
    partitions = [(item["id"], item["mountPoint"]) for item in template["disk"]["partitions"]]
    assert partitions == ([] if image_type == "initrd" else [("boot", "/boot/efi"), ("rootfs", "/")])
    assert ("size" in template["disk"]) == (image_type == "raw")
    expected = 1 + (name in WITHOUT_REPOSITORIES)
    assert len(assembly.warnings) == expected, assembly.warnings


def packages_of(folder: pathlib.Path, name: str, image_type: str) -> set[str]:
    """Return the packages of a provider's default template."""
    os_name, dist = name.split("/")
    target = {"os": os_name, "dist": dist, "arch": "x86_64", "imageType": image_type}
    return set(assemble_minimal(folder, target).default["systemConfig"]["packages"])


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_live_system_is_more_than_an_installed_one(name: str, tmp_path: pathlib.Path) -> None:
    assert packages_of(tmp_path, name, "raw") < packages_of(tmp_path, name, "iso")


def test_everything_in_common_is_extended(tmp_path: pathlib.Path) -> None:
    used = set()
    for name, arch, image_type in TARGETS:
        os_name, dist = name.split("/")
        target = {"os": os_name, "dist": dist, "arch": arch, "imageType": image_type}
        used.update(assemble_minimal(tmp_path, target).levels[1:])
    assert used == {str(path) for pattern in ("common/*", "*/common/*") for path in OSV.glob(pattern)}


@pytest.mark.parametrize("path", REPOSITORY_FILES, ids=label)
def test_repositories(path: pathlib.Path) -> None:
    name = "/".join(path.parts[-4:-2])
    arch, family = path.name[: -len("_repo.yml")], PROVIDERS[name]
    assert arch in PACKAGE_ARCHITECTURES[family].values()
    repositories = read(path)["repositories"]
    assert bool(repositories) == (name not in WITHOUT_REPOSITORIES)
    names = [repository["name"] for repository in repositories]
    assert len(set(names)) == len(names)
    for repository in repositories:
        assert repository["keys"]
        assert repository.get("gpgcheck", True)
        assert ("suite" in repository, "components" in repository) == (family == "deb", family == "deb")
        # Debian's mirror is each site's own; everybody else's archive has one address.
        assert ("mirror" in repository) == (name.partition("/")[0] == "debian")
        url = expand_url(repository.get("url", ""), {"package_arch": arch, "release_version": "3.0"})
        assert "$" not in url
        assert "{" not in url
        assert "debian" not in (urllib.parse.urlsplit(url).hostname or "")


@pytest.mark.parametrize("path", REPOSITORY_FILES, ids=label)
def test_key_files_hold_the_pinned_keys_and_no_others(path: pathlib.Path) -> None:
    assert key_problems(path) == []


def test_every_key_file_is_used() -> None:
    used = {
        (path.parent / key["file"]).resolve()
        for path in REPOSITORY_FILES
        for repository in read(path)["repositories"]
        for key in repository["keys"]
        if "file" in key
    }
    assert used == {path.resolve() for path in OSV.glob("*/keys/*")}


def test_a_provider_without_repositories_takes_the_templates(tmp_path: pathlib.Path) -> None:
    target = {"os": "wind-river-elxr", "dist": "elxr12", "arch": "x86_64", "imageType": "raw"}
    (warning,) = (line for line in assemble_minimal(tmp_path, target).warnings if "target.dist" in line)
    assert "wind-river-elxr/elxr12 brings no package repository" in warning
    shown = OSV / "wind-river-elxr" / "elxr12" / "providerconfigs" / "amd64_repo.yml"
    assert f"packageRepositories; {shown} shows how." in warning
    # What the comment in that file shows, with a fingerprint in the place that it leaves open.
    comment = "".join(line[2:] for line in shown.read_text().splitlines(keepends=True) if line.startswith("#   "))
    sections = yaml.safe_load(comment)
    sections["packageRepositories"][0]["fingerprints"] = [PAGE_FINGERPRINT]
    path = tmp_path / "minimal.yml"
    path.write_text(yaml.safe_dump({**read(path), **sections}))
    assembly = assemble(str(path), config_dir=str(CONFIG))
    assert not any("target.dist" in line for line in assembly.warnings)
    (repository,) = assembly.template["packageRepositories"]
    assert repository["url"] == "https://mirror.elxr.dev/elxr"


@pytest.fixture
def added(tmp_path: pathlib.Path, keys: Keys) -> pathlib.Path:
    """Do what the page says, in a copy of the configuration; returns the directory that stands for the checkout."""
    root = tmp_path / "checkout"
    shutil.copytree(CONFIG, root / "config")
    blocks = re.findall(r"^`([^`\n]+\.yml)`:\n\n```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^```yaml$", PAGE.read_text(), re.MULTILINE)) == len(blocks)
    for name, text in blocks:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(PAGE_FINGERPRINT, keys.archive.fingerprint))
    key_file = root / "config" / "osv" / "toy-linux" / "keys" / "toy-archive.asc"
    key_file.parent.mkdir()
    shutil.copy(keys.archive.public, key_file)
    return root


@pytest.mark.parametrize(
    ("template", "family", "repositories"),
    [
        ("toy1-x86_64-minimal-raw.yml", "deb", ["https://packages.toy.example/linux", "toy-linux"]),
        ("te9-x86_64-minimal-raw.yml", "rpm", ["https://packages.toy.example/enterprise/9/BaseOS/x86_64/os"]),
    ],
)
def test_adding_a_distribution_takes_yaml_only(
    added: pathlib.Path, keys: Keys, template: str, family: str, repositories: list[str]
) -> None:
    assembly = assemble(str(added / template), config_dir=str(added / "config"))
    provider = assembly.provider.data
    assert provider["family"] == family
    assert assembly.template["image"]["name"] == "toy"
    assert assembly.template["systemConfig"]["hostname"] == "toy"
    assert assembly.template["systemConfig"]["kernel"]["packages"]
    found = provider["repositories"]
    assert [expand_url(item.get("url") or item["mirror"], provider) for item in found] == repositories
    assert all(item["fingerprints"] == [keys.archive.fingerprint] for item in found)
    # Nobody can log in to any default template; there is nothing else to say.
    assert len(assembly.warnings) == 1


def test_key_files_that_differ_from_what_is_pinned_are_found(added: pathlib.Path, keys: Keys) -> None:
    osv = added / "config" / "osv" / "toy-linux"
    repository_file = osv / "toy1" / "providerconfigs" / "amd64_repo.yml"
    key_file = osv / "keys" / "toy-archive.asc"
    assert key_problems(repository_file) == []
    key_file.write_text(key_file.read_text() + pathlib.Path(keys.stranger.public).read_text())
    # Two repositories name the file.
    assert key_problems(repository_file) == [f"toy-archive.asc has the unpinned key {keys.stranger.fingerprint}"] * 2
    shutil.copy(keys.stranger.public, key_file)
    assert f"toy-archive.asc has no key {keys.archive.fingerprint}" in key_problems(repository_file)
