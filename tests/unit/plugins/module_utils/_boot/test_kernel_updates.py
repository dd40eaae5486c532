# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel updates, as packages of kernels bring them about: on machines whose bootloader was made by the build."""

from __future__ import annotations

import gzip
import os
import pathlib
import shutil
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import BootContext, BootFiles
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import default_kernel_first, find_kernels
from ansible_collections.os_image.composer.plugins.module_utils._boot.kinds import bootloader
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import Section, read_sections, write_uki
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_tree import DISK, ESP, ROOT
from ansible_collections.os_image.composer.tests.support.kernel_machine import Machine
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

# As text the older one would be behind the newer one.
OLD, NEW = "6.1.0-9-amd64", "6.1.0-18-amd64"
CMDLINE = 'root=PARTUUID=0123 console=ttyS0,115200 dyndbg="file drivers/x +p; module  y"'
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
_OS_RELEASE = 'ID=debian\nNAME="Debian GNU/Linux"\nPRETTY_NAME="Debian\'s GNU/Linux 12"\n'
_BIOS_DISK = {
    "size": "96MiB",
    "partitions": [{**ESP, "id": "core", "type": "bios", "fsType": "", "mountPoint": ""}, ROOT],
}
_HYBRID_DISK = {
    "size": "96MiB",
    "partitions": [{"id": "core", "type": "bios", "size": "1MiB"}, {**ESP, "start": "2MiB"}, ROOT],
}
_DISKS = {"efi": DISK, "legacy": _BIOS_DISK, "hybrid": _HYBRID_DISK}
_SEPARATE_BOOT = {
    "id": "kernels",
    "type": "linux",
    "fsType": "ext4",
    "start": "80MiB",
    "end": "90MiB",
    "mountPoint": "/boot",
}


def _grub_platforms(provider: str, boot_type: str) -> list[str]:
    bios = [] if boot_type == "efi" else ["i386-pc"]
    return [*(["x86_64-efi"] if provider == "grub" and boot_type != "legacy" else []), *bios]


def _built(
    directory: pathlib.Path,
    *kernels: str,
    provider: str = "systemd-boot",
    boot_type: str = "efi",
    family: str = "deb",
    use_uki: bool = False,
    wanted: str = "",
    is_signed: bool = False,
    is_immutable: bool = False,
    packaged: str = "",
    disk: object = None,
    os_release: str = _OS_RELEASE,
) -> tuple[Machine, BootFiles]:
    """Return a machine with an image that was built with kernels, and what its bootloader was made of.

    :param packaged: A file that a package has in the image.
    """
    machine = Machine.make(directory)
    machine.write("/etc/os-release", os_release)
    if packaged:
        machine.write(packaged, "#!/bin/sh\n", 0o755)
    for version in kernels:
        machine.add_kernel(version)
    # What a bootloader is made of, as one tree.
    tree = directory / "tree"
    shutil.copytree(machine.root / "etc", tree / "etc")
    shutil.copytree(machine.root / "boot", tree / "boot")
    shutil.copytree(machine.usr, tree / "usr")
    (tree / os.path.dirname(STUB)[1:]).mkdir(parents=True)
    for path in (STUB, f"{os.path.dirname(STUB)}/systemd-bootx64.efi"):
        shutil.copy(path, tree / path[1:])
    for name in _grub_platforms(provider, boot_type):
        shutil.copytree(f"/usr/lib/grub/{name}", tree / f"usr/lib/grub/{name}")
    scratch = directory / "scratch"
    scratch.mkdir()
    context = BootContext(
        tree=str(tree),
        arch="x86_64",
        layout=disk_layout(whole_part(Disk, disk or _DISKS[boot_type])),
        file_system_ids={"boot": "ABCD-0123", "rootfs": "11-22", "kernels": "33-44"},
        kernels=default_kernel_first(find_kernels(str(tree)), wanted),
        cmdline=CMDLINE,
        use_uki=use_uki,
        use_signed=False,
        timeout=None,
        family=family,
        wanted=wanted,
        is_signed=is_signed,
        is_immutable=is_immutable,
        runner=CommandRunner(),
        scratch=str(scratch),
    )
    files = bootloader(boot_type, provider).stage(context)
    for path, source in files.esp.files.items():
        (machine.esp / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, machine.esp / path)
    for path, data in files.tree.items():
        machine.write(path, data)
    for path, file in files.updates.items():
        machine.write(path, file.text, file.mode)
    return machine, files


