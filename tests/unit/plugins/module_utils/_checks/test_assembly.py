# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG, Build, basic


def test_everything_is_reported_at_once_with_its_line(build: Build) -> None:
    text = """\
image:
  name: web
  version: 1.10
target:
  os: debian
  dist: debian12
  arch: x86_64
  imageType: raw
disk:
  size: 2 GB
systemConfig:
  hostnam: web
  hostname: -web
  packages: curl
  users:
    - name: ad:min
      sudo: maybe
  additionalFiles:
    - local: missing.txt
      final: etc/x
packageRepositories:
  - url: https://x/y
    path: /y
"""
    with pytest.raises(TemplateError) as caught:
        build(text=text)
    found = [(error["line"], error["path"], error["message"]) for error in caught.value.details["errors"]]
    size = "'2 GB' has not the right form: it must be content, or a whole number with one of the units KiB, "
    for line, path, message in [
        (3, "image.version", 'The value is the number 1.1, but must be a text. Write it in quotes: "1.10".'),
        (10, "disk.size", size),
        (12, "systemConfig.hostnam", "Unknown key 'hostnam'. Did you mean 'hostname'?"),
        (13, "systemConfig.hostname", "'-web' is no host name."),
        (
            14,
            "systemConfig.packages",
            "The value is the text 'curl', but must be a list. Begin each item with a hyphen and a blank.",
        ),
        (16, "systemConfig.users[0].name", "'ad:min' has not the right form: it must be at most 32 letters"),
        (17, "systemConfig.users[0].sudo", "The value is the text 'maybe', but must be true or false."),
        (20, "systemConfig.additionalFiles[0].final", "'etc/x' has not the right form: it must be an absolute path."),
        (22, "packageRepositories[0]", "The key 'codename' is missing. Add it."),
        (22, "packageRepositories[0]", "Only one of the keys url, mirror, path, metalink and mirrorlist may be given."),
    ]:
        assert any(line == at and path == where and message in text for at, where, text in found), (line, path, found)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"web.yml is not valid ({len(found)} errors):")
    assert len(lines) == 1 + len(found)
    for line, path, message in found:
        assert any(text.endswith(f"/web.yml:{line}: {path}: {message}") for text in lines)


def test_a_url_in_the_place_of_a_file_is_reported_with_its_line(build: Build) -> None:
    text = """\
image: {name: web, version: "1"}
target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}
systemConfig:
  additionalFiles:
    - local: https://files.example.org/app.conf
      final: /etc/app.conf
  scripts:
    postInstall:
      - file: https://files.example.org/run.sh
packageRepositories:
  - codename: stable
    url: https://packages.example.org/debian
    pkey: file://keys.example.org/vendor.asc
"""
    with pytest.raises(TemplateError) as caught:
        build(text=text)
    found = [(error["line"], error["path"], error["message"]) for error in caught.value.details["errors"]]
    assert [(line, path, message.partition(".org")[2].partition(".")[0]) for line, path, message in found] == [
        (5, "systemConfig.additionalFiles[0].local", "/app"),
        (9, "systemConfig.scripts.postInstall[0].file", "/run"),
        (13, "packageRepositories[0].pkey", "/vendor"),
    ]
    assert all("is a URL, and not the path of a file" in message for _line, _path, message in found[:2])
    assert "names a file of another host" in found[2][2]


