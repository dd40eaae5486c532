# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The form of an image template: the one source of its JSON schema (draft 2020-12).

Everything that is known about a field stands with the field: its type, form, default and description. From here come
the validation, the defaults of the merged template, the schema file for editors, and the reference page.

A C(default) is in every merged template, and so in the digest of the build: giving one to a field that had none changes
all images. What else a description says of a missing value ("by default the id") depends on other fields, the image or
the host; the model has V(None) (or the empty text, where that is the C(default)) for it, and the one place that acts on
the field decides. There is no third kind of default.

To add a field: add it to the section below that it belongs to, and to its class in C(model.py). What a schema cannot
say (other fields, files) becomes a check in C(_checks/); how the default template and the user's go together is said in
C(merge.py); fields that name local files are listed in C(references.py).
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOT_TYPES,
    BOOTLOADERS,
    EFI,
    SYSTEMD_BOOT,
)
from ansible_collections.os_image.composer.plugins.module_utils._compression import (
    COMPRESSIONS,
    UNSUPPORTED_COMPRESSIONS,
)
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_FLAGS, PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY

Schema = t.Dict[str, t.Any]

SCHEMA_ID = "https://github.com/os-image/os_image.composer/raw/main/docs/schema/os-image-template.schema.json"

#: A size: a number and a unit without a blank between them.
SIZE_PATTERN = r"^[1-9][0-9]{0,11}(KiB|MiB|GiB|TiB|K|M|G|T|KB|MB|GB|TB)$"
_SIZE_FORM = (
    "a whole number with one of the units KiB, MiB, GiB, TiB (or K, M, G, T; KB, MB, GB, TB are powers of 1000)"
)
_CONTENT_PATTERN = SIZE_PATTERN.replace("^", "^(content|", 1).replace("$", ")$")


def _string(description: str, *, pattern: str | None = None, form: str | None = None, **more: t.Any) -> Schema:
    """A text. O(form) says in words what O(pattern) demands."""
    schema: Schema = {"type": "string", "description": description}
    if pattern is not None:
        schema["pattern"] = pattern
    if form is not None:
        schema["patternErrorMessage"] = form
    return {**schema, **more}


def _file_systems(junction: str, **facts: bool) -> str:
    """Name the file systems for which something holds: C(ext3, ext4, xfs or btrfs)."""
    names = [
        name
        for name, kind in FILE_SYSTEMS.items()
        if all(getattr(kind, fact) is value for fact, value in facts.items())
    ]
    return f"{', '.join(names[:-1])} {junction} {names[-1]}"


def _choice(description: str, choices: t.Sequence[str], **more: t.Any) -> Schema:
    return {"type": "string", "description": description, "enum": list(choices), **more}


class _Kind(t.Protocol):
    """Something that templates choose by name."""

    @property
    def aliases(self) -> t.Tuple[str, ...]: ...


def _choice_among(
    kinds: t.Mapping[str, _Kind], description: str, *, also: t.Sequence[str] = (), **more: t.Any
) -> Schema:
    """One of a table's names, or of the other words for them, which are told after O(description).

    O(also) are names that no table knows.
    """
    same = [(alias, name) for name, kind in kinds.items() for alias in kind.aliases]
    told = ", ".join(f"{alias} {'' if index else 'is '}the same as {name}" for index, (alias, name) in enumerate(same))
    words = [word for name, kind in kinds.items() for word in (name, *kind.aliases)]
    return _choice(f"{description}; {told}.", [*words, *also], **more)


def _boolean(description: str, **more: t.Any) -> Schema:
    return {"type": "boolean", "description": description, **more}


def _list(description: str, items: Schema, **more: t.Any) -> Schema:
    return {"type": "array", "description": description, "items": items, "default": [], **more}


def _object(description: str, properties: Schema, *, required: t.Sequence[str] = (), **more: t.Any) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        schema["required"] = list(required)
    return {**schema, **more}


def _one_of(*names: str) -> t.List[Schema]:
    """Demand exactly one of several keys."""
    return [{"required": [name]} for name in names]


_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$"
_NAME_FORM = "letters, digits, hyphens and underscores, beginning and ending with a letter or digit"
_PACKAGE = r"^(?:/[A-Za-z0-9+_.,@%~/-]+|[A-Za-z0-9][A-Za-z0-9+_.:~^*?=\[\]()/-]*)$"
_PACKAGE_FORM = (
    "a package name, name=version, name-version, a glob such as linux-headers-*, or in RPM distributions what a "
    "package provides, a file for example"
)
_REQUEST = (
    _PACKAGE[:-2] + r"|@[A-Za-z0-9+_.-]+(?::[A-Za-z0-9+_.-]+)?(?:/[A-Za-z0-9+_.-]+)?"
    r"|[A-Za-z0-9/][A-Za-z0-9+_.:~^()/-]* *(?:<=|>=|=|<|>) *[A-Za-z0-9+_.:~^-]+|\([A-Za-z0-9+_.,:~^()/<>= -]+\))$"
)
_REQUEST_FORM = (
    "a package name, name=version, name-version, a glob such as linux-headers-*, or in RPM distributions what a "
    "package provides, a file for example, a condition such as 'openssl >= 3.0', or @module:stream/profile"
)
_MODULE_STREAM = r"^[A-Za-z0-9+_.-]+:[A-Za-z0-9+_.-]+$"
# What useradd and groupadd of all distributions take without --badname. Names of digits alone are numbers to chown.
_USER = r"^(?!\.{1,2}$|[0-9]+$)[A-Za-z0-9_.][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?$"
_USER_FORM = (
    "at most 32 letters of ASCII, digits, dots, underscores and hyphens, with a $ at the end if wanted; not a hyphen "
    "first, nor digits alone"
)
_ABSOLUTE = r"^/[^\u0000]*$"
_ABSOLUTE_FORM = "an absolute path"
_UNIT = r"^[A-Za-z0-9:_.@\\-]{1,200}$"
_UNIT_FORM = "the name of a systemd unit such as ssh.service, or ssh"
_LOCAL_FORM = "a path relative to the template, or an absolute one on the build host"