def _entry(version: str, *, use_uki: bool = False) -> set[str]:
    if use_uki:
        return {f"EFI/Linux/debian-{version}.efi"}
    directory = f"debian/{version}"
    return {f"loader/entries/debian-{version}.conf", f"{directory}/linux", f"{directory}/initrd.img-{version}"}


# systemd-boot and Debian's kernels


@pytest.mark.parametrize("use_uki", [False, True], ids=["entries", "unified"])
def test_a_package_of_a_kernel_makes_an_entry_and_its_removal_takes_it_away(
    tmp_path: pathlib.Path, use_uki: bool
) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=use_uki)
    before = machine.esp_files()
    assert _entry(OLD, use_uki=use_uki) <= before
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert machine.esp_files() == before | _entry(NEW, use_uki=use_uki)
    # Both are in what the default stands for, of which the newest is taken.
    suffix = ".efi" if use_uki else ".conf"
    assert (machine.esp / "loader/loader.conf").read_text().startswith(f"default debian-*{suffix}\n")
    machine.say(f"dpkg -r linux-image-{NEW}")
    assert machine.esp_files() == before


def test_an_entry_is_what_the_build_would_have_made(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path / "one", OLD)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    built, _files = _built(tmp_path / "two", OLD, NEW)
    entry = f"loader/entries/debian-{NEW}.conf"

    def fields(place: Machine) -> dict[str, str]:
        lines = (place.esp / entry).read_text().splitlines()
        return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))

    wanted = fields(built)
    # kernel-install 252 and later ones read the command line word by word.
    wanted["options"] = " ".join(wanted["options"].split())
    assert fields(machine) == wanted
    for path in _entry(NEW) - {entry}:
        assert (machine.esp / path).read_text().strip() == (built.esp / path).read_text()


def test_a_unified_kernel_image_is_what_the_build_would_have_made(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=True)
    machine.add_kernel(NEW)
    machine.say(f"/usr/libexec/os-image/boot-entry add {NEW}")
    wanted = tmp_path / "wanted.efi"
    sections = [
        Section(".osrel", _OS_RELEASE.encode()),
        Section(".cmdline", CMDLINE.encode() + b"\0"),
        Section(".uname", NEW.encode()),
        Section(".initrd", f"initrd {NEW}".encode()),
        Section(".linux", f"kernel {NEW}".encode()),
    ]
    write_uki(STUB, str(wanted), sections)
    made = machine.esp / f"EFI/Linux/debian-{NEW}.efi"
    assert made.read_bytes() == wanted.read_bytes()
    # The one of the build can be made again as it was.
    built = (machine.esp / f"EFI/Linux/debian-{OLD}.efi").read_bytes()
    machine.say(f"/usr/libexec/os-image/boot-entry add {OLD}")
    assert (machine.esp / f"EFI/Linux/debian-{OLD}.efi").read_bytes() == built


@pytest.mark.parametrize("size", [1, 511, 512, 4095, 4096, 70_001])
def test_unified_kernel_images_of_all_sizes(tmp_path: pathlib.Path, size: int) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=True)
    machine.add_kernel(NEW)
    content = bytes(range(256)) * (size // 256 + 1)
    machine.write(f"/boot/vmlinuz-{NEW}", content[:size])
    machine.write(f"/boot/initrd.img-{NEW}", content[::-1][:size])
    machine.say(f"/usr/libexec/os-image/boot-entry add {NEW}")
    made = machine.esp / f"EFI/Linux/debian-{NEW}.efi"
    sections, data = read_sections(str(made)), made.read_bytes()
    assert data[slice(*_range(sections[".linux"]))] == content[:size]
    assert data[slice(*_range(sections[".initrd"]))] == content[::-1][:size]
    assert len(data) % 512 == 0


def _range(section: tuple[int, int]) -> tuple[int, int]:
    return section[0], section[0] + section[1]


@pytest.mark.parametrize("use_uki", [False, True], ids=["entries", "unified"])
def test_a_packed_kernel_is_unpacked(tmp_path: pathlib.Path, use_uki: bool) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=use_uki)
    machine.add_kernel(NEW)
    machine.write(f"/boot/vmlinuz-{NEW}", gzip.compress(b"plain kernel"))
    machine.say(f"/usr/libexec/os-image/boot-entry add {NEW}")
    if use_uki:
        made = machine.esp / f"EFI/Linux/debian-{NEW}.efi"
        start, size = read_sections(str(made))[".linux"]
        assert made.read_bytes()[start : start + size] == b"plain kernel"
    else:
        assert (machine.esp / f"debian/{NEW}/linux").read_bytes() == b"plain kernel"
    assert not list((machine.root / "tmp").iterdir())