@pytest.mark.parametrize(
    ("target", "components", "expected"),
    [
        (
            "debian/debian12",
            ["main", "nonfree"],
            "systemConfig.components[1]: The repositories of debian/debian12 have no component 'nonfree'. Did you mean "
            "'non-free'?",
        ),
        ("debian/debian13", ["main", "universe"], "Known are: main, contrib, non-free, non-free-firmware."),
        ("ubuntu/ubuntu24", ["main", "non-free-firmware"], "Known are: main, restricted, universe, multiverse."),
        ("debian/debian12", ["non-free-firmware"], "Without the component main, which all others build upon, nothing"),
        ("debian/debian12", ["main", "main"], "systemConfig.components[1]: The component main is named twice."),
        ("wind-river-elxr/elxr12", ["main"], "No repository that wind-river-elxr/elxr12 brings has components."),
        ("azure-linux/azl3", ["main"], "RPM repositories, as azure-linux/azl3 has them, have no components."),
        ("debian/debian12", ["main contrib"], "'main contrib' has not the right form: it must be the name of a compon"),
    ],
)
def test_components_are_those_of_the_provider(
    errors: t.Callable[..., list[str]], target: str, components: list[str], expected: str
) -> None:
    system, dist = target.split("/")
    section = {"os": system, "dist": dist, "arch": "x86_64", "imageType": "raw"}
    (found,) = errors(target=section, systemConfig={"components": components})
    assert expected in found


@pytest.mark.parametrize(
    ("target", "codename", "expected"),
    [
        (
            "debian/debian12",
            "bookworm-backport",
            "packageRepositories[0]: One of the keys url, mirror, path, metalink and mirrorlist is needed. Add one of "
            "them, or name one that debian/debian12 knows: bookworm-backports.",
        ),
        ("debian/debian12", "bookworm", "packageRepositories[0]: debian/debian12 takes the repository 'bookworm' any"),
        ("redhat-compatible-distro/el10", "epel", "or name one that redhat-compatible-distro/el10 knows: crb."),
        ("wind-river-elxr/elxr12", "aria", "One of the keys url, mirror, path, metalink and mirrorlist is needed."),
    ],
)
def test_a_repository_without_a_place_is_one_that_the_provider_knows(
    errors: t.Callable[..., list[str]], target: str, codename: str, expected: str
) -> None:
    system, dist = target.split("/")
    section = {"os": system, "dist": dist, "arch": "x86_64", "imageType": "raw"}
    (found,) = errors(target=section, packageRepositories=[{"codename": codename}])
    assert expected in found


@pytest.mark.parametrize("key", ["metalink", "mirrorlist"])
def test_lists_of_mirrors_are_those_of_rpm_repositories(
    build: Build, errors: t.Callable[..., list[str]], key: str
) -> None:
    listed = {"codename": "tools", key: "https://mirrors.example.com/list?repo=tools&arch=$basearch", "gpgcheck": False}
    (found,) = errors(packageRepositories=[listed])
    assert found == (
        f"packageRepositories[0].{key}: Only RPM repositories have lists of mirrors. Name one mirror of this "
        "repository by url."
    )
    target = {"os": "azure-linux", "dist": "azl3", "arch": "x86_64", "imageType": "raw"}
    assert build(target=target, packageRepositories=[listed]).template["packageRepositories"][0][key] == listed[key]


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://mirrors.fedoraproject.org/metalink?repo=fedora-40&arch=x86_64", "metalink"),
        ("https://mirrors.example.com/mirrorlist?arch=x86_64&repo=rocky-BaseOS-9", "mirrorlist"),
        ("https://mirrors.example.com/mirrorlist/9/baseos", "mirrorlist"),
        ("http://mirrorlist.example.org/?release=7&arch=x86_64&repo=os", "mirrorlist"),
        ("https://example.org/lists/metalink.xml", "metalink"),
        ("https://mirrors.example.com/mirrorlists/9", "url"),
        ("https://metalinks.example.com/el9", "url"),
    ],
)
def test_a_list_of_mirrors_is_known_by_its_url(build: Build, url: str, key: str) -> None:
    target = {"os": "azure-linux", "dist": "azl3", "arch": "x86_64", "imageType": "raw"}
    for written in (
        {"packageRepositories": [{"codename": "tools", "url": url, "pkey": "/etc/hostname"}]},
        {"repositories": [{"name": "tools", "baseurl": url, "gpgkey": "/etc/hostname"}]},
    ):
        (entry,) = build(target=target, **written).template["packageRepositories"]
        assert {name: entry.get(name) for name in ("url", "metalink", "mirrorlist") if name in entry} == {key: url}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            {"metalink": "ftp://x.example/metalink"},
            "packageRepositories[0].metalink: 'ftp://x.example/metalink' is no URL",
        ),
        ({"mirrorlist": "https://u:p@x.example/l"}, "packageRepositories[0].mirrorlist: The URL holds a user name"),
        ({"mirrorlist": "https://x.example/l?a=$foo"}, "mirrorlist: Nothing is known that could be filled in for $foo"),
        (
            {"url": "https://x.example/l?a=b"},
            "packageRepositories[0].url: 'https://x.example/l?a=b' is no URL of a rep",
        ),
        ({"metalink": "http://x.example/metalink", "gpgcheck": False}, "Unsigned packages that come over http can be"),
    ],
)
def test_the_url_of_a_list_of_mirrors_is_sound(
    errors: t.Callable[..., list[str]], entry: dict[str, t.Any], expected: str
) -> None:
    target = {"os": "azure-linux", "dist": "azl3", "arch": "x86_64", "imageType": "raw"}
    key = {} if "gpgcheck" in entry else {"pkey": "/etc/hostname"}
    (found,) = errors(target=target, packageRepositories=[{"codename": "tools", **key, **entry}])
    assert expected in found


