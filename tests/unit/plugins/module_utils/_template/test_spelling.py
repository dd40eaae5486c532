# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.spelling import full_unit_name, translate
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import Build


def test_repositories_in_the_words_of_dnf(build: Build, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tools.asc").write_text("key")
    template = build(
        repositories=[{"name": "tools", "baseurl": "https://packages.example.com/tools", "gpgkey": "tools.asc"}],
        packageRepositories=[{"codename": "own", "url": "https://own.example.com", "pkey": "tools.asc"}],
    ).template
    assert "repositories" not in template
    own, tools = template["packageRepositories"]
    assert own["codename"] == "own"
    assert tools["codename"] == "tools"
    assert tools["url"] == "https://packages.example.com/tools"
    assert tools["pkey"] == str(tmp_path / "tools.asc")
    assert tools["gpgcheck"] is True


def test_errors_name_the_words_of_the_user(errors: t.Callable[..., list[str]]) -> None:
    assert errors(
        repositories=[{"name": "tools", "baseurl": "ftp://example.com", "gpgkey": "https://x.example/k"}]
    ) == [
        "repositories[0].baseurl: 'ftp://example.com' is no URL of a repository. "
        "Write it like https://packages.example.com/debian.",
        "repositories[0].gpgkey: A key that is fetched at build time would be trusted blindly. Add its fingerprint to "
        "fingerprints, as gpg --show-keys shows it, or give the path of a file.",
    ]


def test_a_key_by_url_needs_a_fingerprint(build: Build) -> None:
    repository = {
        "name": "tools",
        "baseurl": "https://packages.example.com/tools",
        "gpgkey": "https://packages.example.com/key.asc",
        "fingerprints": ["4D64FEC119C2029067D6E791F8D2585B8783D481"],
    }
    (entry,) = build(repositories=[repository]).template["packageRepositories"]
    assert entry["pkey"] == "https://packages.example.com/key.asc"


def test_image_types_have_one_name() -> None:
    template = from_data({"target": {"imageType": "img"}}, file="t")
    translate(template)
    assert template["target"]["imageType"] == "initrd"


def test_one_word_for_each_thing(build: Build) -> None:
    template = build(
        disk={"artifacts": [{"type": "raw", "compression": "gzip"}, {"type": "qcow2"}]},
        systemConfig={"bootloader": {"provider": "grub2"}, "services": {"enable": ["ssh"], "mask": ["x.timer"]}},
    ).template
    assert [item.get("compression") for item in template["disk"]["artifacts"]] == ["gz", None]
    assert template["systemConfig"]["bootloader"]["provider"] == "grub"
    assert "ssh.service" in template["systemConfig"]["services"]["enable"]
    assert template["systemConfig"]["services"]["mask"] == ["x.timer"]


def test_units_are_the_same_with_and_without_their_suffix(build: Build) -> None:
    template = build(systemConfig={"services": {"disable": ["systemd-timesyncd"]}}).template
    services = template["systemConfig"]["services"]
    assert services["disable"] == ["systemd-timesyncd.service"]
    assert "systemd-timesyncd.service" not in services["enable"]


@pytest.mark.parametrize(("name", "full"), [("ssh", "ssh.service"), ("a.b", "a.b.service"), ("x.socket", "x.socket")])
def test_units_have_suffixes(name: str, full: str) -> None:
    assert full_unit_name(name) == full


def test_keys_of_immutability_are_those_of_signing(build: Build, tmp_path: pathlib.Path) -> None:
    for name in ("db.key", "db.crt", "db.cer"):
        (tmp_path / name).write_text("x")
    keys = {"secureBootDBKey": "db.key", "secureBootDBCrt": "db.crt", "secureBootDBCer": "db.cer"}
    config = build(systemConfig={"kernel": {"uki": True}, "immutability": keys}).template["systemConfig"]
    assert config["signing"]["secureBoot"] == {
        "key": str(tmp_path / "db.key"),
        "certificate": str(tmp_path / "db.crt"),
        "certificateDer": str(tmp_path / "db.cer"),
    }
    assert config["immutability"] == {"enabled": False}


def test_the_path_of_a_key_is_that_of_the_user(errors: t.Callable[..., list[str]], tmp_path: pathlib.Path) -> None:
    for name in ("db.key", "db.crt"):
        (tmp_path / name).write_text("x")
    keys = {"secureBootDBKey": "db.key", "secureBootDBCrt": "db.crt"}
    (line,) = errors(systemConfig={"kernel": {"uki": False}, "immutability": keys})
    assert line.startswith("systemConfig.immutability.secureBootDBKey: Secure Boot keys are configured, but")
