# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the configuration expects of packages, missed before they are installed."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot import contents
from ansible_collections.os_image.composer.plugins.module_utils._chroot.contents import check_contents
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.support.tiny_debian import Deb
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

UNITS = "/usr/lib/systemd/system"
FILES: t.Mapping[str, t.Mapping[str, str | None]] = {
    "tzdata": {
        "/usr/share/zoneinfo/Europe/Berlin": "x",
        "/usr/share/zoneinfo/Etc/UTC": "x",
        "/usr/share/zoneinfo/right/Europe/Berlin": "x",
        "/usr/share/zoneinfo/Europe/Oslo": "-> Berlin",
    },
    "ssh-server": {
        f"{UNITS}/ssh.service": "[Install]\nAlias=sshd.service dbus-org.example.ssh.service\n",
        f"{UNITS}/ssh@.service": "x",
        "/usr/sbin/sshd": "x",
        f"{UNITS}/old.service": "-> /dev/null",
        "/etc/init.d/legacy": "x",
    },
    "zsh": {"/usr/bin/zsh": "x", "/bin/rzsh": "-> zsh"},
    "ksh": {"/bin/ksh93": "x"},
    "locales": {
        "/usr/share/i18n/SUPPORTED": "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nde_DE@euro ISO-8859-15\n",
        "/usr/share/i18n/locales/de_DE": "x",
        "/usr/share/i18n/locales/de_DE@euro": "x",
    },
}
ALTERNATIVE = "#!/bin/sh\nupdate-alternatives --install /bin/ksh ksh /bin/ksh93 50\n"


def deb(directory: pathlib.Path, name: str, files: t.Mapping[str, str | None]) -> str:
    sums = [
        f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}  {path[1:]}"
        for path, content in files.items()
        if content is not None and not content.startswith("-> ") and not path.startswith("/etc/")
    ]
    control = {"md5sums": "\n".join(sums) + "\n"}
    conffiles = [path for path in files if path.startswith("/etc/")]
    if conffiles:
        control["conffiles"] = "\n".join(conffiles) + "\n"
    if name == "ksh":
        control["postinst"] = ALTERNATIVE
    return str(Deb(name, files=files, control=control).build(directory))


def rpm(directory: pathlib.Path, name: str, files: t.Mapping[str, str | None]) -> str:
    scripts = {"%post": ALTERNATIVE} if name == "ksh" else {}
    return str(Rpm(name, files={**files, "/usr/share/zoneinfo/Europe": None}, scripts=scripts).build(directory))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The packages of both families."""
    directory = tmp_path_factory.mktemp("packages")
    return {
        "deb": [deb(directory, name, files) for name, files in FILES.items()],
        "rpm": [rpm(directory, name, files) for name, files in FILES.items()],
    }


def users(*shells: str, key: str = "shell") -> dict[str, t.Any]:
    return {"users": [{"name": f"u{number}", key: shell} for number, shell in enumerate(shells)]}


@pytest.mark.parametrize("family", ["deb", "rpm"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"timezone": "Europe/Berlin"},
        {"timezone": "Europe/Oslo"},
        {"services": {"enable": ["ssh", "ssh@admin.service"], "disable": ["old.service"], "mask": ["legacy"]}},
        # Made when packages enable units.
        {"services": {"mask": ["dbus-org.example.ssh.service"]}},
        {"services": {"mask": ["sshd-keygen.service"]}},
        users("/bin/zsh", "/usr/bin/zsh", "/bin/sh", "/usr/bin/rzsh"),
        # Made by a script of a package.
        users("/bin/ksh", "/usr/bin/ksh"),
        users("/usr/sbin/sshd", key="startupScript"),
        {"locale": "C.UTF-8"},
        {"locale": "de_DE.UTF-8"},
        {"locale": "de_DE@euro"},
        {**users("/opt/kiosk"), "additionalFiles": [{"local": "/x", "final": "/opt/kiosk"}]},
        {
            "services": {"enable": ["kiosk"]},
            "additionalFiles": [{"local": "/x", "final": "/lib/systemd/system/kiosk.service"}],
        },
        {"timezone": "Mars/Base", "scripts": {"preInstall": [{"inline": "x"}]}},
    ],
)
def test_what_packages_have(packages: dict[str, list[str]], config: dict[str, t.Any], family: str) -> None:
    check_contents(whole_part(SystemConfig, config), packages[family], family=family, workers=2)


@pytest.mark.parametrize("family", ["deb", "rpm"])
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"timezone": "Europe/Berln"},
            "The time zone 'Europe/Berln' does not exist in the image. Similar time zones are Europe/Berlin, "
            "Europe/Oslo. Correct",
        ),
        ({"timezone": "Europe"}, "The time zone 'Europe' does not exist in the image."),
        (
            {"services": {"enable": ["sssh"]}},
            "The unit sssh.service of systemConfig.services.enable does not exist in the image. Similar units are "
            "ssh.service",
        ),
        ({"services": {"mask": ["nginx.socket"]}}, "The unit nginx.socket of systemConfig.services.mask does not"),
        (users("/bin/fish"), "The shell /bin/fish of the user u0 is not an executable file of the image."),
        (users("/usr/bin/kiosk", key="startupScript"), "The startupScript /usr/bin/kiosk of the user u0 is not an"),
        ({"locale": "xx_YY.UTF-8"}, "The locale 'xx_YY.UTF-8' does not exist."),
        (
            {"timezone": "Mars", "services": {"enable": ["nginx"]}, **users("/bin/zsh", "/bin/fish")},
            "No package of the image brings what its configuration needs:\n- The time zone 'Mars' does not exist",
        ),
    ],
)
def test_what_no_package_has(
    packages: dict[str, list[str]], config: dict[str, t.Any], message: str, family: str
) -> None:
    with pytest.raises(ChrootError) as caught:
        check_contents(whole_part(SystemConfig, config), packages[family], family=family, workers=2)
    assert str(caught.value).startswith(message)


def test_a_locale_needs_its_sources(packages: dict[str, list[str]]) -> None:
    system = whole_part(SystemConfig, {"locale": "de_DE.UTF-8"})
    with pytest.raises(ChrootError, match="The locale de_DE.UTF-8 is not in the image, and cannot be made without"):
        check_contents(system, packages["deb"][:1], family="deb", workers=1)
    wrong = whole_part(SystemConfig, {"locale": "de_DE.UTF-9"})
    with pytest.raises(ChrootError, match="The locale 'de_DE.UTF-9' does not exist"):
        check_contents(wrong, packages["deb"], family="deb", workers=1)


def test_data_archives_are_read_where_nothing_else_does(
    packages: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = contents._whole_deb

    def note(path: str, is_wanted: contents.Wanted) -> frozenset[str]:
        read.append(pathlib.Path(path).name.partition("_")[0])
        return whole(path, is_wanted)

    monkeypatch.setattr(contents, "_whole_deb", note)
    monkeypatch.setattr(contents, "_CHUNK", 1)
    for config, expected in (
        ({"timezone": "Europe/Berlin", "services": {"enable": ["ssh", "legacy"]}, **users("/bin/zsh", "/bin/ksh")}, []),
        ({"timezone": "Europe/Oslo"}, ["tzdata"]),
        ({"services": {"mask": ["old"]}}, ["ssh-server"]),
    ):
        read.clear()
        check_contents(whole_part(SystemConfig, config), packages["deb"], family="deb", workers=1)
        assert read == expected
