# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    KEY,
    SHA512,
    Approve,
    Judge,
    Part,
    Right,
    config,
    neighbours,
    user,
)

SHORT_RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQ" + "C" * 86 + "=="
FILE = {"local": "f", "final": "/bin/kiosk", "mode": "0600"}

WRONG: list[tuple[Part, str]] = [
    (config(users=[{"name": "a"}, {"name": "a"}]), "systemConfig.users[1].name: The user 'a' is there twice."),
    *(
        (config(users=[{"name": name}]), f"systemConfig.users[0].name: {name!r} has not the right form: it must be at")
        for name in ("-a", "1234", ".", "..", "a b", "a:b", "a/b", "a@b", "a,b", "jürgen", "$", "a$b", "x" * 33)
    ),
    (user(groups=["app:group"]), "systemConfig.users[0].groups[0]: 'app:group' has not the right form"),
    (user(groups=["x", "x"]), "The user 'a' has this group twice."),
    (
        config(users=[{"name": "a", "uid": 1500}, {"name": "b", "uid": 1500}]),
        "systemConfig.users[1].uid: The uid 1500 is that of 'a' already",
    ),
    (user(uid=0), "systemConfig.users[0].uid: The uid 0 is that of 'root' already"),
    (config(users=[{"name": "root", "uid": 1}]), "The uid of root is 0 in every system."),
    (user(uid=4294967295), "4294967295 is too large; the greatest value is 4294967294."),
    (user(uid=-1), "-1 is too small; the least value is 0."),
    (user(sshKeys=[KEY, KEY]), "The user 'a' has this key twice."),
    (user(sudo=True), "sudo needs the package sudo."),
    (user(shell="/bin/sh", startupScript="/bin/kiosk"), "startupScript takes the place of the login shell."),
    (user(home="/home/../root"), "systemConfig.users[0].home: The path '/home/../root' must be written without"),
    (user(home="/run/a", sshKeys=[KEY]), "SSH keys in /run/a would not stay in the image"),
    (
        config(additionalFiles=[FILE], users=[{"name": "a", "shell": "/bin/kiosk"}]),
        "systemConfig.users[0].shell: /bin/kiosk comes from additionalFiles with the mode 0600",
    ),
    ({}, "systemConfig.users: No user has a password or an SSH key: nobody can log in to the image."),
    (user(password="!"), "No user has a password or an SSH key"),
    (user(password="x", shell="/bin/false"), "No user has a password or an SSH key"),
    (user(sshKeys=[KEY]), "The user 'a' has SSH keys, but systemConfig.packages names no SSH server."),
    (user(sshKeys=[KEY], shell="/bin/false"), "systemConfig.users[0].shell: The user 'a' has a password or a key"),
    (config(users=[{"name": "nobody", "password": "x"}]), "nobody is an account that services run as"),
    (config(users=[{"name": "root", "home": "/"}]), "Packages look for the files of root in /root, not in /."),
    # passwords
    (user(hash_algo="sha512"), "hash_algo without a password has no effect."),
    (user(password=""), "The password is empty."),
    (user(password="$8$abc"), "The password begins with $, but is no hash in a form of crypt(3)."),
    (user(password="$6$"), "The password is no whole hash of the method sha512"),
    (user(password=SHA512[:-1]), "The password is no whole hash of the method sha512"),
    (user(password="!" + SHA512), "The password is a hash that is locked by ! or *."),
    (user(password=SHA512, hash_algo="sha256"), "The password is a hash made by sha512, not by sha256."),
    (user(password="plain", hash_algo="md5"), "A plain password is not hashed by md5 here."),
    (user(password="a\tb"), "The password contains characters that cannot be typed."),
    (user(password="$1$saltsalt$" + "x" * 22), "The password of 'a' is hashed by MD5"),
    (user(passwordMaxAge=90), "The user 'a' has no password whose age could be limited."),
    (user(password="x", passwordMaxAge=0), "The password has to be changed at every login."),
    # keys
    (user(sshKeys=["hello"]), "systemConfig.users[0].sshKeys[0]: This is no public SSH key."),
    (user(sshKeys=["ssh-ed25519"]), "The key itself is missing after its type."),
    (user(sshKeys=["ssh-ed25519 AAAA"]), "The key is damaged"),
    (user(sshKeys=["ssh-ed25519 ?"]), "The key is damaged"),
    (user(sshKeys=[KEY.replace("ssh-ed25519 ", "ssh-rsa ")]), "The key is damaged"),
    (user(sshKeys=["-----BEGIN OPENSSH PRIVATE KEY-----"]), "This is a private key, which must never be in an image."),
    (user(sshKeys=[KEY + "\n" + KEY]), "A key must be one line."),
    (user(sshKeys=["ssh-dss AAAA"]), "OpenSSH does not accept DSA keys any more."),
    (user(sshKeys=[SHORT_RSA]), "This RSA key has 512 bits"),
]

