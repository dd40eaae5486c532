# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tarfile
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import render_sources
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_template_validate import TemplateValidate
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG, basic

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    """Run the stage for a template of some sections."""

    def run_it(
        *, check: bool = False, folder: str = "in", output_dir: str | None = None, **sections: t.Any
    ) -> dict[str, t.Any]:
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        (directory / "web.yml").write_text(yaml.safe_dump({**basic(), **sections}, sort_keys=False))
        stage = TemplateValidate.open(
            str(directory / "web.yml"),
            config_dir=str(CONFIG),
            work_dir=str(tmp_path / "work"),
            cache_dir=str(tmp_path / "cache"),
            overrides={},
            options=StageOptions(check_mode=check),
            output_dir=output_dir,
        )
        return run_stage(stage)

    return run_it


def document_of(result: dict[str, t.Any]) -> TemplateDocument:
    return TemplateDocument.read(BuildDirectory(result["build_dir"]))


def test_the_quartet(run: Run, tmp_path: pathlib.Path) -> None:
    checked = run(check=True)
    assert (checked["changed"], checked["msg"]) == (True, "image_template_validate: would build: not built yet")
    assert checked["build_dir"] == str(tmp_path / "work/debian-debian12-x86_64/imagebuild/web")
    assert checked["provider_id"] == "debian-debian12-x86_64"
    assert not (tmp_path / "work").exists()
    first = run()
    assert first["changed"]
    assert first["build_dir"] == checked["build_dir"]
    assert first["template"] == checked["template"]
    assert not run(check=True)["changed"]
    assert not run()["changed"]


def test_reasons_name_the_field(run: Run) -> None:
    run(systemConfig={"hostname": "a", "packages": ["curl"]})
    changed = run(check=True, systemConfig={"hostname": "b", "packages": ["curl", "jq"]})
    assert changed["rebuild_reason"] == "template changed: systemConfig.hostname a -> b, systemConfig.packages +jq"
    assert run(systemConfig={"hostname": "b", "packages": ["curl", "jq"]})["changed"]


