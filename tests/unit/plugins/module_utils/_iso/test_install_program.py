# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that installs: which disk it takes, and what it says when it takes none. Nothing is written here."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pty
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._iso.install_program import FILES, PROGRAM

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of the machine, as lsblk shows it."""

    name: str
    size: int = 4 * GIB
    kind: str = "disk"
    read_only: int = 0
    removable: int = 0
    transport: str = "sata"
    label: str = ""
    mounted: str = ""
    parent: str = ""

    def column(self, name: str) -> str:
        return str(
            {
                "NAME": self.name,
                "TYPE": self.kind,
                "RO": self.read_only,
                "RM": self.removable,
                "SIZE": self.size,
                "TRAN": self.transport,
                "LABEL": self.label,
                "MOUNTPOINT": self.mounted,
                "PKNAME": self.parent,
                "MODEL": "ACME Disk",
            }[name]
        )


CD = Disk("sr0", kind="rom", label="WEB_1_0", mounted="/run/live/medium")

# Answers from files "COLUMN,COLUMN" (all disks) and "COLUMN,COLUMN@name" (one).
_LSBLK = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) columns=$2; shift ;; /dev/*) name=@${1#/dev/} ;; esac; shift; done
cat "$TABLES/$columns$name" 2>/dev/null
"""
_COLUMNS = ("NAME,TYPE", "RO,SIZE,TYPE", "RM,TRAN", "LABEL", "MOUNTPOINT", "PKNAME", "SIZE", "MODEL")


