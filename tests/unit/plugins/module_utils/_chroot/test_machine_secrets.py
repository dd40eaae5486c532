# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machine secrets: taken out of a tree, with units whose scripts make them again, each machine its own."""

from __future__ import annotations

import os
import pathlib
import re
import stat
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.machine_secrets import MachineSecrets
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

UNITS = "/usr/lib/systemd/system"


@pytest.fixture
def files(tmp_path: pathlib.Path) -> TreeFiles:
    """Return a tree that systemd would start."""
    (tmp_path / "tree").mkdir()
    tree = TreeFiles(str(tmp_path / "tree"))
    tree.write("/usr/lib/systemd/systemd", "", mode=0o755)
    return tree


def _taken_out(files: TreeFiles, *brought: str) -> MachineSecrets:
    secrets = MachineSecrets(files, brought)
    secrets.make_units()
    secrets.remove()
    return secrets


def _made(files: TreeFiles, name: str, *programs: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script of a unit, in the tree's place on this host; programs are name and text."""
    script = files.read(f"/usr/libexec/os-image/machine-secret-{name}")
    directory = pathlib.Path(files.root, "programs")
    directory.mkdir(exist_ok=True)
    for program, text in programs:
        (directory / program).write_text(f"#!/bin/sh -e\n{text}\n")
        (directory / program).chmod(0o755)
    script = script.replace("PATH=/", f"PATH={directory}:/").replace("/etc/", f"{files.root}/etc/")
    script = script.replace("/var/", f"{files.root}/var/").replace("sync\n", "")
    return subprocess.run(["/bin/sh", "-e"], input=script, text=True, capture_output=True, check=True)


@needs_root
def test_a_pair_of_files_is_made_again_with_owners_and_modes(files: TreeFiles) -> None:
    files.write("/etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:old\n", mode=0o640, gid=7)
    files.write("/etc/nvme/hostid", "old\n")
    secrets = _taken_out(files)
    unit = "machine-secret-nvme.service"
    assert secrets.made == {"/etc/nvme/hostid": unit, "/etc/nvme/hostnqn": unit}
    assert files.names("/etc/nvme") == []
    text = files.read(f"{UNITS}/{unit}")
    assert "ConditionFileNotEmpty=|!/etc/nvme/hostid\nConditionFileNotEmpty=|!/etc/nvme/hostnqn\n" in text
    # Before every ordinary service, and before those that are started earlier.
    assert "Before=sysinit.target shutdown.target nvmf-autoconnect.service nvmefc-boot-connections.service\n" in text
    assert files.link_target(f"/etc/systemd/system/sysinit.target.wants/{unit}") == f"{UNITS}/{unit}"
    contents = []
    for _machine in range(2):
        _made(files, "nvme")
        contents.append((files.read("/etc/nvme/hostid"), files.read("/etc/nvme/hostnqn")))
        hostid, hostnqn = contents[-1]
        assert hostnqn == f"nqn.2014-08.org.nvmexpress:uuid:{hostid}"
        status = files.status("/etc/nvme/hostnqn")
        assert status is not None
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, 7)
    assert contents[0] != contents[1]


def test_only_what_was_there_is_made(files: TreeFiles) -> None:
    files.write("/usr/bin/dropbearkey", "", mode=0o755)
    files.write("/etc/dropbear/dropbear_ed25519_host_key", "key", mode=0o600)
    _taken_out(files)
    text = files.read(f"{UNITS}/machine-secret-dropbear.service")
    assert "ed25519" in text
    assert "rsa" not in text
    arguments = 'while [ $# -gt 1 ]; do [ "$1" != -f ] || echo "$*" > "$2"; shift; done'
    _made(files, "dropbear", ("dropbearkey", f'case "$*" in "-t ed25519 "*) ;; *) exit 1 ;; esac; {arguments}'))
    assert files.names("/etc/dropbear") == ["dropbear_ed25519_host_key"]
    first = files.status("/etc/dropbear/dropbear_ed25519_host_key")
    # Once on each machine: what is there stays.
    _made(files, "dropbear", ("dropbearkey", "exit 1"))
    second = files.status("/etc/dropbear/dropbear_ed25519_host_key")
    assert first is not None
    assert second is not None
    assert first.st_mtime_ns == second.st_mtime_ns