def test_the_key_of_a_repository_may_be_a_url_of_this_host(build: Build, tmp_path: pathlib.Path) -> None:
    key = tmp_path / "vendor.asc"
    key.write_text("key")
    url = f"file://{key}"
    repository = {"codename": "stable", "url": "https://packages.example.org/debian", "pkey": url}
    built = build(packageRepositories=[repository])
    assert built.template["packageRepositories"][0]["pkey"] == str(key)
    assert str(key) in built.files


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("os", "debain", "target.os: The operating system 'debain' is not known. Did you mean 'debian'?"),
        (
            "os",
            "plan9",
            "target.os: The operating system 'plan9' is not known. Known are: azure-linux, debian, "
            "edge-microvisor-toolkit, redhat-compatible-distro, ubuntu, wind-river-elxr.",
        ),
        (
            "dist",
            "debian11",
            "target.dist: The release 'debian11' of debian is not known. Known are: debian12, debian13.",
        ),
        ("arch", "s390x", "target.arch: 's390x' is not known here. Known are: x86_64, aarch64, armv7hl."),
    ],
)
def test_unknown_targets(key: str, value: str, expected: str, errors: t.Callable[..., list[str]]) -> None:
    assert expected in errors(target={**basic()["target"], key: value})


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"users": []}, "users: Unknown key 'users'. Move it below systemConfig."),
        ({"mounts": []}, "mounts: Unknown key 'mounts'. Move it below disk."),
        ({"systemConfig": {"mounts": []}}, "systemConfig.mounts: Unknown key 'mounts'. Move it below disk."),
        ({"disk": {"remove": {}}}, "disk.remove: Unknown key 'remove'. Move it to the top level."),
        # These mean something else further up.
        ({"disk": {"mounts": [{"fsType": "tmpfs", "target": "/srv"}]}}, "Known are: source, fsType, mountPoint,"),
        ({"disk": {"mounts": [{"fsType": "tmpfs", "type": "nfs"}]}}, "Unknown key 'type'. Did you mean 'fsType'?"),
    ],
)
def test_a_key_in_the_wrong_place(part: dict[str, t.Any], expected: str, errors: t.Callable[..., list[str]]) -> None:
    assert expected in "\n".join(errors(**part))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        # One error, not a second one that says that True is not known.
        (
            {"systemConfig": {"immutability": {"enabled": True, "rootHashSignature": True}}},
            "rootHashSignature: The value is the boolean true, but must be one of: kept, demanded.",
        ),
        (
            {"systemConfig": {"immutability": {"etc": ["volatile"]}}},
            "etc: The value is a list, but must be one of: readonly, volatile, persistent.",
        ),
        # In quotes it would have no unit.
        ({"disk": {"size": 4}}, "disk.size: The value is the number 4, but must be content, or a whole number with"),
        (
            {"systemConfig": {"kernel": {"version": 6.1}}},
            'version: The value is the number 6.1, but must be a text. Write it in quotes: "6.1".',
        ),
        (
            {"disk": {"mounts": {"fsType": "tmpfs"}}},
            "disk.mounts: The value is a mapping, but must be a list. Begin each item with a hyphen and a blank.",
        ),
        (
            {"systemConfig": {"configurations": ["true"]}},
            "configurations[0]: The value is the text 'true', but must be a mapping with keys such as cmd.",
        ),
        (
            {"systemConfig": {"kernel": "linux-image-cloud-amd64"}},
            "'linux-image-cloud-amd64', but must be a mapping with keys such as name and version.",
        ),
        # Not that one of the keys file and inline is needed.
        (
            {"systemConfig": {"scripts": {"postInstall": ["rm /etc/issue"]}}},
            "postInstall[0]: The value is the text 'rm /etc/issue', but must be a mapping with keys such as",
        ),
    ],
)
def test_a_value_of_the_wrong_type(part: dict[str, t.Any], expected: str, errors: t.Callable[..., list[str]]) -> None:
    (error,) = errors(**part)
    assert expected in error


