# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Raw images of each distribution: built by the playbook, judged by independent programs, booted and looked at."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Guest,
    call,
    host_state,
    run_playbook,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import PASSWORD, SSH_KEY, raw_template

pytestmark = pytest.mark.parametrize(
    "image",
    [
        pytest.param(raw_template(dist), id=dist, marks=pytest.mark.case(f"{dist}-raw"))
        for dist in ("debian12", "debian13")
    ],
    indirect=True,
    scope="module",
)

_MANIFEST_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": [
        "schema_version",
        "image",
        "target",
        "provider_id",
        "template_digest",
        "source_date_epoch",
        "tools",
        "packages",
        "artifacts",
    ],
    "properties": {
        "template_digest": {"$ref": "#/$defs/sha256"},
        "source_date_epoch": {"type": "integer", "minimum": 1_600_000_000},
        "tools": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "minLength": 1}},
        "packages": {
            "type": "array",
            "minItems": 50,
            "items": {
                "type": "object",
                "required": ["name", "version", "arch", "sha256"],
                "properties": {"sha256": {"$ref": "#/$defs/sha256"}},
            },
        },
        "artifacts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["path", "format", "size", "sha256"],
                "properties": {"sha256": {"$ref": "#/$defs/sha256"}, "path": {"pattern": "^[^/]+$"}},
            },
        },
    },
    "$defs": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
}


def _sha256_of_output(*argv: str) -> str:
    digest = hashlib.sha256()
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := process.stdout.read(1 << 20):
            digest.update(data)
    assert process.returncode == 0, f"{' '.join(argv)} ended with status {process.returncode}"
    return digest.hexdigest()


# The files that a build leaves


def test_checksums_name_every_file(image: BuiltImage) -> None:
    call("sh", "-c", f"cd {shlex.quote(image.output_dir)} && sha256sum --check --strict --quiet SHA256SUMS")
    sums = pathlib.Path(image.output_dir, "SHA256SUMS").read_text(encoding="utf-8")
    listed = {line.split(maxsplit=1)[1].lstrip("*") for line in sums.splitlines()}
    present = {name for name in os.listdir(image.output_dir) if not name.startswith(".")}
    assert present - listed == {"SHA256SUMS"}
    assert {"packages.lock.json", "chrootpkgs.dot", os.path.basename(image.raw)} <= listed


def test_manifest(image: BuiltImage) -> None:
    import jsonschema

    jsonschema.Draft202012Validator(_MANIFEST_SCHEMA).validate(image.manifest)
    assert image.manifest["image"]["name"] == image.template.name
    locked = {(package["name"], package["version"]) for package in image.lock["packages"]}
    assert {(package["name"], package["version"]) for package in image.manifest["packages"]} == locked
    for artifact in image.manifest["artifacts"]:
        path = os.path.join(image.output_dir, artifact["path"])
        assert os.path.getsize(path) == artifact["size"]


def test_documents_hold_no_secret_and_no_path_of_the_host(image: BuiltImage) -> None:
    secrets = [PASSWORD.encode(), b"$6$e2esalt0"]
    for entry in os.scandir(image.output_dir):
        if entry.name.endswith((".json", ".dot", "SHA256SUMS")):
            data = pathlib.Path(entry.path).read_bytes()
            for secret in (*secrets, os.path.dirname(image.output_dir).encode()):
                assert secret not in data, f"{entry.name} holds {secret!r}"


def test_sbom_is_valid_and_complete(image: BuiltImage) -> None:
    said = call("pyspdxtools", "--infile", image.sbom_path)
    assert "invalid" not in said.lower(), said
    with open(image.sbom_path, encoding="utf-8") as stream:
        sbom = json.load(stream)
    assert sbom["spdxVersion"] == "SPDX-2.3"
    kinds = {relationship["relationshipType"] for relationship in sbom["relationships"]}
    assert {"DESCRIBES", "CONTAINS"} <= kinds
    purls = {
        reference["referenceLocator"]
        for package in sbom["packages"]
        for reference in package.get("externalRefs", [])
        if reference["referenceType"] == "purl"
    }
    assert len(purls) == len(image.lock["packages"])
    assert any(purl.startswith("pkg:deb/debian/base-files@") for purl in purls)
    declared = [package["licenseDeclared"] for package in sbom["packages"] if "licenseDeclared" in package]
    assert sum(licence not in ("NOASSERTION", "NONE") for licence in declared) > len(purls) // 2


def test_dependency_graph(image: BuiltImage) -> None:
    graph = pathlib.Path(image.output_dir, "chrootpkgs.dot").read_text(encoding="utf-8")
    assert graph.lstrip().startswith("digraph")
    assert re.search(r'"openssh-server[^"]*" -> "', graph)


def test_raw_image_is_sparse(image: BuiltImage) -> None:
    status = os.stat(image.raw)
    assert status.st_size == 2 << 30
    assert status.st_blocks * 512 < status.st_size * 0.75


def test_compressed_image_holds_the_raw_one(image: BuiltImage) -> None:
    compressed = image.path(".raw.zst")
    call("zstd", "--test", "--quiet", compressed)
    assert _sha256_of_output("zstd", "-dc", "--quiet", compressed) == _sha256_of_output("cat", image.raw)


