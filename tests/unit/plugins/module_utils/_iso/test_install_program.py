# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that installs: which disk it takes, what it says when it takes none, and what it leaves on a disk.

The machine's disks are made up; a disk that is written to is a loop device.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import pty
import random
import re
import signal
import subprocess
import threading
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._iso.install_program import FILES, PROGRAM
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

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
    sector: int = 512
    users: tuple[str, ...] = ()

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
                "LOG-SEC": self.sector,
            }[name]
        )


CD = Disk("sr0", kind="rom", label="WEB_1_0", mounted="/run/live/medium")

# Answers from files "COLUMN,COLUMN" (all disks) and "COLUMN,COLUMN@name" (one).
_LSBLK = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -o) columns=$2; shift ;; /dev/*) name=@${1#/dev/} ;; esac; shift; done
cat "$TABLES/$columns$name" 2>/dev/null
"""
_COLUMNS = ("NAME,TYPE", "RO,SIZE,TYPE,LOG-SEC", "RM,TRAN", "LABEL", "MOUNTPOINT", "PKNAME", "SIZE", "MODEL", "TYPE")


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
        """Run the program, which has to refuse, and return what it says."""
        self.prepare(*disks, mode=mode, words=words, disk=disk, least=least, source=source)
        done = subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    @property
    def command(self) -> list[str]:
        """The program."""
        program = PROGRAM
        for old, new in self.replaced.items():
            assert old in program, old
            program = program.replace(old, new)
        return ["sh", "-c", program]

    @property
    def environment(self) -> dict[str, str]:
        """What the program finds in place of the host's own."""
        return {
            "SYS": str(self.path / "sys"),
            "PROC": str(self.path / "proc"),
            "TABLES": str(self.path / "tables"),
            "PATH": os.environ["PATH"],
        }

    def prepare(
        self,
        *disks: Disk,
        mode: str = "auto",
        words: str = "",
        disk: str = "",
        least: int = GIB,
        source: str = "sr0",
        **settings: t.Any,
    ) -> None:
        """Make the machine's disks and its medium.

        :param settings: What differs in the settings on the medium.
        """
        tables = self.path / "tables"
        for columns in _COLUMNS:
            rows = {item.name: " ".join(item.column(name) for name in columns.split(",")) for item in disks}
            (tables / columns).write_text("".join(f"{row}\n" for row in rows.values()))
            for name, row in rows.items():
                (tables / f"{columns}@{name}").write_text(f"{row}\n")
        for item in disks:
            (tables / f"TYPE@{item.name}").write_text("\n".join([item.kind, "part", *item.users, ""]))
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
            "EXTENDED": "",
            "EXTENDED_FROM": "",
            **settings,
        }
        text = "".join(f"{name}='{value}'\n" for name, value in values.items())
        (self.path / "medium/install/settings").write_text(text)


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
        (Disk("sda", users=("lvm", "crypt", "lvm")), "it is in use (crypt lvm)"),
        (Disk("nvme0n1", sector=4096), "it has sectors of 4096 bytes, and the image is made for 512"),
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
    said = _asked(machine, "2", "no", "x", "7", "0", "18446744073709551617", "r", " 2 ", "yes")
    assert "  1) /dev/sda (4096 MiB, ACME Disk)\n  2) /dev/sdb" in said
    assert said.count("Overwrite /dev/sdb (4096 MiB, ACME Disk)? Type yes and press Enter.\n") == 2
    assert said.count("Nothing was overwritten.\n") == 1
    assert re.findall(r"There is no disk with the number (.*)\.", said) == ["x", "7", "0", "18446744073709551617"]
    assert "Writing 1024 MiB onto /dev/sdb" in said


def test_a_person_refuses(machine: Machine) -> None:
    said = _asked(machine, "q")
    assert "NOT INSTALLED: You have chosen to leave everything as it is.\n" in said


MIB = 1 << 20


@dataclasses.dataclass
class Installation:
    """An image on a medium, and a disk that it is written to.

    :ivar image: The bytes of the image.
    :ivar device: Path of the disk: a loop device.
    :ivar file: What the disk holds.
    """

    machine: Machine
    image: bytes
    device: str
    file: pathlib.Path

    def start(self, **settings: t.Any) -> subprocess.Popen[str]:
        """Start the program."""
        name = self.device.removeprefix("/dev/")
        size = int(call("blockdev", "--getsize64", self.device))
        known = {"SIZE": len(self.image), "SHA256": self.digest, "IMAGE": "install/web.raw.gz", **settings}
        self.machine.prepare(CD, Disk(name, size=size), least=len(self.image), **known)
        return subprocess.Popen(
            self.machine.command,
            env=self.machine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, **settings: t.Any) -> tuple[int, str]:
        """Run the program and return its exit status and what it says."""
        with self.start(**settings) as process:
            said, _errors = process.communicate(timeout=60)
        return process.returncode, said

    @property
    def medium(self) -> pathlib.Path:
        """The packed image."""
        return self.machine.path / "medium/install/web.raw.gz"

    @property
    def digest(self) -> str:
        """The checksum that the medium's image should have."""
        return hashlib.sha256(gzip.compress(self.image, 1, mtime=0)).hexdigest()

    def table(self) -> list[dict[str, t.Any]]:
        """The partitions of the disk; none without a partition table."""
        done = subprocess.run(["sfdisk", "--json", self.device], capture_output=True, text=True, check=False)
        return json.loads(done.stdout)["partitiontable"]["partitions"] if done.returncode == 0 else []


def call(*argv: str, data: str | None = None) -> str:
    return subprocess.run(argv, input=data, check=True, capture_output=True, text=True).stdout


_GPT = "label: gpt\nstart=1MiB,size=4MiB,type=U\nstart=5MiB,size=10MiB,type=L\n"
_LOGICAL = "label: dos\nstart=1MiB,size=4MiB,type=83\nstart=5MiB,size=10MiB,type=5\nstart=6MiB,size=9MiB,type=83\n"


@pytest.fixture
def install(machine: Machine, tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., Installation]]:
    """Prepare an installation: an image of 16 MiB, and a disk."""
    devices: list[str] = []

    def prepare(table: str = _GPT, *, size: int = 64 * MIB) -> Installation:
        raw = tmp_path / "image.raw"
        raw.write_bytes(random.Random(1).randbytes(16 * MIB))
        call("wipefs", "-a", str(raw))
        call("sfdisk", "-q", str(raw), data=table)
        file = tmp_path / "disk"
        with open(file, "wb") as stream:
            # What an earlier system left, with its own partition table.
            stream.write(b"old" * MIB)
            stream.truncate(size)
        devices.append(call("losetup", "--find", "--show", str(file)).strip())
        call("sfdisk", "-q", "--no-reread", devices[-1], data="label: gpt\nstart=2MiB,size=3MiB\n")
        (machine.path / "stubs/wipefs").unlink()
        (machine.path / "stubs/sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.1\n")
        (machine.path / "stubs/efibootmgr").write_text('#!/bin/sh\necho "efibootmgr $*"\n')
        (machine.path / "stubs/efibootmgr").chmod(0o755)
        (machine.path / "sys/firmware/efi").mkdir(parents=True)
        (machine.path / "sys/class/block").symlink_to("/sys/class/block")
        made = Installation(machine, raw.read_bytes(), devices[-1], file)
        made.medium.write_bytes(gzip.compress(made.image, 1, mtime=0))
        return made

    yield prepare
    for device in devices:
        call("losetup", "--detach", device)


@needs_root
def test_the_disk_is_the_image_and_the_last_partition_takes_the_rest(install: t.Callable[..., Installation]) -> None:
    installation = install()
    status, said = installation.run(GROWS_FROM=5 * 2048)
    assert status == 0, said
    assert f"INSTALLED: web 1.0 is on {installation.device}.\n" in said
    assert f"efibootmgr -q -c -d {installation.device} -p 1 -L web 1.0 -l x\n" in said
    # Behind the table, and before the second one.
    assert installation.file.read_bytes()[MIB : 15 * MIB] == installation.image[MIB : 15 * MIB]
    assert "No problems found" in call("sgdisk", "--verify", installation.device)
    assert [(entry["start"], entry["size"]) for entry in installation.table()] == [
        (2048, 4 * 2048),
        (5 * 2048, (63 - 5) * 2048),
    ]


@needs_root
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-100_000], "Writing failed: the medium or the disk .* is damaged"),
        (lambda data: data + gzip.compress(b""), "The image on the medium is damaged: its checksum is wrong"),
    ],
    ids=["cut off", "other bytes"],
)
def test_a_damaged_medium_leaves_a_disk_without_partitions(
    install: t.Callable[..., Installation], damage: t.Callable[[bytes], bytes], message: str
) -> None:
    # As large as the image, so that the second table of that is where firmware looks for it.
    installation = install(size=16 * MIB)
    installation.medium.write_bytes(damage(installation.medium.read_bytes()))
    status, said = installation.run()
    assert status == 1
    assert re.search(f"^NOT INSTALLED: {message}", said, re.MULTILINE), said
    assert "INSTALLED: web" not in said
    assert installation.table() == []
    data = installation.file.read_bytes()
    assert (data[:MIB], data[15 * MIB :]) == (bytes(MIB), bytes(MIB))


@needs_root
def test_an_installation_that_is_cut_off_leaves_a_disk_without_partitions(
    install: t.Callable[..., Installation],
) -> None:
    installation = install()
    packed = installation.medium.read_bytes()
    installation.medium.unlink()
    os.mkfifo(installation.medium)
    process = installation.start()
    try:
        with open(installation.medium, "wb") as medium:
            medium.write(packed[: 12 * MIB])
            medium.flush()
            deadline = time.monotonic() + 30
            while installation.file.read_bytes()[2 * MIB : 3 * MIB] != installation.image[2 * MIB : 3 * MIB]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.communicate()
    assert installation.table() == []
    assert installation.file.read_bytes()[:MIB] == bytes(MIB)


@needs_root
def test_a_disk_that_somebody_holds_is_left_alone(install: t.Callable[..., Installation]) -> None:
    installation = install()
    before = installation.file.read_bytes()
    descriptor = os.open(installation.device, os.O_RDWR | os.O_EXCL)
    try:
        status, said = installation.run()
    finally:
        os.close(descriptor)
    assert status == 1
    assert f"NOT INSTALLED: {installation.device} is in use, or cannot be written to.\n" in said
    assert installation.file.read_bytes() == before


@needs_root
def test_a_logical_partition_grows_with_the_extended_one(install: t.Callable[..., Installation]) -> None:
    installation = install(_LOGICAL)
    grows = {"GROWS": 5, "GROWS_FROM": 6 * 2048, "EXTENDED": 2, "EXTENDED_FROM": 5 * 2048}
    status, said = installation.run(TABLE="mbr", ESP="", **grows)
    assert (status, "enlarged" in said, "efibootmgr" in said) == (0, False, False), said
    assert [(entry["start"], entry["size"]) for entry in installation.table()] == [
        (2048, 4 * 2048),
        (5 * 2048, 58 * 2048),
        (6 * 2048, 57 * 2048),
    ]


@needs_root
def test_an_mbr_ends_at_2_tib(install: t.Callable[..., Installation]) -> None:
    installation = install("label: dos\nstart=1MiB,size=4MiB,type=83\nstart=5MiB,size=10MiB,type=83\n", size=3 << 40)
    status, said = installation.run(TABLE="mbr", GROWS_FROM=5 * 2048)
    assert status == 0, said
    last = installation.table()[-1]
    assert last["start"] + last["size"] == ((1 << 32) - 2048)


@needs_root
def test_firmware_that_takes_no_boot_entry_is_told(install: t.Callable[..., Installation]) -> None:
    installation = install()
    (installation.machine.path / "stubs/efibootmgr").write_text(
        "#!/bin/sh\n"
        'echo "$*" >>"$TABLES/efibootmgr"\n'
        "case $* in '') printf 'BootCurrent: 0001\\nBoot0001* CD\\tPciRoot\\n"
        "Boot0007* web 1.0\\tHD(1)\\nBoot0008  web 1.0\\nBoot0009* web 1.0.1\\tHD(1)\\n' ;; *) exit 5 ;; esac\n"
    )
    status, said = installation.run()
    assert status == 0
    assert "The firmware took no boot entry; it finds the disk by itself, or has to be told.\n" in said
    assert f"INSTALLED: web 1.0 is on {installation.device}.\n" in said
    # Entries of the same name are those of an earlier installation.
    asked = (installation.machine.path / "tables/efibootmgr").read_text().splitlines()
    assert asked[1:] == ["-q -b 0007 -B", "-q -b 0008 -B", f"-q -c -d {installation.device} -p 1 -L web 1.0 -l x"]


@needs_root
def test_lsblk_tells_the_sectors_as_the_program_asks_for_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(MIB))
    device = call("losetup", "--find", "--show", "--sector-size", "4096", str(tmp_path / "disk")).strip()
    try:
        assert call("lsblk", "-d", "-n", "-r", "-b", "-o", "RO,SIZE,TYPE,LOG-SEC", device) == f"0 {MIB} loop 4096\n"
    finally:
        call("losetup", "--detach", device)