def test_an_architecture_that_the_provider_has_not(tmp_path: pathlib.Path, build: Build) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    path = config / "osv" / "debian" / "debian12" / "config.yml"
    text = path.read_text()
    path.write_text(text[: text.index("x86_64:")] + text[text.index("aarch64:") :])
    template = tmp_path / "t.yml"
    build_text = "image: {name: a, version: '1'}\ntarget: {os: debian, dist: debian12, arch: x86_64, imageType: raw}\n"
    template.write_text(build_text)
    with pytest.raises(TemplateError, match=r"'x86_64' is not known to debian/debian12. Known are: aarch64."):
        assemble(str(template), config_dir=str(config))
    with pytest.raises(TemplateError, match=r"holds no providers. Let config_dir name a directory with osv/"):
        assemble(str(template), config_dir=str(tmp_path))
    path.write_text(text + "x86_65: {}\n")
    with pytest.raises(TemplateError, match=r"config.yml:\d+: x86_65: Unknown key 'x86_65'. Did you mean 'x86_64'"):
        assemble(str(template), config_dir=str(config))


def test_local_files(build: Build, errors: t.Callable[..., list[str]], tmp_path: pathlib.Path) -> None:
    def files(*names: str) -> dict[str, t.Any]:
        return {"additionalFiles": [{"local": name, "final": f"/x/{index}"} for index, name in enumerate(names)]}

    base = tmp_path / "base"
    base.mkdir()
    outside = tmp_path / "secret"
    outside.write_text("secret")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "good").write_text("good")
    (tmp_path / "inside").symlink_to("files/good")
    (tmp_path / "etc").symlink_to("/etc")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    found = errors(
        systemConfig=files("missing", "../secret", "files/../../x", "passwd", "etc/passwd", "files", "/nowhere/x")
    )
    for index, message in enumerate(
        [
            f"The file {tmp_path}/missing cannot be read: No such file or directory. Put it there",
            f"The path '../secret' leaves the directory {tmp_path}. Put the file beside the template",
            "The path 'files/../../x' leaves the directory",
            f"The path 'passwd' leaves the directory {tmp_path} by a symbolic link.",
            "The path 'etc/passwd' leaves the directory",
            f"{tmp_path}/files is not a regular file. Name files one by one, not directories.",
            "The file /nowhere/x cannot be read: No such file or directory.",
        ]
    ):
        assert any(f"additionalFiles[{index}].local: {message}" in line for line in found), (index, found)
    os.chmod(tmp_path / "files" / "good", 0o775)
    assembly = build(systemConfig=files("files/good", "inside", str(outside)))
    good = str(tmp_path / "files" / "good")
    additional = assembly.template["systemConfig"]["additionalFiles"]
    assert [item["local"] for item in additional] == [good, good, str(outside)]
    assert [item["mode"] for item in additional] == ["0755", "0755", "0644"]
    assert set(assembly.files) >= {good, str(outside)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("LABEL=x / ext4 ro 0 1", "(the partition 'rootfs') LABEL=x / ext4 ro 0 1 (line 2 of /etc/fstab in the image)"),
        ("tmpfs /mnt tmpfs size=1m, ro 0 0", "Line 2 of /etc/fstab in the image cannot be read"),
        ("tmpfs /srv tmpfs size=1m", "(disk.mounts) tmpfs /srv tmpfs size=1m 0 0 (line 2"),
        ("tmpfs /opt tmpfs size=1m", ""),
    ],
)
def test_an_fstab_of_the_templates_own(
    build: Build, errors: t.Callable[..., list[str]], tmp_path: pathlib.Path, line: str, expected: str
) -> None:
    (tmp_path / "fstab").write_text(f"# mounts\n{line}\n")
    template: dict[str, t.Any] = {
        "disk": {"mounts": [{"fsType": "tmpfs", "mountPoint": "/srv"}]},
        "systemConfig": {"additionalFiles": [{"local": "fstab", "final": "/etc/fstab"}]},
    }
    if expected:
        (found,) = errors(**template)
        assert "systemConfig.additionalFiles[0].local: " in found
        assert expected in found
    else:
        build(**template)