IMAGE = _object(
    "What the image is called.",
    {
        "name": _string(
            "The name of the image; part of the names of its artifacts.",
            pattern=_NAME,
            form=_NAME_FORM,
            maxLength=100,
        ),
        "version": _string(
            "The version of the image; part of the names of its artifacts.",
            pattern=r"^[0-9]+(\.[0-9]+){0,2}([-+~._][A-Za-z0-9]+)*$",
            form='one to three numbers with dots between them, and a suffix if wanted, in quotes: "1.0.3-rc1"',
            maxLength=64,
        ),
    },
    required=["name", "version"],
)

TARGET = _object(
    "What the image is built for. The provider is found by these names under config/osv/.",
    {
        "os": _string(
            "The operating system, a directory below config/osv/.",
            pattern=_NAME,
            form=_NAME_FORM,
            examples=["debian"],
        ),
        "dist": _string(
            "The release, a directory below the operating system's.",
            pattern=_NAME,
            form=_NAME_FORM,
            examples=["debian12", "debian13"],
        ),
        "arch": _choice("The architecture.", ["x86_64", "aarch64", "armv7hl"]),
        "imageType": _choice_among(IMAGE_TYPES, "What is built: a disk, an ISO, or an initrd"),
    },
    required=["os", "dist", "arch", "imageType"],
)

# What the type says already has no effect as a flag, except for the ESP's, which all templates have.
_PARTITION_FLAGS = [name for name in PARTITION_FLAGS if name not in ("root", "swap")]

PARTITION = _object(
    "A partition of the disk.",
    {
        "id": _string(
            "The name of the partition in messages and results; its GPT name when no name is given.",
            pattern=_NAME,
            form=_NAME_FORM,
            maxLength=36,
        ),
        "name": _string("The GPT name; by default the id.", maxLength=36, default=""),
        "index": {
            "type": "integer",
            "description": "The number in the partition table; by default the next free one.",
            "minimum": 1,
            "maximum": 128,
        },
        "type": _choice(
            "What the partition is for; by default what its flags and its file system say.",
            list(PARTITION_TYPES),
        ),
        "mbrType": _string(
            "The type on an MBR disk as two hexadecimal digits, for types that have no name here. It overrides type.",
            pattern=r"^(0x)?[0-9A-Fa-f]{1,2}$",
            form='hexadecimal digits in quotes: "83"',
            examples=["83", "0x0c"],
        ),
        "typeUUID": _string(
            "The GPT type as a UUID, for types that have no name here. It overrides type.",
            pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
            form="a UUID",
        ),
        "fsType": _choice(
            "The file system; without one the partition is left empty. fat32 and vfat are the same.",
            list(FILE_SYSTEMS),
        ),
        "fsLabel": _string(
            "The label of the file system.",
            maxLength=max(kind.label_length for kind in FILE_SYSTEMS.values()),
            default="",
        ),
        "start": _string(
            "Where the partition begins, from the beginning of the disk; by default behind the one before it.",
            pattern=SIZE_PATTERN,
            form=_SIZE_FORM,
            examples=["1MiB"],
        ),
        "end": _string(
            'Where the partition ends (the first byte after it); "0" is the end of the disk.',
            pattern=SIZE_PATTERN.replace("^", "^(0|", 1).replace("$", ")$"),
            form='"0" for the end of the disk, or ' + _SIZE_FORM,
            examples=["257MiB", "0"],
        ),
        "size": _string(
            "The size of the partition, in place of its end; content makes it a tenth larger than its files need, "
            f"for {_file_systems('and', is_compressed=True)} before they are compressed.",
            pattern=_CONTENT_PATTERN,
            form="content, or " + _SIZE_FORM,
            examples=["1GiB", "content"],
        ),
        "growOnBoot": _boolean(
            f"Let the partition, the last one of a GPT disk, and its {_file_systems('or', grows_online=True)} fill "
            "the disk at boot; "
            "systemd-repart in the image does that.",
            default=False,
        ),
        "mkfsOptions": _list(
            "More arguments for the program that makes the file system, such as -m and 5 for ext4.",
            _string("An argument.", minLength=1),
        ),
        "mountPoint": _string(
            "Where the partition is mounted. Without one, or with none, it is formatted and not mounted.",
            pattern=r"^(|none|/[^\s\u0000]*)$",
            form="an absolute path without blanks, or none",
            default="",
        ),
        "mountOptions": _string(
            "The mount options, as in fstab.",
            pattern=r"^[^\s\u0000]+$",
            form="options with commas between them and no blanks",
            default="defaults",
        ),
        "flags": _list(
            "Flags of the partition. esp makes it the ESP, as type esp does; boot is the boot flag of an MBR.",
            _choice("A flag.", _PARTITION_FLAGS),
        ),
    },
    required=["id"],
    oneOf=_one_of("end", "size"),
)