def test_a_changed_file_is_a_reason(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").write_text("1")
    sections = {"systemConfig": {"additionalFiles": [{"local": "f", "final": "/f"}]}}
    run(**sections)
    (tmp_path / "in" / "f").write_text("2")
    reason = run(**sections)["rebuild_reason"]
    assert reason == "template changed: systemConfig.additionalFiles[0].local 6b86b273ff34 -> d4735e3a265e"
    (tmp_path / "in" / "f").chmod(0o700)
    assert run(**sections)["rebuild_reason"] == "template changed: systemConfig.additionalFiles[0].mode 0644 -> 0700"


def test_the_document(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "key.asc").write_text("key")
    result = run(
        systemConfig={"bootloader": {"provider": "grub"}},
        packageRepositories=[
            {
                "codename": "bookworm",
                "url": "https://packages.example.org/debian",
                "pkey": "key.asc",
                "component": "a b",
            }
        ],
    )
    document = document_of(result)
    assert document.provider_data["bootloader_packages"] == ["grub-efi-amd64-bin", "grub2-common"]
    assert document.provider_data["package_arch"] == "amd64"
    assert document.provider_data["essential"] == {"priorities": ["required"], "packages": ["apt"]}
    names = [repository["name"] for repository in document.provider_data["repositories"]]
    assert names == ["bookworm", "bookworm-updates", "bookworm-security", "bookworm-packages.example.org"]
    assert document.provider_data["repositories"][3] == {
        "name": "bookworm-packages.example.org",
        "url": "https://packages.example.org/debian",
        "suite": "bookworm",
        "components": ["a", "b"],
        "priority": 500,
        "allow_packages": [],
        "exclude_packages": [],
        "gpgcheck": True,
        "repo_gpgcheck": True,
        "keys": [str(tmp_path / "in" / "key.asc")],
        "fingerprints": [],
        "foreign": True,
    }
    for repository in document.provider_data["repositories"]:
        for key in repository["keys"]:
            assert key in document.files
    assert document.package_cache == str(tmp_path / "cache/pkgCache/debian-debian12-x86_64")
    assert document.section("systemConfig", "hostname") == "debian"
    assert [os.path.basename(source["path"]) for source in document.sources] == [
        "web.yml",
        "default-raw-x86_64.yml",
        "raw-x86_64.yml",
        "deb.yml",
        "config.yml",
        "chrootenv.yml",
        "amd64_repo.yml",
    ]
    assert os.stat(os.path.join(result["build_dir"], "template.json")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("target", "bootloader", "packages"),
    [
        ("debian/debian12", {"provider": "grub", "bootType": "legacy"}, ["grub-pc-bin", "grub2-common"]),
        ("ubuntu/ubuntu24", {"provider": "grub2", "bootType": "legacy"}, ["grub-pc-bin", "grub2-common"]),
        ("azure-linux/azl3", {"provider": "grub", "bootType": "legacy"}, ["grub2-pc"]),
        ("redhat-compatible-distro/el10", {"provider": "grub", "bootType": "legacy"}, ["grub2-pc-modules"]),
        (
            "debian/debian13",
            {"provider": "grub", "signed": True},
            ["grub-efi-amd64-bin", "grub2-common", "shim-signed", "grub-efi-amd64-signed"],
        ),
        ("azure-linux/azl3", {"provider": "grub", "signed": True}, ["grub2-efi", "grub2-efi-binary", "shim"]),
        ("debian/debian12", {}, ["systemd-boot-efi"]),
        (
            "debian/debian12",
            {"provider": "grub", "bootType": "hybrid"},
            ["grub-efi-amd64-bin", "grub2-common", "grub-pc-bin"],
        ),
        ("debian/debian12", {"bootType": "hybrid"}, ["systemd-boot-efi", "grub-pc-bin", "grub2-common"]),
        (
            "azure-linux/azl3",
            {"provider": "grub", "bootType": "hybrid"},
            ["grub2-efi", "grub2-efi-binary", "shim", "grub2-pc"],
        ),
    ],
)
def test_an_image_gets_the_packages_of_its_bootloader(
    run: Run, target: str, bootloader: dict[str, t.Any], packages: list[str]
) -> None:
    system, dist = target.split("/")
    disk = {
        "size": "3GiB",
        "partitionTableType": "mbr",
        "partitions": [{"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/", "flags": ["boot"]}],
    }
    if bootloader.get("bootType") == "hybrid":
        esp = {"id": "boot", "type": "esp", "fsType": "fat32", "size": "200MiB", "mountPoint": "/boot/efi"}
        disk["partitions"] = [esp, *disk["partitions"]]
    sections = {"disk": disk} if "bootType" in bootloader else {}
    target_section = {"os": system, "dist": dist, "arch": "x86_64", "imageType": "raw"}
    document = document_of(run(target=target_section, systemConfig={"bootloader": bootloader}, **sections))
    assert document.provider_data["bootloader_packages"] == packages


@pytest.mark.parametrize("dist", ["debian12", "debian13"])
def test_grub_that_the_build_signs_has_packages_of_its_own(run: Run, dist: str) -> None:
    result = run(
        target={"os": "debian", "dist": dist, "arch": "x86_64", "imageType": "raw"},
        systemConfig={
            "bootloader": {"provider": "grub"},
            "kernel": {"uki": True},
            "signing": {"secureBoot": {"generate": True}},
        },
    )
    assert document_of(result).provider_data["bootloader_packages"] == [
        "shim-unsigned",
        "grub-efi-amd64-bin",
        "systemd-boot-efi",
    ]


@pytest.mark.parametrize("target", ["ubuntu/ubuntu24", "wind-river-elxr/elxr12", "azure-linux/azl3"])
def test_grub_is_not_signed_where_no_shim_is_known(run: Run, target: str) -> None:
    system, dist = target.split("/")
    with pytest.raises(TemplateError, match=f"for {target} on x86_64 no package with an unsigned one is known"):
        run(
            target={"os": system, "dist": dist, "arch": "x86_64", "imageType": "raw"},
            systemConfig={
                "bootloader": {"provider": "grub"},
                "kernel": {"uki": True},
                "signing": {"secureBoot": {"generate": True}},
            },
        )


def test_what_the_build_host_lacks_is_told_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_command, "_SEARCH_PATH", "/nowhere")
    users = [{"name": "a", "password": "$6$salt$" + "x" * 86}]
    assert not run(systemConfig={"users": users})["warnings"]
    config = {"bootloader": {"provider": "grub"}, "users": users}
    (warning,) = run(systemConfig=config)["warnings"]
    assert warning.startswith(
        "The image cannot be built on this host: The program 'grub-mkimage' was not found on the build host. Install"
    )
    # It is no part of the document, which is the same on every host.
    assert run(systemConfig=config)["changed"] is False