def test_a_configuration_is_named_after_the_image(build: Build) -> None:
    assert build().template["systemConfig"]["name"] == "web"
    assert build(systemConfig={"hostname": "x"}).template["systemConfig"]["name"] == "web"
    assert build(systemConfig={"hostname": "x"}).template["systemConfig"]["hostname"] == "x"
    assert build(systemConfig={"name": "own"}).template["systemConfig"]["name"] == "own"


def test_overrides_are_merged_last(build: Build) -> None:
    overrides = {"systemConfig": {"hostname": "last", "packages": ["curl"]}, "image": {"name": "web", "version": "2"}}
    template = build(systemConfig={"hostname": "first", "packages": ["jq"]}, overrides=overrides).template
    assert template["systemConfig"]["hostname"] == "last"
    assert template["systemConfig"]["packages"][-2:] == ["jq", "curl"]
    assert template["image"]["version"] == "2"
    with pytest.raises(TemplateError, match=r"overrides: systemConfig.hostnam: Unknown key 'hostnam'."):
        build(overrides={"systemConfig": {"hostnam": "x"}})


def test_the_merged_template_has_all_lists_and_one_word_for_each_thing(build: Build) -> None:
    template = build(
        disk={"artifacts": [{"type": "raw", "compression": "gzip"}, {"type": "qcow2", "compression": "zst"}]},
        systemConfig={
            "bootloader": {"provider": "grub2"},
            "users": [{"name": "a"}],
            "services": {"enable": ["ssh", "x.timer"]},
        },
    ).template
    assert template["disk"]["artifacts"] == [
        {"type": "raw", "compression": "gz"},
        {"type": "qcow2", "compression": "zstd"},
    ]
    assert build().template["disk"]["artifacts"] == [{"type": "raw"}]
    assert template["systemConfig"]["bootloader"] == {
        "bootType": "efi",
        "provider": "grub",
        "signed": False,
        "default": "",
    }
    assert template["systemConfig"]["users"] == [{"name": "a", "groups": [], "sudo": False, "sshKeys": []}]
    assert template["systemConfig"]["services"]["enable"][-2:] == ["ssh.service", "x.timer"]
    for key in ("additionalFiles", "configurations"):
        assert template["systemConfig"][key] == []
    assert template["packageRepositories"] == []


def test_passwords_are_not_in_messages(errors: t.Callable[..., list[str]]) -> None:
    found = errors(systemConfig={"users": [{"name": "a", "password": 31415926}]})
    assert found == ["systemConfig.users[0].password: The value must be a text. Write it in quotes."]
