# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A boot test: start an image, wait until it is up, run commands in it, keep what was seen."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot_test.architecture import (
    DEFAULT_ARCHITECTURE,
    image_architecture,
    kernel_architecture,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.boot import Boot, booted_machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import (
    LOGIN_PROMPT,
    Console,
    GuestCommand,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import (
    HARDWARE,
    Machine,
    MachineSpec,
    choose_accelerator,
    disk_format,
    kernel_beside,
    name_when_unpacked,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.source import unpacked_image

#: What a console says when waiting for more is in vain, and what that means.
_DEAD_ENDS: t.Mapping[str, str] = {
    r"Kernel panic - not syncing:? *(.*)": "its kernel panicked",
    r"failed to load Boot\d+.*: (Access Denied|Security Violation)": "Secure Boot refused its boot loader",
    # Newer versions of systemd-boot have the small letter.
    r"Error loading .*: ((?i:Access Denied|Security Violation))": "Secure Boot refused its kernel",
    r"No bootable (?:option or )?device|UEFI Interactive Shell": "the firmware found nothing to boot on it",
    r"^grub(?: rescue)?> *\Z": "GRUB found no configuration or no file to boot",
    r"^\(initramfs\) *\Z|ALERT! .* does not exist": "its initramfs did not find the root file system",
    r"You are in (?:emergency|rescue) mode": "a unit that it needs failed, so it is in emergency mode",
}

_POWER_OFF_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class BootTest:
    """What to boot and what to wait for.

    :ivar image: Path of the image; it is never written to.
    :ivar image_format: C(auto), or a suffix such as C(qcow2).
    :ivar output_dir: Where console log and picture go; made when it is missing.
    :ivar marker: Regular expression for what the console says when the system is up.
    :ivar timeout: Seconds until the marker must be there; each command has as long again.
    :ivar memory: MiB.
    :ivar accelerator: C(tcg), C(kvm), or C(auto).
    :ivar commands: Shell commands to run after logging in.
    :ivar temp_dir: Where what the guest writes is kept while it runs.
    :ivar arch: C(auto), or a key of C(HARDWARE).
    :ivar attachment: C(auto), or one of C(ATTACHMENTS).
    :ivar kernel: Path of a kernel to start; V(None) to boot from the image, or for the one beside an initrd.
    :ivar cmdline: Its command line; V(None) for the first serial port as its console.
    :ivar target_disk: Path of an empty disk that is made anew, and that the machine does write to.
    :ivar target_size: Its bytes.
    :ivar secure_boot_variables: Path of the firmware's variables with keys for Secure Boot, see C(MachineSpec).
    """

    image: str
    output_dir: str
    image_format: str = "auto"
    arch: str = "auto"
    marker: str = LOGIN_PROMPT
    timeout: float = 300
    memory: int = 1024
    cpus: int = 2
    firmware: str = "uefi"
    accelerator: str = "tcg"
    commands: t.Sequence[str] = ()
    login_user: str = "root"
    login_password: str | None = None
    temp_dir: str | None = None
    attachment: str = "auto"
    kernel: str | None = None
    cmdline: str | None = None
    target_disk: str | None = None
    target_size: int = 4 << 30
    secure_boot_variables: str | None = None

    @property
    def console_log(self) -> str:
        """Path of the file with what the serial console said."""
        return os.path.join(self.output_dir, f"{os.path.basename(self.image)}.console.log")

    @property
    def screenshot(self) -> str:
        """Path of the picture of the display."""
        return os.path.join(self.output_dir, f"{os.path.basename(self.image)}.png")


@dataclasses.dataclass(frozen=True)
class BootReport:
    """What a boot test has found.

    :ivar arch: The machine's architecture.
    :ivar matched: What the console said that fitted the marker.
    :ivar seconds: From the start of the machine to the marker.
    """

    arch: str
    accelerator: str
    matched: str
    seconds: float
    commands: tuple[GuestCommand, ...]


def run_boot_test(test: BootTest, *, runner: CommandRunner) -> BootReport:
    """Boot an image and wait for its marker.

    :raises BootError: It did not come up, or a command failed in it. The message holds the console's last lines.
    """
    commands: list[GuestCommand] = []
    with contextlib.ExitStack() as stack:
        image = _unpacked(test, stack)
        spec = _machine_spec(test, image, runner)
        _prepare_output(test)
        log = stack.enter_context(open(test.console_log, "w", encoding="utf-8"))
        seen = (test.marker, *_DEAD_ENDS)
        options: dict[str, t.Any] = {"timeout": test.timeout, "runner": runner, "log": log, "temp_dir": test.temp_dir}
        boot = stack.enter_context(booted_machine(spec, *seen, **options))
        machine = boot.machine
        try:
            matched = _marker(test, boot)
            if test.commands:
                machine.console.log_in(test.login_user, test.login_password, timeout=test.timeout)
            for cmd in test.commands:
                commands.append(machine.console.run(cmd, timeout=test.timeout))
                _require_success(commands[-1])
        except BootError as exc:
            _take_picture(test, machine)
            raise _explained(exc, test, machine.console) from exc
        _take_picture(test, machine)
    return BootReport(spec.arch, spec.accelerator, matched, boot.seconds, tuple(commands))


def _unpacked(test: BootTest, stack: contextlib.ExitStack) -> str:
    """Return the path of the image itself, of which a temporary file is made when it is compressed as a whole.

    :param stack: The file is there until this ends.
    """
    if not os.path.isfile(test.image):
        raise BootError(
            f"The image {test.image} does not exist.",
            remedy="Build it first, or correct the option image.",
        )
    # Not by the content: most initrds begin as compressed files do, and are no disks in such files.
    if name_when_unpacked(test.image) == test.image:
        return test.image
    temp_dir = test.temp_dir or "/var/tmp"  # noqa: S108
    path, _compression = stack.enter_context(unpacked_image(test.image, temp_dir=temp_dir, runner=ParserSandbox()))
    return path


def _machine_spec(test: BootTest, image: str, runner: CommandRunner) -> MachineSpec:
    """Describe the machine.

    :param image: The path of the unpacked image.
    """
    if test.secure_boot_variables and test.firmware != "uefi":
        raise BootError("Only UEFI firmware knows Secure Boot.", remedy="Set firmware to uefi.")
    name = name_when_unpacked(test.image)
    image_format = disk_format(name, test.image_format)
    is_initrd = image_format == "initrd"
    kernel = test.kernel or (kernel_beside(name) if is_initrd else None)
    if kernel is not None and not os.path.isfile(kernel):
        raise BootError(
            f"The kernel {kernel} for {test.image} does not exist.",
            remedy="Publish it beside the initrd, or set the option kernel.",
        )
    arch = test.arch
    if arch == "auto":
        if kernel is not None:
            arch = kernel_architecture(kernel)
        elif test.firmware == "bios":
            arch = DEFAULT_ARCHITECTURE
        else:
            arch = image_architecture(image, image_format, temp_dir=test.temp_dir)
    by_default = "cdrom" if name.lower().endswith(".iso") else "disk"
    return MachineSpec(
        image=None if is_initrd else image,
        disk_format=image_format,
        arch=arch,
        attachment=by_default if test.attachment == "auto" else test.attachment,
        kernel=kernel,
        initrd=image if is_initrd else None,
        cmdline=f"console={HARDWARE[arch].console}" if test.cmdline is None else test.cmdline,
        target_disks=(test.target_disk,) if test.target_disk else (),
        firmware=test.firmware,
        memory=test.memory,
        cpus=test.cpus,
        secure_boot_variables=test.secure_boot_variables,
        accelerator=choose_accelerator(test.accelerator, arch=arch, firmware=test.firmware, runner=runner),
    )


def _prepare_output(test: BootTest) -> None:
    try:
        os.makedirs(test.output_dir, exist_ok=True)
        # What an earlier test left must not be taken for this one's.
        for path in (test.console_log, test.screenshot):
            if os.path.exists(path):
                os.unlink(path)
    except OSError as exc:
        raise BootError(f"Cannot write to the output directory {test.output_dir}: {exc.strerror}.") from exc
    if test.target_disk:
        _make_empty_disk(test.target_disk, test.target_size)


def _make_empty_disk(path: str, size: int) -> None:
    try:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise BootError(
                f"{path} is no file, and is not overwritten.", remedy="Give target_disk the path of a file."
            )
        with open(path, "wb") as stream:
            stream.truncate(size)
    except OSError as exc:
        raise BootError(f"Cannot make the disk {path}: {exc.strerror}.") from exc


def _marker(test: BootTest, boot: Boot) -> str:
    """Return what the console said that fitted the marker.

    :raises BootError: It has said something else, or nothing.
    """
    found = boot.found
    if found is not None and found[0] == 0:
        return found[1].group()
    if found is not None:
        index, match = found
        said = match.group(1).strip() if match.groups() else ""
        reason = [*_DEAD_ENDS.values()][index - 1] + (f" ({said})" if said else "")
    elif boot.machine.console.ended:
        words = boot.machine.last_words()
        reason = "the machine ended before that" + (f", and QEMU said: {words}" if words else "")
    else:
        reason = f"that was not to be seen within {test.timeout:g} s"
    raise BootError(f"The image {test.image} did not boot to {test.marker!r}: {reason}.")


def _require_success(command: GuestCommand) -> None:
    if command.rc != 0:
        raise BootError(
            f"The command {command.cmd!r} ended with status {command.rc} in the booted image. It said:\n"
            f"{command.output}"
        )


def _take_picture(test: BootTest, machine: Machine) -> None:
    # A machine that has ended has no display any more; the console log tells why it ended.
    with contextlib.suppress(BootError):
        machine.screenshot(test.screenshot)


def _explained(problem: BootError, test: BootTest, console: Console) -> BootError:
    """Add to an error what the user needs to go on: the console's last lines, and where the whole is."""
    tail = console.tail()
    last = f"The console's last lines:\n{tail}" if tail else "The console said nothing."
    picture = f", a picture of the display in {test.screenshot}" if os.path.exists(test.screenshot) else ""
    return BootError(f"{problem}\n{last}\nThe whole console is in {test.console_log}{picture}.")


__all__ = ("BootReport", "BootTest", "run_boot_test")