def test_a_repository_of_the_provider_can_be_replaced(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "key.asc").write_text("key")
    own = {"name": "bookworm", "codename": "bookworm", "url": "https://mirror.example.org/debian", "pkey": "key.asc"}
    repositories = document_of(run(packageRepositories=[own])).provider_data["repositories"]
    assert [entry["name"] for entry in repositories] == ["bookworm-updates", "bookworm-security", "bookworm"]
    assert repositories[2]["url"] == "https://mirror.example.org/debian"
    # It has the rights of the one that it replaces.
    assert not any(entry.get("foreign") for entry in repositories)


def test_what_the_file_systems_of_the_host_cannot_hold(
    run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seek = os.lseek

    def lseek(descriptor: int, position: int, whence: int) -> int:
        is_fat = os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{tmp_path}/stick")
        if position > ((4 << 30) - 1 if is_fat else 16 << 40):
            raise OSError(22, "Invalid argument")
        return seek(descriptor, 0, whence)

    monkeypatch.setattr(os, "lseek", lseek)
    (tmp_path / "stick").mkdir()
    with pytest.raises(TemplateError) as caught:
        run(disk={"size": "17TiB"})
    (error,) = caught.value.details["errors"]
    assert (error["path"], error["message"]) == (
        "disk.size",
        f"The image has 17 TiB, but the file system of {tmp_path} on the build host holds no file of more than "
        "16 TiB. "
        "Let work_dir lie on another file system, such as XFS, or make the image smaller.",
    )
    output_dir = str(tmp_path / "stick" / "images")
    with pytest.raises(TemplateError) as caught:
        run(disk={"size": "5GiB"}, output_dir=output_dir)
    (error,) = caught.value.details["errors"]
    assert error["message"].startswith(
        f"The image has 5 GiB, but the file system of {tmp_path}/stick on the build host"
    )
    assert "Let the output directory lie on another file system" in error["message"]
    # Nobody knows what remains of it when it is compressed or has another format; or how much will be in it.
    artifacts = [{"type": "raw", "compression": "gz"}, {"type": "qcow2"}]
    run(disk={"size": "5GiB", "artifacts": artifacts}, output_dir=output_dir)
    partitions = [
        {"id": "esp", "type": "esp", "fsType": "fat32", "size": "512MiB", "mountPoint": "/boot/efi"},
        {"id": "root", "fsType": "ext4", "size": "content", "mountPoint": "/"},
    ]
    run(disk={"size": "content", "partitions": partitions}, output_dir=output_dir)
    run(disk={"size": "3GiB"}, output_dir=output_dir)


def test_a_name_that_is_too_long_for_the_output_directory(
    run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = {"name": "n" * 100, "version": "1.0"}
    run(image=image, output_dir=str(tmp_path))
    monkeypatch.setattr(os, "pathconf", lambda _path, _name: 143)
    with pytest.raises(TemplateError, match=r"image\.name: The name with the version has 104 characters, .* than 143"):
        run(image=image, output_dir=str(tmp_path))


def test_a_command_line_that_names_the_own_root(run: Run) -> None:
    disk = {
        "size": "3GiB",
        "partitions": [
            {"id": "esp", "type": "esp", "fsType": "fat32", "end": "513MiB", "mountPoint": "/boot/efi"},
            {"id": "rootfs", "fsType": "ext4", "fsLabel": "system", "end": "0", "mountPoint": "/"},
        ],
    }
    result = run(disk=disk, systemConfig={"kernel": {"cmdline": "root=LABEL=system  quiet"}})
    assert document_of(result).system.kernel.cmdline == "quiet"
    assert any("root=LABEL=system says what the build says itself" in warning for warning in result["warnings"])
    other = run(disk=disk, systemConfig={"kernel": {"cmdline": "quiet  splash"}})
    assert document_of(other).system.kernel.cmdline == "quiet  splash"


def test_a_repository_with_a_list_of_mirrors(run: Run) -> None:
    target = {"os": "azure-linux", "dist": "azl3", "arch": "x86_64", "imageType": "raw"}
    listed = {"codename": "tools", "url": "https://mirrors.example.org/metalink?repo=tools-$releasever&arch=$basearch"}
    document = document_of(run(target=target, packageRepositories=[{**listed, "gpgcheck": False}]))
    repository = document.provider.repositories[-1]
    assert (repository.name, repository.url, repository.mirrorlist) == ("tools", None, None)
    assert repository.metalink == "https://mirrors.example.org/metalink?repo=tools-3.0&arch=x86_64"


@pytest.mark.parametrize(
    ("target", "wanted", "components"),
    [
        ("debian/debian12", None, ("main",)),
        ("debian/debian12", ["main", "non-free-firmware"], ("main", "non-free-firmware")),
        ("debian/debian13", ["contrib", "main", "non-free", "non-free-firmware"], ()),
        ("ubuntu/ubuntu24", None, ("main", "restricted", "universe", "multiverse")),
        ("ubuntu/ubuntu26", ["main", "universe"], ()),
    ],
)
def test_components_of_the_provider(
    run: Run, target: str, wanted: list[str] | None, components: tuple[str, ...]
) -> None:
    system, dist = target.split("/")
    target_section = {"os": system, "dist": dist, "arch": "x86_64", "imageType": "raw"}
    config = {"systemConfig": {"components": wanted}} if wanted else {}
    document = document_of(run(target=target_section, **config))
    found = {repository.components for repository in document.provider.repositories}
    assert found == {components or tuple(wanted or ())}
    # It is part of the image which components were used; that others are known is not.
    assert "otherComponents" not in json.dumps(document.provider_data)


def test_repositories_that_the_provider_knows(run: Run) -> None:
    plain = document_of(run())
    assert [entry.name for entry in plain.provider.optional_repositories] == ["bookworm-backports"]
    # What is known and not used is no part of the image.
    assert "optional_repositories" not in plain.provider_fingerprint
    item = {"codename": "bookworm-backports", "priority": 600, "allowPackages": ["nginx*"]}
    config = {"components": ["main", "non-free-firmware"]}
    document = document_of(run(packageRepositories=[item], systemConfig=config))
    assert "optional_repositories" not in document.provider_data
    entry = document.provider.repositories[3]
    first = document.provider.repositories[0]
    assert (entry.name, entry.mirror, entry.suite) == ("bookworm-backports", "debian", "bookworm-backports")
    assert (entry.priority, entry.allow_packages, entry.foreign) == (600, ("nginx*",), False)
    assert entry.components == ("main", "non-free-firmware")
    assert (entry.keys, entry.fingerprints) == (first.keys, first.fingerprints)
    # Nor is it known twice when the template says itself where it is.
    own = {"codename": "bookworm-backports", "mirror": "debian", "gpgcheck": False}
    assert "optional_repositories" not in document_of(run(packageRepositories=[own])).provider_data
    target = {"os": "redhat-compatible-distro", "dist": "el10", "arch": "x86_64", "imageType": "raw"}
    crb = document_of(run(target=target, packageRepositories=[{"codename": "crb"}])).provider.repositories[-1]
    assert crb.url == "https://mirror.stream.centos.org/10-stream/CRB/x86_64/os"


def test_repositories_without_suites(run: Run) -> None:
    url = "https://packages.example.org/"
    given = [("./", url), ("/", f"{url}deb"), ("debian12/x86_64/", url), ("./", "https://vendor.example.com")]
    repositories = [{"codename": codename, "url": place, "gpgcheck": False} for codename, place in given]
    document = document_of(run(packageRepositories=repositories))
    found = [(entry.name, entry.suite, entry.components) for entry in document.provider.repositories[3:]]
    assert found == [
        ("packages.example.org", "./", ()),
        ("packages.example.org-packages.example.org", "/", ()),
        ("debian12-x86_64", "debian12/x86_64/", ()),
        ("vendor.example.com", "./", ()),
    ]
    sources = render_sources(document.provider.repositories[3], None)
    assert sources == f"Types: deb\nURIs: {url}\nSuites: ./\nTrusted: yes\n"


def test_how_far_a_repository_is_trusted_is_no_part_of_the_image(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "key.asc").write_text("key")
    url = {"codename": "stable", "url": "https://packages.example.org/debian", "pkey": "key.asc"}
    directory = {"codename": "mine", "path": "/srv/packages", "gpgcheck": False}
    plain = document_of(run(packageRepositories=[url, directory]))
    aged = document_of(run(packageRepositories=[{**url, "maxAge": 30}, directory]))
    entries = [aged.provider_data["repositories"][number] for number in (3, 4)]
    assert [(entry.get("foreign"), entry.get("max_age")) for entry in entries] == [(True, 30), (None, None)]
    assert [(entry.foreign, entry.max_age) for entry in aged.provider.repositories[3:]] == [(True, 30), (False, 0)]
    assert aged.provider_fingerprint == plain.provider_fingerprint


def test_secrets_are_nowhere(run: Run) -> None:
    result = run(systemConfig={"users": [{"name": "a", "password": "Tr0ub4dor&3"}]})
    hashed = document_of(result).section("systemConfig", "users")[0]["password"]
    assert hashed.startswith("$6$")
    shown = json.dumps(result)
    assert "Tr0ub4dor" not in shown
    assert hashed not in shown
    for directory, _folders, files in os.walk(result["build_dir"]):
        for name in files:
            content = pathlib.Path(directory, name).read_text()
            assert "Tr0ub4dor" not in content, name
            assert (hashed in content) == (name == "template.json"), name
    assert not run(systemConfig={"users": [{"name": "a", "password": "Tr0ub4dor&3"}]})["changed"]
    other = run(systemConfig={"users": [{"name": "a", "password": "correct horse"}]})
    assert other["rebuild_reason"] == "template changed: systemConfig.users[0].password"


def test_the_difference_to_the_default_template(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "motd").write_text("Hello")
    config = {
        "hostname": "kiosk",
        "packages": ["curl"],
        "users": [{"name": "a", "password": "Tr0ub4dor&3"}],
        "additionalFiles": [{"local": "motd", "final": "/etc/motd"}],
    }
    diff = run(systemConfig=config)["diff"]
    levels = "default-raw-x86_64.yml (extends debian/common/raw-x86_64.yml, common/deb.yml)"
    assert (diff["before_header"], diff["after_header"]) == (levels, "web.yml")
    before, after = yaml.safe_load(diff["before"]), yaml.safe_load(diff["after"])
    assert before["systemConfig"]["hostname"] == "debian"
    assert after["systemConfig"]["hostname"] == "kiosk"
    assert after["systemConfig"]["packages"] == [*before["systemConfig"]["packages"], "curl"]
    assert after["systemConfig"]["users"] == [{"name": "a", "password": "(hidden)", "sudo": False}]
    assert after["systemConfig"]["additionalFiles"][0]["local"] == "motd"
    assert after["disk"] == before["disk"]
    # It does not depend on the last run, nor on whether there was something to do.
    assert run(systemConfig=config)["diff"] == diff
    assert run(check=True, systemConfig=config)["diff"] == diff


@pytest.mark.parametrize("count", [100, 300, 1000, 15_000])
def test_results_stay_small(run: Run, count: int) -> None:
    packages = [f"package-number-{number}" for number in range(count)]
    result = run(systemConfig={"packages": packages})
    assert len(json.dumps(result)) < 50_000
    assert ("systemConfig" in result["template"]) == (count <= 1000)
    assert ("prepared" in result["diff"]) == (count > 300)


def test_fingerprints_and_the_build_digest_know_no_paths(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "f").write_text("1")
    sections = {"systemConfig": {"additionalFiles": [{"local": "f", "final": "/f"}]}}
    lock = {"packages": [{"name": "a", "version": "1", "arch": "all", "sha256": "0" * 64, "url": "http://one/"}]}
    one = document_of(run(**sections))
    shutil.copytree(tmp_path / "in", tmp_path / "elsewhere")
    other = document_of(run(folder="elsewhere", **sections))
    assert one.files != other.files
    assert one.fingerprint(one.template) == other.fingerprint(other.template)
    elsewhere = {"packages": [{**lock["packages"][0], "url": "http://two/"}]}
    assert one.build_digest(lock) == other.build_digest(elsewhere)
    newer = {"packages": [{**lock["packages"][0], "version": "2"}]}
    assert one.build_digest(lock) != one.build_digest(newer)
    artifacts = document_of(run(disk={"artifacts": [{"type": "qcow2"}]}, **sections))
    assert artifacts.build_digest(lock) == one.build_digest(lock)
    (tmp_path / "in" / "signing.key").write_text("secret")
    words = {
        "description": "What it is for.",
        "kernel": {"name": "edge"},
        "signing": {"checksums": {"key": "signing.key"}},
    }
    config = {**sections["systemConfig"], **words}
    described = document_of(run(metadata={"description": "For all.", "keywords": ["kiosk"]}, systemConfig=config))
    assert described.build_digest(lock) == one.build_digest(lock)
    (tmp_path / "in" / "f").write_text("2")
    assert document_of(run(**sections)).build_digest(lock) != one.build_digest(lock)


def test_check_mode_before_the_template_is_there(tmp_path: pathlib.Path) -> None:
    template = tmp_path / "work" / "inputs" / ("0" * 64) / "template" / "web.yml"
    stage = TemplateValidate.open(
        str(template),
        config_dir=str(tmp_path),
        work_dir=str(tmp_path / "work"),
        cache_dir=str(tmp_path / "cache"),
        overrides={},
        options=StageOptions(check_mode=True),
    )
    result = run_stage(stage)
    assert result["msg"] == "image_template_validate: would build: the template is not on this host yet"
    assert result["build_dir"].startswith(str(tmp_path / "work" / "inputs"))
    assert not (tmp_path / "work").exists()


def test_a_wrong_template_leaves_the_last_good_document(run: Run) -> None:
    result = run(systemConfig={"hostname": "good"})
    with pytest.raises(Exception, match="is no host name"):
        run(systemConfig={"hostname": "-bad"})
    assert document_of(result).section("systemConfig", "hostname") == "good"


def test_a_key_that_was_removed_when_the_build_ended(tmp_path: pathlib.Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    content = {**basic(), "systemConfig": {"signing": {"checksums": {"key": "sign.key"}}}}
    text = tmp_path / "text"
    text.write_text(yaml.safe_dump(content))
    archive = tmp_path / "input.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(text, "template/web.yml")
        tar.add(key, "template/sign.key")
    store, digest = InputStore(str(tmp_path / "work")), sha256_file(str(archive))
    store.add(str(archive), digest, ["template/sign.key"])

    def run_it(*, check: bool) -> dict[str, t.Any]:
        stage = TemplateValidate.open(
            os.path.join(store.path(digest), "template", "web.yml"),
            config_dir=str(CONFIG),
            work_dir=str(tmp_path / "work"),
            cache_dir=str(tmp_path / "cache"),
            overrides={},
            options=StageOptions(check_mode=check),
        )
        return run_stage(stage)

    assert run_it(check=False)["changed"]
    store.remove_keys(digest)
    assert not run_it(check=True)["changed"]
    with pytest.raises(
        TemplateError, match=r"template/sign\.key was removed when the last build .* ended\. Run .*image_template_copy"
    ):
        run_it(check=False)
    store.restore_keys(str(archive), digest)
    assert not run_it(check=False)["changed"]