RIGHT: Right = {
    "users_are_unique": [config(users=[{"name": "a", "sshKeys": [KEY]}, {"name": "b", "sshKeys": [KEY]}])],
    "each_user_has_its_uid": [
        config(users=[{"name": "a", "uid": 1500}, {"name": "b", "uid": 1501}, {"name": "c"}, {"name": "d"}]),
        config(users=[{"name": "root", "uid": 0}]),
        user(uid=4294967294),
    ],
    "user_settings_have_effect": [
        config(packages=["sudo"], users=[{"name": "a", "sudo": True}]),
        config(packages=["ubuntu-minimal"], users=[{"name": "a", "sudo": True}]),
        config(users=[{"name": "root", "sudo": True}]),
        user(home="/run/service", shell="/usr/sbin/nologin"),
    ],
    "login_programs_can_run": [
        config(additionalFiles=[{**FILE, "mode": mode}], users=[{"name": "a", "startupScript": "/bin/kiosk"}])
        for mode in ("0755", "0700", "0100")
    ],
    "somebody_can_log_in": [
        user(password="plain"),
        config(packages=["openssh-server"], users=[{"name": "a", "sshKeys": [KEY]}]),
    ],
    "logins_have_a_shell": [user(password="!", shell="/usr/sbin/nologin"), user(password="x", shell="/bin/zsh")],
    "system_accounts_stay_closed": [
        config(users=[{"name": "www-data", "groups": ["adm"]}, {"name": "root", "password": "x"}])
    ],
    "root_has_its_home": [config(users=[{"name": "root", "home": "/root"}]), user(home="/srv/a")],
    "passwords_can_be_stored": [
        user(password=SHA512, hash_algo="sha512"),
        user(password="$6$rounds=5000$salt$" + "x" * 86),
        user(password="$5$salt$" + "x" * 43),
        user(password="$2b$12$" + "x" * 53),
        user(password="$y$j9T$abcdefghijklmnopqrstuv$" + "x" * 43),
        user(password="$gy$j9T$abcdefghijklmnopqrstuv$" + "x" * 43),
        user(password="$7$CU..../....abcdefgh$" + "x" * 43),
        user(password="!"),
        user(password="gr\u00fc\u00df dich!"),
    ],
    "password_hashes_are_strong": [user(password=SHA512)],
    "password_ages_leave_time": [user(password="x", passwordMaxAge=1)],
    "ssh_keys_are_public_keys": [
        user(sshKeys=[KEY, 'from="10.0.0.0/8",no-pty ' + KEY.replace("admin", "other")]),
    ],
    "ssh_keys_are_strong": [user(sshKeys=[KEY])],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    "name", ["jane.roe", "Jane", "JANE_ROE", "1st", "host$", "_x", ".x", "12$", "a", "x-", "x" * 32]
)
def test_names_that_useradd_takes(name: str, judge: Judge) -> None:
    assert not [line for line in judge(config(users=[{"name": name, "groups": [f"g{name[:31]}"]}])) if "form" in line]


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
