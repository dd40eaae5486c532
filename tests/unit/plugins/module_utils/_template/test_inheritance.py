# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.inheritance import (
    MAX_LEVELS,
    fold,
    load_levels,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.merge import merge_templates
from ansible_collections.os_image.composer.plugins.module_utils._template.removal import take_out
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import CONFIG, Build

ROOT = """\
systemConfig:
  hostname: box
  packages: [udev, dbus, vim]
  kernel:
    cmdline: quiet
  services:
    enable: [a.service, b.service]
"""
MIDDLE = """\
extends: ../root.yml
remove:
  packages: [vim]
disk:
  partitions:
    - {id: boot}
    - {id: root}
systemConfig:
  packages: [nano]
  kernel:
    packages: [linux]
"""
LEAF = """\
extends: common/middle.yml
image: {name: a, version: "1"}
remove:
  packages: [nano]
  services: [a]
  partitions: [boot]
systemConfig:
  hostname: leaf
  packages: [vim, udev]
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a directory with a template of three levels."""
    folder = tmp_path / "templates"
    (folder / "common").mkdir(parents=True)
    (folder / "root.yml").write_text(ROOT)
    (folder / "common" / "middle.yml").write_text(MIDDLE)
    (folder / "leaf.yml").write_text(LEAF)
    return folder


def load(folder: pathlib.Path) -> list[LocatedMapping]:
    return load_levels(str(folder / "leaf.yml"), roots=[str(folder)], what="The template")


def refusal(folder: pathlib.Path) -> str:
    """Return the line of the only error."""
    with pytest.raises(TemplateError) as caught:
        load(folder)
    headline, line = str(caught.value).splitlines()
    assert headline == f"The template {folder}/leaf.yml is not valid (1 error):"
    return line


def test_three_levels_are_what_one_gets_by_hand(folder: pathlib.Path) -> None:
    folded, problems = fold(load(folder))
    assert problems == []
    assert folded == {
        "image": {"name": "a", "version": "1"},
        "disk": {"partitions": [{"id": "root"}]},
        "systemConfig": {
            "hostname": "leaf",
            "packages": ["udev", "dbus", "vim"],
            "kernel": {"cmdline": "quiet", "packages": ["linux"]},
            "services": {"enable": ["b.service"]},
        },
    }
    root, *upper = load(folder)
    by_hand = root
    for level in upper:
        kept, missing = take_out(by_hand, level)
        assert missing == []
        by_hand = merge_templates(kept, level)
    assert folded == by_hand


def test_the_order_does_not_tell_the_level(folder: pathlib.Path) -> None:
    folded, _problems = fold(load(folder))
    assert list(folded) == ["image", "disk", "systemConfig"]
    assert list(folded["systemConfig"]["kernel"]) == ["cmdline", "packages"]


def test_values_know_their_level(folder: pathlib.Path) -> None:
    folded, _problems = fold(load(folder))
    config = folded["systemConfig"]
    where = [config.origins["hostname"], *config["packages"].origins, config["kernel"].origins["packages"]]
    assert [(os.path.relpath(origin.file, folder), origin.line) for origin in where] == [
        ("leaf.yml", 8),
        ("root.yml", 3),
        ("root.yml", 3),
        ("leaf.yml", 9),
        ("common/middle.yml", 11),
    ]
    # What is missing, is missing in the template itself.
    assert folded.origin.file == str(folder / "leaf.yml")


def test_a_template_that_extends_nothing_stays_as_it_is(folder: pathlib.Path) -> None:
    (folder / "leaf.yml").write_text(ROOT + "image: {version: '1', name: a}\n")
    (level,) = load(folder)
    folded, problems = fold([level])
    assert (folded, problems) == (level, [])
    assert [list(folded), list(folded["image"])] == [["systemConfig", "image"], ["version", "name"]]