MOUNT = _object(
    "Something that is mounted beside the partitions, or a swap file: a line of fstab.",
    {
        "source": _string(
            "What is mounted: a device, or LABEL=, UUID=, PARTLABEL= or PARTUUID= and its name; server:/directory for "
            "nfs, //server/share for cifs; the directory for bind; the file for swap. By default the fsType, which is "
            "right for tmpfs and others that lie on nothing.",
            pattern=r"^[^\u0000-\u001f\u007f#][^\u0000-\u001f\u007f]*$",
            form="a text without control characters that does not begin with #",
            examples=["LABEL=data", "nas.example.com:/export", "/srv/data", "/swapfile"],
        ),
        "fsType": _string(
            "The file system as mount(8) calls it, for example tmpfs, nfs or ext4; bind or rbind for a directory that "
            "is shown at a second place; swap for swap space.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._+,-]*$",
            form="the name of a file system",
            examples=["tmpfs", "nfs4", "bind", "swap"],
        ),
        "mountPoint": _string(
            "Where it is mounted; blanks are written as they are. Swap space has none.",
            pattern=r"^(|none|/[^\u0000-\u001f\u007f]*)$",
            form="an absolute path, or none",
            default="",
        ),
        "mountOptions": _string(
            "The mount options, as in fstab.",
            pattern=r"^[^\s\u0000]+$",
            form="options with commas between them and no blanks",
            default="defaults",
        ),
        "size": _string(
            "The size of a swap file, which the system makes when it first boots.",
            pattern=SIZE_PATTERN,
            form=_SIZE_FORM,
            examples=["1GiB"],
        ),
        "check": _boolean("Whether the file system of a device is checked at boot; by default it is not."),
    },
    required=["fsType"],
)

_LEVELS = [
    f"{entry.levels[0]} to {entry.levels[-1]} for {name} (by default {entry.default_level})"
    for name, entry in COMPRESSIONS.items()
]
_SUBFORMATS = [
    f"{' or '.join([f'{entry.subformats[0]} (by default)', *entry.subformats[1:]])} for {name}"
    for name, entry in FORMATS.items()
    if entry.subformats
]

ARTIFACT = _object(
    "A file that the build leaves.",
    {
        "type": _choice("The format of the image.", list(FORMATS)),
        "compression": _choice_among(COMPRESSIONS, "How the file is compressed", also=UNSUPPORTED_COMPRESSIONS),
        "level": {
            "type": "integer",
            "description": f"How hard the compression tries: {', '.join(_LEVELS)}.",
            "minimum": min(entry.levels[0] for entry in COMPRESSIONS.values()),
            "maximum": max(entry.levels[-1] for entry in COMPRESSIONS.values()),
            "examples": [9],
        },
        "subformat": _choice(
            f"The variant of the format: {', '.join(_SUBFORMATS)}.",
            [name for entry in FORMATS.values() for name in entry.subformats],
        ),
    },
    required=["type"],
)

DISK = _object(
    "The disk, its partitions, and the files that the build leaves.",
    {
        "name": _string("The name of the disk, for people; in the manifest.", maxLength=100, default=""),
        "path": _string(
            "The disk of the machine that an installer ISO writes to; by default the only one that fits, which is "
            "neither the boot medium nor removable.",
            pattern=r"^/dev/[A-Za-z0-9_./:-]+$",
            form="a device such as /dev/nvme0n1, or a link below /dev/disk/",
            examples=["/dev/sda"],
        ),
        "size": _string(
            "The size of the disk; content lets it end with its last partition.",
            pattern=_CONTENT_PATTERN,
            form="content, or " + _SIZE_FORM,
            examples=["4GiB"],
        ),
        "partitionTableType": _choice("The kind of partition table.", ["gpt", "mbr"], default="gpt"),
        "artifacts": _list("The files that the build leaves. Without any, the raw image is left.", ARTIFACT),
        "partitions": _list("The partitions, in the order of their numbers.", PARTITION, maxItems=128),
        # Without a default, which would be in the digest of every image.
        "mounts": {
            "type": "array",
            "description": "What else is mounted at boot: memory, other disks, network file systems, directories at a "
            "second place; and swap files. Lines that packages, commands, scripts and additional files write into "
            "/etc/fstab are kept beside.",
            "items": MOUNT,
            "maxItems": 256,
        },
    },
)

ISO = _object(
    "What an ISO is: a system that runs from the medium, or one that installs itself onto the disk section's disk.",
    {
        "type": _choice(
            "live runs from the medium, and writes nothing to the machine; installer also holds the image as a disk, "
            "and writes that to a disk of the machine. By default an installer when disk.partitions are given.",
            ["live", "installer"],
        ),
        "volumeId": _string(
            "The volume identifier of the ISO; by default made of image.name and image.version.",
            pattern=r"^[A-Z0-9_]{1,32}$",
            form="at most 32 capital letters, digits and underscores",
            examples=["KIOSK_1_0"],
        ),
        "unattended": _boolean(
            "Whether the installer starts by itself, without a question; otherwise it asks on the console which disk "
            "to overwrite. The boot menu offers both, and the system without an installation.",
            default=True,
        ),
        "afterInstall": _choice(
            "What the machine does when the installation is complete.", ["poweroff", "reboot"], default="poweroff"
        ),
    },
)