class Machine:
    """A machine with some disks, on which the program runs."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.replaced = {
            "PATH=/usr/sbin": f"PATH={path}/stubs:/usr/sbin",
            "/run/live/medium": f"{path}/medium",
            # No device of this name is a disk of the host that runs the test.
            '[ ! -b "$DISK" ]': "false",
            '[ -b "$DISK" ]': "true",
            '"$tries" -lt 30': '"$tries" -lt 2',
        }
        for name in ("stubs", "tables", "medium/install", "sys/class/tty/console", "proc"):
            (path / name).mkdir(parents=True)
        for name, text in {
            "lsblk": _LSBLK,
            "findmnt": "#!/bin/sh\ncat $TABLES/source\n",
            "udevadm": "#!/bin/sh\n",
            "sleep": "#!/bin/sh\n",
            "systemctl": '#!/bin/sh\necho "systemctl $*"\n',
            # So that nothing is ever written: this is the first thing that would be.
            "wipefs": "#!/bin/sh\nexit 1\n",
        }.items():
            (path / "stubs" / name).write_text(text)
            (path / "stubs" / name).chmod(0o755)

    def run(
        self, *disks: Disk, mode: str = "auto", words: str = "", disk: str = "", least: int = GIB, source: str = "sr0"
    ) -> str:
        """Run the program and return what it says."""
        tables = self.path / "tables"
        for columns in _COLUMNS:
            rows = {item.name: " ".join(item.column(name) for name in columns.split(",")) for item in disks}
            (tables / columns).write_text("".join(f"{row}\n" for row in rows.values()))
            for name, row in rows.items():
                (tables / f"{columns}@{name}").write_text(f"{row}\n")
        (tables / "source").write_text(f"/dev/{source}\n")
        (self.path / "proc/cmdline").write_text(f"boot=live image.install={mode} {words}\n")
        values = {
            "TITLE": "web 1.0",
            "VOLUME_ID": "WEB_1_0",
            "IMAGE": "install/web.raw.zst",
            "SIZE": GIB,
            "SHA256": "0" * 64,
            "LEAST": least,
            "TABLE": "gpt",
            "GROWS": 2,
            "GROWS_FROM": 102400,
            "ESP": 1,
            "LOADER": "x",
            "DISK": disk,
            "AFTER": "poweroff",
        }
        settings = "".join(f"{name}='{value}'\n" for name, value in values.items())
        (self.path / "medium/install/settings").write_text(settings)
        program = PROGRAM
        for old, new in self.replaced.items():
            assert old in program, old
            program = program.replace(old, new)
        environment = {
            "SYS": str(self.path / "sys"),
            "PROC": str(self.path / "proc"),
            "TABLES": str(tables),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            ["sh", "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path)


def test_shellcheck_finds_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "image-install"
    path.write_text(PROGRAM)
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_reads_the_units(tmp_path: pathlib.Path) -> None:
    units = {os.path.basename(path): text for path, text in FILES.items() if path.startswith("/usr/lib/systemd/")}
    assert set(units) == {"image-install.service", "image-install.target"}
    assert "ExecStart=/bin/sh /usr/lib/image-install/image-install\n" in units["image-install.service"]
    assert "Wants=image-install.service\n" in units["image-install.target"]


def test_the_only_disk_that_fits_is_taken(machine: Machine) -> None:
    said = machine.run(CD, Disk("sda"), Disk("sdb", size=GIB // 2), Disk("sdc", transport="usb"))
    assert "Writing 1024 MiB onto /dev/sda (4096 MiB, ACME Disk)\n" in said


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (Disk("sda", size=GIB - 1), "it is too small: it has 1023 MiB, but 1024 MiB are needed"),
        (Disk("sda", read_only=1), "it is write-protected"),
        (Disk("sda", removable=1), "it is removable, and was not named"),
        (Disk("sda", transport="usb"), "it is removable, and was not named"),
        (Disk("sda", mounted="/data"), "it is in use"),
        (Disk("sda", label="WEB_1_0"), "it is the boot medium"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disk_that_cannot_be_taken_is_named_with_the_reason(machine: Machine, disk: Disk, reason: str) -> None:
    said = machine.run(CD, disk)
    assert f"{reason}\n" in said
    assert "NOT INSTALLED: No disk fits. At least 1024 MiB are needed.\n" in said
    assert "systemctl --no-block start multi-user.target getty.target" in said
    assert "Writing" not in said


def test_a_machine_without_disks(machine: Machine) -> None:
    assert "NOT INSTALLED: No disk fits." in machine.run(CD, Disk("zram0"), Disk("mmcblk0boot0"))


def test_a_stick_that_the_machine_booted_from_is_never_taken(machine: Machine) -> None:
    stick = Disk("sdb", transport="usb")
    part = Disk("sdb1", kind="part", parent="sdb", label="WEB_1_0")
    said = machine.run(stick, part, source="sdb1", disk="/dev/sdb")
    assert "NOT INSTALLED: The disk /dev/sdb cannot be overwritten: it is the boot medium.\n" in said


def test_several_disks_that_fit_are_refused(machine: Machine) -> None:
    said = machine.run(CD, Disk("sda"), Disk("nvme0n1", transport="nvme"))
    assert "  /dev/nvme0n1 (4096 MiB, ACME Disk)\n" in said
    assert "NOT INSTALLED: Several disks fit, and none is named. Name one: image.install.disk=/dev/..." in said


@pytest.mark.parametrize(
    "options", [{"disk": "/dev/sdb"}, {"words": "image.install.disk=/dev/sdb", "disk": "/dev/sda"}]
)
def test_the_disk_that_is_named_is_taken(machine: Machine, options: dict[str, t.Any]) -> None:
    said = machine.run(CD, Disk("sda"), Disk("sdb", transport="usb"), **options)
    assert "Writing 1024 MiB onto /dev/sdb" in said


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (Disk("sda", size=1), "it is too small"),
        (Disk("sda", kind="part"), "it is no disk, but a part"),
        (Disk("sdb"), "it does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_named_disk_is_checked_too(machine: Machine, disk: Disk, reason: str) -> None:
    said = machine.run(CD, disk, disk="/dev/sda")
    assert f"NOT INSTALLED: The disk /dev/sda cannot be overwritten: {reason}" in said


def test_unknown_words(machine: Machine) -> None:
    assert "NOT INSTALLED: There is no image.install=maybe. Use auto or ask." in machine.run(CD, mode="maybe")
    assert "There is no image.install.after=dance." in machine.run(CD, words="image.install.after=dance")


def _asked(machine: Machine, *lines: str) -> str:
    """Run the program with a person at a console who answers the questions one after the other."""
    person, console = pty.openpty()
    name = os.ttyname(console).removeprefix("/dev/")
    (machine.path / "sys/class/tty/console/active").write_text(f"{name}\n")

    def answer_all() -> None:
        for line in lines:
            seen = b""
            while not seen.endswith(b"press Enter.\r\r\n"):
                seen += os.read(person, 1)
            os.write(person, line.encode() + b"\n")
        while os.read(person, 1000):
            pass

    threading.Thread(target=answer_all, daemon=True).start()
    return machine.run(CD, Disk("sda"), Disk("sdb", transport="usb"), mode="ask", disk="/dev/sda")


def test_a_person_chooses(machine: Machine) -> None:
    said = _asked(machine, "2", "no", "x", "7", " 2 ", "yes")
    assert "  1) /dev/sda (4096 MiB, ACME Disk)\n  2) /dev/sdb" in said
    assert said.count("Overwrite /dev/sdb (4096 MiB, ACME Disk)? Type yes and press Enter.\n") == 2
    assert "Writing 1024 MiB onto /dev/sdb" in said


def test_a_person_refuses(machine: Machine) -> None:
    said = _asked(machine, "q")
    assert "NOT INSTALLED: You have chosen to leave everything as it is.\n" in said
