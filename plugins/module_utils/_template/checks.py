# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a schema cannot say: the meaning of a merged template, checked by one small function per rule.

Each function is registered with the sections that it reads. It yields the YAML path of each culprit and a message:
the thing, the reason, the remedy. A rule runs only when the sections that it reads have the right form.

To add a rule: write a function with the decorator :func:`rule`. Nothing else has to be touched.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.requirements import bootloader_problems
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    DiskLayout,
    disk_layout,
    layout_problems,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.partition_type import ESP, PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._disk.size import MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import template_problem
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping, Path

#: A YAML path in the merged template and a message.
Finding = t.Tuple[Path, str]
Check = t.Callable[[Mapping], t.Iterator[Finding]]

#: Every rule with the sections that it reads, in the order of the sections.
RULES: t.List[t.Tuple[Check, t.FrozenSet[str]]] = []

#: Rules whose findings are warnings: the image can be built, but perhaps not as it was meant.
ADVICE: t.List[t.Tuple[Check, t.FrozenSet[str]]] = []

_FAT = frozenset(("fat32", "fat16", "vfat"))
_EXT = frozenset(("ext2", "ext3", "ext4"))
_SWAP = frozenset(("linux-swap", "swap"))
_PACKED = frozenset(("squashfs", "erofs"))
# FAT32 begins at 65525 clusters of one sector; a root file system below this holds no system.
_LEAST_SIZES = {"fat32": 33 * MIB, "vfat": 33 * MIB, "fat16": 5 * MIB, "xfs": 300 * MIB, "btrfs": 110 * MIB}
_LABEL_LENGTHS = {**dict.fromkeys(_FAT, 11), **dict.fromkeys(_SWAP, 15), "xfs": 12, "squashfs": 0, "erofs": 0}
_LEAST_ROOT = 256 * MIB
# Stands for a size that is not known, and larger than what partitions ask for.
_ANY_SIZE = "1024TiB"
_VIRTUAL = ("/dev", "/proc", "/run", "/sys")


def rule(*sections: str) -> t.Callable[[Check], Check]:
    """Register a function as a rule whose findings are errors.

    :param sections: What it reads: sections of a template (V(disk)), or parts of systemConfig (V(systemConfig.users)).
    """

    def register(check: Check) -> Check:
        RULES.append((check, frozenset(sections)))
        return check

    return register


def advice(*sections: str) -> t.Callable[[Check], Check]:
    """Register a function as a rule whose findings are warnings."""

    def register(check: Check) -> Check:
        ADVICE.append((check, frozenset(sections)))
        return check

    return register


def findings(
    template: Mapping, rules: t.Iterable[t.Tuple[Check, t.FrozenSet[str]]], *, without: t.Collection[str] = ()
) -> t.Iterator[Finding]:
    """Run rules over a merged template whose defaults are filled in.

    :param without: Sections that have not the right form; rules that read them are left out.
    """
    for check, sections in rules:
        if not sections.intersection(without):
            yield from check(template)


def _doubles(values: t.Iterable[t.Tuple[Path, t.Any]]) -> t.Iterator[t.Tuple[Path, t.Any]]:
    """Yield what occurs for a second time; empty values do not count."""
    seen = set()
    for path, value in values:
        if value in seen:
            yield path, value
        elif value:
            seen.add(value)


def _is_clean(path: str) -> bool:
    """Tell whether an absolute path has no double slashes, no dots, and no slash at its end."""
    parts = path.split("/")[1:]
    return path == "/" or not any(part in ("", ".", "..") for part in parts)


def _is_below(path: str, directories: t.Iterable[str]) -> str | None:
    return next((name for name in directories if path == name or path.startswith(name + "/")), None)


# ---- disk ----------------------------------------------------------------------------------------------------------


def _partitions(template: Mapping) -> t.List[t.Tuple[Path, Mapping]]:
    return [(("disk", "partitions", index), item) for index, item in enumerate(template["disk"]["partitions"])]