def test_qcow2_holds_the_raw_one(image: BuiltImage) -> None:
    said = call("qemu-img", "check", "-f", "qcow2", image.path(".qcow2"))
    assert "No errors were found" in said
    assert "Images are identical" in call(
        "qemu-img", "compare", "-f", "raw", "-F", "qcow2", image.raw, image.path(".qcow2")
    )


# The disk


def test_partition_table(image: BuiltImage) -> None:
    # sgdisk ends with status 0 whatever it finds; its words tell.
    said = call("sgdisk", "--verify", image.raw)
    assert "No problems found" in said, said
    assert not re.search(r"Caution|Warning|corrupt", said, re.IGNORECASE), said
    types = {name: partition["type"] for name, partition in image.partitions.items()}
    assert types == {
        "boot": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "swap": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        "rootfs": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        "data": "3B8F8425-20E0-4F3B-907F-1A25A76F98E8",
    }
    assert image.partitions["boot"]["start"] * 512 == 1 << 20


@pytest.mark.parametrize(
    ("partition", "check"),
    [("boot", ("fsck.fat", "-n")), ("rootfs", ("e2fsck", "-fn")), ("data", ("e2fsck", "-fn"))],
    ids=["boot", "rootfs", "data"],
)
def test_file_system(image: BuiltImage, tmp_path: pathlib.Path, partition: str, check: tuple[str, ...]) -> None:
    said = call(*check, image.extract(partition, str(tmp_path)))
    assert not re.search(r"corrupt|fix\?|differ|orphan|free cluster summary wrong", said, re.IGNORECASE), said


def test_swap(image: BuiltImage, tmp_path: pathlib.Path) -> None:
    assert "swap" in call("blkid", "--probe", "--output", "value", image.extract("swap", str(tmp_path)))


# Building again


def test_host_is_as_before(image: BuiltImage) -> None:
    assert host_state() == image.before


def test_second_run_changes_nothing(image: BuiltImage) -> None:
    stamps = {entry.path: entry.stat().st_mtime_ns for entry in os.scandir(image.output_dir)}
    before = host_state()
    play = run_playbook("build-image.yml", image.variables)
    assert play.recap["changed"] == 0, play.output
    assert {entry.path: entry.stat().st_mtime_ns for entry in os.scandir(image.output_dir)} == stamps
    assert host_state() == before


def test_check_mode_changes_nothing(image: BuiltImage) -> None:
    play = run_playbook("build-image.yml", image.variables, "--check", "--diff")
    assert play.recap["changed"] == 0, play.output


# The running system


def test_host_name(guest: Guest) -> None:
    assert guest.say("cat /proc/sys/kernel/hostname") == "e2e-host.example.org"
    assert guest.say("cat /etc/hostname") == "e2e-host.example.org"
    assert guest.say("getent hosts e2e-host.example.org")


def test_packages_are_those_of_the_lock(guest: Guest, image: BuiltImage) -> None:
    installed = guest.lines("dpkg-query -W -f '${Package} ${Version} ${Architecture} ${db:Status-Status}\\n'")
    wanted = [f"{entry['name']} {entry['version']} {entry['arch']} installed" for entry in image.lock["packages"]]
    assert sorted(installed) == sorted(wanted)


def test_package_database_is_consistent(guest: Guest) -> None:
    assert guest.say("dpkg --audit") == ""
    assert guest.run("dpkg --verify | grep -v ' c /'") == (1, "")
    assert guest.say("apt-get check -qq") == ""


def test_no_unit_failed(guest: Guest) -> None:
    assert guest.say("systemctl --failed --no-legend --plain") == ""


def test_users(guest: Guest) -> None:
    name, _x, uid, _gid, _gecos, home, shell = guest.say("getent passwd operator").split(":")
    assert (name, home, shell) == ("operator", "/home/operator", "/bin/bash")
    assert int(uid) >= 1000
    assert {"adm", "staff"} <= set(guest.say("id -nG operator").split())
    assert guest.say("stat -c '%U:%a' /home/operator").startswith("operator:7")
    tool = "/home/operator/.config/tool"
    assert guest.lines(f"stat -c '%U:%G %a' {tool}/.. {tool}") == ["operator:operator 755"] * 2
    assert guest.say("getent passwd worker").split(":")[5:] == ["/var/lib/worker", "/usr/sbin/nologin"]
    # Nobody can log in to an account without a password.
    assert guest.say("getent shadow worker").split(":")[1][:1] in ("!", "*")


def test_sudo(guest: Guest) -> None:
    assert guest.say("visudo --check --quiet") == ""
    assert guest.say(f"echo '{PASSWORD}' | runuser -u operator -- sudo -S -p '' id -u").endswith("0")
    assert guest.run("runuser -u worker -- sudo -n id -u")[0] != 0