def test_nothing_there_nothing_done(files: TreeFiles) -> None:
    secrets = _taken_out(files)
    assert (secrets.made, secrets.kept) == ({}, {})
    assert not files.exists(UNITS)


def test_what_makes_itself_is_only_removed(files: TreeFiles) -> None:
    files.write("/var/lib/dkms/mok.key", "key")
    files.write("/var/lib/dkms/mok.pub", "public")
    assert _taken_out(files).made == {"/var/lib/dkms/mok.key": "dkms", "/var/lib/dkms/mok.pub": "dkms"}
    assert files.names("/var/lib/dkms") == []
    assert not files.exists(UNITS)


def test_what_cannot_be_made_again_stays_and_is_told(files: TreeFiles) -> None:
    key = "/etc/ssl/private/ssl-cert-snakeoil.key"
    files.write(key, "key")
    files.write("/usr/sbin/make-ssl-cert", "", mode=0o755)
    secrets = _taken_out(files)
    assert files.read(key) == "key"
    assert secrets.made == {}
    assert secrets.kept == {key: "openssl, which would make it again, is not in the image"}
    files.write("/usr/bin/openssl", "", mode=0o755)
    assert _taken_out(files).made == {key: "machine-secret-ssl-cert.service"}


def test_without_systemd_nobody_would_make_it(files: TreeFiles) -> None:
    files.remove("/usr/lib/systemd/systemd")
    files.write("/etc/munge/munge.key", "key")
    assert _taken_out(files).kept == {
        "/etc/munge/munge.key": "systemd, which would have it made again, is not in the image"
    }


def test_the_first_maker_that_is_there_counts(files: TreeFiles) -> None:
    key = "/etc/pki/tls/private/localhost.key"
    files.write(key, "key")
    files.write("/usr/bin/openssl", "", mode=0o755)
    assert _taken_out(files).made == {key: "machine-secret-httpd.service"}
    files.write(key, "key")
    files.write("/usr/lib/systemd/system/httpd-init.service", "")
    assert _taken_out(files).made == {key: "httpd-init.service"}


def test_a_file_of_the_template_stays(files: TreeFiles) -> None:
    files.write("/etc/munge/munge.key", "the cluster's")
    secrets = _taken_out(files, "/etc/munge/munge.key")
    assert files.read("/etc/munge/munge.key") == "the cluster's"
    assert (secrets.made, secrets.kept) == ({}, {})
    assert not files.exists(UNITS)


def test_half_a_pair_of_the_template_is_not_written_over(files: TreeFiles) -> None:
    key, certificate = "/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"
    for path in (key, certificate, "/usr/sbin/make-ssl-cert", "/usr/bin/openssl"):
        files.write(path, "x", mode=0o755)
    secrets = _taken_out(files, certificate)
    assert secrets.kept == {key: "the template brings another file of the same set"}
    assert not files.exists(UNITS)


def test_links_are_left_and_those_by_hash_go_with_the_certificate(files: TreeFiles) -> None:
    key, certificate = "/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"
    for path in (key, certificate, "/usr/sbin/make-ssl-cert", "/usr/bin/openssl"):
        files.write(path, "x", mode=0o755)
    files.link("/etc/ssl/certs/0123abcd.0", "ssl-cert-snakeoil.pem")
    files.link("/etc/ssl/certs/4567abcd.0", "other.pem")
    files.link("/etc/xrdp/key.pem", key)
    _taken_out(files)
    assert files.names("/etc/ssl/certs") == ["4567abcd.0"]
    assert files.is_link("/etc/xrdp/key.pem")


