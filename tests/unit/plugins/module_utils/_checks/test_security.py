# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    KEY,
    Approve,
    Judge,
    Part,
    Right,
    config,
    neighbours,
)

KEYS = {"key": "db.key", "certificate": "db.crt"}
SIGNED = {"kernel": {"uki": True}, "signing": {"secureBoot": KEYS}}

WRONG: list[tuple[Part, str]] = [
    (
        config(security={"selinux": "permissive", "apparmor": "enabled"}),
        "The kernel runs either AppArmor or SELinux, which is permissive here.",
    ),
    (config(security={"selinux": "permissive"}), "SELinux needs a policy, but systemConfig.packages names none."),
    (config(security={"apparmor": "enabled"}), "Profiles of AppArmor are loaded by the package apparmor"),
    (
        config(security={"apparmor": "enabled"}, kernel={"cmdline": "apparmor=0"}),
        "apparmor=0 contradicts systemConfig.security, which makes it apparmor=1. Remove one of the two.",
    ),
    (
        config(security={"selinux": "disabled"}, kernel={"cmdline": "quiet selinux=1"}),
        "selinux=1 contradicts systemConfig.security, which makes it selinux=0. Remove one of the two.",
    ),
    (
        config(security={"selinux": "enforcing"}, kernel={"cmdline": "enforcing=0"}),
        "enforcing=0 overrules systemConfig.security, by which SELinux is enforcing. Remove it.",
    ),
    (
        {
            **config(security={"selinux": "permissive"}, packages=["selinux-policy-default"]),
            "target": {"imageType": "initrd"},
            "disk": {"artifacts": [], "partitions": []},
        },
        "systemConfig.security.selinux: An initrd is an archive that holds no SELinux labels",
    ),
    (
        {
            **config(security={"selinux": "enforcing"}, packages=["selinux-policy-default"]),
            "target": {"imageType": "iso"},
            "iso": {"type": "live"},
        },
        "systemConfig.security.selinux: The root directory of a live system lies in memory",
    ),
    (
        config(security={"apparmor": "enabled"}, kernel={"cmdline": "lsm=landlock,yama"}),
        "lsm=landlock,yama leaves out apparmor, which systemConfig.security asks for.",
    ),
    (
        config(security={"hardening": ["modules"]}, kernel={"enableExtraModules": "nvme sctp"}),
        "The module sctp is one that security.hardening keeps from being loaded.",
    ),
    (config(security={"hardening": ["ssh"]}), "The set ssh has settings of OpenSSH's server"),
    (
        config(
            security={"hardening": ["sysctl", "ssh"]},
            packages=["openssh-server"],
            users=[{"name": "root", "sshKeys": [KEY]}, {"name": "a", "password": "x"}],
        ),
        "systemConfig.security.hardening[1]: ssh lets in neither passwords nor root, and nobody else has an SSH key",
    ),
    (config(signing={"secureBoot": KEYS}), "systemConfig.signing.secureBoot.key: Secure Boot keys are configured"),
    (
        config(
            immutability={"secureBootDBKey": "db.key", "secureBootDBCrt": "db.crt"}, bootloader={"provider": "grub"}
        ),
        "but the bootloader grub reads the kernel command line and the initrd from files that nobody signs.",
    ),
    (
        config(**SIGNED, bootloader={"provider": "grub", "signed": True}),
        "from files that nobody signs. Set bootloader.signed: false, for GRUB without a menu",
    ),
    (
        config(
            kernel={"uki": True},
            signing={"secureBoot": {**KEYS, "enrol": "manual"}},
            bootloader={"provider": "grub"},
        ),
        "systemConfig.signing.secureBoot.enrol: GRUB enrols no keys. Remove enrol, and enrol the published files by "
        "hand, or use bootloader.provider: systemd-boot.",
    ),
    (
        config(kernel={"uki": True}, signing={"secureBoot": {**KEYS, "generate": True}}),
        "systemConfig.signing.secureBoot.key: generate makes keys for tests, but key names one. Remove one of the two.",
    ),
    (
        config(kernel={"uki": True}, signing={"secureBoot": {"key": "pkcs11:object=db"}}),
        "systemConfig.signing.secureBoot: No certificate says whose signature machines shall trust.",
    ),
    (
        config(kernel={"uki": True}, signing={"secureBoot": {**KEYS, "key": "pkcs11:object=db?pin-value=1234"}}),
        "systemConfig.signing.secureBoot.key: The PIN of a token would be in documents and logs.",
    ),
    (
        config(kernel={"uki": True}, signing={"secureBoot": {"certificate": "db.crt", "enrol": "force"}}),
        "systemConfig.signing.secureBoot.enrol: What firmware enrols is signed with the key, which another host has.",
    ),
    (
        config(signing={"checksums": {"key": "x.asc"}}, additionalFiles=[{"local": "./x.asc", "final": "/x"}]),
        "systemConfig.additionalFiles[0].local: This is a private key that the build signs with",
    ),
    (
        config(**{**SIGNED, "signing": {"secureBoot": KEYS, "checksums": {"key": "db.key"}}}),
        "systemConfig.signing.checksums.key: secureBoot and checksums name the same file",
    ),
    (
        config(signing={"checksums": {"key": "x.asc", "certificate": "db.crt"}}),
        "systemConfig.signing.checksums.certificate: Only a key on a token (a PKCS#11 URI) has a certificate.",
    ),
    (
        config(signing={"checksums": {"fingerprint": "A" * 40, "certificate": "db.crt"}}),
        "systemConfig.signing.checksums.certificate: Only a key on a token",
    ),
    (
        config(signing={"checksums": {"key": "pkcs11:token=x;object=y"}}),
        "systemConfig.signing.checksums.key: A key on a token needs its certificate",
    ),
    (
        config(signing={"checksums": {"key": "pkcs11:token=x;object=y?pin-value=1", "certificate": "db.crt"}}),
        "systemConfig.signing.checksums.key: The PIN would be in documents and logs. Remove pin-value",
    ),
]