def test_ssh(guest: Guest) -> None:
    assert guest.say("cat /home/operator/.ssh/authorized_keys") == SSH_KEY
    assert guest.say("stat -c '%U:%G %a' /home/operator/.ssh /home/operator/.ssh/authorized_keys").split("\n") == [
        "operator:operator 700",
        "operator:operator 600",
    ]
    assert guest.say("systemctl is-active ssh") == "active"
    # Host keys were made at the first boot: an image must not carry keys that all its machines would share.
    assert guest.say("sshd -T | grep -i '^hostkey '")
    assert "SSH-2.0-" in guest.say("exec 3<>/dev/tcp/127.0.0.1/22 && head -n 1 <&3")


def test_host_keys_are_not_in_the_image(image: BuiltImage, tmp_path: pathlib.Path) -> None:
    said = call("debugfs", "-R", "ls -p /etc/ssh", image.extract("rootfs", str(tmp_path)))
    assert "sshd_config" in said
    assert "ssh_host_" not in said


def test_services(guest: Guest) -> None:
    assert guest.run("systemctl is-enabled ssh.service")[1] == "enabled"
    assert guest.run("systemctl is-enabled e2scrub_all.timer")[1] == "disabled"
    assert guest.run("systemctl is-enabled systemd-networkd-wait-online.service")[1] == "masked"


def test_network(guest: Guest) -> None:
    assert guest.say("systemctl is-active systemd-networkd") == "active"
    address = guest.say(
        "for i in $(seq 60); do\n"
        "  ip -br -4 address show scope global | grep -o '10\\.0\\.2\\.[0-9]*' && break\n"
        "  sleep 1\n"
        "done"
    )
    assert address.startswith("10.0.2.")
    assert re.search(r"DHCPv?4", guest.say("networkctl status --no-pager --full 'en*'"))


def test_time_zone_and_locale(guest: Guest) -> None:
    assert guest.say("readlink -f /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert guest.say("TZ= date +%Z") != guest.say("date +%Z")
    assert "LANG=de_DE.UTF-8" in guest.say("cat /etc/default/locale /etc/locale.conf 2>/dev/null; true")
    assert "de_DE.utf8" in guest.lines("locale -a")


def test_files_commands_and_scripts(guest: Guest) -> None:
    assert guest.say("cat /etc/motd") == "Welcome to the end-to-end test."
    assert guest.say("stat -c '%U:%G %a' /srv/keys/secret") == "root:adm 640"
    assert guest.say("cat /srv/keys/secret") == "hush"
    assert guest.lines("cat /var/lib/e2e/order") == ["one", "two", "three"]
    assert guest.say("cat /var/lib/e2e/pre") == "early"


def test_mounts(guest: Guest) -> None:
    fstab = guest.lines("grep -v '^#' /etc/fstab")
    assert [line.partition("=")[0] for line in fstab].count("PARTUUID") == 4
    assert fstab[-2:] == ["tmpfs /mnt/scratch tmpfs size=32m 0 0", "/swapfile none swap sw 0 0"]
    # Also the ESP, which is mounted when it is looked into.
    assert guest.say("ls /boot/efi/EFI/BOOT").upper() == "BOOTX64.EFI"
    mounted = dict(line.split(maxsplit=1) for line in guest.lines("findmnt -rn -o TARGET,FSTYPE,OPTIONS"))
    assert mounted["/"].startswith("ext4 rw")
    assert {"noatime", "nodev", "nosuid"} <= set(mounted["/srv"].split()[1].split(","))
    assert mounted["/boot/efi"].startswith("vfat")
    for place, options in (("/mnt/scratch", "size=32768k"), (r"/mnt/my\x20scratch", "size=16384k")):
        assert mounted[place].startswith("tmpfs ") and options in mounted[place]
    assert mounted["/opt/keys"].startswith("ext4 ro")
    assert guest.say("cat /opt/keys/secret") == "hush"
    # The files were made, without holes, when it booted.
    assert sorted(guest.lines("swapon --show=TYPE,SIZE --noheadings --raw")) == ["file 16M", "file 8M", "partition 64M"]


def test_machine_id_is_its_own(guest: Guest, image: BuiltImage, tmp_path: pathlib.Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", guest.say("cat /etc/machine-id"))
    inside = call("debugfs", "-R", "cat /etc/machine-id", image.extract("rootfs", str(tmp_path)))
    assert not re.search(r"[0-9a-f]{32}", inside)


def test_boot_loader_and_command_line(guest: Guest, image: BuiltImage) -> None:
    cmdline = guest.say("cat /proc/cmdline")
    assert f"root=PARTUUID={image.partitions['rootfs']['uuid']}".lower() in cmdline.lower()
    assert "console=ttyS0" in cmdline
    assert guest.say("ls /sys/firmware/efi/efivars | grep -c ^LoaderInfo-") == "1"
    assert "systemd-boot" in guest.say("tr -d '\\000' < /sys/firmware/efi/efivars/LoaderInfo-*")


def test_nothing_of_the_build_is_left_in_the_image(guest: Guest) -> None:
    assert guest.run("test -e /usr/sbin/policy-rc.d")[0] == 1
    assert guest.say("find /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock ! -name '*.gpg'") == ""
    assert guest.say("find /tmp /var/tmp -mindepth 1 -type f") == ""
    assert guest.say("find / -xdev -nouser -o -xdev -nogroup") == ""
