# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an initramfs gets for a protected root file system. That it opens one, the end-to-end case "verity" shows."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.initramfs import (
    Dracut,
    InitramfsSettings,
    InitramfsTools,
    make_initramfs,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.verity import (
    local_bottom,
    open_root,
    overlay_steps,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

ROOT_HASH = "0123456789abcdef0011223344556677" + "8899aabbccddeeff8899aabbccddeeff"
VOLATILE = Protection("volatile", "volatile")
READ_ONLY = Protection("readonly", "persistent")
DEMANDED = Protection("volatile", "volatile", "demanded")


@pytest.fixture
def files(tree: pathlib.Path) -> TreeFiles:
    """Return a tree with programs, and a kernel."""
    files = TreeFiles(str(tree))
    files.write("/boot/vmlinuz-6.1", "")
    return files


def settings(generator: str, protection: Protection | None, **more: str) -> InitramfsSettings:
    return InitramfsSettings(generator, "squashfs", (), protection=protection, **more)  # type: ignore[arg-type]


def test_initramfs_tools_gets_scripts_that_run(files: TreeFiles, sandbox: Sandbox) -> None:
    script = (
        "#!/bin/sh\nset -e\ncd $2\nfor script in hooks/* scripts/*/*; do test ! -x $script || echo $script; done > $4\n"
    )
    script += "cat hooks/* >> $4\n"
    files.write("/usr/sbin/mkinitramfs", script, mode=0o755)
    files.write("/etc/initramfs-tools/initramfs.conf", "")
    make_initramfs(files, sandbox, settings("initramfs-tools", VOLATILE))
    said = files.read("/boot/initrd.img-6.1")
    assert said.splitlines()[:4] == [
        "hooks/os-image-composer",
        "hooks/os-image-verity",
        "scripts/local-bottom/os-image-overlays",
        "scripts/local-top/os-image-verity",
    ]
    modules = next(line for line in said.splitlines() if line.startswith("modules=")).split('"')[1].split()
    assert {"dm_mod", "dm_verity", "overlay", "squashfs"} <= set(modules)
    assert "copy_exec /usr/sbin/veritysetup" in said
    assert "base64" not in said
    make_initramfs(files, sandbox, settings("initramfs-tools", DEMANDED))
    assert "copy_exec /usr/bin/base64" in files.read("/boot/initrd.img-6.1")
    make_initramfs(files, sandbox, settings("initramfs-tools", READ_ONLY))
    assert "os-image-overlays" not in files.read("/boot/initrd.img-6.1")
    make_initramfs(files, sandbox, settings("initramfs-tools", None))
    assert "verity" not in files.read("/boot/initrd.img-6.1")


def test_dracut_gets_its_modules_and_files(files: TreeFiles, sandbox: Sandbox) -> None:
    files.write(
        "/usr/bin/dracut", '#!/bin/sh\nfor last; do :; done\necho "$@" > $last\ncat /run/c* >> $last\n', mode=0o755
    )
    protection = Protection("persistent", "persistent")
    make_initramfs(files, sandbox, settings("dracut", protection, state_fs_type="ext4"))
    said = files.read("/boot/initrd.img-6.1")
    assert "--add systemd systemd-veritysetup dm " in said
    assert "--filesystems squashfs ext4 " in said
    for number, path in enumerate(Dracut.protection_files(protection)):
        assert f"--include /run/composer.{number} {path} " in said
    assert "upperdir=$root/var/lib/os-image-composer/etc/upper" in said
    assert "DefaultDeviceTimeoutSec=300s" in said
    assert ("base64" in said, "root-hash" in said) == (False, False)
    make_initramfs(files, sandbox, settings("dracut", DEMANDED))
    said = files.read("/boot/initrd.img-6.1")
    assert "--install base64 " in said
    assert "\nRequires=os-image-root-hash.service\n" in said


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (InitramfsTools, "has no /usr/sbin/veritysetup, by which an initramfs of initramfs-tools opens"),
        (Dracut, "has no /usr/lib/systemd/systemd-veritysetup, by which an initramfs of dracut opens"),
    ],
)
def test_what_opens_the_root_is_asked_for(
    files: TreeFiles, generator: type[InitramfsTools] | type[Dracut], message: str
) -> None:
    with pytest.raises(ChrootError, match=message):
        generator.require_verity(files)
    files.write(generator.opener, "", mode=0o755)
    generator.require_verity(files)


