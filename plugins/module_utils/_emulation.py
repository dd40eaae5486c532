# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Emulation: whether the build host runs programs of an architecture by itself, or through QEMU, for example.

The kernel starts the emulator when it meets a program of another machine, see binfmt_misc in its
Documentation/admin-guide. With the flag F it has opened the emulator when that was registered, so that it is found
from within a root tree, too. A tiny program in an empty root decides whether all of this works; the table of
binfmt_misc, which a container often cannot see, only helps to say why it does not.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import HostError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.distribution import read_distribution
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import EMULATORS

#: Where the kernel shows its table of program formats.
BINFMT_DIRECTORY = "/proc/sys/fs/binfmt_misc"

# <elf.h>
_ELF_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT_HEADER = struct.Struct("<IIQQQQQQ")
_EXECUTABLE, _SHARED = 2, 3
_LOAD, _READABLE_EXECUTABLE = 1, 5
# Where the program is loaded, and to what it is aligned: the largest pages that an Arm kernel may have.
_ADDRESS, _ALIGNMENT = 0x400000, 0x10000

#: The exit status of the tiny programs, which nothing else ends with.
_STATUS = 42

# C(uname -m) -> (e_machine, the instructions of exit(42)).
_PROGRAMS: t.Mapping[str, t.Tuple[int, bytes]] = {
    # mov eax, 60; mov edi, 42; syscall
    "x86_64": (62, bytes.fromhex("b83c000000bf2a0000000f05")),
    # mov x0, #42; mov x8, #93; svc #0
    "aarch64": (183, struct.pack("<III", 0xD2800540, 0xD2800BA8, 0xD4000001)),
}

#: The architectures that can be asked for.
ARCHITECTURES: t.Tuple[str, ...] = tuple(sorted(_PROGRAMS))


@dataclasses.dataclass(frozen=True)
class Handler:
    """An entry of the kernel's table of program formats.

    :ivar flags: Letters; see the kernel's documentation.
    :ivar offset: Where the magic bytes begin in a program.
    :ivar magic: Empty when the handler goes by the suffix of a file name.
    :ivar mask: As long as the magic; its zero bits do not count.
    """

    name: str
    enabled: bool
    interpreter: str
    flags: str
    offset: int
    magic: bytes
    mask: bytes

    def takes(self, program: bytes) -> bool:
        """Tell whether a program that begins like this is given to the interpreter."""
        begin = program[self.offset : self.offset + len(self.magic)]
        if not self.magic or len(begin) < len(self.magic):
            return False
        return all((have ^ want) & mask == 0 for have, want, mask in zip(begin, self.magic, self.mask))


def parse_handler(name: str, text: str) -> Handler:
    """Take a handler out of the kernel's words for it."""
    lines = text.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    magic = bytes.fromhex(fields.get("magic", ""))
    mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
    # It is "flags: F", but "offset 0".
    return Handler(
        name=name,
        enabled="enabled" in lines,
        interpreter=fields.get("interpreter", ""),
        flags=fields.get("flags:", ""),
        offset=int(fields.get("offset", "0")),
        magic=magic,
        mask=mask,
    )


def read_handlers(directory: str = BINFMT_DIRECTORY) -> t.List[Handler]:
    """Return the handlers of this host; none when they cannot be seen."""
    handlers = []
    try:
        names = sorted(set(os.listdir(directory)) - {"register", "status"})
        for name in names:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
                handlers.append(parse_handler(name, stream.read()))
    except OSError:
        return []
    return handlers


def program_header(arch: str, kind: int = _EXECUTABLE) -> bytes:
    """Return how programs of an architecture begin (the ELF header).

    :param kind: e_type; most programs are shared objects nowadays.
    """
    code = _PROGRAMS[arch][0]
    entry = _ADDRESS + _ELF_HEADER.size + _SEGMENT_HEADER.size
    counts = (_ELF_HEADER.size, _SEGMENT_HEADER.size, 1, 0, 0, 0)
    return _ELF_HEADER.pack(_ELF_IDENT, kind, code, 1, entry, _ELF_HEADER.size, 0, 0, *counts)


def tiny_program(arch: str) -> bytes:
    """Return a whole static program that ends with status 42."""
    instructions = _PROGRAMS[arch][1]
    size = _ELF_HEADER.size + _SEGMENT_HEADER.size + len(instructions)
    segment = _SEGMENT_HEADER.pack(_LOAD, _READABLE_EXECUTABLE, 0, _ADDRESS, _ADDRESS, size, size, _ALIGNMENT)
    return program_header(arch) + segment + instructions


def emulation_problem(arch: str, *, directory: str, handlers: t.Sequence[Handler] | None = None) -> str | None:
    """Tell why programs of an architecture do not run in a root tree of this host; V(None) when they do.

    :param directory: A directory in which programs may be started; the trial leaves nothing there.
    :param handlers: What :func:`read_handlers` says.
    :returns: Half a sentence.
    """
    if arch == os.uname().machine:
        return None
    if arch not in _PROGRAMS:
        return "no emulator for it is known"
    if _runs(arch, directory):
        return None
    headers = [program_header(arch, kind) for kind in (_EXECUTABLE, _SHARED)]
    found = read_handlers() if handlers is None else handlers
    handler = next((handler for handler in found if all(handler.takes(header) for header in headers)), None)
    if handler is None:
        return "no emulator for it is registered with the kernel"
    if not handler.enabled:
        return f"its emulator {handler.interpreter} is registered as {handler.name}, but disabled"
    if "F" not in handler.flags:
        return f"its emulator {handler.interpreter} is registered without the flag F, so no root tree has it"
    return f"its registered emulator {handler.interpreter} does not work"


def _runs(arch: str, directory: str) -> bool:
    """Start a tiny program in an empty root directory."""
    runner = CommandRunner()
    with tempfile.TemporaryDirectory(dir=directory, prefix=".emulation-") as place:
        path = os.path.join(place, "program")
        with open(path, "wb") as stream:
            stream.write(tiny_program(arch))
        os.chmod(path, 0o755)
        done = runner.run([find_tool("chroot"), place, "/program"], check=False, timeout=60)
    return done.rc == _STATUS


def require_emulation(arch: str, *, directory: str) -> None:
    """Check that programs of an architecture run here, before anything is fetched or installed for it.

    :param directory: See :func:`emulation_problem`.
    :raises HostError: They do not.
    """
    problem = emulation_problem(arch, directory=directory)
    if problem is not None:
        raise HostError(
            f"The image is for {arch}, and this build host ({os.uname().machine}) cannot run its programs: {problem}.",
            remedy=_emulation_remedy(arch),
        )


def _emulation_remedy(arch: str) -> str:
    distribution = read_distribution()
    package = EMULATORS[arch].name(distribution["family"]) if arch in EMULATORS else None
    if package is None:
        return (
            f"{distribution['name']} has no package with one that would do. Register a static emulator with the "
            f"kernel, with the flag F, or build on a host with {arch}."
        )
    return (
        f"Apply the role os_image.composer.build_host with build_host_foreign_architectures: [{arch}], which installs "
        f"and registers {package}, or build on a host with {arch}."
    )


__all__ = (
    "ARCHITECTURES",
    "BINFMT_DIRECTORY",
    "Handler",
    "emulation_problem",
    "parse_handler",
    "program_header",
    "read_handlers",
    "require_emulation",
    "tiny_program",
)
