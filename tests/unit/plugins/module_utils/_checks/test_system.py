# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    Approve,
    Judge,
    Part,
    Right,
    config,
    neighbours,
)

WRONG: list[tuple[Part, str]] = [
    (config(hostname="-web"), "systemConfig.hostname: '-web' is no host name."),
    (config(hostname="a..b"), "'a..b' is no host name."),
    (config(hostname="localhost.localdomain"), "systemd takes the host name localhost.localdomain for none at all"),
    (config(timezone="Europe Berlin"), "systemConfig.timezone: 'Europe Berlin' is no time zone."),
    (config(timezone="../../etc/passwd"), "is no time zone."),
    (config(locale="german"), "systemConfig.locale: 'german' is no locale."),
    (config(locale="de_DE.UTF-8"), "The locale de_DE.UTF-8 needs the package locales."),
    (config(packages=["curl", "curl"]), "systemConfig.packages[1]: The package curl is named twice."),
    (config(packages=["curl=1", "curl=2"]), "The package curl is asked for in the versions 1 and 2."),
    (config(packages=["curl="]), "'curl=' is no package with a version."),
    (
        config(kernel={"packages": ["linux=1", "linux=2"]}),
        "systemConfig.kernel.packages[1]: The package linux is asked",
    ),
    (config(packages=["lib]a[*"]), "The brackets of 'lib]a[*' do not belong together."),
    (config(packages=["li?"]), "'li?' asks for every package whose name begins with 'li'."),
    (config(services={"enable": ["ssh"], "mask": ["ssh.service"]}), "The unit ssh.service is in enable and in mask."),
    (config(services={"disable": ["a", "a"]}), "The unit a.service is twice in disable."),
    (config(services={"mask": ["x.sockets"]}), "systemConfig.services.mask[0]: x.sockets is taken for the service"),
]

RIGHT: Right = {
    "hostname_has_its_form": [config(hostname="web.example.org"), config(hostname="9"), config(hostname="")],
    "hostname_names_the_host": [config(hostname="localhost-1")],
    "timezone_has_its_form": [config(timezone=name) for name in ("America/Argentina/Ushuaia", "Etc/GMT+1", "UTC")],
    "locale_can_be_had": [
        config(locale="C.UTF-8"),
        config(locale="de_DE.UTF-8", packages=["locales"]),
        config(locale="ca_ES@valencia", packages=["glibc-langpack-ca"]),
    ],
    "packages_are_named_once": [config(packages=["curl=7.88.1-10", "python3:any", "kernel"])],
    "package_patterns_are_whole": [config(packages=["linux-headers-*", "lib[ab]*"])],
    "package_patterns_are_narrow": [config(packages=["gcc*", "g++"])],
    "services_do_not_conflict": [
        config(services={"enable": ["ssh", "ssh.socket", "getty@tty2.service"], "disable": ["apt-daily.timer"]})
    ],
    "unit_types_are_spelled_right": [
        config(services={"enable": ["fstrim.timer", "ssh", "org.cups.cupsd", "a.b@c.service", "x.1.service"]})
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
