# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The initramfs: which generator, which modules, and when it has to be made again."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.initramfs import (
    InitramfsSettings,
    choose_generator,
    make_initramfs,
    relevant_content,
    root_file_system,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import kernel_images
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root


@pytest.fixture
def files(tree: pathlib.Path) -> TreeFiles:
    """Return a tree with programs."""
    return TreeFiles(str(tree))


def test_the_root_file_system_and_the_templates_modules_are_in() -> None:
    modules = InitramfsSettings("dracut", "btrfs", ("dm_crypt", "nvme")).modules()
    assert {"btrfs", "dm_crypt", "virtio_blk", "nvme", "usb_storage"} <= set(modules)
    assert len(modules) == len(set(modules))


@pytest.mark.parametrize(
    ("partitions", "name"),
    [
        ([{"id": "boot", "fsType": "vfat", "mountPoint": "/boot"}, {"id": "root", "fsType": "xfs"}], "ext4"),
        ([{"id": "boot", "fsType": "vfat"}, {"id": "root", "fsType": "xfs", "mountPoint": "/"}], "xfs"),
        ([{"id": "root", "mountPoint": "/"}], "ext4"),
        ([], "ext4"),
    ],
)
def test_the_file_system_of_the_root_partition(partitions: list[dict[str, str]], name: str) -> None:
    assert root_file_system(whole_part(Disk, {"partitions": partitions})) == name


def test_the_generator_is_the_one_that_is_there(files: TreeFiles) -> None:
    assert choose_generator(files, "auto") is None
    files.write("/usr/bin/dracut", "", mode=0o755)
    chosen = choose_generator(files, "auto")
    assert chosen is not None
    assert chosen.name == "dracut"
    with pytest.raises(ChrootError, match="generator is initramfs-tools, which is not installed in the image. Add the"):
        choose_generator(files, "initramfs-tools")


def test_kernels_by_age(files: TreeFiles) -> None:
    for version in ("6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "5.10.0-30-amd64"):
        files.write(f"/boot/vmlinuz-{version}", "")
    assert list(kernel_images(files.root)) == [
        "5.10.0-30-amd64",
        "6.1.0-9-amd64",
        "6.1.0-10-amd64",
        "6.1.0-10-cloud-amd64",
    ]


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("etc/hostname", False),
        ("etc/passwd", False),
        ("etc/systemd/network/10-en.network", False),
        ("usr/lib/locale/locale-archive", False),
        ("srv/www/index.html", False),
        ("etc/modprobe.d/blacklist.conf", True),
        ("etc/initramfs-tools/conf.d/own", True),
        ("etc/crypttab", True),
        ("etc/udev/rules.d/10-own.rules", True),
        ("etc/systemd/network/10-name.link", True),
        ("usr/lib/firmware/new.bin", True),
        ("usr/local/sbin/tool", True),
    ],
)
def test_what_matters(tmp_path: pathlib.Path, path: str, matters: bool) -> None:
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    assert relevant_content([str(tmp_path)]) == {}
    target.write_text("x")
    before = relevant_content([str(tmp_path)])
    assert bool(before) is matters
    target.write_text("y")
    assert (relevant_content([str(tmp_path)]) != before) is matters


def test_mkinitramfs_gets_a_configuration_of_its_own(files: TreeFiles, sandbox: Sandbox) -> None:
    files.write("/etc/initramfs-tools/initramfs.conf", "MODULES=most\n")
    files.write("/etc/initramfs-tools/modules", "# mine\nmine\n")
    files.write("/etc/initramfs-tools/conf.d/user", "")
    script = "#!/bin/sh\nset -e\ncd $2\ncat conf.d/0* modules initramfs.conf hooks/* > $4\nls conf.d >> $4\n"
    files.write("/usr/sbin/mkinitramfs", script, mode=0o755)
    files.write("/boot/vmlinuz-6.1", "")
    files.link("/vmlinuz", "boot/vmlinuz-6.1")
    assert make_initramfs(files, sandbox, InitramfsSettings("initramfs-tools", "xfs", ("mine2",))) == [
        "/boot/initrd.img-6.1"
    ]
    lines = files.read("/initrd.img").splitlines()
    assert {"MODULES=list", "COMPRESS=gzip", "FSTYPE=xfs", "RESUME=none", "mine", "user"} <= set(lines)
    modules = next(line for line in lines if line.startswith("modules=")).partition("=")[2].strip('"').split()
    assert {"virtio_blk", "mine2", "xfs"} <= set(modules)
    assert "mine" not in modules
    assert files.read("/etc/initramfs-tools/modules") == "# mine\nmine\n"
    assert files.glob("/etc/initramfs-tools/conf.d", "*") == ["/etc/initramfs-tools/conf.d/user"]


