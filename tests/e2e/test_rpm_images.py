# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A raw image of RPM packages, from a signed repository over HTTP: what holds for Debian's images holds for it as well.

The tests whose names say nothing of packages are those of the other raw images.
"""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Guest, Workspace, call
from ansible_collections.os_image.composer.tests.e2e.support.template import RAW_IMAGE, SSH_KEY, TestTemplate, merged
from ansible_collections.os_image.composer.tests.e2e.test_raw_images import (
    test_boot_loader_and_command_line,
    test_check_mode_changes_nothing,
    test_checksums_name_every_file,
    test_compressed_image_holds_the_raw_one,
    test_documents_hold_no_secret_and_no_path_of_the_host,
    test_file_system,
    test_files_commands_and_scripts,
    test_host_is_as_before,
    test_host_keys_are_not_in_the_image,
    test_host_name,
    test_machine_id_is_its_own,
    test_manifest,
    test_mounts,
    test_network,
    test_no_unit_failed,
    test_partition_table,
    test_second_run_changes_nothing,
    test_sudo,
    test_users,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import DIST, OS, served_provider

pytestmark = pytest.mark.case("rpm-raw")

TEMPLATE = TestTemplate(
    "e2e-rpm",
    DIST,
    merged(
        RAW_IMAGE,
        {
            "target": {"os": OS},
            "systemConfig": {
                "locale": "C.UTF-8",
                "packages": ["core-packages-base-image", "dnf", "dracut", "openssh-server", "sudo"],
                "services": {"enable": ["sshd"]},
            },
        },
    ),
)


@pytest.fixture(scope="module")
def image(workspace: Workspace) -> t.Iterator[BuiltImage]:
    """The image; the repository is served as long as somebody may want to build it again."""
    config_dir = workspace.path("rpm-config")
    with served_provider(config_dir) as mirrors:
        yield workspace.build(TEMPLATE, image_build_config_dir=config_dir, image_build_mirrors=mirrors)


# The files that a build leaves


def test_sbom_is_valid_and_complete(image: BuiltImage) -> None:
    said = call("pyspdxtools", "--infile", image.sbom_path)
    assert "invalid" not in said.lower(), said
    with open(image.sbom_path, encoding="utf-8") as stream:
        packages = json.load(stream)["packages"]
    purls = {
        reference["referenceLocator"]
        for package in packages
        for reference in package.get("externalRefs", [])
        if reference["referenceType"] == "purl"
    }
    assert len(purls) == len(image.lock["packages"])
    zlib = re.compile(r"pkg:rpm/composer-linux/zlib@[^?]*\?arch=x86_64&distro=composer-linux-1&epoch=1")
    assert any(zlib.match(purl) for purl in purls)
    declared = [package["licenseDeclared"] for package in packages if "externalRefs" in package]
    assert all(licence not in ("NOASSERTION", "NONE") for licence in declared)


def test_the_chroot_environment_is_a_layer_of_its_own(image: BuiltImage) -> None:
    layers = {entry["layer"] for entry in image.lock["packages"]}
    assert layers == {0, 1}


# The running system


def test_packages_are_those_of_the_lock(guest: Guest, image: BuiltImage) -> None:
    query = r"%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\n"
    installed = guest.lines(f"rpm -qa --qf '{query}'")
    keys = [line for line in installed if line.startswith("gpg-pubkey ")]
    wanted = [f"{entry['name']} {entry['version']} {entry['arch']}" for entry in image.lock["packages"]]
    assert sorted(set(installed) - set(keys)) == sorted(wanted)
    # The key of the repository, and of none else.
    assert len(keys) == 1


def test_files_are_those_of_the_packages(guest: Guest) -> None:
    said = guest.run("rpm -Va")[1].splitlines()
    unexplained = [line for line in map(str.strip, said) if line and not _EXPLAINED.search(line)]
    assert unexplained == []


# What configuration, package scriptlets, and the booted system itself change: settings, and what users read and write.
_EXPLAINED = re.compile(
    r"^\S+\s+c\s+/etc/"
    r"|/etc/(machine-id|resolv\.conf|motd)$"
    r"|^\.M\.\.\.\.G?\S*\s+/(dev|proc|sys|run)\b"
    r"|\s(c|g)\s+/(run|var)/"
    r"|^\S+\s+/var/(log|lib|cache)/"
    # systemd-tmpfiles closes these to everybody else.
    r"|^\.M\.+\s+/etc/credstore(\.encrypted)?$"
    r"|\s/usr/(lib/udev/hwdb\.bin|lib/systemd/catalog|share/info/dir)"
)


def test_dnf_finds_nothing_wrong(guest: Guest) -> None:
    assert guest.run("dnf --quiet --disablerepo='*' check") == (0, "")
    # The mirror of the build host is not the image's business.
    assert guest.lines("find /etc/yum.repos.d -name '*.repo' 2>/dev/null; true") == []


def test_ssh(guest: Guest) -> None:
    assert guest.say("cat /home/operator/.ssh/authorized_keys") == SSH_KEY
    assert guest.say("systemctl is-active sshd") == "active"
    assert guest.say("sshd -T | grep -i '^hostkey '")
    assert "SSH-2.0-" in guest.say("exec 3<>/dev/tcp/127.0.0.1/22 && head -n 1 <&3")


def test_services(guest: Guest) -> None:
    assert guest.run("systemctl is-enabled sshd.service")[1] == "enabled"
    assert guest.run("systemctl is-enabled systemd-networkd-wait-online.service")[1] == "masked"


def test_time_zone_and_locale(guest: Guest) -> None:
    assert guest.say("readlink -f /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert guest.say("TZ= date +%Z") != guest.say("date +%Z")
    assert guest.say("cat /etc/locale.conf") == "LANG=C.UTF-8"


def test_kernel_and_initramfs_are_where_their_tools_look(guest: Guest) -> None:
    version = guest.say("uname -r")
    assert {f"initramfs-{version}.img", f"vmlinuz-{version}"} <= set(guest.say("ls /boot").split())


def test_nothing_of_the_build_is_left_in_the_image(guest: Guest) -> None:
    assert guest.say("find /tmp /var/tmp -mindepth 1 -type f") == ""
    assert guest.say("find / -xdev -nouser -o -xdev -nogroup") == ""
    assert guest.run("test -e /etc/dracut.conf.d/00-os-image-composer.conf")[0] == 1


__all__ = (
    "test_boot_loader_and_command_line",
    "test_check_mode_changes_nothing",
    "test_checksums_name_every_file",
    "test_compressed_image_holds_the_raw_one",
    "test_documents_hold_no_secret_and_no_path_of_the_host",
    "test_file_system",
    "test_files_commands_and_scripts",
    "test_host_is_as_before",
    "test_host_keys_are_not_in_the_image",
    "test_host_name",
    "test_machine_id_is_its_own",
    "test_manifest",
    "test_mounts",
    "test_network",
    "test_no_unit_failed",
    "test_partition_table",
    "test_second_run_changes_nothing",
    "test_sudo",
    "test_users",
)


def test_kernels_that_come_and_go_do_so_in_the_boot_menu(guest: Guest) -> None:
    """The packages of these kernels call nothing, so that systemd has to see them."""
    entry = "/boot/efi/loader/entries/composer-linux-9.9.9.conf"
    kept = guest.say("ls /boot/efi/loader/entries")
    parts = "/usr/lib/modules/9.9.9/kernel /boot/vmlinuz-9.9.9 /boot/initramfs-9.9.9.img"
    guest.say(
        f"mkdir -p /usr/lib/modules/9.9.9/kernel && echo initrd > {parts.split()[2]} && echo > {parts.split()[1]}"
    )
    guest.say(f"timeout 120 sh -c 'until [ -e {entry} ]; do sleep 1; done'")
    assert "options    root=PARTUUID=" in guest.say(f"cat {entry}")
    guest.say(f"rm -r /usr/lib/modules/9.9.9 {' '.join(parts.split()[1:])}")
    guest.say(f"timeout 120 sh -c 'while [ -e {entry} ]; do sleep 1; done'")
    assert guest.say("ls /boot/efi/loader/entries") == kept
    assert guest.say("systemctl is-failed os-image-kernels.service || true") != "failed"