def test_the_upgrade_of_a_kernel_in_place_keeps_its_entry(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    # What dpkg tells the scripts, see deb-postrm(5).
    script = f"DEB_MAINT_PARAMS='upgrade 2' run-parts --arg={NEW} --arg=/boot/vmlinuz-{NEW} /etc/kernel/postrm.d"
    machine.say(script)
    assert _entry(NEW) <= machine.esp_files()


def test_an_initramfs_that_is_made_again_reaches_the_entry(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD)
    machine.write(f"/boot/initrd.img-{OLD}", "initrd with other microcode")
    hook = f"run-parts --arg={OLD} --arg=/boot/initrd.img-{OLD} /etc/initramfs/post-update.d"
    machine.say(hook)
    assert (machine.esp / f"debian/{OLD}/initrd.img-{OLD}").read_text() == "initrd with other microcode"
    # While a kernel is installed, the hook of that makes the entry, once.
    machine.write(f"/boot/initrd.img-{OLD}", "newer")
    machine.say(hook, DEB_MAINT_PARAMS="configure")
    assert (machine.esp / f"debian/{OLD}/initrd.img-{OLD}").read_text() == "initrd with other microcode"


def test_the_hooks_of_the_package_systemd_boot_are_enough(tmp_path: pathlib.Path) -> None:
    _machine, files = _built(tmp_path, OLD, packaged="/etc/kernel/postinst.d/zz-systemd-boot")
    assert "/etc/kernel/install.conf" in files.updates
    assert not [path for path in files.updates if ".d/" in path]


@pytest.mark.parametrize(
    ("wanted", "pattern"),
    [
        (OLD, f"debian-{OLD}.conf"),
        (NEW, f"debian-{NEW}.conf"),
        ("6.1", "debian-6.1[.+~_-]*.conf"),
        ("6.1.0-9", "debian-6.1.0-9[.+~_-]*.conf"),
        ("6.1.", "debian-6.1.*.conf"),
        ("6.1.0-18-a", "debian-6.1.0-18-a*.conf"),
    ],
)
def test_a_kernel_that_the_template_names_stays_the_default(tmp_path: pathlib.Path, wanted: str, pattern: str) -> None:
    machine, _files = _built(tmp_path, OLD, NEW, wanted=wanted)
    assert (machine.esp / "loader/loader.conf").read_text().startswith(f"default {pattern}\n")


@pytest.mark.parametrize(
    ("wanted", "first"), [("", NEW), (OLD, OLD), (NEW, NEW), ("6.1", NEW), ("6.1.0-9", OLD), ("6.1.0-18", NEW)]
)
def test_grub_has_no_pattern(tmp_path: pathlib.Path, wanted: str, first: str) -> None:
    machine, files = _built(tmp_path, OLD, NEW, provider="grub", wanted=wanted)
    newer = "6.1.0-100-amd64"
    machine.say(f"dpkg -i {machine.kernel_deb(newer)}")
    stays = wanted in (OLD, NEW) or first == OLD
    assert _kernels_of(_checked(machine))[0] == f"/boot/vmlinuz-{first if stays else newer}"
    default = f"'gnulinux-advanced-11-22>gnulinux-{first}-advanced-11-22'" if stays else "0"
    assert f"GRUB_DEFAULT={default}\n" in files.updates["/etc/default/grub"].text


def test_the_sort_key_is_that_of_kernel_install(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD)
    machine.write("/etc/os-release", f"{_OS_RELEASE}IMAGE_ID=appliance\n")
    machine.add_kernel(NEW)
    machine.say(f"/usr/libexec/os-image/boot-entry add {NEW}")
    (line,) = [line for line in _lines(machine, NEW) if line.startswith("sort-key")]
    assert line.split() == ["sort-key", "appliance"]
    built, _files = _built(tmp_path / "again", NEW, os_release=f"{_OS_RELEASE}IMAGE_ID=appliance\n")
    assert "sort-key appliance" in _lines(built, NEW)


def _lines(machine: Machine, version: str) -> list[str]:
    return (machine.esp / f"loader/entries/debian-{version}.conf").read_text().splitlines()


def test_a_partition_that_is_not_mounted_is_said(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD)
    shutil.rmtree(machine.esp)
    done = machine.run(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert done.returncode == 1
    assert f"The EFI system partition is not mounted at /boot/efi, so that the kernel {NEW} does not" in done.stdout
    assert not list((machine.root / "boot/efi").iterdir())


def test_a_partition_that_is_mounted_nowhere_is_said(tmp_path: pathlib.Path) -> None:
    disk = {**DISK, "partitions": [{**ESP, "mountPoint": ""}, ROOT]}
    machine, _files = _built(tmp_path, OLD, disk=disk)
    done = machine.run(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert done.returncode == 1
    assert f"mounts its EFI system partition nowhere, so that the kernel {NEW} cannot get there" in done.stdout


@pytest.mark.parametrize("use_uki", [False, True], ids=["entries", "unified"])
def test_a_partition_without_room_is_said_before_anything_is_written(tmp_path: pathlib.Path, use_uki: bool) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=use_uki)
    machine.add_kernel(NEW)
    machine.write(f"/boot/initrd.img-{NEW}", bytes(3 << 20))
    small = "mount -t tmpfs -o size=2m tmpfs /boot/efi; mkdir /boot/efi/loader; touch /boot/efi/loader/loader.conf"
    done = machine.run(f"{small}; /usr/libexec/os-image/boot-entry add {NEW} || find /boot/efi -type f")
    assert (
        f"The EFI system partition has no room for the kernel {NEW}: it needs 4 MiB more, and 2 MiB are" in done.stdout
    )
    assert done.stdout.splitlines()[1:] == ["/boot/efi/loader/loader.conf"]


def test_files_that_take_the_place_of_others_need_no_more_room(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD)
    machine.write(f"/boot/initrd.img-{OLD}", bytes(3 << 20))
    place = f"/boot/efi/debian/{OLD}"
    small = f"mount -t tmpfs -o size=5m tmpfs /boot/efi; mkdir -p /boot/efi/loader {place}"
    full = f"{small}; touch /boot/efi/loader/loader.conf"
    machine.say(
        f"{full}; head -c 3145728 /dev/zero >{place}/initrd.img-{OLD}; /usr/libexec/os-image/boot-entry add {OLD}"
    )


# Unified kernel images that were signed


def test_a_kernel_for_a_signed_image_is_refused_before_it_is_unpacked(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=True, is_signed=True)
    before = machine.esp_files()
    done = machine.run(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert done.returncode == 1
    words = (
        f"The kernel {NEW} is not put into the bootloader: this image starts kernels that were signed for Secure Boot"
    )
    assert words in done.stdout
    assert "the key is not on this machine" in done.stdout
    assert machine.esp_files() == before
    assert not (machine.root / f"boot/vmlinuz-{NEW}").exists()
    # The entry of a kernel goes with it.
    machine.say(f"run-parts --arg={OLD} /etc/kernel/postrm.d")
    assert machine.esp_files() == before - _entry(OLD, use_uki=True)


def test_apt_is_told_before_it_changes_anything(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=True, is_signed=True)
    (hook,) = [
        line for line in (machine.root / "etc/apt/apt.conf.d/60os-image").read_text().splitlines() if "{" in line
    ]
    program = hook.split('"')[1]
    archives = "/var/cache/apt/archives"
    kernel = f"{archives}/linux-image-{NEW}_6.1.76-1_amd64.deb"
    others = [f"{archives}/{name}_1_amd64.deb" for name in ("openssl", "linux-image-amd64", f"linux-image-{NEW}-dbg")]
    dump = machine.say("apt-config dump DPkg::Pre-Install-Pkgs")
    assert f'DPkg::Pre-Install-Pkgs:: "{program}";' in dump
    assert machine.say(f"printf '%s\\n' {' '.join(others)} | {program}") == ""
    done = machine.run(f"printf '%s\\n' {' '.join([*others, kernel])} | {program}")
    assert done.returncode == 1
    assert f"The kernel {NEW} is not put into the bootloader" in done.stdout


def test_kernel_install_refuses_for_a_signed_image_of_rpm_packages(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD, use_uki=True, is_signed=True, family="rpm")
    before = machine.esp_files()
    machine.add_kernel(NEW)
    done = machine.run(f"kernel-install add {NEW} /boot/vmlinuz-{NEW}")
    assert done.returncode == 1
    assert f"The kernel {NEW} is not put into the bootloader" in done.stdout
    assert machine.esp_files() == before
    machine.say(f"kernel-install remove {OLD}")
    assert machine.esp_files() == before - _entry(OLD, use_uki=True)


# Systems that are updated as a whole


@pytest.mark.parametrize("provider", ["systemd-boot", "grub"])
def test_an_immutable_system_says_that_it_is_updated_as_a_whole(tmp_path: pathlib.Path, provider: str) -> None:
    machine, files = _built(tmp_path, OLD, provider=provider, is_immutable=True)
    assert "/usr/libexec/os-image/boot-entry" not in files.updates
    done = machine.run(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert done.returncode == 2
    assert "This system is immutable" in done.stdout
    assert "it is updated as a whole. Build a new image" in done.stdout
    assert not (machine.root / f"boot/vmlinuz-{NEW}").exists()
    # What changes nothing is as ever.
    machine.say("dpkg --get-selections")


def test_an_immutable_system_of_rpm_packages_says_so(tmp_path: pathlib.Path) -> None:
    machine, _files = _built(tmp_path, OLD, family="rpm", is_immutable=True)
    package = Rpm("anything", {"/usr/share/anything": "x"}).build(tmp_path)
    shutil.copy(package, machine.root / "tmp")
    done = machine.run(f"rpm --dbpath /var/lib/rpm -U --nodeps /tmp/{package.name}")
    assert done.returncode != 0
    assert "error: This system is immutable" in done.stdout
    assert "it is updated as a whole. Build a new image" in done.stdout
    assert machine.run("rpm --dbpath /var/lib/rpm -q anything").returncode == 1


# Kernels of RPM packages


def _rpm_machine(tmp_path: pathlib.Path, **options: object) -> Machine:
    machine, _files = _built(tmp_path, OLD, family="rpm", **options)  # type: ignore[arg-type]
    # Its initramfs is made by dracut, and the kernel that runs is that of the build.
    dracut = '#!/bin/sh\nwhile [ $# -gt 1 ]; do version=$1; shift; done\necho "made by dracut" >"$1"\n'
    machine.write("/usr/bin/dracut", dracut, 0o755)
    machine.write("/usr/bin/uname", f"#!/bin/sh\necho {OLD}\n", 0o755)
    return machine


def _kernel_rpm(machine: Machine, version: str, scripts: dict[str, str], *, in_boot: bool) -> str:
    """Build the package of a kernel; returns its path in the machine."""
    modules = f"/usr/lib/modules/{version}"
    files = {f"{modules}/kernel/a.ko": "module", modules: None, f"{modules}/kernel": None}
    files[f"/boot/vmlinuz-{version}" if in_boot else f"{modules}/vmlinuz"] = f"kernel {version}"
    plain = version.replace("-", ".")
    made = Rpm("kernel", files, scripts=scripts, version=plain).build(machine.root.parent)
    shutil.copy(made, machine.root / "tmp")
    return f"/tmp/{made.name}"


_RPM = "rpm --dbpath /var/lib/rpm --nodeps"


@pytest.mark.parametrize("use_uki", [False, True], ids=["entries", "unified"])
def test_kernels_whose_packages_call_kernel_install(tmp_path: pathlib.Path, use_uki: bool) -> None:
    machine = _rpm_machine(tmp_path, use_uki=use_uki)
    before = machine.esp_files()
    scripts = {
        "%posttrans": f"echo initrd >/boot/initramfs-{NEW}.img\n"
        f"kernel-install add {NEW} /usr/lib/modules/{NEW}/vmlinuz /boot/initramfs-{NEW}.img || exit $?",
        "%preun": f"kernel-install remove {NEW} || exit $?",
    }
    machine.say(f"{_RPM} -U {_kernel_rpm(machine, NEW, scripts, in_boot=False)}")
    made = {path.replace("initrd.img", "initramfs") for path in _entry(NEW, use_uki=use_uki)}
    made = {f"{path}.img" if "initramfs" in path else path for path in made}
    assert machine.esp_files() == before | made
    machine.say("/usr/libexec/os-image/boot-entry sync")
    assert machine.esp_files() == before | made
    machine.say(f"{_RPM} -e kernel")
    assert machine.esp_files() == before


def test_kernels_whose_packages_call_nothing(tmp_path: pathlib.Path) -> None:
    machine = _rpm_machine(tmp_path)
    before = machine.esp_files()
    package = _kernel_rpm(machine, NEW, {}, in_boot=True)
    machine.say(f"{_RPM} -U {package}")
    assert machine.esp_files() == before
    # What systemd starts, whose units are checked by systemd.
    units = [f"/etc/systemd/system/os-image-kernels.{kind}" for kind in ("path", "service")]
    assert "os-image" not in machine.run(f"systemd-analyze verify {' '.join(units)} 2>&1").stdout
    machine.say("/usr/libexec/os-image/boot-entry sync")
    made = {f"loader/entries/debian-{NEW}.conf", f"debian/{NEW}/linux", f"debian/{NEW}/initramfs-{NEW}.img"}
    assert machine.esp_files() == before | made
    assert (machine.esp / f"debian/{NEW}/initramfs-{NEW}.img").read_text() == "made by dracut\n"
    # rpm -U has removed the older package: its kernel runs, and stays until the newer one does.
    shutil.rmtree(machine.usr / f"lib/modules/{OLD}")
    machine.say("/usr/libexec/os-image/boot-entry sync")
    assert _entry(OLD) <= machine.esp_files()
    machine.write("/usr/bin/uname", f"#!/bin/sh\necho {NEW}\n", 0o755)
    machine.say("/usr/libexec/os-image/boot-entry sync")
    assert machine.esp_files() == (before - _entry(OLD)) | made
    # What nobody owns goes as well.
    assert not (machine.root / f"boot/initrd.img-{OLD}").exists()
    assert (machine.root / f"boot/vmlinuz-{NEW}").exists()


def test_a_kernel_waits_until_rpm_has_finished(tmp_path: pathlib.Path) -> None:
    machine = _rpm_machine(tmp_path)
    machine.say("rpm --dbpath /var/lib/rpm --initdb; touch /var/lib/rpm/.rpm.lock")
    program = (
        "import fcntl, time; stream = open('/var/lib/rpm/.rpm.lock', 'r+'); fcntl.lockf(stream, fcntl.LOCK_EX); "
        "open('/tmp/locked', 'w'); time.sleep(2); open('/tmp/finished', 'w')"
    )
    wait = "until [ -e /tmp/locked ]; do sleep 0.1; done"
    machine.say(f'python3 -c "{program}" & {wait}; /usr/libexec/os-image/boot-entry sync; test -e /tmp/finished')


# GRUB


def _checked(machine: Machine, path: str = "boot/grub/grub.cfg") -> list[str]:
    """Return the lines of the menu, having it checked by GRUB's own parser."""
    menu = machine.root / path
    subprocess.run(["grub-script-check", menu], check=True)
    return menu.read_text().splitlines()


def _kernels_of(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("\tlinux")]


@pytest.mark.parametrize("boot_type", ["efi", "legacy"])
def test_grub_without_mkconfig_goes_on_with_the_menu_of_the_build(tmp_path: pathlib.Path, boot_type: str) -> None:
    machine, _files = _built(tmp_path / "one", OLD, provider="grub", boot_type=boot_type)
    before = _checked(machine)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    built, _files = _built(tmp_path / "two", OLD, NEW, provider="grub", boot_type=boot_type)
    assert _checked(machine) == _checked(built)
    assert _kernels_of(_checked(machine)) == [f"/boot/vmlinuz-{NEW}", f"/boot/vmlinuz-{OLD}"]
    # A copy that somebody keeps, and a kernel whose initramfs is missing.
    machine.write(f"/boot/vmlinuz-{OLD}.old", "")
    machine.write("/boot/vmlinuz-9.9", "")
    machine.say(f"rm /boot/initrd.img-{NEW}; dpkg -r linux-image-{NEW}")
    assert _checked(machine) == before


def test_grub_keeps_the_kernel_that_the_template_names_in_front(tmp_path: pathlib.Path) -> None:
    disk = {"size": "96MiB", "partitions": [ESP, ROOT, _SEPARATE_BOOT]}
    machine, files = _built(tmp_path, OLD, provider="grub", wanted=OLD, disk=disk)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert _kernels_of(_checked(machine)) == [f"/vmlinuz-{OLD}", f"/vmlinuz-{NEW}"]
    assert "\tsearch --no-floppy --fs-uuid --set=root 33-44" in _checked(machine)
    assert f"GRUB_DEFAULT='gnulinux-advanced-11-22>gnulinux-{OLD}-advanced-11-22'" in (
        files.updates["/etc/default/grub"].text
    )


def test_grub_is_told_what_the_build_made(tmp_path: pathlib.Path) -> None:
    machine, files = _built(
        tmp_path, OLD, provider="grub", boot_type="legacy", packaged="/etc/kernel/postinst.d/zz-update-grub"
    )
    assert "/etc/default/grub" in files.updates
    said = machine.say(
        '. /etc/default/grub; printf "%s\\n" "$GRUB_CMDLINE_LINUX" "$GRUB_SERIAL_COMMAND" "$GRUB_TIMEOUT"'
    )
    (entry,) = [line for line in _checked(machine) if line.startswith("\tlinux")]
    assert said.splitlines() == [entry.split(None, 2)[2], "serial --unit=0 --speed=115200", "1"]


@pytest.mark.parametrize("family", ["deb", "rpm"])
@pytest.mark.parametrize("use_uki", [False, True], ids=["entries", "unified"])
def test_kernels_get_to_the_bootloaders_of_both_kinds_of_firmware(
    tmp_path: pathlib.Path, use_uki: bool, family: str
) -> None:
    options = {"boot_type": "hybrid", "use_uki": use_uki}
    if family == "deb":
        machine, _files = _built(tmp_path, OLD, **options)  # type: ignore[arg-type]
        install, remove = f"dpkg -i {machine.kernel_deb(NEW)}", f"dpkg -r linux-image-{NEW}"
    else:
        machine = _rpm_machine(tmp_path, **options)
        package = _kernel_rpm(machine, NEW, {}, in_boot=True)
        sync = "/usr/libexec/os-image/boot-entry sync; /usr/libexec/os-image/boot-entry-beside sync"
        install, remove = f"{_RPM} -U {package}; {sync}", f"{_RPM} -e kernel; {sync}"
    menu, entries = _checked(machine), machine.esp_files()
    machine.say(install)
    assert _kernels_of(_checked(machine)) == [f"/boot/vmlinuz-{NEW}", f"/boot/vmlinuz-{OLD}"]
    assert [path for path in machine.esp_files() - entries if NEW in path]
    machine.say(remove)
    assert _checked(machine) == menu
    assert machine.esp_files() == entries


_MKCONFIG = """\
#!/bin/sh
echo called >>/tmp/mkconfig
{
    echo "# by $0"
    for k in /boot/vmlinuz-*; do
        printf "\tlinux $k x\n\tinitrd /boot/initrd.img-%s\n" "${k#*-}"
    done
} >"$2"
"""


def test_the_hooks_of_the_distribution_are_left_alone_when_they_have_done_it(tmp_path: pathlib.Path) -> None:
    own = "/etc/kernel/postinst.d/zz-update-grub"
    machine, _files = _built(tmp_path, OLD, provider="grub", packaged="/usr/sbin/grub-mkconfig")
    machine.write("/usr/sbin/grub-mkconfig", _MKCONFIG, 0o755)
    for place in (own, own.replace("postinst", "postrm")):
        machine.write(place, "#!/bin/sh\nexec grub-mkconfig -o /boot/grub/grub.cfg\n", 0o755)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    lines = (machine.root / "boot/grub/grub.cfg").read_text().splitlines()
    assert _kernels_of(lines) == [f"/boot/vmlinuz-{NEW}", f"/boot/vmlinuz-{OLD}"]
    machine.say(f"dpkg -r linux-image-{NEW}")
    assert (machine.root / "tmp/mkconfig").read_text() == "called\n" * 2


def test_a_menu_in_which_mkconfig_has_found_no_kernel_is_written(tmp_path: pathlib.Path) -> None:
    """As it finds none where the root file system lies on a loop device."""
    machine, _files = _built(tmp_path, OLD, provider="grub", packaged="/usr/sbin/grub-mkconfig")
    empty = '#!/bin/sh\necho "# nothing" >/boot/grub/grub.cfg\n'
    machine.write("/usr/sbin/grub-mkconfig", empty, 0o755)
    machine.write("/etc/kernel/postinst.d/zz-update-grub", empty, 0o755)
    machine.write("/etc/kernel/postrm.d/zz-update-grub", empty, 0o755)
    machine.say(f"dpkg -i {machine.kernel_deb(NEW)}")
    assert _kernels_of(_checked(machine)) == [f"/boot/vmlinuz-{NEW}", f"/boot/vmlinuz-{OLD}"]
    machine.say(f"dpkg -r linux-image-{NEW}")
    assert _kernels_of(_checked(machine)) == [f"/boot/vmlinuz-{OLD}"]


def test_grub_of_rpm_packages_is_told_by_kernel_install_and_by_the_watch(tmp_path: pathlib.Path) -> None:
    machine = _rpm_machine(tmp_path, provider="grub", packaged="/usr/sbin/grub2-mkconfig")
    machine.write("/usr/sbin/grub2-mkconfig", _MKCONFIG, 0o755)
    menu = machine.root / "boot/grub2/grub.cfg"
    assert f"/boot/vmlinuz-{OLD}" in menu.read_text()
    package = _kernel_rpm(
        machine,
        NEW,
        {
            "%posttrans": f"kernel-install add {NEW} /usr/lib/modules/{NEW}/vmlinuz || exit $?",
            "%preun": f"kernel-install remove {NEW} || exit $?",
        },
        in_boot=False,
    )
    machine.say(f"{_RPM} -U {package}")
    assert _kernels_of(menu.read_text().splitlines()) == [f"/boot/vmlinuz-{NEW}", f"/boot/vmlinuz-{OLD}"]
    assert (machine.root / f"boot/initramfs-{NEW}.img").exists()
    assert not [path for path in machine.esp_files() if NEW in path]
    machine.say(f"{_RPM} -e kernel")
    assert _kernels_of(menu.read_text().splitlines()) == [f"/boot/vmlinuz-{OLD}"]
    assert not (machine.root / f"boot/initramfs-{NEW}.img").exists()
    # Without a word from the package.
    other = "6.1.0-19-amd64"
    machine.say(f"{_RPM} -U {_kernel_rpm(machine, other, {}, in_boot=True)}; /usr/libexec/os-image/boot-entry sync")
    assert f"\tlinux /boot/vmlinuz-{other} x" in menu.read_text().splitlines()
    machine.say(f"{_RPM} -e kernel; /usr/libexec/os-image/boot-entry sync")
    assert menu.read_text().startswith("# by /usr/sbin/grub2-mkconfig\n")
    assert _kernels_of(menu.read_text().splitlines()) == [f"/boot/vmlinuz-{OLD}"]