def test_a_unit_of_the_template_is_left_alone(files: TreeFiles) -> None:
    files.write("/etc/munge/munge.key", "key")
    secrets = MachineSecrets(files)
    secrets.make_units()
    unit = "machine-secret-munge.service"
    assert files.is_file(f"{UNITS}/{unit}")
    # As systemctl disable leaves it.
    files.remove(f"/etc/systemd/system/sysinit.target.wants/{unit}")
    secrets.remove()
    assert not files.exists(f"/etc/systemd/system/sysinit.target.wants/{unit}", follow_last=False)


def test_a_masked_unit_stays_masked(files: TreeFiles) -> None:
    files.write("/etc/munge/munge.key", "key")
    files.link("/etc/systemd/system/machine-secret-munge.service", "/dev/null")
    assert _taken_out(files).made == {"/etc/munge/munge.key": "machine-secret-munge.service"}
    assert not files.exists(UNITS)
    assert not files.exists("/etc/munge/munge.key")


def test_what_a_script_makes_later_is_found_too(files: TreeFiles) -> None:
    secrets = MachineSecrets(files)
    secrets.make_units()
    files.write("/etc/munge/munge.key", "key")
    secrets.remove()
    assert secrets.made == {"/etc/munge/munge.key": "machine-secret-munge.service"}
    assert files.is_file(f"{UNITS}/machine-secret-munge.service")


@needs_root
def test_one_line_of_a_file(files: TreeFiles) -> None:
    path = "/etc/popularity-contest.conf"
    files.write(path, '# A comment\nMY_HOSTID="0123"\nDAY="3"\nPARTICIPATE="no"\n', mode=0o644)
    assert _taken_out(files).made == {path: "machine-secret-popularity-contest.service"}
    assert files.read(path) == '# A comment\nPARTICIPATE="no"\n'
    _made(files, "popularity-contest")
    first = files.read(path)
    assert re.fullmatch(r'# A comment\nPARTICIPATE="no"\nMY_HOSTID="[0-9a-f]{32}"\nDAY="[0-6]"\n', first)
    _made(files, "popularity-contest")
    assert files.read(path) == first


@needs_root
def test_a_certificate_and_its_key_fit(files: TreeFiles) -> None:
    key, certificate = "/etc/pki/tls/private/postfix.key", "/etc/pki/tls/certs/postfix.pem"
    for path in (key, certificate, "/usr/bin/openssl"):
        files.write(path, "x")
    _taken_out(files)
    _made(files, "postfix")
    public = ["openssl", "pkey", "-pubout", "-in", files.host_path(key)]
    certified = ["openssl", "x509", "-pubkey", "-noout", "-in", files.host_path(certificate)]
    name = ["openssl", "x509", "-checkhost", os.uname().nodename[:64], "-noout", "-in", files.host_path(certificate)]
    said = [subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout for argv in (public, certified)]
    assert said[0] == said[1]
    assert "does match" in subprocess.run(name, check=True, stdout=subprocess.PIPE, text=True).stdout


@needs_root
def test_one_file_with_both(files: TreeFiles) -> None:
    path = "/var/lib/quassel/quasselCert.pem"
    files.write(path, "x")
    files.write("/usr/bin/openssl", "x")
    _taken_out(files)
    _made(files, "quassel")
    assert files.names("/var/lib/quassel") == ["quasselCert.pem"]
    for argv in (["openssl", "pkey", "-noout"], ["openssl", "x509", "-noout"]):
        subprocess.run([*argv, "-in", files.host_path(path)], check=True)


def test_names_that_need_quotes_are_not_touched(files: TreeFiles) -> None:
    path = '/etc/dropbear/dropbear_"; reboot; "_host_key'
    files.write(path, "key")
    files.write("/usr/bin/dropbearkey", "", mode=0o755)
    assert _taken_out(files).made == {}
    assert files.exists(path)


def test_files_that_are_called_by_what_is_in_them(files: TreeFiles) -> None:
    files.write("/usr/libexec/tangd-keygen", "", mode=0o755)
    files.write("/var/db/tang/abc.jwk", "{}")
    _taken_out(files)
    text = files.read(f"{UNITS}/machine-secret-tang.service")
    assert "ConditionPathExistsGlob=|!/var/db/tang/*.jwk\n" in text
    assert "abc" not in text