def is_esp(partition: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a partition is an EFI system partition."""
    name = partition.get("typeUUID") or partition.get("type")
    if name:
        return bool(PARTITION_TYPES.get(name, name).lower() == ESP)
    return "esp" in partition.get("flags", ())


def _disk(template: Mapping) -> t.Mapping[str, t.Any] | None:
    """Return the disk that the image makes, or that its installer does; V(None) when there is none.

    How large the disk of the installed machine is need not be known.
    """
    disk = template["disk"]
    if template["target"]["imageType"] == "raw":
        return t.cast("t.Mapping[str, t.Any]", disk)
    if not disk["partitions"]:
        return None
    return {**disk, "size": disk.get("size") or _ANY_SIZE}


def _layout(template: Mapping) -> DiskLayout | None:
    """Return the layout of the disk; V(None) when it has none, which is another rule's business."""
    disk = _disk(template)
    return None if disk is None or layout_problems(disk) else disk_layout(disk)


@rule("disk", "target")
def disk_can_be_laid_out(template: Mapping) -> t.Iterator[Finding]:
    """The disk has a size and partitions; these lie within it, do not overlap, and have ids and mount points."""
    disk = _disk(template)
    for problem in layout_problems(disk) if disk is not None else ():
        yield problem.path, problem.message


@rule("disk", "target")
def disk_fits_the_image_type(template: Mapping) -> t.Iterator[Finding]:
    """An initrd has no disk; only a raw image has artifacts; only an installer has a disk to write to."""
    kind, disk = template["target"]["imageType"], template["disk"]
    if kind == "initrd" and disk["partitions"]:
        yield ("disk", "partitions"), "An initrd has no disk, so partitions have no effect. Remove them."
    if kind != "raw" and disk["artifacts"]:
        yield (
            ("disk", "artifacts"),
            f"An image of the type {kind} is one file; artifacts have no effect. Remove them, or use imageType: raw.",
        )
    if kind != "iso" and "path" in disk:
        yield ("disk", "path"), "disk.path is where an installer ISO writes to. Remove it, or use imageType: iso."


@rule("disk")
def partition_names_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """GPT names and labels occur once."""
    for key, what in (("name", "name"), ("fsLabel", "file system label")):
        for path, value in _doubles(((*path, key), item[key]) for path, item in _partitions(template)):
            yield path, f"The {what} {value!r} is used twice. Give each partition its own."


@rule("disk")
def root_exists_once(template: Mapping) -> t.Iterator[Finding]:
    """Exactly one partition is mounted on /, with a file system that can hold it."""
    roots = [(path, item) for path, item in _partitions(template) if item["mountPoint"] == "/"]
    if not roots and template["disk"]["partitions"]:
        yield ("disk", "partitions"), "No partition has the mountPoint /. Give the root partition mountPoint: /."
    for path, item in roots[1:]:
        yield (
            (*path, "mountPoint"),
            f"The partition {item['id']!r} is a second one with the mountPoint /. Change one of the two.",
        )
    for path, item in roots[:1]:
        if item.get("fsType") is not None and item["fsType"] in _FAT | _SWAP:
            yield (
                (*path, "fsType"),
                f"The root file system cannot be {item['fsType']}, which keeps no owners and permissions. Use ext4.",
            )


@rule("disk")
def mount_points_are_sound(template: Mapping) -> t.Iterator[Finding]:
    """Mount points are normalised, and not those of virtual file systems."""
    for path, item in _partitions(template):
        value = item["mountPoint"]
        if value in ("", "none"):
            continue
        if not _is_clean(value):
            yield (
                (*path, "mountPoint"),
                f"The mountPoint {value} must be written without //, . and .., and without a / at its end.",
            )
        elif _is_below(value, _VIRTUAL):
            yield (
                (*path, "mountPoint"),
                f"The mountPoint {value} belongs to a virtual file system. Use another directory.",
            )


@rule("disk")
def file_systems_fit_their_use(template: Mapping) -> t.Iterator[Finding]:
    """Swap is not mounted; types and file systems agree."""
    for path, item in _partitions(template):
        kind, purpose = item.get("fsType"), item.get("type")
        if kind is None:
            if item["fsLabel"]:
                yield (*path, "fsLabel"), "A label without a file system has no effect. Add fsType, or remove fsLabel."
        elif kind in _SWAP:
            if item["mountPoint"] not in ("", "none"):
                yield (*path, "mountPoint"), "Swap cannot be mounted. Remove the mountPoint."
            if purpose not in (None, "linux-swap", "swap"):
                yield (*path, "type"), f"A swap partition must have the type linux-swap, not {purpose}."
        elif purpose in ("linux-swap", "swap"):
            yield (*path, "fsType"), f"A partition of the type {purpose} cannot hold {kind}. Use fsType: linux-swap."


@rule("disk")
def labels_fit_their_file_systems(template: Mapping) -> t.Iterator[Finding]:
    """Labels have the length and the characters that the file system can store."""
    for path, item in _partitions(template):
        label, kind = item["fsLabel"], item.get("fsType")
        limit = _LABEL_LENGTHS.get(str(kind), 16)
        if not label or kind is None:
            continue
        if not limit:
            yield (*path, "fsLabel"), f"The file system {kind} has no label. Remove fsLabel."
        elif len(label.encode("utf-8")) > limit:
            yield (*path, "fsLabel"), f"The label {label!r} is longer than the {limit} bytes that {kind} can store."
        elif kind in _FAT and not re.match(r"[A-Z0-9_ -]+\Z", label):
            yield (
                (*path, "fsLabel"),
                f"The label {label!r} of a FAT file system may only have capital letters, digits, blanks, - and _.",
            )
        elif not re.match(r"[!-~ ]+\Z", label):
            yield (*path, "fsLabel"), f"The label {label!r} may only have printable ASCII characters."


@rule("disk", "target")
def partitions_are_large_enough(template: Mapping) -> t.Iterator[Finding]:
    """File systems have at least the size that they can be made with."""
    layout = _layout(template)
    if layout is None:
        return
    for partition, (path, item) in zip(layout.partitions, _partitions(template)):
        if partition.fits_content:
            continue
        least = _LEAST_SIZES.get(partition.fs_type, 0)
        is_root = partition.mount_point == "/" and least < _LEAST_ROOT and partition.fs_type not in _PACKED
        least = _LEAST_ROOT if is_root else least
        if partition.size < least:
            what = "a root file system" if is_root else f"a {partition.fs_type} file system"
            yield (
                (*path, "size" if "size" in item else "end"),
                f"The partition {partition.id!r} has {show_size(partition.size)}, but {what} needs at least "
                f"{show_size(least)}. Make it larger.",
            )


@rule("disk", "systemConfig.bootloader")
def efi_has_its_partition(template: Mapping) -> t.Iterator[Finding]:
    """An EFI bootloader needs exactly one ESP, with a FAT file system, where the build expects it."""
    if template["systemConfig"]["bootloader"]["bootType"] != "efi" or not template["disk"]["partitions"]:
        return
    esps = [(path, item) for path, item in _partitions(template) if is_esp(item)]
    if not esps:
        yield (
            ("disk", "partitions"),
            "There is no EFI system partition, but bootloader.bootType is efi. "
            "Add a partition with type: esp, fsType: fat32 and mountPoint: /boot/efi.",
        )
    for path, item in esps[1:]:
        yield (*path, "type"), f"The partition {item['id']!r} is a second EFI system partition. Keep one."
    for path, item in esps:
        if item.get("fsType") not in _FAT:
            yield (
                path,
                f"The EFI system partition {item['id']!r} must have a FAT file system. Use fsType: fat32.",
            )
        if item["mountPoint"] not in ("/boot/efi", "/efi"):
            yield (
                (*path, "mountPoint"),
                f"The EFI system partition {item['id']!r} must be mounted on /boot/efi or /efi.",
            )


@rule("disk", "target", "systemConfig.bootloader", "systemConfig.kernel")
def bootloader_can_boot_the_disk(template: Mapping) -> t.Iterator[Finding]:
    """The bootloader exists for the firmware, and finds what it needs on the disk."""
    yield from bootloader_problems(template)


@rule("disk", "target")
def types_fit_the_architecture(template: Mapping) -> t.Iterator[Finding]:
    """The root partition type and the flags agree with the architecture and the type."""
    foreign = {"x86_64": "-arm64", "aarch64": "-amd64"}.get(template["target"]["arch"], "-amd64")
    other = {"x86_64": "-arm64", "aarch64": "-x86-64"}.get(template["target"]["arch"], "-x86-64")
    for path, item in _partitions(template):
        kind = item.get("type", "")
        if foreign in kind or other in kind:
            yield (*path, "type"), f"The type {kind} does not belong to {template['target']['arch']}."
        for index, flag in enumerate(item["flags"]):
            is_boot_flag = flag == "boot" and template["disk"]["partitionTableType"] == "mbr"
            if flag in ("esp", "boot") and not is_boot_flag and not is_esp(item):
                yield (
                    (*path, "flags", index),
                    f"The flag {flag} only has an effect on an EFI system partition. Remove it, or use type: esp.",
                )


@rule("disk")
def artifacts_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """Each artifact is asked for once."""
    values = (
        (("disk", "artifacts", index), (item["type"], item.get("compression")))
        for index, item in enumerate(template["disk"]["artifacts"])
    )
    for path, (kind, compression) in _doubles(values):
        yield (
            path,
            f"The artifact {kind}{f' with {compression}' if compression else ''} is asked for twice. Remove one.",
        )


# ---- systemConfig ----------------------------------------------------------------------------------------------------


@rule("systemConfig.hostname")
def hostname_has_its_form(template: Mapping) -> t.Iterator[Finding]:
    """A host name consists of labels as RFC 1123 has them."""
    name = template["systemConfig"]["hostname"]
    labels = name.split(".")
    if name and not all(re.match(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z", label) for label in labels):
        yield (
            ("systemConfig", "hostname"),
            f"{name!r} is no host name. Use letters, digits and hyphens, in parts of at most 63 characters with dots "
            "between them.",
        )


@rule("systemConfig.timezone")
def timezone_has_its_form(template: Mapping) -> t.Iterator[Finding]:
    """A time zone is a name of the time zone database."""
    name = template["systemConfig"]["timezone"]
    if name and not re.match(r"[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+){0,2}\Z", name):
        yield ("systemConfig", "timezone"), f"{name!r} is no time zone. Use a name such as Europe/Berlin or Etc/UTC."


@rule("systemConfig.locale", "systemConfig.packages")
def locale_can_be_had(template: Mapping) -> t.Iterator[Finding]:
    """A locale has its form, and the image has what makes it."""
    name = template["systemConfig"]["locale"]
    if not name or name in ("C", "POSIX", "C.UTF-8", "C.utf8"):
        return
    if not re.match(r"[a-z]{2,3}(_[A-Z]{2})?(\.[A-Za-z0-9-]+)?(@[a-z]+)?\Z", name):
        yield ("systemConfig", "locale"), f"{name!r} is no locale. Use a name such as de_DE.UTF-8 or C.UTF-8."
    elif not _has_package(template, "locales", "locales-all", "glibc-langpack-*", "glibc-all-langpacks"):
        yield (
            ("systemConfig", "locale"),
            f"The locale {name} needs the package locales. Add it to systemConfig.packages, or use C.UTF-8.",
        )


def _has_package(template: Mapping, *names: str) -> bool:
    """Tell whether one of some packages is asked for by its name."""
    patterns = [re.compile(re.escape(name).replace(r"\*", ".*") + r"\Z") for name in names]
    asked = (package.split("=")[0].split(":")[0] for package in template["systemConfig"]["packages"])
    return any(pattern.match(name) for name in asked for pattern in patterns)


@rule("systemConfig.packages", "systemConfig.kernel")
def packages_are_named_once(template: Mapping) -> t.Iterator[Finding]:
    """No package is asked for twice, or in two versions."""
    config = template["systemConfig"]
    for path, packages in (
        (("systemConfig", "packages"), config["packages"]),
        (("systemConfig", "kernel", "packages"), config["kernel"]["packages"]),
    ):
        for place, value in _doubles(((*path, index), name) for index, name in enumerate(packages)):
            yield place, f"The package {value} is named twice. Remove one."
        pinned: t.Dict[str, str] = {}
        for index, value in enumerate(packages):
            name, equals, version = value.partition("=")
            if not equals:
                continue
            if not version or not name or "=" in version:
                yield (*path, index), f"{value!r} is no package with a version. Write name=version."
            elif pinned.setdefault(name, version) != version:
                yield (
                    (*path, index),
                    f"The package {name} is asked for in the versions {pinned[name]} and {version}. Keep one.",
                )


@rule("systemConfig.kernel", "systemConfig.bootloader")
def kernel_can_boot(template: Mapping) -> t.Iterator[Finding]:
    """There is a kernel, and a command line that says nothing that the build has to say."""
    kernel = template["systemConfig"]["kernel"]
    path = ("systemConfig", "kernel", "cmdline")
    cmdline = kernel["cmdline"]
    if not kernel["packages"]:
        yield (
            ("systemConfig", "kernel"),
            "No kernel package is named. Add one to systemConfig.kernel.packages, for example linux-image-amd64.",
        )
    if not re.match(r"[ -~]*\Z", cmdline):
        yield path, "The kernel command line may only have printable ASCII characters, in one line."
    elif cmdline.count('"') % 2:
        yield path, "A quotation mark of the kernel command line is not closed. Add the second one."
    for word in cmdline.split():
        name = word.partition("=")[0]
        if name in ("root", "rootfstype", "roothash", "initrd", "BOOT_IMAGE"):
            yield path, f"{name}= is set by the build itself. Remove {word!r}."
    if kernel["uki"] and template["systemConfig"]["bootloader"]["provider"] != "systemd-boot":
        yield (
            ("systemConfig", "kernel", "uki"),
            "A unified kernel image is started by systemd-boot. Use bootloader.provider: systemd-boot, or uki: false.",
        )


@rule("systemConfig.immutability", "systemConfig.signing", "systemConfig.kernel", "systemConfig.bootloader")
def keys_protect_the_boot_chain(template: Mapping) -> t.Iterator[Finding]:
    """What Secure Boot keys sign is all that is booted."""
    problem = template_problem(template)
    if problem:
        yield ("systemConfig", "signing", "secureBoot", "key"), problem


@rule("systemConfig.initramfs", "systemConfig.packages")
def initramfs_generator_is_installed(template: Mapping) -> t.Iterator[Finding]:
    """A generator that is no default has its package in the image."""
    if template["systemConfig"]["initramfs"]["generator"] == "dracut" and not _has_package(
        template, "dracut", "dracut-core"
    ):
        yield (
            ("systemConfig", "initramfs", "generator"),
            "The generator dracut needs the package dracut. Add it to systemConfig.packages.",
        )


def _users(template: Mapping) -> t.List[t.Tuple[Path, Mapping]]:
    return [(("systemConfig", "users", index), item) for index, item in enumerate(template["systemConfig"]["users"])]


@rule("systemConfig.users")
def users_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """Each account, and each of its groups and keys, is there once."""
    for path, name in _doubles(((*path, "name"), user["name"]) for path, user in _users(template)):
        yield path, f"The user {name!r} is there twice. Put everything about a user into one entry."
    for path, user in _users(template):
        for key, what in (("groups", "group"), ("sshKeys", "key")):
            for place, _value in _doubles(((*path, key, index), value) for index, value in enumerate(user[key])):
                yield place, f"The user {user['name']!r} has this {what} twice. Remove one."


#: The names of crypt(3) methods by the beginnings of their hashes.
_CRYPT_METHODS: t.Mapping[str, str] = {
    "$1$": "md5",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
    "$5$": "sha256",
    "$6$": "sha512",
    "$y$": "yescrypt",
    "$gy$": "gost-yescrypt",
    "$7$": "scrypt",
}
_CRYPT = re.compile(r"\$[0-9a-z]{1,2}\$[./A-Za-z0-9$,=+]{8,400}\Z")


def crypt_method(password: str) -> str | None:
    """Return the method of a hashed password; V(None) when it is plain text."""
    return next((name for prefix, name in _CRYPT_METHODS.items() if password.startswith(prefix)), None)


@rule("systemConfig.users")
def passwords_can_be_stored(template: Mapping) -> t.Iterator[Finding]:
    """A password is a hash in a known form, or plain text that can be hashed."""
    for path, user in _users(template):
        password, algorithm = user.get("password"), user.get("hash_algo")
        place = (*path, "password")
        if password is None:
            if algorithm is not None:
                yield (*path, "hash_algo"), "hash_algo without a password has no effect. Remove it, or add a password."
            continue
        method = crypt_method(password)
        if password == "":
            yield place, "The password is empty. Remove the key for an account that is locked for passwords."
        elif password.startswith("$") and (method is None or not _CRYPT.match(password)):
            yield (
                place,
                "The password begins with $, but is no hash in a form of crypt(3). Make one with: openssl passwd -6",
            )
        elif method is not None:
            if algorithm is not None and algorithm != method:
                yield (
                    (*path, "hash_algo"),
                    f"The password is a hash made by {method}, not by {algorithm}. Correct or remove hash_algo.",
                )
        elif algorithm in ("bcrypt", "md5"):
            yield (
                (*path, "hash_algo"),
                f"A plain password is not hashed by {algorithm} here. Use sha512, or give the hash itself.",
            )
        elif not password.isprintable():
            yield place, "The password contains characters that cannot be typed. Remove them."


_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def _key_problem(line: str) -> str | None:
    """Say what is wrong with a line of authorized_keys."""
    if "PRIVATE KEY" in line:
        return "This is a private key, which must never be in an image. Use the public one, from the file *.pub."
    if "\n" in line.strip():
        return "A key must be one line. Write each key as an item of its own."
    words = line.split()
    place = next((index for index, word in enumerate(words) if word in _KEY_TYPES), None)
    if place is None:
        known = ", ".join(_KEY_TYPES[:3])
        return f"This is no public SSH key. It must begin with its type ({known}, ...)."
    if place + 1 >= len(words):
        return "The key itself is missing after its type. Copy the whole line from the file *.pub."
    try:
        blob = base64.b64decode(words[place + 1], validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    name = words[place].encode("ascii")
    if not blob.startswith(len(name).to_bytes(4, "big") + name) or len(blob) < len(name) + 36:
        return "The key is damaged: its content does not fit its type. Copy the whole line from the file *.pub."
    return None


@rule("systemConfig.users")
def ssh_keys_are_public_keys(template: Mapping) -> t.Iterator[Finding]:
    """SSH keys are whole public keys."""
    for path, user in _users(template):
        for index, line in enumerate(user["sshKeys"]):
            problem = _key_problem(line)
            if problem:
                yield (*path, "sshKeys", index), problem


@rule("systemConfig.users", "systemConfig.packages")
def user_settings_have_effect(template: Mapping) -> t.Iterator[Finding]:
    """What is said of a user can be done, and does not contradict itself."""
    for path, user in _users(template):
        if "shell" in user and "startupScript" in user:
            yield (*path, "shell"), "startupScript takes the place of the login shell. Remove one of the two."
        for key in ("home", "shell", "startupScript"):
            if key in user and (not _is_clean(user[key]) or ":" in user[key]):
                yield (*path, key), f"The path {user[key]!r} must be written without //, ., .. and : in it."
        if user["sudo"] and user["name"] != "root" and not _has_package(template, "sudo"):
            yield (*path, "sudo"), "sudo needs the package sudo. Add it to systemConfig.packages."


@advice("systemConfig.users", "systemConfig.packages")
def somebody_can_log_in(template: Mapping) -> t.Iterator[Finding]:
    """Somebody has a password or a key, and keys have a server."""
    users = _users(template)
    if not any(user.get("password") or user["sshKeys"] for _path, user in users):
        yield (
            ("systemConfig", "users"),
            "No user has a password or an SSH key: nobody can log in to the image. Add a user to systemConfig.users.",
        )
    for path, user in users:
        if user["sshKeys"] and not _has_package(template, "openssh-server", "dropbear", "dropbear-bin", "tinysshd"):
            yield (
                (*path, "sshKeys"),
                f"The user {user['name']!r} has SSH keys, but systemConfig.packages names no SSH server. "
                "Add openssh-server.",
            )


@advice("systemConfig.users")
def password_hashes_are_strong(template: Mapping) -> t.Iterator[Finding]:
    """MD5 hashes can be guessed."""
    for path, user in _users(template):
        if crypt_method(user.get("password", "")) == "md5":
            yield (
                (*path, "password"),
                f"The password of {user['name']!r} is hashed by MD5, which is easily guessed. Use sha512.",
            )


def _ip_problem(text: str, *, version: int | None = None, prefix: bool = False) -> str | None:
    """Say what is wrong with an address."""
    try:
        address: t.Any = ipaddress.ip_interface(text) if prefix else ipaddress.ip_address(text)
    except ValueError:
        example = "192.0.2.10/24" if prefix else "192.0.2.1"
        return f"{text!r} is no IP address{' with a prefix length' if prefix else ''}. Write it like {example}."
    if prefix and "/" not in text:
        return f"The address {text} has no prefix length. Write it like {text}/{24 if address.version == 4 else 64}."
    if version is not None and address.version != version:
        return f"{text} is an IPv{address.version} address, but must be an IPv{version} one."
    return None


@rule("systemConfig.network")
def network_is_consistent(template: Mapping) -> t.Iterator[Finding]:
    """Addresses are addresses; gateways can be reached; each interface is described once."""
    base: Path = ("systemConfig", "network", "interfaces")
    interfaces = [
        ((*base, index), item) for index, item in enumerate(template["systemConfig"]["network"]["interfaces"])
    ]
    for path, value in _doubles((path, item.get("name") or item.get("match")) for path, item in interfaces):
        yield path, f"The interface {value} is described twice. Put everything about it into one entry."
    for path, item in interfaces:
        yield from _interface_addresses(path, item)
        for version in (4, 6):
            key = f"gateway{version}"
            if key not in item:
                continue
            problem = _ip_problem(item[key], version=version)
            if problem:
                yield (*path, key), problem
            elif not any(_version(address) == version for address in item["addresses"]):
                yield (
                    (*path, key),
                    f"{key} needs an IPv{version} address on this interface. Add one to addresses, or remove {key}: "
                    "DHCP and router advertisements bring their own gateway.",
                )


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_interface(address).version
    except ValueError:
        return None


def _interface_addresses(path: Path, item: Mapping) -> t.Iterator[Finding]:
    for index, text in enumerate(item["addresses"]):
        problem = _ip_problem(text, prefix=True)
        if problem:
            yield (*path, "addresses", index), problem
    for index, text in enumerate(item["nameservers"]):
        problem = _ip_problem(text)
        if problem:
            yield (*path, "nameservers", index), problem
    for index, route in enumerate(item["routes"]):
        place = (*path, "routes", index)
        problem = _ip_problem(route["via"])
        if problem:
            yield (*place, "via"), problem
        if route["to"] == "default":
            continue
        try:
            network = ipaddress.ip_network(route["to"])
        except ValueError:
            yield (*place, "to"), f"{route['to']!r} is no network. Write it like 10.0.0.0/8, or default."
            continue
        if not problem and network.version != ipaddress.ip_address(route["via"]).version:
            yield (*place, "via"), f"The gateway of {route['to']} must be an IPv{network.version} address."


@rule("systemConfig.services")
def services_do_not_conflict(template: Mapping) -> t.Iterator[Finding]:
    """A unit is in one of the lists, once."""
    seen: t.Dict[str, str] = {}
    for key in ("enable", "disable", "mask"):
        for index, unit in enumerate(template["systemConfig"]["services"][key]):
            if unit in seen:
                where = "twice in" if seen[unit] == key else f"in {seen[unit]} and in"
                yield ("systemConfig", "services", key, index), f"The unit {unit} is {where} {key}. Keep one."
            seen[unit] = key


@rule("systemConfig.additionalFiles", "disk")
def final_paths_are_sound(template: Mapping) -> t.Iterator[Finding]:
    """Files go to absolute, normalised paths that the image keeps, each of them once."""
    base: Path = ("systemConfig", "additionalFiles")
    finals = [
        ((*base, index, "final"), item["final"])
        for index, item in enumerate(template["systemConfig"]["additionalFiles"])
    ]
    esp = [item["mountPoint"] for _path, item in _partitions(template) if is_esp(item)]
    for path, value in _doubles(finals):
        yield path, f"Two files go to {value}. Remove one of them."
    names = {value for _path, value in finals}
    for path, value in finals:
        parent = value.rpartition("/")[0]
        while parent and parent not in names:
            parent = parent.rpartition("/")[0]
        virtual = _is_below(value, _VIRTUAL)
        if value == "/" or not _is_clean(value):
            yield (
                path,
                f"The path {value!r} must name a file, without //, . and .. in it. Correct it.",
            )
        elif parent:
            yield path, f"{value} lies below {parent}, to which a file goes too. Change one of them."
        elif virtual:
            yield path, f"{value} would not stay in the image, as {virtual} is empty there. Use another directory."
        elif value == "/etc/fstab":
            yield path, "/etc/fstab is written by the build from disk.partitions. Change those instead."
        elif _is_below(value, [point for point in esp if point]):
            yield (
                path,
                f"{value} lies on the EFI system partition, which the build fills itself. Use another directory.",
            )


@rule("systemConfig.configurations", "systemConfig.scripts")
def commands_say_something(template: Mapping) -> t.Iterator[Finding]:
    """Commands and scripts are not blank."""
    config = template["systemConfig"]
    for index, item in enumerate(config["configurations"]):
        if not item["cmd"].strip():
            yield (
                ("systemConfig", "configurations", index, "cmd"),
                "The command is blank. Give one, or remove the entry.",
            )
    for key in ("preInstall", "postInstall"):
        for index, item in enumerate(config["scripts"][key]):
            if not item.get("inline", "x").strip():
                yield ("systemConfig", "scripts", key, index, "inline"), "The script is blank. Write one, or remove it."


# ---- packageRepositories ---------------------------------------------------------------------------------------------


def _repositories(template: Mapping) -> t.List[t.Tuple[Path, Mapping]]:
    return [(("packageRepositories", index), item) for index, item in enumerate(template["packageRepositories"])]


@rule("packageRepositories")
def repositories_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """Each repository has a name of its own."""
    names = ((path, item.get("name") or item["codename"]) for path, item in _repositories(template))
    for path, name in _doubles(names):
        yield path, f"Two repositories are called {name!r}. Give one of them a name of its own by the key name."


@rule("packageRepositories")
def repository_urls_are_sound(template: Mapping) -> t.Iterator[Finding]:
    """URLs can be fetched, and hold no secrets."""
    for path, item in _repositories(template):
        url = item.get("url")
        if url is None:
            continue
        match = re.match(r"(https?)://([^/\s?#]+)(/[^\s?#]*)?\Z", url)
        if url.startswith("<"):
            yield (*path, "url"), f"{url} is a placeholder. Give the URL of the repository, or remove the entry."
        elif match is None:
            yield (
                (*path, "url"),
                f"{url!r} is no URL of a repository. Write it like https://packages.example.com/debian.",
            )
        elif "@" in match.group(2):
            yield (
                (*path, "url"),
                "The URL holds a user name or password, which would reach documents and logs. "
                "Put them into ~/.netrc of the user that builds, and remove them here.",
            )
        elif match.group(1) == "http" and not item["gpgcheck"]:
            yield (
                (*path, "gpgcheck"),
                "Unsigned packages that come over http can be changed by anybody. Use https, or gpgcheck: true.",
            )


@rule("packageRepositories")
def repository_keys_are_named(template: Mapping) -> t.Iterator[Finding]:
    """Signatures are checked with keys in files; no keys without a check."""
    for path, item in _repositories(template):
        keys = [((*path, "pkey"), item["pkey"])] if "pkey" in item else []
        keys += [((*path, "pkeys", index), name) for index, name in enumerate(item["pkeys"])]
        if item["gpgcheck"] and not keys:
            yield (
                path,
                f"The repository {item['codename']!r} has no key. Add pkey with the path of its public key, or "
                "say gpgcheck: false to trust it without.",
            )
        elif not item["gpgcheck"] and (keys or item["fingerprints"]):
            yield (*path, "gpgcheck"), "Keys have no effect with gpgcheck: false. Remove them, or check the signatures."
        for place, name in keys:
            if name.startswith("[trusted"):
                yield place, "Write gpgcheck: false, and no key, to trust a repository without signatures."
            elif name.startswith("<"):
                yield place, f"{name} is a placeholder. Give the path of the repository's public key."
            elif "://" in name and not item["fingerprints"]:
                yield (
                    place,
                    "A key that is fetched at build time would be trusted blindly. Add its fingerprint to "
                    "fingerprints, as gpg --show-keys shows it, or give the path of a file.",
                )


@advice("packageRepositories")
def repositories_are_signed(template: Mapping) -> t.Iterator[Finding]:
    """A repository without signature checks is worth a word at each build."""
    for path, item in _repositories(template):
        if not item["gpgcheck"]:
            yield (
                (*path, "gpgcheck"),
                f"Signatures of the repository {item['codename']!r} are not checked: whoever controls it controls the "
                "image.",
            )


__all__ = (
    "ADVICE",
    "RULES",
    "Finding",
    "advice",
    "crypt_method",
    "findings",
    "is_esp",
    "rule",
)