RIGHT: Right = {
    "one_security_module_is_chosen": [
        config(security={"selinux": "disabled", "apparmor": "enabled"}, packages=["apparmor"]),
        config(security={"selinux": "enforcing", "apparmor": "disabled"}, packages=["selinux-policy-targeted"]),
    ],
    "security_modules_have_their_policies": [
        config(security={"selinux": "enforcing"}, packages=["selinux-policy"]),
        config(security={"selinux": "enforcing"}, packages=["selinux-*"]),
        config(security={"selinux": "disabled", "apparmor": "disabled"}),
    ],
    "files_can_have_labels": [
        {
            **config(security={"selinux": "disabled"}),
            "target": {"imageType": "initrd"},
            "disk": {"artifacts": [], "partitions": []},
        },
        config(security={"selinux": "enforcing"}, packages=["selinux-policy"]),
        {
            **config(security={"selinux": "enforcing"}, packages=["selinux-policy"]),
            "target": {"imageType": "iso"},
            "iso": {"type": "installer"},
        },
        {
            **config(security={"selinux": "permissive"}, packages=["selinux-policy"]),
            "target": {"imageType": "iso"},
            "iso": {"type": "live"},
        },
    ],
    "kernel_command_line_agrees_with_security": [
        config(kernel={"cmdline": "selinux=0"}),
        config(security={"selinux": "disabled"}, kernel={"cmdline": "selinux=0"}),
        config(kernel={"cmdline": "enforcing=1"}),
        config(security={"selinux": "enforcing"}, packages=["selinux-policy"], kernel={"cmdline": "enforcing=1"}),
        config(security={"apparmor": "enabled"}, kernel={"cmdline": "apparmor=1 lsm=landlock,apparmor"}),
    ],
    "blocked_modules_are_not_wanted": [
        config(security={"hardening": ["kernel", "modules"]}, kernel={"enableExtraModules": "nvme"}),
        config(security={"hardening": ["kernel"]}, kernel={"enableExtraModules": "sctp"}),
    ],
    "ssh_hardening_has_a_server": [
        config(security={"hardening": ["ssh"]}, packages=["openssh-server"]),
        config(security={"hardening": ["sysctl"]}),
    ],
    "somebody_can_log_in_by_ssh": [
        config(security={"hardening": ["ssh"]}, packages=["openssh-server"], users=[{"name": "a", "sshKeys": [KEY]}]),
        config(packages=["openssh-server"], users=[{"name": "a", "password": "x"}]),
    ],
    "keys_protect_the_boot_chain": [config(**SIGNED), config(**SIGNED, bootloader={"provider": "grub"})],
    "keys_are_enrolled_by_systemd_boot": [
        config(**SIGNED, bootloader={"provider": "grub"}),
        config(kernel={"uki": True}, signing={"secureBoot": {**KEYS, "enrol": "force"}}),
    ],
    "keys_are_whole": [
        config(**SIGNED),
        config(kernel={"uki": True}, signing={"secureBoot": {"certificate": "db.crt"}}),
        config(kernel={"uki": True}, signing={"secureBoot": {**KEYS, "key": "pkcs11:object=db", "enrol": "manual"}}),
        config(kernel={"uki": True}, signing={"secureBoot": {"generate": True, "enrol": "force"}}),
    ],
    "generated_keys_are_for_tests": [config(kernel={"uki": True}, signing={"secureBoot": {**KEYS, "generate": False}})],
    "private_keys_stay_out_of_the_image": [
        config(**SIGNED, additionalFiles=[{"local": "db.crt", "final": "/etc/keys/db.crt"}])
    ],
    "keys_on_tokens_have_certificates": [
        config(signing={"checksums": {"key": "pkcs11:token=x;object=y", "certificate": "db.crt"}}),
        config(signing={"checksums": {"fingerprint": "A" * 40}, "provenance": True}),
    ],
    "pins_are_not_in_templates": [
        config(signing={"checksums": {"key": "pkcs11:token=x?module-path=/x.so", "certificate": "db.crt"}})
    ],
    "each_signature_has_its_key": [
        config(**{**SIGNED, "signing": {"secureBoot": KEYS, "checksums": {"key": "db.asc"}}})
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
