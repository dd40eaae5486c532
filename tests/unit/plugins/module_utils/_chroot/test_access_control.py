# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SELinux and AppArmor in the tree."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.access_control import set_up_access_control
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Security
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

CONFIG = "/etc/selinux/config"
GIVEN = "# What it is.\nSELINUX=disabled\nSELINUXTYPE=default\nSETLOCALDEFS=0\n"


@pytest.fixture
def files(tmp_path: pathlib.Path) -> TreeFiles:
    """Return a tree with a policy and what labels files."""
    made = TreeFiles(str(tmp_path / "root"))
    pathlib.Path(made.root).mkdir()
    made.write(CONFIG, GIVEN)
    made.write("/etc/selinux/default/policy/policy.33", b"")
    return made


@pytest.mark.parametrize("mode", ["enforcing", "permissive"])
def test_the_mode_holds_from_the_first_boot_on(files: TreeFiles, mode: str) -> None:
    set_up_access_control(files, whole_part(Security, {"selinux": mode}))
    assert files.read(CONFIG) == GIVEN.replace("disabled", mode)
    # Labels come with the image: nothing in it makes them.
    assert os.listdir(files.root) == ["etc"]
    assert os.listdir(files.host_path("/etc")) == ["selinux"]


def test_disabled_needs_nothing(files: TreeFiles, tmp_path: pathlib.Path) -> None:
    files.write(CONFIG, GIVEN.replace("disabled", "enforcing"))
    set_up_access_control(files, whole_part(Security, {"selinux": "disabled", "apparmor": "disabled"}))
    assert files.read(CONFIG) == GIVEN
    bare = TreeFiles(str(tmp_path / "bare"))
    pathlib.Path(bare.root).mkdir()
    set_up_access_control(bare, whole_part(Security, {"selinux": "disabled", "apparmor": "disabled"}))
    set_up_access_control(bare, whole_part(Security, {}))
    assert os.listdir(bare.root) == []


def test_the_only_policy_is_named_where_nothing_is(files: TreeFiles) -> None:
    files.remove(CONFIG)
    set_up_access_control(files, whole_part(Security, {"selinux": "permissive"}))
    assert files.read(CONFIG) == "SELINUXTYPE=default\nSELINUX=permissive\n"


def test_a_policy_that_is_not_there(files: TreeFiles) -> None:
    files.write(CONFIG, GIVEN.replace("default", "mls"))
    message = "/etc/selinux/config of the image names the policy mls, but the image has default. Correct SELINUXTYPE"
    with pytest.raises(ChrootError, match=message):
        set_up_access_control(files, whole_part(Security, {"selinux": "permissive"}))
    files.write(CONFIG, "")
    files.write("/etc/selinux/mls/policy/policy.33", b"")
    with pytest.raises(ChrootError, match="names no policy, but the image has default, mls"):
        set_up_access_control(files, whole_part(Security, {"selinux": "permissive"}))


@pytest.mark.parametrize("mode", ["enforcing", "permissive"])
def test_without_a_policy_there_is_no_selinux(files: TreeFiles, mode: str) -> None:
    before = files.read(CONFIG)
    files.remove("/etc/selinux/default/policy/policy.33")
    with pytest.raises(ChrootError, match=rf"selinux is {mode}, but the image has no policy .*selinux-policy-default"):
        set_up_access_control(files, whole_part(Security, {"selinux": mode}))
    assert files.read(CONFIG) == before


def test_apparmor_needs_its_parser(files: TreeFiles) -> None:
    with pytest.raises(ChrootError, match=r"/sbin/apparmor_parser is missing\. Add the package apparmor"):
        set_up_access_control(files, whole_part(Security, {"apparmor": "enabled"}))
    files.write("/usr/sbin/apparmor_parser", "", mode=0o755)
    files.link("/sbin", "usr/sbin")
    set_up_access_control(files, whole_part(Security, {"apparmor": "enabled"}))