def test_a_circle_is_told_with_its_lines(folder: pathlib.Path) -> None:
    (folder / "root.yml").write_text(ROOT + "extends: common/middle.yml\n")
    middle, root = folder / "common" / "middle.yml", folder / "root.yml"
    assert refusal(folder) == (
        f"{root}:8: extends: The files extend each other in a circle: {middle}:1 -> {root}:8 -> {middle}. "
        "Let one of them extend nothing."
    )
    (folder / "leaf.yml").write_text("extends: ./leaf.yml\n")
    leaf = folder / "leaf.yml"
    assert f"{leaf}:1: extends: The files extend each other in a circle: {leaf}:1 -> {leaf}." in refusal(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent.yml", "{folder}/absent.yml cannot be extended. The file cannot be read: No such file or directory."),
        ("common", "{folder}/common cannot be extended. The file name must end in .yml or .yaml."),
        ("link.yml", "{folder}/link.yml cannot be extended. The file is a symbolic link."),
        ("../outside.yml", "'../outside.yml' leaves {folder}. Extend a file in there."),
        ("door/outside.yml", "'door/outside.yml' leaves {folder}. Extend a file in there."),
        ("/etc/x.yml", "'/etc/x.yml' is an absolute path. Give it relative to this file."),
    ],
)
def test_parents_that_may_not_be(name: str, expected: str, folder: pathlib.Path) -> None:
    (folder.parent / "outside.yml").write_text(ROOT)
    (folder / "door").symlink_to(folder.parent)
    (folder / "link.yml").symlink_to("root.yml")
    (folder / "leaf.yml").write_text(f"image: {{name: a}}\nextends: {name}\n")
    assert refusal(folder).startswith(f"{folder}/leaf.yml:2: extends: {expected.format(folder=folder)}")


def test_a_parent_may_lie_in_any_of_several_directories(folder: pathlib.Path) -> None:
    (folder.parent / "shared").mkdir()
    (folder.parent / "shared" / "root.yml").write_text(ROOT)
    (folder / "leaf.yml").write_text("extends: ../shared/root.yml\n")
    roots = [str(folder), str(folder.parent / "shared")]
    levels = load_levels(str(folder / "leaf.yml"), roots=roots, what="The template")
    assert [level.origin.file for level in levels] == [f"{roots[1]}/root.yml", f"{folder}/leaf.yml"]


def test_levels_have_an_end(folder: pathlib.Path) -> None:
    (folder / "leaf.yml").write_text("extends: 2.yml\n")
    for number in range(2, MAX_LEVELS):
        (folder / f"{number}.yml").write_text(f"extends: {number + 1}.yml\n")
    (folder / f"{MAX_LEVELS}.yml").write_text(ROOT)
    assert len(load(folder)) == MAX_LEVELS
    (folder / f"{MAX_LEVELS}.yml").write_text("extends: root.yml\n")
    assert refusal(folder).startswith(
        f"{folder}/{MAX_LEVELS}.yml:1: extends: {folder}/root.yml would be level {MAX_LEVELS + 1} of the template"
    )


def test_what_is_no_yaml_is_told_of_the_parent(folder: pathlib.Path) -> None:
    (folder / "root.yml").write_text("systemConfig: {}\nsystemConfig: {}\n")
    with pytest.raises(TemplateError, match=r"root.yml:2: systemConfig: The key 'systemConfig' is given twice"):
        load(folder)


def test_what_is_no_text_is_left_to_the_schema(folder: pathlib.Path) -> None:
    (folder / "leaf.yml").write_text("extends: [root.yml]\n")
    assert load(folder) == [{"extends": ["root.yml"]}]


def test_another_target_is_refused() -> None:
    root = from_data({"target": {"os": "debian", "arch": "x86_64"}}, file="root.yml")
    leaf = from_data({"target": {"arch": "aarch64", "dist": "debian12"}}, file="leaf.yml")
    _folded, (problem,) = fold([root, leaf])
    assert (problem.origin.file, problem.origin.path) == ("leaf.yml", ("target", "arch"))
    assert problem.message.startswith("This is not the target of what it extends: root.yml says 'x86_64'. ")
    same = from_data({"target": {"os": "debian"}}, file="leaf.yml")
    assert fold([root, same]) == ({"target": {"os": "debian", "arch": "x86_64"}}, [])


