# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates as users of Intel's OS Image Composer write them: they are taken as they are, or refused for a reason."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import command_line_without_root
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG

EDGE_LAYOUT = """\
disk:
  name: Edge_Raw
  artifacts: [{type: raw, compression: gzip}, {type: vhdx}]
  size: 8GiB
  partitionTableType: gpt
  partitions:
    - {id: boot, type: esp, flags: [esp, boot], start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi,
       mountOptions: umask=0077}
    - {id: rootfs, type: linux-root-amd64, start: 513MiB, end: 5121MiB, fsType: ext4, mountPoint: /,
       mountOptions: defaults}
    - {id: roothashmap, type: linux, start: 5121MiB, end: 5633MiB, fsType: ext4, mountPoint: none}
    - {id: userdata, type: linux, start: 5633MiB, end: "0", fsType: ext4, mountPoint: /opt}
"""

#: name -> (the target, what the template says beside it)
ACCEPTED = {
    "azl3 raw with verity": (
        "{os: azure-linux, dist: azl3, arch: x86_64, imageType: raw}",
        EDGE_LAYOUT
        + """\
systemConfig:
  name: edge
  description: Edge
  immutability: {enabled: true}
  bootloader: {bootType: efi, provider: systemd-boot}
  packages: [openssh-server, "cloud-init", "python3-*"]
  kernel: {name: kernel, cmdline: "console=ttyS0,115200 console=tty0 loglevel=7",
    enableExtraModules: "usbcore usb-common", packages: [kernel], uki: true}
  users:
    - {name: user, password: "$5$0123456789abcdef$abcdefghijklmnopqrstuvwxyz./ABCDEFGHIJKLMNO",
       groups: [wheel], sudo: true, hash_algo: sha256, passwordMaxAge: 90}
""",
    ),
    "metadata of the template search": (
        "{os: ubuntu, dist: ubuntu24, arch: x86_64, imageType: raw}",
        """\
metadata: {description: A minimal Ubuntu, use_cases: [cloud, edge], keywords: [minimal]}
systemConfig: {name: minimal, packages: [ubuntu-minimal]}
""",
    ),
    "an initrd by its old name": (
        "{os: edge-microvisor-toolkit, dist: emt3, arch: x86_64, imageType: img}",
        "systemConfig: {name: initrd, kernel: {packages: [kernel]}}\n",
    ),
    "an ISO with the disk of the machine": (
        "{os: debian, dist: debian13, arch: x86_64, imageType: iso}",
        """\
disk:
  name: Minimal_ISO
  path: /dev/sda
  partitionTableType: gpt
  partitions:
    - {id: boot, type: esp, flags: [esp, boot], start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}
    - {id: rootfs, type: linux-root-amd64, start: 513MiB, end: "0", fsType: ext4, mountPoint: /}
systemConfig: {name: iso, bootloader: {bootType: efi, provider: grub}}
""",
    ),
    "an ISO whose disk nobody names": (
        "{os: debian, dist: debian13, arch: x86_64, imageType: iso}",
        """\
disk: {name: Minimal_ISO, path: "", partitionTableType: ""}
systemConfig: {name: iso, hostname: "", bootloader: {bootType: efi, provider: ""}}
""",
    ),
    "a disk image without a disk of the machine": (
        "{os: debian, dist: debian13, arch: x86_64, imageType: raw}",
        """\
disk: {name: Minimal, path: "", size: ""}
systemConfig:
  description: ""
  users: [{name: user, password: "!", shell: "", home: "", hash_algo: ""}]
  additionalFiles: [{local: key.asc, final: /etc/x, mode: "", owner: ""}]
packageRepositories: [{name: "", codename: x, url: "https://x.example.com", path: "", pkey: key.asc, component: ""}]
""",
    ),
    "a cloud image whose root is found by its label": (
        "{os: ubuntu, dist: ubuntu24, arch: x86_64, imageType: raw}",
        """\
disk:
  size: 4GiB
  partitionTableType: gpt
  partitions:
    - {id: boot, type: esp, flags: [esp, boot], start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}
    - {id: rootfs, name: cloudimg-rootfs, fsLabel: cloudimg-rootfs, fsType: ext4, start: 513MiB, end: "0",
       mountPoint: /}
systemConfig: {kernel: {cmdline: "root=LABEL=cloudimg-rootfs console=ttyS0 rootfstype=ext4"}}
""",
    ),
    "a user configuration without a name": (
        "{os: redhat-compatible-distro, dist: el10, arch: x86_64, imageType: raw}",
        "systemConfig: {packages: [vim-enhanced]}\n",
    ),
    "several repositories of one suite": (
        "{os: debian, dist: debian12, arch: x86_64, imageType: raw}",
        """\
packageRepositories:
  - {codename: stable, url: "https://one.example.com/deb", pkey: "key.asc", component: "main contrib", priority: 0}
  - {codename: stable, url: "https://two.example.com/deb", pkey: "key.asc", priority: 1001, allowPackages: [tool-*]}
""",
    ),
}

