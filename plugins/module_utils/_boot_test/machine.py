# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The virtual machine that boots an image: QEMU's command line, its life, and the choice of its accelerator."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import Console
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.monitor import Monitor
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.screenshot import png_of_pixmap
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import UEFI_FIRMWARE, install_remedy
from ansible_collections.os_image.composer.plugins.module_utils._image_type import INITRD_SUFFIX, KERNEL_SUFFIX
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file

#: QEMU's name of each disk format by the suffix of the image's file name. An initrd is no disk, but the kernel's.
DISK_FORMATS: t.Mapping[str, str] = dict(
    sorted(
        {
            **{f".{entry.extension}": entry.driver for entry in FORMATS.values()},
            ".img": "raw",
            ".iso": "raw",
            ".initrd": "initrd",
        }.items()
    )
)

#: How an image can be given to the machine.
ATTACHMENTS: t.Tuple[str, ...] = ("disk", "cdrom", "usb")

_COMPRESSED = tuple(f".{entry.extension}" for entry in COMPRESSIONS.values())


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The machine of an architecture.

    :ivar program: QEMU's program.
    :ivar machine: QEMU's name of the machine, by firmware.
    :ivar emulated: Options for emulation.
    :ivar virtualised: Options for KVM.
    :ivar display: The graphics card.
    :ivar cdrom: Options that make the drive C(disk) a CD.
    :ivar console: The kernel's name of the first serial port.
    :ivar uefi: Code and variable store of the UEFI firmware as distributions install them; the first pair that exists
        is taken.
    :ivar uefi_name: What that is called.
    :ivar secure_uefi: The same for firmware that refuses programs without a signature that its variables know.
    :ivar secure: QEMU's options that keep the system in the machine from writing to that firmware's variables.
    """

    program: str
    machine: t.Mapping[str, str]
    emulated: t.Tuple[str, ...]
    virtualised: t.Tuple[str, ...]
    display: str
    cdrom: t.Tuple[str, ...]
    console: str
    uefi: t.Sequence[tuple[str, str]]
    uefi_name: str
    secure_uefi: t.Sequence[tuple[str, str]] = ()
    secure: t.Tuple[str, ...] = ()


#: By C(uname -m).
HARDWARE: t.Mapping[str, Hardware] = {
    "x86_64": Hardware(
        program="qemu-system-x86_64",
        # The BIOS speaks on the serial port only where it is told that there are no graphics.
        machine={"uefi": "q35", "bios": "q35,graphics=off"},
        # Without cmpxchg16b, for which QEMU 7.2 emulates wrongly what kernel 6.12 does with it at random moments.
        emulated=("-accel", "tcg,thread=multi", "-cpu", "max,-cx16"),
        virtualised=("-accel", "kvm", "-cpu", "host"),
        display="VGA",
        cdrom=("-device", "ide-cd,drive=disk,bootindex=0"),
        console="ttyS0",
        uefi=(
            ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
            ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
            ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
        ),
        uefi_name="OVMF",
        secure_uefi=(
            ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
            ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ),
        # In QEMU the firmware is alone with its flash in system management mode, which does not outlive a suspension.
        secure=(
            *("-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-global", "ICH9-LPC.disable_s3=1"),
        ),
    ),
    "aarch64": Hardware(
        program="qemu-system-aarch64",
        # The interrupt controller that the host has, for KVM.
        machine={"uefi": "virt,gic-version=max"},
        # To sign pointers as real processors do takes more than half of all the time.
        emulated=("-accel", "tcg,thread=multi", "-cpu", "max,pauth-impdef=on"),
        virtualised=("-accel", "kvm", "-cpu", "host"),
        display="virtio-gpu-pci",
        cdrom=("-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=disk,bootindex=0"),
        console="ttyAMA0",
        uefi=(
            ("/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
            ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
            ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
            ("/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"),
        ),
        uefi_name="AAVMF",
    ),
}

_PROBE_SECONDS = 10.0
_END_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class MachineSpec:
    """What machine to boot.

    :ivar image: Path of the disk image; V(None) for a machine without a disk. The file is never written to.
    :ivar disk_format: QEMU's name of the image's format.
    :ivar arch: A key of C(HARDWARE).
    :ivar attachment: One of C(ATTACHMENTS).
    :ivar kernel: Path of a kernel that is started without firmware's help; V(None) to boot from the disk.
    :ivar initrd: Path of its initrd.
    :ivar cmdline: Its command line.
    :ivar target_disks: Raw disks, which the machine does write to.
    :ivar secure_boot_variables: Path of the variables of UEFI firmware in which keys for Secure Boot are enrolled, or
        of such that enrols what the image brings; V(None) for firmware that starts any program. The file is never
        written to.
    :ivar firmware: C(uefi) or C(bios).
    :ivar memory: MiB.
    :ivar accelerator: C(tcg) or C(kvm).
    """

    image: str | None
    disk_format: str = "raw"
    arch: str = "x86_64"
    firmware: str = "uefi"
    memory: int = 1024
    cpus: int = 2
    accelerator: str = "tcg"
    attachment: str = "disk"
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str = ""
    target_disks: t.Tuple[str, ...] = ()
    secure_boot_variables: str | None = None


def disk_format(image: str, wanted: str = "auto") -> str:
    """Return QEMU's name of an image's format.

    The content is never asked: a guest that writes another format's header into its raw disk must not decide.

    :param wanted: The user's word for it; C(auto) takes it from the file name.
    :raises BootError: The file name does not tell.
    """
    if wanted != "auto":
        return DISK_FORMATS[f".{wanted}"]
    if image.lower().endswith(f".{INITRD_SUFFIX}"):
        return "initrd"
    suffix = os.path.splitext(image)[1].lower()
    try:
        return DISK_FORMATS[suffix]
    except KeyError:
        raise BootError(
            f"The name of the image {image} does not tell its format.",
            remedy=f"Set the option format to one of {', '.join(known[1:] for known in DISK_FORMATS)}.",
        ) from None


def name_when_unpacked(image: str) -> str:
    """Return the name of an image file without the suffix that tells of compression, if it has one."""
    base, suffix = os.path.splitext(image)
    return base if suffix.lower() in _COMPRESSED else image


def kernel_beside(initrd: str) -> str:
    """Return where the kernel of an initrd image lies: beside it, with the suffix C(.vmlinuz)."""
    base = initrd
    for suffix in (".img", ".initrd"):
        base = base[: -len(suffix)] if base.lower().endswith(suffix) else base
    return f"{base}.{KERNEL_SUFFIX}"


def machine_argv(spec: MachineSpec, *, console: int, monitor: int) -> list[str]:
    """Return QEMU's command line.

    :param console: Descriptor of the socket that becomes the first serial port.
    :param monitor: Descriptor of the socket that becomes the QMP monitor.
    :raises ToolMissingError: QEMU or the firmware is not installed.
    """
    hardware = _hardware(spec.arch, spec.firmware)
    argv = [
        find_tool(hardware.program),
        *("-name", "image-boot-test", "-no-user-config", "-nodefaults"),
        # Firmware is started again when keys were enrolled in it.
        *(("-no-reboot",) if spec.secure_boot_variables is None else ()),
        *("-machine", hardware.machine[spec.firmware]),
        *(hardware.emulated if spec.accelerator == "tcg" else hardware.virtualised),
        *("-m", str(spec.memory), "-smp", str(spec.cpus)),
        *("-display", "none", "-device", hardware.display, "-device", "virtio-rng-pci"),
        *("-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        # The guest gets an address by DHCP, and reaches nothing: neither the host nor any other network.
        *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="),
    ]
    if spec.firmware == "uefi":
        code, variables = _uefi_firmware(spec.arch)
        if spec.secure_boot_variables is not None:
            code, variables = _secure_firmware(spec.arch, spec.secure_boot_variables)
            argv += hardware.secure
        argv += ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escaped(code)}")
        argv += ("-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={_escaped(variables)}")
    if spec.image is not None:
        argv += ("-drive", f"if=none,id=disk,format={spec.disk_format},snapshot=on,file={_escaped(spec.image)}")
        argv += _attachment(spec.attachment, hardware)
    for number, path in enumerate(spec.target_disks):
        # Nothing is to be kept of a machine that dies, so that the guest need not wait for the host's disk.
        argv += ("-drive", f"if=none,id=target{number},format=raw,cache=unsafe,file={_escaped(path)}")
        argv += ("-device", f"virtio-blk-pci,drive=target{number}")
    if spec.kernel is not None:
        argv += ("-kernel", spec.kernel, "-append", spec.cmdline)
        argv += ("-initrd", spec.initrd) if spec.initrd is not None else ()
    return argv


def _escaped(path: str) -> str:
    return path.replace(",", ",,")


def _attachment(name: str, hardware: Hardware) -> t.Tuple[str, ...]:
    if name == "cdrom":
        return hardware.cdrom
    if name == "usb":
        return ("-device", "qemu-xhci", "-device", "usb-storage,drive=disk,bootindex=0,removable=on")
    return ("-device", "virtio-blk-pci,drive=disk,bootindex=0")


def _hardware(arch: str, firmware: str) -> Hardware:
    hardware = HARDWARE[arch]
    if firmware not in hardware.machine:
        raise BootError(f"A machine of the architecture {arch} has no BIOS.", remedy="Set firmware to uefi.")
    return hardware


def _secure_firmware(arch: str, variables: str) -> tuple[str, str]:
    """Return the code of a firmware that enforces Secure Boot and fits the variables, and these."""
    hardware = HARDWARE[arch]
    if not hardware.secure_uefi:
        raise BootError(
            f"No firmware is known that enforces Secure Boot on a machine of the architecture {arch}.",
            remedy="Leave out secure_boot_variables.",
        )
    if not os.path.isfile(variables):
        raise BootError(
            f"The variables {variables} for Secure Boot do not exist.",
            remedy="Make them by virt-fw-vars, or correct the option secure_boot_variables.",
        )
    installed = [pair for pair in hardware.secure_uefi if all(os.path.exists(path) for path in pair)]
    if not installed:
        raise _firmware_missing(arch, "that enforces Secure Boot ")
    # Each build of the firmware has variables of a size of its own.
    for code, empty in installed:
        if os.path.getsize(empty) == os.path.getsize(variables):
            return code, variables
    raise BootError(
        f"The variables {variables} do not fit the firmware {' or '.join(pair[0] for pair in installed)}: "
        "their size is not that of its empty ones.",
        remedy=f"Make them from {installed[0][1]}.",
    )


def _uefi_firmware(arch: str) -> tuple[str, str]:
    for pair in HARDWARE[arch].uefi:
        if all(os.path.exists(path) for path in pair):
            return pair
    raise _firmware_missing(arch)


def _firmware_missing(arch: str, which: str = "") -> ToolMissingError:
    return ToolMissingError(
        f"The UEFI firmware {which}for virtual machines ({HARDWARE[arch].uefi_name}) was not found on the build host.",
        remedy=install_remedy(UEFI_FIRMWARE[arch]),
    )


class Machine:
    """A running virtual machine.

    :ivar console: Its first serial port.
    :ivar monitor: Its monitor.
    """

    def __init__(self, process: subprocess.Popen[bytes], console: Console, monitor: Monitor) -> None:
        self._process = process
        self.console = console
        self.monitor = monitor

    def screenshot(self, path: str) -> None:
        """Write a picture of the display, as PNG.

        :raises BootError: The machine has ended, or its display cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="image-boot-test-") as directory:
            pixmap = os.path.join(directory, "display.ppm")
            self.monitor.execute("screendump", {"filename": pixmap})
            with open(pixmap, "rb") as stream:
                write_file(path, png_of_pixmap(stream.read()))

    def last_words(self) -> str:
        """Return what QEMU itself said, after the console has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        if self._process.returncode is None or self._process.stderr is None:
            return ""
        return self._process.stderr.read().decode("utf-8", errors="replace").strip()


@contextlib.contextmanager
def started_machine(
    spec: MachineSpec, *, runner: CommandRunner, log: t.TextIO, temp_dir: str | None = None
) -> t.Iterator[Machine]:
    """Run a machine while the block runs. It ends with the block, and with this process, whatever happens.

    :param log: Gets what the serial console says, live.
    :param temp_dir: Where QEMU keeps what the guest writes; the file has no name and vanishes with QEMU.
    """
    with contextlib.ExitStack() as stack:
        console, console_peer = (stack.enter_context(end) for end in socket.socketpair())
        monitor, monitor_peer = (stack.enter_context(end) for end in socket.socketpair())
        if temp_dir:
            runner = runner.with_environment({"TMPDIR": temp_dir})
        process = runner.start(
            machine_argv(spec, console=console_peer.fileno(), monitor=monitor_peer.fileno()),
            pass_fds=(console_peer.fileno(), monitor_peer.fileno()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        # QEMU holds the only other ends now: when it ends, reading ends.
        console_peer.close()
        monitor_peer.close()
        try:
            yield Machine(process, Console(console, log), Monitor(monitor))
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()


def choose_accelerator(wanted: str, *, arch: str, firmware: str, runner: CommandRunner) -> str:
    """Return the accelerator to use.

    :param wanted: C(tcg), C(kvm), or C(auto): KVM where a guest really runs with it, else TCG.
    :param arch: Of the guest.
    :raises BootError: KVM is demanded, and no guest runs with it.
    """
    if wanted == "tcg":
        return wanted
    problem = _kvm_problem(arch, firmware, runner)
    if problem is None:
        return "kvm"
    if wanted == "auto":
        return "tcg"
    raise BootError(
        f"No virtual machine runs with KVM on this host: {problem}.",
        remedy="Set accelerator to tcg, or to auto.",
    )


@functools.cache
def _kvm_problem(arch: str, firmware: str, runner: CommandRunner) -> str | None:
    """Tell why KVM cannot be used; V(None) when a firmware has just run with it.

    Being able to open C(/dev/kvm) proves nothing: under another hypervisor guests may hang at their first steps.
    """
    if arch != os.uname().machine:
        return f"its processors are not those of {arch}"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is missing or cannot be opened"
    spec = MachineSpec(image=None, arch=arch, firmware=firmware, memory=128, cpus=1, accelerator="kvm")
    with open(os.devnull, "w", encoding="utf-8") as log, started_machine(spec, runner=runner, log=log) as machine:
        if machine.console.expect(r"\w{3}", timeout=_PROBE_SECONDS):
            return None
        if machine.console.ended:
            words = machine.last_words().splitlines()
            return f"QEMU ended at once ({words[0] if words else 'without a word'})"
        return f"the firmware said nothing within {_PROBE_SECONDS:g} s"


__all__ = (
    "ATTACHMENTS",
    "DISK_FORMATS",
    "HARDWARE",
    "Hardware",
    "Machine",
    "MachineSpec",
    "choose_accelerator",
    "disk_format",
    "kernel_beside",
    "machine_argv",
    "name_when_unpacked",
    "started_machine",
)