def test_microcode_is_that_of_all_processors(files: TreeFiles, sandbox: Sandbox) -> None:
    own = "#IUCODE_TOOL_INITRAMFS=auto\nIUCODE_TOOL_EXTRA_OPTIONS=-x\n"
    files.write("/etc/default/intel-microcode", own, mode=0o640)
    # What the template says holds.
    files.write("/etc/default/amd64-microcode", "AMD64UCODE_INITRAMFS=no\n")
    files.make_directory("/etc/initramfs-tools")
    # As the packages' hooks do it.
    script = """#!/bin/sh -e
IUCODE_TOOL_INITRAMFS=auto IUCODE_TOOL_SCANCPUS=yes AMD64UCODE_INITRAMFS=auto
. /etc/default/intel-microcode
. /etc/default/amd64-microcode
echo $IUCODE_TOOL_INITRAMFS $IUCODE_TOOL_SCANCPUS $IUCODE_TOOL_EXTRA_OPTIONS $AMD64UCODE_INITRAMFS > $4
"""
    files.write("/usr/sbin/mkinitramfs", script, mode=0o755)
    files.write("/boot/vmlinuz-6.1", "")
    files.write("/boot/vmlinuz-6.12", "")
    made = make_initramfs(files, sandbox, InitramfsSettings("initramfs-tools", "ext4", ()))
    assert [files.read(path) for path in made] == ["early no -x no\n"] * 2
    # The machine goes by its own processor.
    assert files.read("/etc/default/intel-microcode") == own
    assert files.read("/etc/default/amd64-microcode") == "AMD64UCODE_INITRAMFS=no\n"
    assert os.stat(files.host_path("/etc/default/intel-microcode")).st_mode & 0o777 == 0o640


def test_a_kernel_among_its_modules_gets_its_place_in_boot(files: TreeFiles, sandbox: Sandbox) -> None:
    files.write("/usr/lib/modules/6.12-1.el10/vmlinuz", "kernel", mode=0o755)
    files.write("/usr/bin/dracut", '#!/bin/sh\nfor path; do :; done\necho "$@" > $path\n', mode=0o755)
    settings = InitramfsSettings("dracut", "ext4", (), "initramfs-{}.img")
    assert make_initramfs(files, sandbox, settings) == ["/boot/initramfs-6.12-1.el10.img"]
    assert files.read("/boot/vmlinuz-6.12-1.el10") == "kernel"
    assert os.stat(files.host_path("/boot/vmlinuz-6.12-1.el10")).st_mode & 0o777 == 0o755
    said = files.read("/boot/initramfs-6.12-1.el10.img")
    assert "--no-hostonly --reproducible --kver 6.12-1.el10" in said
    # The second time the kernel is where it belongs.
    assert kernel_images(files.root) == {"6.12-1.el10": "/boot/vmlinuz-6.12-1.el10"}


def test_a_generator_that_leaves_nothing(files: TreeFiles, sandbox: Sandbox) -> None:
    files.write("/usr/bin/dracut", "#!/bin/sh\n", mode=0o755)
    files.write("/boot/vmlinuz-6.1", "")
    with pytest.raises(ChrootError, match=r"dracut left no initramfs /boot/initrd\.img-6\.1 for the kernel 6\.1"):
        make_initramfs(files, sandbox, InitramfsSettings("dracut", "ext4", ()))


def test_dracut_is_told_what_a_live_system_needs(files: TreeFiles, sandbox: Sandbox) -> None:
    files.write("/usr/bin/dracut", '#!/bin/sh\nfor last; do :; done; echo "$@" > "$last"\n', mode=0o755)
    files.write("/boot/vmlinuz-6.1", "")
    for modules, expected in (((), False), (("dmsquash-live",), True)):
        make_initramfs(files, sandbox, InitramfsSettings("dracut", "ext4", (), generator_modules=modules))
        assert ("--add dmsquash-live " in files.read("/boot/initrd.img-6.1")) is expected