def test_the_script_names_both_partitions_by_the_root_hash(tmp_path: pathlib.Path) -> None:
    """Run by dash, with programs that only tell how they were called."""
    devices = [
        "/dev/disk/by-partuuid/01234567-89ab-cdef-0011-223344556677",
        "/dev/disk/by-partuuid/8899aabb-ccdd-eeff-8899-aabbccddeeff",
    ]
    script = open_root(VOLATILE).replace("/proc/cmdline", str(tmp_path / "cmdline"))
    for index, device in enumerate(devices):
        (tmp_path / device.rpartition("/")[2]).touch()
        assert index < 2
    script = script.replace("/dev/disk/by-partuuid", str(tmp_path))
    (tmp_path / "cmdline").write_text(f"root=/dev/mapper/root quiet roothash={ROOT_HASH} ro\n")
    for name in ("modprobe", "veritysetup", "reboot", "sleep"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)

    def run(*arguments: str) -> str:
        command = ["dash", "-c", script, "script", *arguments]
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    data, hashes = (f"{tmp_path}/{device.rpartition('/')[2]}" for device in devices)
    opened = f"veritysetup open --panic-on-corruption {data} root {hashes} {ROOT_HASH}"
    assert run().splitlines() == ["modprobe -q dm_verity", opened]
    assert run("prereqs") == ""
    (tmp_path / "veritysetup").write_text("#!/bin/sh\nexit 1\n")
    assert run().splitlines()[1:] == [
        f"verity: the root file system does not have the root hash {ROOT_HASH}",
        "sleep 5",
        "reboot -f",
    ]
    (tmp_path / "cmdline").write_text("boot=live quiet\n")
    assert run() == ""


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("generator", [InitramfsTools, Dracut])
def test_the_signature_is_taken_off_its_partition(
    tmp_path: pathlib.Path, generator: type[InitramfsTools] | type[Dracut], shell: str
) -> None:
    """Run as above; what is handed to the kernel is what the signing key made."""
    files = generator.protection_files(DEMANDED)
    script = next(text for text in files.values() if "base64 -d" in text)
    signature = bytes(range(256)) * 9
    document = {"rootHash": ROOT_HASH, "signature": base64.b64encode(signature).decode(), "certificateFingerprint": "0"}
    compact = json.dumps(document, separators=(",", ":")).encode("ascii")
    partuuid = "6a2f41a3-c54c-4a1b-8d3a-1e7a3b9d0f10"
    (tmp_path / partuuid).write_bytes(compact + b"\n" + bytes(16384))
    (tmp_path / "cmdline").write_text(f"quiet roothash={ROOT_HASH} rd.roothashsig={partuuid} ro\n")
    for uuid in ("01234567-89ab-cdef-0011-223344556677", "8899aabb-ccdd-eeff-8899-aabbccddeeff"):
        (tmp_path / uuid).touch()
    for name in ("modprobe", "veritysetup", "reboot"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    for path, own in (("/proc/cmdline", "cmdline"), ("/dev/disk/by-partuuid", ""), ("/run/root-hash.p7s", "taken")):
        script = script.replace(path, str(tmp_path / own).rstrip("/"))
    said = subprocess.run(
        [shell, "-c", script, "script"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert (tmp_path / "taken").read_bytes() == signature
    if generator is InitramfsTools:
        assert f"veritysetup open --root-hash-signature={tmp_path}/taken --panic-on-corruption" in said


def test_what_keeps_changes_is_mounted_without_words_that_no_kernel_knows(tmp_path: pathlib.Path) -> None:
    """Run by dash, as above; the functions of initramfs-tools are stood in for."""
    functions = (
        'panic() { echo "panic $1"; exit 1; }\n'
        'local_device_setup() { DEV="/dev/of/$1"; }\n'
        "read_fstab_entry() { MNT_FSNAME=PARTUUID=1 MNT_TYPE=ext4 MNT_OPTS=defaults,noatime,x-initrd.mount; }\n"
    )
    (tmp_path / "functions").write_text(functions)
    (tmp_path / "cmdline").write_text(f"root=/dev/mapper/root roothash={ROOT_HASH}\n")
    for name in ("mkdir", "mount"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    script = local_bottom(Protection("persistent", "persistent"))
    for path, own in (
        ("/scripts/functions", "functions"),
        ("/scripts/local", "functions"),
        ("/proc/cmdline", "cmdline"),
    ):
        script = script.replace(path, str(tmp_path / own))
    done = subprocess.run(
        ["dash", "-c", script, "script"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "rootmnt": "/root"},
        check=True,
        capture_output=True,
        text=True,
    )
    place = "/root/var/lib/os-image-composer/etc"
    assert done.stdout.splitlines() == [
        "mount -t ext4 -o rw,noatime /dev/of/PARTUUID=1 /root/var",
        f"mkdir -p {place}/upper {place}/work",
        f"mount -t overlay -o lowerdir=/root/etc,upperdir={place}/upper,workdir={place}/work overlay /root/etc",
    ]


def test_what_lies_above_the_root() -> None:
    volatile = overlay_steps(VOLATILE)
    assert "mount -t tmpfs -o mode=0755 tmpfs /run/volatile" in volatile
    for name in ("var", "etc"):
        assert f'"lowerdir=$root/{name},upperdir=/run/volatile/{name}/upper,' in volatile
    persistent = overlay_steps(Protection("persistent", "persistent"))
    assert "tmpfs" not in persistent
    assert "overlay" not in overlay_steps(READ_ONLY)
