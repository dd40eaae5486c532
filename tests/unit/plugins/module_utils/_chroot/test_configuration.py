# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of the tree by systemConfig, and what of the build is taken out of it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.cleanup import (
    clean_up,
    generate_host_keys_at_boot,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.host_name import host_files
from ansible_collections.os_image.composer.plugins.module_utils._chroot.localization import set_locale, set_timezone
from ansible_collections.os_image.composer.plugins.module_utils._chroot.network import (
    configure_network,
    network_file_name,
    render_network,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import (
    configure_apt,
    configure_dnf,
    enable_modules,
    render_preferences,
    render_sources,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.scripts import run_configurations, run_scripts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.services import (
    set_up_services,
    unit_exists,
    unit_name,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.users import (
    account_commands,
    check_shells,
    create_users,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, CommandError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import read_keyring
from ansible_collections.os_image.composer.plugins.module_utils._template.model import (
    Configuration,
    Interface,
    Network,
    Script,
    Services,
    User,
)
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import repositories, whole_part
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root


@pytest.fixture
def files(tmp_path: pathlib.Path) -> TreeFiles:
    """Return an almost empty tree."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nsudo:x:27:\n")
    return TreeFiles(str(root))


class Recorder:
    """Stands for a sandbox, and remembers what it was to run."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.data = b""

    def run(self, argv: t.Sequence[str], *, data: bytes | None = None, what: str = "") -> None:
        self.commands += argv[-1].splitlines()
        self.data += data or b""


def recorder() -> tuple[Recorder, Sandbox]:
    """Return a recorder twice, once as what it stands for."""
    made = Recorder()
    return made, t.cast(Sandbox, made)


# Accounts


def accounts(*users: dict[str, t.Any]) -> list[User]:
    """Read systemConfig.users."""
    return [whole_part(User, user) for user in users]


def test_new_accounts_in_the_order_of_the_template() -> None:
    users = accounts(
        {"name": "zoe", "groups": ["adm", "new"], "sudo": True, "shell": "/bin/sh", "passwordMaxAge": 90},
        {"name": "adam", "home": "/srv/adam"},
    )
    assert account_commands(users, existing={"root": 0}, groups=["root", "adm"], sudo_group="sudo") == [
        "groupadd --system -- new",
        "useradd --create-home --home-dir /home/zoe --shell /bin/sh --user-group --groups adm,new,sudo -- zoe",
        "chage --maxdays 90 -- zoe",
        "useradd --create-home --home-dir /srv/adam --shell /bin/bash --user-group -- adam",
    ]


def test_accounts_of_packages_are_changed_and_not_made() -> None:
    users = accounts({"name": "www-data", "groups": ["adm"], "shell": "/bin/sh"}, {"name": "root", "sudo": True})
    assert account_commands(users, existing={"www-data": 33, "root": 0}, groups=["adm"], sudo_group="sudo") == [
        "usermod --append --groups adm --shell /bin/sh -- www-data"
    ]


def test_a_group_that_another_user_has_as_the_own_one_is_left_to_that() -> None:
    users = accounts({"name": "a", "groups": ["b", "adm", "a"]}, {"name": "b", "groups": ["backup"]})
    assert account_commands(users, existing={"backup": 34}, groups=["adm"]) == [
        "groupadd --system -- backup",
        "useradd --create-home --home-dir /home/a --shell /bin/bash --user-group --groups adm -- a",
        "useradd --create-home --home-dir /home/b --shell /bin/bash --user-group --groups backup -- b",
        "usermod --append --groups b -- a",
    ]


def test_a_group_of_the_users_own_name_is_used() -> None:
    commands = account_commands(accounts({"name": "app"}), existing={}, groups=["app"])
    assert commands == ["useradd --create-home --home-dir /home/app --shell /bin/bash --gid app -- app"]


def test_numbers_that_are_named_are_taken_first() -> None:
    users = accounts({"name": "next"}, {"name": "named", "uid": 1000})
    assert account_commands(users, existing={}, groups=[]) == [
        "useradd --uid 1000 --create-home --home-dir /home/named --shell /bin/bash --user-group -- named",
        "useradd --create-home --home-dir /home/next --shell /bin/bash --user-group -- next",
    ]


def test_accounts_of_packages_keep_their_numbers(files: TreeFiles) -> None:
    files.write("/etc/passwd", "www-data:x:33:33::/var/www:/usr/sbin/nologin\n")
    made, sandbox = recorder()
    create_users(files, sandbox, accounts({"name": "www-data", "uid": 33, "groups": ["adm"]}))
    assert made.commands[-1] == "usermod --append --groups adm -- www-data"
    message = (
        r"www-data shall have the uid 1500, but a package has made it with the uid 33, .* Remove uid from the user"
    )
    with pytest.raises(ChrootError, match=message):
        create_users(files, sandbox, accounts({"name": "www-data", "uid": 1500}))


def test_hashes_go_through_standard_input_alone(files: TreeFiles) -> None:
    made, sandbox = recorder()
    create_users(files, sandbox, accounts({"name": "root", "password": "$6$salt$hash"}))
    assert made.commands == ["chpasswd --encrypted"]
    assert made.data == b"root:$6$salt$hash\n"


def test_keys_and_sudo(files: TreeFiles) -> None:
    files.write("/usr/bin/sudo", "", mode=0o755)
    files.write("/etc/passwd", "a:x:1000:1001::/home/a:/bin/sh\nb:x:1002:1002::/home/b:/bin/sh\n")
    _made, sandbox = recorder()
    files.write("/etc/sudoers", "Defaults env_reset\n%sudo\tALL=(ALL:ALL) ALL\n")
    users = accounts(
        {"name": "a", "sudo": True, "sshKeys": ["ssh-ed25519 AAAA a@b\n", "ssh-rsa BBBB"]},
        {"name": "b", "sudo": True, "password": "$6$x$y"},
    )
    create_users(files, sandbox, users)
    keys = pathlib.Path(files.host_path("/home/a/.ssh/authorized_keys"))
    assert keys.read_text() == "ssh-ed25519 AAAA a@b\nssh-rsa BBBB\n"
    described = [(path.stat().st_mode & 0o7777, path.stat().st_uid, path.stat().st_gid) for path in (keys, keys.parent)]
    assert described == [(0o600, 1000, 1001), (0o700, 1000, 1001)]
    # The one has no password to give; the other is in the group sudo.
    assert files.glob("/etc/sudoers.d", "*") == ["/etc/sudoers.d/90-a"]
    assert files.read("/etc/sudoers.d/90-a") == "a ALL=(ALL:ALL) NOPASSWD: ALL\n"


@pytest.mark.parametrize(
    ("path", "line", "group"),
    [
        ("/etc/sudoers.d/wheel", "%wheel  ALL=(ALL)       ALL", "wheel"),
        ("/etc/sudoers", "# %wheel  ALL=(ALL)       ALL", ""),
        ("/etc/sudoers", "%wheel ALL=(ALL) NOPASSWD: /usr/bin/id", ""),
    ],
)
def test_who_is_in_no_group_of_sudoers_gets_a_rule(files: TreeFiles, path: str, line: str, group: str) -> None:
    files.write("/usr/bin/sudo", "", mode=0o755)
    files.write("/etc/group", "root:x:0:\nsudo:x:27:\nwheel:x:10:\n")
    files.write(path, f"{line}\n")
    made, sandbox = recorder()
    create_users(files, sandbox, accounts({"name": "b", "sudo": True, "password": "$6$x$y"}))
    assert (f"--groups {group} --" in made.commands[0]) if group else ("--groups" not in made.commands[0])
    assert files.read("/etc/sudoers.d/90-b") == ("" if group else "b ALL=(ALL:ALL) ALL\n")


@pytest.mark.parametrize(
    ("name", "path", "subject"),
    [
        ("jane.roe", "90-jane%2eroe", "jane.roe"),
        ("jane_roe", "90-jane_roe", "jane_roe"),
        # Without quotation marks these would be an alias, and everybody.
        ("OPERATOR", "90-OPERATOR", '"OPERATOR"'),
        ("ALL", "90-ALL", '"ALL"'),
    ],
)
def test_a_rule_of_sudoers_is_about_one_user(files: TreeFiles, name: str, path: str, subject: str) -> None:
    files.write("/usr/bin/sudo", "", mode=0o755)
    files.write("/etc/passwd", f"{name}:x:1000:1001::/home/a:/bin/sh\n")
    create_users(files, recorder()[1], accounts({"name": name, "sudo": True, "sshKeys": ["ssh-rsa AAAA"]}))
    assert files.glob("/etc/sudoers.d", "*") == [f"/etc/sudoers.d/{path}"]
    assert files.read(f"/etc/sudoers.d/{path}") == f"{subject} ALL=(ALL:ALL) NOPASSWD: ALL\n"


def test_sudo_must_be_installed(files: TreeFiles) -> None:
    with pytest.raises(ChrootError, match="The user admin shall be allowed to use sudo, but sudo is not installed"):
        create_users(files, recorder()[1], accounts({"name": "admin", "sudo": True}))


@pytest.mark.parametrize("key", ["shell", "startupScript"])
def test_a_shell_that_is_not_there(files: TreeFiles, key: str) -> None:
    with pytest.raises(ChrootError, match=f"The {key} /bin/fish of the user admin is not an executable file"):
        check_shells(files, accounts({"name": "admin", key: "/bin/fish"}))
    files.write("/bin/fish", "", mode=0o755)
    check_shells(files, accounts({"name": "admin", key: "/bin/fish"}))


# Network


def network(*interfaces: dict[str, t.Any]) -> Network:
    """Read systemConfig.network."""
    return whole_part(Network, {"interfaces": list(interfaces)})


@pytest.mark.parametrize(
    ("interface", "text"),
    [
        ({"match": "en*", "dhcp4": True}, "[Match]\nName=en*\n\n[Network]\nDHCP=ipv4\n"),
        ({"name": "eth0", "dhcp4": True, "dhcp6": True}, "[Match]\nName=eth0\n\n[Network]\nDHCP=yes\n"),
        (
            {
                "name": "eth1",
                "addresses": ["192.0.2.10/24", "2001:db8::10/64"],
                "gateway4": "192.0.2.1",
                "gateway6": "2001:db8::1",
                "nameservers": ["192.0.2.53"],
                "domains": ["example.org", "example.net"],
                "routes": [{"to": "10.0.0.0/8", "via": "192.0.2.2"}, {"to": "default", "via": "192.0.2.3"}],
            },
            "[Match]\nName=eth1\n\n[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\nGateway=192.0.2.1\n"
            "Gateway=2001:db8::1\nDNS=192.0.2.53\nDomains=example.org example.net\n"
            "\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.2\n\n[Route]\nGateway=192.0.2.3\n",
        ),
    ],
)
def test_network_files(interface: dict[str, t.Any], text: str) -> None:
    assert render_network(whole_part(Interface, interface)) == text


@pytest.mark.parametrize(
    ("index", "interface", "name"),
    [
        (0, {"match": "en*"}, "10-en.network"),
        (3, {"name": "eth0.5"}, "13-eth0-5.network"),
        (0, {"match": "*"}, "10-all.network"),
    ],
)
def test_names_of_network_files(index: int, interface: dict[str, t.Any], name: str) -> None:
    assert network_file_name(index, whole_part(Interface, interface)) == name


def test_the_network_needs_networkd(files: TreeFiles) -> None:
    with pytest.raises(ChrootError, match="systemd-networkd, which is not installed in the image"):
        configure_network(files, network({"name": "eth0", "dhcp4": True}))
    assert configure_network(files, network()) == ([], [])


def test_names_are_resolved_by_resolved_where_it_is(files: TreeFiles) -> None:
    files.write("/usr/lib/systemd/systemd-networkd", "")
    interface = {"name": "eth0", "dhcp4": True}
    units, warnings = configure_network(files, network(interface))
    assert units == ["systemd-networkd.service"]
    assert "Add the package systemd-resolved" in warnings[0]
    configure_network(files, network({**interface, "nameservers": ["192.0.2.1"], "domains": ["x.org"]}))
    assert files.read("/etc/resolv.conf") == "search x.org\nnameserver 192.0.2.1\n"
    files.write("/usr/lib/systemd/systemd-resolved", "")
    assert configure_network(files, network(interface))[0] == [
        "systemd-networkd.service",
        "systemd-resolved.service",
    ]
    assert files.link_target("/etc/resolv.conf") == "../run/systemd/resolve/stub-resolv.conf"


@pytest.mark.parametrize(
    ("hostname", "line"), [("web", "127.0.1.1 web\n"), ("web.example.org", "127.0.1.1 web.example.org web\n")]
)
def test_host_names(hostname: str, line: str) -> None:
    rendered = host_files(hostname)
    assert rendered["/etc/hostname"] == f"{hostname}\n"
    assert line in rendered["/etc/hosts"]


# Services


@pytest.mark.parametrize(
    ("name", "unit"), [("ssh", "ssh.service"), ("a.timer", "a.timer"), ("getty@tty1", "getty@tty1.service")]
)
def test_unit_names(name: str, unit: str) -> None:
    assert unit_name(name) == unit


def test_units_are_found_wherever_they_are(files: TreeFiles) -> None:
    files.write("/usr/lib/systemd/system/getty@.service", "")
    files.write("/etc/systemd/system/own.timer", "")
    files.write("/etc/init.d/old", "", mode=0o755)
    files.link("/etc/systemd/system/masked.service", "/dev/null")
    known = ["getty@tty1.service", "own.timer", "old.service", "masked.service"]
    assert [unit_exists(files, unit) for unit in known] == [True] * 4
    assert not unit_exists(files, "getty.service")


def test_a_unit_that_does_not_exist_is_named_with_its_like(files: TreeFiles) -> None:
    files.write("/usr/lib/systemd/system/nginx.service", "")
    message = (
        r"^The unit ngnix.service of systemConfig.services.enable does not exist in the image. "
        r"Similar units are nginx.service. Correct the name, or add the package"
    )
    with pytest.raises(ChrootError, match=message):
        set_up_services(files, recorder()[1], whole_part(Services, {"enable": ["ngnix"]}))


def test_services(files: TreeFiles) -> None:
    for name in ("a", "b", "c"):
        files.write(f"/usr/lib/systemd/system/{name}.service", "")
    made, sandbox = recorder()
    set_up_services(
        files, sandbox, whole_part(Services, {"enable": ["a", "a"], "disable": ["b.service"], "mask": ["c"]})
    )
    assert made.commands == [
        "systemctl --quiet enable -- a.service",
        "systemctl --quiet disable -- b.service",
        "systemctl --quiet mask -- c.service",
    ]
    set_up_services(files, sandbox, whole_part(Services, {}))
    assert len(made.commands) == 3


# Time zone and locale


def test_timezone(files: TreeFiles) -> None:
    files.write("/usr/share/zoneinfo/Europe/Berlin", "TZif")
    set_timezone(files, "Europe/Berlin")
    assert not files.exists("/etc/timezone")
    set_timezone(files, "Europe/Berlin", name_file="/etc/timezone")
    assert files.link_target("/etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert files.read("/etc/timezone") == "Europe/Berlin\n"
    with pytest.raises(ChrootError, match="The time zone 'Europe/Berln' does not exist in the image"):
        set_timezone(files, "Europe/Berln")


def test_built_in_locales_need_nothing(files: TreeFiles) -> None:
    files.link("/etc/default/locale", "../locale.conf")
    made, sandbox = recorder()
    set_locale(files, sandbox, "C.UTF-8", path="/etc/default/locale")
    assert files.read("/etc/locale.conf") == "LANG=C.UTF-8\n"
    assert files.is_link("/etc/default/locale")
    assert made.commands == []


def test_other_locales_are_made(files: TreeFiles) -> None:
    made, sandbox = recorder()
    with pytest.raises(ChrootError, match="The locale de_DE.UTF-8 is not in the image, and cannot be made without"):
        set_locale(files, sandbox, "de_DE.UTF-8", path="/etc/default/locale")
    files.write("/usr/share/i18n/SUPPORTED", "de_DE.UTF-8 UTF-8\nca_ES.UTF-8@valencia UTF-8\n")
    files.write("/usr/share/i18n/locales/de_DE", "")
    files.write("/usr/sbin/locale-gen", "", mode=0o755)
    with pytest.raises(ChrootError, match="The locale 'xx_XX.UTF-8' does not exist"):
        set_locale(files, sandbox, "xx_XX.UTF-8", path="/etc/default/locale")
    set_locale(files, sandbox, "de_DE.UTF-8", path="/etc/default/locale")
    assert made.commands == ["de_DE.UTF-8"]
    assert files.read("/etc/locale.gen") == "de_DE.UTF-8 UTF-8\n"


def test_locales_without_a_list_of_them(files: TreeFiles) -> None:
    files.write("/usr/share/i18n/locales/de_DE", "")
    files.write("/usr/share/i18n/locales/ca_ES@valencia", "")
    for wanted in ("de_DE.UTF-8", "ca_ES.UTF-8@valencia"):
        made, sandbox = recorder()
        set_locale(files, sandbox, wanted, path="/etc/locale.conf")
        assert made.commands == [wanted]
    assert files.read("/etc/locale.conf") == "LANG=ca_ES.UTF-8@valencia\n"
    assert not files.exists("/etc/locale.gen")
    with pytest.raises(ChrootError, match="The locale 'xx_XX.UTF-8' does not exist"):
        set_locale(files, recorder()[1], "xx_XX.UTF-8", path="/etc/locale.conf")


# Package sources

PUBLIC = {
    "name": "extra",
    "url": "https://packages.example.com/debian",
    "suite": "stable",
    "components": ["main", "contrib"],
    "gpgcheck": True,
    "priority": 600,
    "keys": [],
}
MIRROR = {"name": "bookworm", "mirror": "debian", "suite": "bookworm", "components": ["main"], "keys": []}


def test_repositories_with_a_url_stay_with_their_keys(files: TreeFiles, keys: Keys, tmp_path: pathlib.Path) -> None:
    files.make_directory("/etc/apt")
    # apt takes a file named .asc for an armored one.
    binary = tmp_path / "archive.gpg"
    binary.write_bytes(read_keyring([keys.archive.public], what="a test"))
    pinned = {"keys": [str(binary), keys.stranger.public], "fingerprints": [keys.archive.fingerprint]}
    configure_apt(files, repositories({**PUBLIC, **pinned}, MIRROR))
    assert files.read("/etc/apt/sources.list.d/extra.sources") == (
        "Types: deb\nURIs: https://packages.example.com/debian\nSuites: stable\nComponents: main contrib\n"
        "Signed-By: /etc/apt/keyrings/extra.asc\n"
    )
    armored = files.read("/etc/apt/keyrings/extra.asc")
    assert armored.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    assert armored.count("BEGIN PGP") == 1
    expected = "Package: *\nPin: origin packages.example.com\nPin-Priority: 600\n"
    assert files.read("/etc/apt/preferences.d/extra") == expected
    assert files.glob("/etc/apt/sources.list.d", "*") == ["/etc/apt/sources.list.d/extra.sources"]


def test_a_key_that_was_not_fetched(files: TreeFiles) -> None:
    files.make_directory("/etc/apt")
    with pytest.raises(
        SignatureError, match=r"The key file /gone\.asc of the repository 'extra' cannot be read: No such file"
    ):
        configure_apt(files, repositories({**PUBLIC, "keys": ["/gone.asc"]}))


@pytest.mark.parametrize(
    ("repository", "pins"),
    [
        ({"priority": 500}, []),
        ({"priority": 600}, [("*", 600)]),
        ({"allow_packages": ["docker-*", "curl"]}, [("docker-* curl", 500), ("*", -1)]),
        ({"exclude_packages": ["vim*"]}, [("vim*", -1)]),
        (
            {"priority": 900, "allow_packages": ["lib*"], "exclude_packages": ["libc6"]},
            [("libc6", -1), ("lib*", 900), ("*", -1)],
        ),
    ],
)
def test_apt_takes_the_same_packages(repository: dict[str, t.Any], pins: list[tuple[str, int]]) -> None:
    (asked,) = repositories({**PUBLIC, "priority": 500, **repository})
    text = render_preferences(asked)
    assert text == "\n".join(
        f"Package: {names}\nPin: origin packages.example.com\nPin-Priority: {priority}\n" for names, priority in pins
    )


def test_unsigned_repositories_say_so() -> None:
    (repository,) = repositories({**PUBLIC, "gpgcheck": False})
    assert render_sources(repository, None).endswith("Trusted: yes\n")


def test_mirrors_never_reach_the_image(files: TreeFiles) -> None:
    configure_apt(files, repositories(MIRROR))
    assert not files.exists("/etc/apt")
    files.make_directory("/etc/apt")
    configure_apt(files, repositories(MIRROR))
    lines = files.read("/etc/apt/sources.list").splitlines()
    assert lines
    assert all(line.startswith("#") for line in lines)
    assert "components" not in "".join(lines)


def test_components_of_mirrors_are_told(files: TreeFiles) -> None:
    files.make_directory("/etc/apt")
    security = {**MIRROR, "name": "bookworm-security", "components": ["main", "non-free-firmware"]}
    configure_apt(files, repositories({**MIRROR, "components": ["main", "non-free-firmware", "contrib"]}, security))
    last = files.read("/etc/apt/sources.list").splitlines()[-1]
    assert last == "# Its packages are of the components main non-free-firmware contrib."


def test_dnf_gets_the_same_repositories(files: TreeFiles, keys: Keys) -> None:
    public = {**PUBLIC, "url": "https://packages.example.com/azl3/$basearch", "allow_packages": ["kernel*", "bash"]}
    public["exclude_packages"] = ["bash-doc", "kernel-debug*"]
    public.update(keys=[keys.archive.public, keys.stranger.public], fingerprints=[keys.archive.fingerprint])
    loose = {"name": "loose one", "url": "https://x.example.com", "gpgcheck": False, "priority": 500, "keys": []}
    configure_dnf(files, repositories(public, MIRROR, loose))
    assert not files.exists("/etc/yum.repos.d")
    files.write("/usr/bin/tdnf", "", mode=0o755)
    configure_dnf(files, repositories(public, MIRROR, loose))
    assert files.glob("/etc/yum.repos.d", "*") == ["/etc/yum.repos.d/extra.repo", "/etc/yum.repos.d/loose-one.repo"]
    assert files.read("/etc/yum.repos.d/extra.repo") == (
        "[extra]\nname=extra\nbaseurl=https://packages.example.com/azl3/$basearch\nenabled=1\ngpgcheck=1\n"
        "repo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-extra\npriority=1\nincludepkgs=kernel* bash\n"
        "excludepkgs=bash-doc kernel-debug*\n"
    )
    assert "gpgcheck=0\nrepo_gpgcheck=0\n" in files.read("/etc/yum.repos.d/loose-one.repo")
    # The pinned key, and not the other that its file holds.
    assert files.glob("/etc/pki/rpm-gpg", "*") == ["/etc/pki/rpm-gpg/RPM-GPG-KEY-extra"]
    assert files.read("/etc/pki/rpm-gpg/RPM-GPG-KEY-extra").count("BEGIN PGP PUBLIC KEY BLOCK") == 1


@pytest.mark.parametrize("key", ["metalink", "mirrorlist"])
def test_dnf_gets_the_same_lists_of_mirrors(files: TreeFiles, key: str) -> None:
    files.write("/usr/bin/dnf", "", mode=0o755)
    url = "https://mirrors.example.com/list?repo=el10&arch=x86_64"
    configure_dnf(files, repositories({"name": "listed", key: url, "gpgcheck": False}))
    text = files.read("/etc/yum.repos.d/listed.repo")
    assert f"\n{key}={url}\n" in text
    assert "baseurl" not in text


def test_dnf_in_the_image_goes_on_with_the_streams_of_its_packages(files: TreeFiles) -> None:
    modules = [{"name": "php", "stream": "8.3", "profiles": ["common", "devel"]}]
    enable_modules(files, modules)
    assert not files.exists("/etc/dnf")
    files.make_directory("/etc/dnf")
    enable_modules(files, modules)
    assert files.glob("/etc/dnf/modules.d", "*") == ["/etc/dnf/modules.d/php.module"]
    assert files.read("/etc/dnf/modules.d/php.module") == (
        "[php]\nname=php\nstream=8.3\nprofiles=common, devel\nstate=enabled\n"
    )


# What is taken out


def test_nothing_of_the_build_stays(files: TreeFiles) -> None:
    gone = [
        "/etc/passwd-",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssh/ssh_host_rsa_key.pub",
        "/var/cache/ldconfig/aux-cache",
        "/var/lib/apt/lists/x_Packages",
        "/var/lib/dpkg/status-old",
        "/var/lib/systemd/random-seed",
        "/var/log/apt/history.log",
        "/var/log/dpkg.log",
        "/run/lock/x",
        "/tmp/x",
        "/var/tmp/x/y",
    ]
    kept = ["/etc/passwd", "/etc/ssh/sshd_config", "/var/lib/dpkg/status", "/usr/lib/systemd/systemd"]
    for path in [*gone, *kept]:
        files.write(path, "x")
    files.write("/etc/machine-id", "0123456789abcdef\n")
    files.write("/var/lib/dbus/machine-id", "0123456789abcdef\n")
    files.write("/var/log/wtmp", "x", mode=0o664, gid=43)
    clean_up(files, DebInstaller.leftovers)
    assert [path for path in gone if files.exists(path)] == []
    assert [path for path in kept if not files.exists(path)] == []
    assert files.read("/etc/machine-id") == ""
    assert files.link_target("/var/lib/dbus/machine-id") == "/etc/machine-id"
    log = os.stat(files.host_path("/var/log/wtmp"))
    assert (log.st_size, log.st_mode & 0o777, log.st_gid) == (0, 0o664, 43)
    before = os.stat(files.host_path("/etc/machine-id")).st_ino
    clean_up(files, DebInstaller.leftovers)
    assert os.stat(files.host_path("/etc/machine-id")).st_ino == before


def test_host_keys_are_made_at_the_first_boot(files: TreeFiles) -> None:
    generate_host_keys_at_boot(files)
    assert not files.exists("/etc/systemd")
    files.write("/usr/sbin/sshd", "", mode=0o755)
    files.write("/usr/lib/systemd/system/ssh.service", "")
    generate_host_keys_at_boot(files)
    assert "ExecStart=/usr/bin/ssh-keygen -A\n" in files.read(
        "/etc/systemd/system/ssh.service.wants/sshd-keygen.service"
    )


def test_a_template_that_makes_host_keys_is_left_alone(files: TreeFiles) -> None:
    files.write("/usr/sbin/sshd", "", mode=0o755)
    files.write("/etc/systemd/system/sshd-keygen.service", "")
    generate_host_keys_at_boot(files)
    assert files.read("/etc/systemd/system/sshd-keygen.service") == ""
    assert not files.exists("/etc/systemd/system/ssh.service.wants")


def test_the_distributions_own_unit_is_overridden(files: TreeFiles) -> None:
    files.write("/usr/sbin/sshd", "", mode=0o755)
    files.write("/usr/lib/systemd/system/sshd-keygen.service", "[Unit]\nConditionFirstBoot=yes\n")
    generate_host_keys_at_boot(files)
    assert "ConditionFirstBoot" not in files.read("/etc/systemd/system/sshd-keygen.service")


# Commands and scripts


def test_commands_run_in_the_tree(tree: pathlib.Path, sandbox: Sandbox) -> None:
    entries = [Configuration(cmd="echo one > /etc/x"), Configuration(cmd="echo 'two  $HOME' >> /etc/x")]
    run_configurations(TreeFiles(str(tree)), sandbox, entries, progress=Progress("test"))
    assert (tree / "etc/x").read_text() == "one\ntwo  $HOME\n"
    with pytest.raises(CommandError, match=r"The command systemConfig.configurations\[0\] ended with status 1"):
        run_configurations(TreeFiles(str(tree)), sandbox, [Configuration(cmd="false")], progress=Progress("test"))


def test_a_command_is_in_no_argument_log_or_message(
    tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a password in it, and arguments are for everybody on the build host to see."""
    started: t.List[t.Sequence[str]] = []
    popen = subprocess.Popen

    def start(argv: t.Sequence[str], **options: t.Any) -> subprocess.Popen[bytes]:
        started.append(argv)
        return popen(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    log = tmp_path / "log"
    runner = CommandRunner(log=Progress("test", stage_log=str(log)))
    sandbox = Sandbox(str(tree), runner, source_date_epoch=0)
    # $0 is the shell, as it is of commands that are arguments.
    command = "token='s3cret'; echo $0 > /etc/shell; exit 3"
    with pytest.raises(CommandError) as caught:
        run_configurations(
            TreeFiles(str(tree)), sandbox, [Configuration(cmd=command)], progress=Progress("test", stage_log=str(log))
        )
    assert (tree / "etc/shell").read_text() in ("/bin/sh\n", "/bin/bash\n")
    for text in (str(started), log.read_text(), str(caught.value), str(caught.value.details)):
        assert "s3cret" not in text
    assert started


def test_scripts_run_in_the_tree(tree: pathlib.Path, sandbox: Sandbox, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nfalse\necho not reached\n")
    entries = [whole_part(Script, {"inline": "echo inline > /etc/y", "network": True})]
    run_scripts(sandbox, entries, moment="postInstall", progress=Progress("test"))
    assert (tree / "etc/y").read_text() == "inline\n"
    with pytest.raises(CommandError, match=r"The script systemConfig.scripts.preInstall\[0\] \(script\) ended with"):
        entries = [whole_part(Script, {"file": str(script)})]
        run_scripts(sandbox, entries, moment="preInstall", progress=Progress("test"))