def test_what_is_not_there_cannot_be_removed() -> None:
    root = from_data({"remove": {"packages": ["vim"]}}, file="root.yml")
    leaf = from_data({"remove": {"users": ["bob"]}}, file="leaf.yml")
    _folded, problems = fold([root, leaf])
    assert [(problem.origin.file, problem.message[:42]) for problem in problems] == [
        ("root.yml", "There is nothing called 'vim' among the in"),
        ("leaf.yml", "There is nothing called 'bob' among the in"),
    ]


@pytest.fixture
def extended(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a copy of the configuration in which a default template extends a file that all share."""
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    (config / "osv" / "common").mkdir(exist_ok=True)
    (config / "osv" / "common" / "test.yml").write_text(ROOT)
    path = config / "osv" / "debian" / "debian12" / "imageconfigs" / "defaultconfigs" / "default-raw-x86_64.yml"
    path.write_text(
        "extends: ../../../../common/test.yml\n"
        "image: {name: debian12, version: '1'}\n"
        "target: {os: debian, dist: debian12, arch: x86_64, imageType: raw}\n"
    )
    return config


@pytest.fixture
def assembled(extended: pathlib.Path, tmp_path: pathlib.Path) -> t.Callable[[], t.Any]:
    """Assemble a template over the default one of that configuration."""
    path = tmp_path / "t.yml"
    path.write_text(
        "image: {name: a, version: '1'}\ntarget: {os: debian, dist: debian12, arch: x86_64, imageType: raw}\n"
        "disk:\n  size: 1GiB\n  partitions:\n"
        "    - {id: boot, type: esp, fsType: fat32, start: 1MiB, end: 257MiB, mountPoint: /boot/efi}\n"
        "    - {id: root, fsType: ext4, end: '0', mountPoint: /}\n"
        "systemConfig: {kernel: {packages: [linux]}}\n"
    )
    return lambda: assemble(str(path), config_dir=str(extended))


def test_a_default_template_has_levels(assembled: t.Callable[[], t.Any], extended: pathlib.Path) -> None:
    assembly = assembled()
    shared = str(extended / "osv" / "common" / "test.yml")
    assert assembly.levels == (assembly.provider.default_template_path, shared)
    assert assembly.sources[1:3] == assembly.levels
    assert assembly.template["systemConfig"]["packages"] == ["udev", "dbus", "vim"]


def test_all_that_is_wrong_with_the_levels_is_told(assembled: t.Callable[[], t.Any], extended: pathlib.Path) -> None:
    shared = extended / "osv" / "common" / "test.yml"
    shared.write_text(ROOT.replace("hostname", "hostnam").replace("packages: [udev", "packages: [7"))
    with pytest.raises(TemplateError) as caught:
        assembled()
    found = [(error["file"], error["line"], error["path"]) for error in caught.value.details["errors"]]
    assert found == [(str(shared), 2, "systemConfig.hostnam"), (str(shared), 3, "systemConfig.packages[0]")]


def test_what_is_found_in_the_merged_template_names_the_parent(
    assembled: t.Callable[[], t.Any], extended: pathlib.Path
) -> None:
    shared = extended / "osv" / "common" / "test.yml"
    shared.write_text(ROOT.replace("box", "-box"))
    with pytest.raises(TemplateError, match=r"common/test.yml:2: systemConfig.hostname: '-box' is no host name"):
        assembled()


def test_another_system_cannot_be_extended(assembled: t.Callable[[], t.Any], extended: pathlib.Path) -> None:
    # The controller sends the files of one system alone.
    path = pathlib.Path(assembled().provider.default_template_path)
    path.write_text(path.read_text().replace("common/test.yml", "ubuntu/ubuntu24/config.yml"))
    with pytest.raises(TemplateError, match=r":1: extends: .* leaves \S+/osv/debian and \S+/osv/common\."):
        assembled()


def test_a_users_template_cannot_extend_yet(build: Build) -> None:
    with pytest.raises(TemplateError, match=r"web.yml:1: extends: Unknown key 'extends'\."):
        build(text="extends: base.yml\nimage: {name: a, version: '1'}\n")