KERNEL = _object(
    "The kernel.",
    {
        "name": _string("The name of the kernel, for people; in the manifest.", maxLength=100, default=""),
        "version": _string(
            "The version of the kernel packages, or its beginning. Without one, the newest is taken.",
            pattern=r"^([0-9][A-Za-z0-9.+~:-]*)?$",
            form='a version such as "6.12"',
            default="",
        ),
        "cmdline": _string("The kernel command line, without root=.", maxLength=1500, default=""),
        "enableExtraModules": _string(
            "Kernel modules that the initramfs holds beside its own, with blanks between them.",
            pattern=r"^[A-Za-z0-9_ -]*$",
            form="names of kernel modules with blanks between them",
            default="",
        ),
        "packages": _list(
            "The packages that hold the kernel.", _string("A package.", pattern=_REQUEST, form=_REQUEST_FORM)
        ),
        "uki": _boolean(
            "Put kernel, initramfs and command line together into one EFI file (unified kernel image).", default=False
        ),
    },
    default={},
)

BOOTLOADER = _object(
    "The bootloader.",
    {
        "bootType": _choice(
            "The firmware that boots the image; legacy is a BIOS. hybrid is for both, by GRUB for a BIOS beside the "
            "provider's bootloader for UEFI.",
            list(BOOT_TYPES),
            default=EFI,
        ),
        "provider": _choice_among(BOOTLOADERS, "The bootloader", default=SYSTEMD_BOOT),
        "signed": _boolean(
            "Boot with the distribution's signed shim and GRUB, which Secure Boot accepts with the keys of most "
            "machines.",
            default=False,
        ),
        "timeout": {
            "type": "integer",
            "description": "Seconds that the menu is shown before the default entry boots; 0 for no menu.",
            "minimum": 0,
            "maximum": 3600,
        },
        "default": _string(
            "The kernel that boots by default, of several: its version, or the beginning of it; by default "
            "kernel.version, or the newest one.",
            pattern=r"^([0-9][A-Za-z0-9.+~:_-]*)?$",
            form='a version such as "6.12"',
            default="",
        ),
    },
    default={},
)

USER = _object(
    "An account. Without a password and an SSH key nobody can log in to it.",
    {
        "name": _string("The login name.", pattern=_USER, form=_USER_FORM),
        "password": _string(
            "The password: a hash in the form of crypt(3), or plain text, which is hashed at once and stored nowhere.",
            maxLength=512,
        ),
        "hash_algo": _choice("How a plain password is hashed.", ["sha512", "sha256", "md5", "bcrypt"]),
        "passwordMaxAge": {
            "type": "integer",
            "description": "After how many days the password must be changed.",
            "minimum": 0,
            "maximum": 99999,
        },
        "groups": _list(
            "Groups beside the user's own; those that do not exist are made, with numbers for system groups.",
            _string("A group.", pattern=_USER, form=_USER_FORM),
        ),
        "sudo": _boolean("Whether the user may run everything by sudo.", default=False),
        "uid": {
            "type": "integer",
            "description": "The user's number; by default the next free one. Accounts of packages keep theirs.",
            "minimum": 0,
            # The one behind it is (uid_t)-1, which stands for no user.
            "maximum": 4294967294,
            "examples": [1500],
        },
        "home": _string("The home directory; by default /home/name.", pattern=_ABSOLUTE, form=_ABSOLUTE_FORM),
        "shell": _string("The login shell; by default /bin/bash.", pattern=_ABSOLUTE, form=_ABSOLUTE_FORM),
        "sshKeys": _list(
            "Public SSH keys that may log in, one line each, as in authorized_keys.",
            _string("A public key.", maxLength=16384),
        ),
        "startupScript": _string(
            "A program of the image that runs in place of the login shell.", pattern=_ABSOLUTE, form=_ABSOLUTE_FORM
        ),
    },
    required=["name"],
)

_ADDRESS = "An IP address"

ROUTE = _object(
    "A route.",
    {
        "to": _string("The destination network, or default.", examples=["10.0.0.0/8"]),
        "via": _string("The gateway."),
    },
    required=["to", "via"],
)