REFUSED = {
    "a placeholder": (
        'packageRepositories: [{codename: EdgeAI, url: "<URL>", pkey: "<PUBLIC_KEY_URL>"}]\n',
        "packageRepositories[0].url: <URL> is a placeholder. Give the URL of the repository, or remove the entry.",
    ),
    "a key that nobody has looked at": (
        'packageRepositories: [{codename: x, url: "https://x.example.com", pkey: "https://x.example.com/key.gpg"}]\n',
        "packageRepositories[0].pkey: A key that is fetched at build time would be trusted blindly.",
    ),
    "a repository that is trusted without signatures": (
        'packageRepositories: [{codename: x, url: "https://x.example.com", pkey: "[trusted=yes]"}]\n',
        "packageRepositories[0].pkey: Write gpgcheck: false, and no key, to trust a repository without signatures.",
    ),
    "a file that lies elsewhere": (
        'systemConfig: {additionalFiles: [{local: "../additionalfiles/x.network", final: /etc/x}]}\n',
        "systemConfig.additionalFiles[0].local: The path '../additionalfiles/x.network' leaves the directory",
    ),
    "a root device of its own": (
        'systemConfig: {kernel: {cmdline: "root=/dev/mapper/rootfs_verity ro"}}\n',
        "systemConfig.kernel.cmdline: root= is set by the build itself. Remove 'root=/dev/mapper/rootfs_verity'.",
    ),
    "a list of configurations": (
        "systemConfigs: [{name: a}]\n",
        "systemConfigs: Unknown key 'systemConfigs'. Did you mean 'systemConfig'?",
    ),
}


def write(directory: pathlib.Path, target: str, text: str) -> str:
    (directory / "key.asc").write_text("a key")
    path = directory / "template.yml"
    path.write_text(f'image: {{name: original, version: "1.0.0"}}\ntarget: {target}\n{text}')
    return str(path)


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_taken_as_it_is(name: str, tmp_path: pathlib.Path) -> None:
    target, text = ACCEPTED[name]
    assembly = assemble(write(tmp_path, target, text), config_dir=str(CONFIG))
    assert assembly.template["image"]["name"] == "original"


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_for_a_reason(name: str, tmp_path: pathlib.Path) -> None:
    text, message = REFUSED[name]
    target = "{os: debian, dist: debian12, arch: x86_64, imageType: raw}"
    with pytest.raises(TemplateError) as caught:
        assemble(write(tmp_path, target, text), config_dir=str(CONFIG))
    (error,) = [
        item for item in caught.value.details["errors"] if f"{item['path']}: {item['message']}".startswith(message)
    ]
    assert error["line"] == 3


def test_an_empty_password_is_none_of_the_texts_that_say_nothing(tmp_path: pathlib.Path) -> None:
    target = "{os: debian, dist: debian12, arch: x86_64, imageType: raw}"
    path = write(tmp_path, target, 'systemConfig: {users: [{name: user, password: ""}]}\n')
    with pytest.raises(TemplateError, match=r"users\[0\]\.password"):
        assemble(path, config_dir=str(CONFIG))


ROOTS = {
    "root=LABEL=system": True,
    'root="LABEL=system"': True,
    "root=/dev/disk/by-label/system": True,
    "root=PARTLABEL=rootfs": True,
    "root=/dev/disk/by-partlabel/rootfs": True,
    "rootfstype=ext4": True,
    "root=LABEL=data": False,
    "root=PARTLABEL=system": False,
    "root=LABEL=": False,
    "root=/dev/vda2": False,
    "root=PARTUUID=0815": False,
    "root=UUID=0815": False,
    "root=": False,
    "rootfstype=xfs": False,
}


@pytest.mark.parametrize("word", ROOTS)
@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_words_that_name_the_own_root_are_left_out(tmp_path: pathlib.Path, word: str, table: str) -> None:
    text = f"""\
disk:
  size: 4GiB
  partitionTableType: {table}
  partitions:
    - {{id: boot, type: esp, flags: [esp, boot], start: 1MiB, end: 513MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: data, fsLabel: data, fsType: xfs, size: 600MiB, mountPoint: /srv}}
    - {{id: rootfs, fsLabel: system, fsType: ext4, end: "0", mountPoint: /}}
systemConfig:
  immutability: {{enabled: false}}
  kernel: {{cmdline: 'quiet {word} console=ttyS0'}}
"""
    path = write(tmp_path, "{os: debian, dist: debian12, arch: x86_64, imageType: raw}", text)
    if not ROOTS[word] or (table == "mbr" and "part" in word.lower()):
        with pytest.raises(TemplateError, match="is set by the build itself. Remove"):
            assemble(path, config_dir=str(CONFIG))
        return
    assembly = assemble(path, config_dir=str(CONFIG))
    assert command_line_without_root(assembly.template).split() == ["quiet", "console=ttyS0"]
    (warning,) = [text for text in assembly.warnings if "PARTUUID" in text]
    assert f"systemConfig.kernel.cmdline: {word} says what the build says itself, by the PARTUUID" in warning