INTERFACE = _object(
    "A network interface, or all those that a pattern matches.",
    {
        "name": _string(
            "The name of the interface.",
            pattern=r"^[A-Za-z0-9_.-]{1,15}$",
            form="an interface name of at most 15 characters",
        ),
        "match": _string(
            "A glob for the names of interfaces, for example en*.",
            pattern=r"^[A-Za-z0-9_.*?\[\]! -]{1,100}$",
            form="a glob such as en*",
        ),
        "dhcp4": _boolean("Ask for an IPv4 address by DHCP.", default=False),
        "dhcp6": _boolean("Ask for an IPv6 address by DHCPv6.", default=False),
        "addresses": _list("Static addresses with their prefix length.", _string("192.0.2.10/24 or 2001:db8::10/64.")),
        "gateway4": _string("The default IPv4 gateway."),
        "gateway6": _string("The default IPv6 gateway."),
        "routes": _list("Further routes.", ROUTE),
        "nameservers": _list("DNS servers.", _string(_ADDRESS + ".")),
        "domains": _list(
            "DNS search domains.",
            _string("A domain.", pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$", form="a domain name"),
        ),
    },
    oneOf=_one_of("name", "match"),
)

NETWORK = _object(
    "The network.",
    {
        "backend": _choice("What sets the network up.", ["systemd-networkd"], default="systemd-networkd"),
        "interfaces": _list("The interfaces. The user's list replaces that of the default template.", INTERFACE),
    },
    default={},
)

SERVICES = _object(
    "Systemd units.",
    {
        "enable": _list("Units that start at boot.", _string("A unit.", pattern=_UNIT, form=_UNIT_FORM)),
        "disable": _list("Units that do not start at boot.", _string("A unit.", pattern=_UNIT, form=_UNIT_FORM)),
        "mask": _list("Units that can never start.", _string("A unit.", pattern=_UNIT, form=_UNIT_FORM)),
    },
    default={},
)

ADDITIONAL_FILE = _object(
    "A file that is copied into the image.",
    {
        "local": _string("The file: " + _LOCAL_FORM + ".", minLength=1),
        "final": _string(
            "Its path in the image. Directories above it are made; those in a home directory belong to the user.",
            pattern=_ABSOLUTE,
            form=_ABSOLUTE_FORM,
        ),
        "mode": _string(
            "Its permissions; by default those that the file has, without those for writing by others.",
            pattern=r"^[0-7]{3,4}$",
            form='octal digits in quotes: "0644"',
            examples=["0644"],
        ),
        "owner": _string("Its owner.", pattern=_USER, form=_USER_FORM, default="root"),
        "group": _string("Its group.", pattern=_USER, form=_USER_FORM, default="root"),
    },
    required=["local", "final"],
)

CONFIGURATION = _object(
    "A shell command that runs in the image.",
    {"cmd": _string("The command, run as root by the image's shell; it must end with status 0.", minLength=1)},
    required=["cmd"],
)

SCRIPT = _object(
    "A script that runs in the image.",
    {
        "name": _string("What the script does, for logs.", default="", maxLength=100),
        "file": _string("The script: " + _LOCAL_FORM + ".", minLength=1),
        "inline": _string("The script itself. Without a #! line, the image's shell runs it.", minLength=1),
        "network": _boolean("Whether the script may use the network of the build host.", default=False),
    },
    oneOf=_one_of("file", "inline"),
)

SCRIPTS = _object(
    "Scripts that run in the image while it is built.",
    {
        "preInstall": _list("Run before the packages of the image are installed.", SCRIPT),
        "postInstall": _list("Run at the end, after everything else of systemConfig.", SCRIPT),
    },
    default={},
)

INITRAMFS = _object(
    "The initramfs.",
    {
        "generator": _choice(
            "The program that makes it; auto takes the one that the image's packages bring.",
            ["auto", "initramfs-tools", "dracut"],
            default="auto",
        ),
        "template": _string(
            "Of the original's ISO templates, in which it names what the installer's initrd is built from: makes the "
            "ISO an installer. The installer runs in the image's own live system, and nothing is built from it.",
            minLength=1,
        ),
    },
    default={},
)

#: The values of C(immutability.etc).
ETC_FORMS = ("readonly", "volatile", "persistent")

#: The values of C(immutability.rootHashSignature).
SIGNATURE_FORMS = ("kept", "demanded")

IMMUTABILITY = _object(
    "Protection of the boot chain and the root file system.",
    {
        "enabled": _boolean("Protect the root file system by dm-verity.", default=False),
        "etc": _choice(
            "What becomes of changes in /etc: readonly allows none; volatile, which is meant without the key, keeps "
            "them in memory until the system ends; persistent keeps them on the partition that is mounted at /var, "
            "where dm-verity does not protect them.",
            ETC_FORMS,
        ),
        "rootHashSignature": _choice(
            "Signs the root hash by itself, too, with the key of signing.secureBoot, and puts the signature onto a "
            "partition of its own. With kept it is there for programs that open images; with demanded the kernel opens "
            "the root file system only by a signature of a certificate that the firmware knows.",
            SIGNATURE_FORMS,
        ),
        "secureBootDBKey": _string(
            "The private key that signs the boot chain: " + _LOCAL_FORM + ".",
            pattern=r"\.(key|pem)$",
            form="a path that ends in .key or .pem",
        ),
        "secureBootDBCrt": _string(
            "Its certificate (PEM): " + _LOCAL_FORM + ".",
            pattern=r"\.(crt|pem)$",
            form="a path that ends in .crt or .pem",
        ),
        "secureBootDBCer": _string(
            "Its certificate (DER), for enrolment in firmware: " + _LOCAL_FORM + ".",
            pattern=r"\.cer$",
            form="a path that ends in .cer",
        ),
    },
    default={},
    dependentRequired={
        "secureBootDBKey": ["secureBootDBCrt"],
        "secureBootDBCrt": ["secureBootDBKey"],
        "secureBootDBCer": ["secureBootDBKey", "secureBootDBCrt"],
    },
)

SECURITY = _object(
    "Mandatory access control, and a set of stricter settings.",
    {
        "selinux": _choice(
            "The mode of SELinux. disabled turns it off on the kernel command line too.",
            ["enforcing", "permissive", "disabled"],
        ),
        "apparmor": _choice(
            "Whether the kernel starts with AppArmor; without the key the kernel's own default holds.",
            ["enabled", "disabled"],
        ),
        "hardening": _list(
            "Sets of stricter settings: sysctl (the kernel's interfaces, links and network), kernel (memory is cleared "
            "and shuffled, no vsyscalls; on its command line), modules (rare file systems and protocols cannot be "
            "loaded), ssh (no passwords and no root), coredumps (none are kept).",
            _choice("A set.", ["sysctl", "kernel", "modules", "ssh", "coredumps"]),
        ),
    },
    default={},
)

SECURE_BOOT_SIGNING = _object(
    "Signs the boot chain for UEFI Secure Boot, as the keys of immutability do.",
    {
        "key": _string(
            "The private key (PEM; a passphrase is an option of the build): "
            + _LOCAL_FORM
            + ". Or the PKCS#11 URI of a "
            "key on a token, without its PIN, which is an option of the build. Without a key, another host signs.",
            minLength=1,
            examples=["keys/db.key", "pkcs11:token=fleet;object=db"],
        ),
        "certificate": _string("Its certificate (PEM, RSA of 2048 bits or more): " + _LOCAL_FORM + ".", minLength=1),
        "certificateDer": _string(
            "The certificate as DER, for enrolment in firmware: " + _LOCAL_FORM + ".", minLength=1
        ),
        # These have no default, which would be in the digest of every signed image.
        "generate": {
            "type": "boolean",
            "description": "Whether keys for tests are generated, once for each work directory, in place of named "
            "ones.",
        },
        "enrol": _choice(
            "Whether systemd-boot enrols the keys in a machine whose firmware is in setup mode: force does at the "
            "first boot, after 15 seconds in which it can be stopped; manual offers it in the boot menu.",
            ["force", "manual"],
        ),
        "programs": {
            "type": "array",
            "description": "EFI programs to be signed beside those that the build itself puts onto the EFI system "
            "partition, by the SHA-256 digest of the file: those of packages, additional files and scripts. Any other "
            "program there is an error.",
            "items": _string("A digest.", pattern=r"^[0-9a-f]{64}$", form="64 lower-case hexadecimal digits"),
        },
    },
)

CHECKSUMS_SIGNING = _object(
    "Signs SHA256SUMS, which has the digests of all published files, the manifest, and the provenance.",
    {
        "key": _string(
            "The secret OpenPGP key (gpg --armor --export-secret-keys): " + _LOCAL_FORM + "; or the PKCS#11 URI of a "
            "key on a token of the build host, which needs certificate. What protects either, a passphrase or a PIN, "
            "is given to image_finalize.",
            minLength=1,
        ),
        "certificate": _string("The certificate (PEM) of a key on a token: " + _LOCAL_FORM + ".", minLength=1),
        "fingerprint": _string(
            "Instead of key: the fingerprint of an OpenPGP key that the build host's own GnuPG has, with the secret "
            "half in its agent or on a smart card.",
            pattern=r"^[0-9A-Fa-f]{40}$",
            form="40 hexadecimal digits",
        ),
    },
    oneOf=_one_of("key", "fingerprint"),
)

SIGNING = _object(
    "Signatures that the build makes.",
    {
        "secureBoot": SECURE_BOOT_SIGNING,
        "checksums": CHECKSUMS_SIGNING,
        # Without a default, which would be in the digest of every image.
        "provenance": _boolean(
            "Publishes what the image was made from and by as an in-toto statement with a SLSA provenance, signed with "
            "the key of checksums when there is one; by default it is not."
        ),
    },
    default={},
)

SBOM = _object(
    "The bill of materials (SPDX), which is published with the image and lies in it below /usr/share/sbom.",
    {
        "cyclonedx": _boolean("Adds a CycloneDX document beside the SPDX one.", default=False),
        "files": _boolean(
            "Lists all files with their checksums, so that an installed system can be verified.", default=False
        ),
    },
    default={},
)

SYSTEM_CONFIG = _object(
    "What the system in the image is.",
    {
        "name": _string(
            "The name of the configuration and of its build directory; by default image.name.",
            pattern=_NAME,
            form=_NAME_FORM,
            maxLength=100,
        ),
        "description": _string("What the image is for, for people; in the manifest and the SBOM.", default=""),
        "hostname": _string("The host name.", maxLength=64, default=""),
        "timezone": _string("The time zone.", examples=["Europe/Berlin"], default=""),
        "locale": _string("The locale.", examples=["C.UTF-8", "de_DE.UTF-8"], default=""),
        "packages": _list(
            "Packages, beside those of the default template.",
            _string("A package.", pattern=_REQUEST, form=_REQUEST_FORM),
        ),
        # Without a default, which would be in the digest of every image.
        "components": {
            "type": "array",
            "description": "The components of the provider's repositories that packages are taken from, instead of "
            "those that are the default: main for Debian, all four for Ubuntu. In DEB distributions only; repositories "
            "of packageRepositories have a key of their own.",
            "items": _string(
                "A component.",
                pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$",
                form="the name of a component such as non-free-firmware",
                examples=["non-free-firmware"],
            ),
            "examples": [["main", "non-free-firmware"]],
        },
        "modules": {
            "type": "array",
            "description": "Streams of modules that are enabled in the place of their modules' default ones. In RPM "
            "distributions only; platform:el9 says what the distribution is, where its packages do not.",
            "items": _string("A stream.", pattern=_MODULE_STREAM, form="module:stream", examples=["nodejs:20"]),
        },
        "weakDependencies": _boolean(
            "Whether packages that others only recommend are installed, too. In RPM distributions only.", default=False
        ),
        "documentation": _boolean(
            "Whether the documentation of packages is installed: manual pages, info files, and what is in "
            "/usr/share/doc. Licences are in any case. What the image's own package manager installs later follows.",
            default=True,
        ),
        "kernel": KERNEL,
        "bootloader": BOOTLOADER,
        "users": _list("Accounts.", USER),
        "network": NETWORK,
        "services": SERVICES,
        "additionalFiles": _list("Files that are copied into the image.", ADDITIONAL_FILE),
        "configurations": _list("Commands that run in the image, in this order.", CONFIGURATION),
        "scripts": SCRIPTS,
        "initramfs": INITRAMFS,
        "immutability": IMMUTABILITY,
        "security": SECURITY,
        "signing": SIGNING,
        "sbom": SBOM,
    },
    default={},
)

#: The keys of which one says where a repository lies.
REPOSITORY_PLACES = ("url", "mirror", "path", "metalink", "mirrorlist")

PACKAGE_REPOSITORY = _object(
    "A package repository beside the provider's. Without any place such as url, one that the provider knows by this "
    "codename, such as bookworm-backports.",
    {
        "name": _string(
            "The name of the repository in messages and documents; by default the codename. One that the provider has "
            "is replaced by this one.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            form="letters, digits, dots, hyphens and underscores",
            maxLength=100,
        ),
        "codename": _string(
            "The suite of a Debian repository, the name of an RPM one. What ends in a slash is no suite, but the "
            "directory below url that has Packages and Release, of a repository without suites and components; ./ and "
            "/ are url itself.",
            pattern=r"^(\.?/|(\./)?[A-Za-z0-9][A-Za-z0-9_.+~/-]*)$",
            form="the name of a suite such as bookworm, or the directory of a repository without suites, such as ./",
        ),
        "url": _string("The base URL.", examples=["https://packages.example.com/debian"]),
        "mirror": _string(
            "The name of a mirror, given its URL by the build host or by the mirrors option.",
            pattern=_NAME,
            form=_NAME_FORM,
            examples=["debian"],
        ),
        "path": _string("A directory of loose packages on the build host.", pattern=_ABSOLUTE, form=_ABSOLUTE_FORM),
        "metalink": _string(
            "The URL of a list of the mirrors of an RPM repository that tells the digest of its metadata, as dnf has "
            "it. The mirrors are asked in the order of the list.",
            minLength=1,
            examples=["https://mirrors.example.com/metalink?repo=tools-el10&arch=$basearch"],
        ),
        "mirrorlist": _string(
            "The URL of a list of the mirrors of an RPM repository, one in each line, as dnf has it.",
            minLength=1,
            examples=["https://mirrors.example.com/mirrorlist?repo=tools-el10&arch=$basearch"],
        ),
        "pkey": _string(
            "The key that signs it: "
            + _LOCAL_FORM
            + ", else on the controller, also as file:///...; or its URL, which needs fingerprints.",
            minLength=1,
        ),
        "pkeys": _list("Further such keys.", _string("A key file or its URL.", minLength=1)),
        "fingerprints": _list(
            "Fingerprints of the keys that may sign it; by default every key in the key files.",
            _string("A fingerprint.", pattern=r"^[0-9A-Fa-f]{40}$", form="40 hexadecimal digits"),
        ),
        "gpgcheck": _boolean(
            "Whether signatures are checked. Only turn that off for repositories of your own.", default=True
        ),
        "repoGpgcheck": _boolean(
            "Whether the metadata of an RPM repository has to be signed too. Some vendors sign their packages only, "
            "which are verified all the same; but whoever controls the server can then hold updates back.",
            default=True,
        ),
        "component": _string(
            "Components of a Debian repository, with blanks between them. One without suites has none.",
            pattern=r"^[A-Za-z0-9_./-]+( [A-Za-z0-9_./-]+)*$",
            form="names of components with blanks between them",
            default="main",
        ),
        "priority": {
            "type": "integer",
            "description": f"The priority as in apt_preferences(5); 0 stands for {DEFAULT_PRIORITY}, below 0 nothing "
            "is taken from it.",
            "minimum": -9999,
            "maximum": 9999,
            "default": DEFAULT_PRIORITY,
        },
        "allowPackages": _list(
            "The only packages that are taken from it, also in the place of the provider's: names, or globs such as "
            "docker-*. Without any, it only adds packages that the provider does not have.",
            _string("A package.", pattern=_PACKAGE, form=_PACKAGE_FORM),
        ),
        "excludePackages": _list(
            "The packages that are never taken from it, even if allowPackages names them: names, or globs.",
            _string("A package.", pattern=_PACKAGE, form=_PACKAGE_FORM),
        ),
        "moduleHotfixes": _boolean(
            "Whether packages of an RPM repository are taken whichever streams of modules are active."
        ),
        "maxAge": {
            "type": "integer",
            "description": "How many days old its metadata may be. When three quarters are over, builds warn. 0 sets "
            "no limit; a date until which the metadata itself says that it is valid holds in any case.",
            "minimum": 0,
            "maximum": 36500,
            "examples": [30],
        },
    },
    required=["codename"],
    # Without any of them, one that the provider knows.
    oneOf=[*_one_of(*REPOSITORY_PLACES), {"not": {"anyOf": _one_of(*REPOSITORY_PLACES)}}],
)

REPOSITORY = _object(
    "A package repository in the words of dnf: a short form of packageRepositories.",
    {
        "name": _string(
            "The name of the repository in messages and documents; the suite of a Debian repository too.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            form="letters, digits, dots, hyphens and underscores",
            maxLength=100,
        ),
        "baseurl": _string("The base URL.", examples=["https://packages.example.com/el10/$basearch"]),
        "metalink": PACKAGE_REPOSITORY["properties"]["metalink"],
        "mirrorlist": PACKAGE_REPOSITORY["properties"]["mirrorlist"],
        "gpgcheck": PACKAGE_REPOSITORY["properties"]["gpgcheck"],
        "repo_gpgcheck": {
            **PACKAGE_REPOSITORY["properties"]["repoGpgcheck"],
            "description": "Whether the metadata has to be signed too, as repoGpgcheck.",
        },
        "gpgkey": _string(
            "The key that signs it: " + _LOCAL_FORM + "; or its URL, which needs fingerprints.", minLength=1
        ),
        "fingerprints": PACKAGE_REPOSITORY["properties"]["fingerprints"],
        "module_hotfixes": {
            **PACKAGE_REPOSITORY["properties"]["moduleHotfixes"],
            "description": "Whether its packages are taken whichever streams of modules are active, as moduleHotfixes.",
        },
    },
    required=["name"],
    oneOf=_one_of("baseurl", "metalink", "mirrorlist"),
)

METADATA = _object(
    "What a catalogue of templates shows; in the manifest.",
    {
        "description": _string("What the template is for.", default=""),
        "use_cases": _list("What it can be used for.", _string("A use.")),
        "keywords": _list("Words that it is found by.", _string("A word.")),
    },
)

REMOVE = _object(
    "What is taken out of the default template. What is not there is an error.",
    {
        "packages": _list(
            "Packages, as the default template names them, or globs.",
            _string("A package.", pattern=_REQUEST, form=_REQUEST_FORM),
        ),
        "services": _list("Units, from whichever of the lists of services they are in.", _string("A unit.")),
        "users": _list("Accounts by name.", _string("A user.")),
        "additionalFiles": _list("Additional files by final.", _string("A path.")),
        "configurations": _list("Commands, word for word.", _string("A command.")),
        "scripts": _list("Scripts by name.", _string("A name.")),
        "partitions": _list("Partitions by id.", _string("An id.")),
        "mounts": _list("Mounts by mountPoint, swap files by source.", _string("A path.")),
        "repositories": _list("Package repositories by name, else codename.", _string("A name.")),
    },
)

#: The sections of a template, in the order in which they are written.
SECTIONS: t.Mapping[str, Schema] = {
    "metadata": {**METADATA, "default": {}},
    "image": IMAGE,
    "target": TARGET,
    "disk": {**DISK, "default": {}},
    "iso": {**ISO, "default": {}},
    "systemConfig": SYSTEM_CONFIG,
    "packageRepositories": _list("Package repositories beside the provider's.", PACKAGE_REPOSITORY),
}

#: What only says how a template is merged, and is not part of the result.
MERGE_SECTIONS: t.Mapping[str, Schema] = {
    "repositories": _list("Package repositories in the words of dnf.", REPOSITORY),
    "remove": {**REMOVE, "default": {}},
}

#: What a user writes. What is missing comes from the default template.
USER_TEMPLATE = _object(
    "An image template.",
    {**SECTIONS, **MERGE_SECTIONS},
    required=["image", "target"],
)

#: What is merged over a template: any part of one, a single key of image or target too.
OVERRIDES = _object(
    "Parts of an image template.",
    {**SECTIONS, **MERGE_SECTIONS, "image": {**IMAGE, "required": []}, "target": {**TARGET, "required": []}},
)

# What only default templates can say so far.
_EXTENDS = _string(
    "The file that this one is merged over: a path relative to it, in the operating system's directory or in "
    "config/osv/common/.",
    minLength=1,
    examples=["../../../common/system.yml"],
)

#: A level of a default template: any part of one.
DEFAULT_TEMPLATE = _object(
    "A default template, or a part that default templates have in common.",
    {"extends": _EXTENDS, **OVERRIDES["properties"]},
)

#: A template that stands for itself: a default template with all of its levels, or a merged one.
FULL_TEMPLATE = _object(
    "A complete image template.",
    dict(SECTIONS),
    required=["image", "target", "systemConfig"],
)


def json_schema() -> Schema:
    """Return the published JSON schema: that of a user's template, the complete one among its definitions."""
    known = {**SECTIONS, **MERGE_SECTIONS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Image template of os_image.composer",
        "$ref": "#/$defs/UserTemplate",
        "$defs": {
            **copy.deepcopy(known),
            "UserTemplate": {**USER_TEMPLATE, "properties": {name: {"$ref": f"#/$defs/{name}"} for name in known}},
            "FullTemplate": {**FULL_TEMPLATE, "properties": {name: {"$ref": f"#/$defs/{name}"} for name in SECTIONS}},
        },
    }


__all__ = (
    "DEFAULT_TEMPLATE",
    "FULL_TEMPLATE",
    "MERGE_SECTIONS",
    "OVERRIDES",
    "REPOSITORY_PLACES",
    "SCHEMA_ID",
    "SECTIONS",
    "SIZE_PATTERN",
    "USER_TEMPLATE",
    "Schema",
    "json_schema",
)
