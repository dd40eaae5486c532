# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What is mounted beside the partitions, and swap files."""

from __future__ import annotations

import os
import posixpath
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    image_traits,
    partitions,
    planned_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.file_systems import (
    contradicting_options,
    foreign_option_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import (
    is_esp,
    is_mounted,
    mount_point_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.paths import VIRTUAL, enclosing, is_normal
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import (
    BIND_WORDS,
    FSTAB,
    SWAP_WORDS,
    WITHOUT_SOURCE,
    fstab,
    fstab_without_disk,
    mount_entries,
    ordered,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import Partition
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS, file_system
from ansible_collections.os_image.composer.plugins.module_utils._size import parse_size, show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Mount
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Mounts and swap files")

# What a device is called in fstab: systemd.mount(5), mount(8).
_DEVICE = re.compile(r"(/.+|(LABEL|UUID|PARTLABEL|PARTUUID|ID)=.+)\Z")
_FORMS: t.Mapping[str, t.Tuple[t.Pattern[str], str]] = {
    **dict.fromkeys(("nfs", "nfs4"), (re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):/"), "server:/directory")),
    **dict.fromkeys(("cifs", "smb3"), (re.compile(r"//[^\s/]+/."), "//server/share")),
}
_NETWORK = tuple(_FORMS)

# mount of tmpfs knows no KiB and MB: Documentation/filesystems/tmpfs.rst of the kernel.
_TMPFS_SIZE = re.compile(r"[0-9]+[kmgtKMGT%]?\Z")
# Where the root file system comes from when there is no partition for it.
_IN_MEMORY = "is in memory or on a medium"
# Characters.
_LARGEST_TABLE = 1 << 20
_OCTAL = re.compile(r"\\[0-7]{3}")


def mounts(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    """Return what is mounted beside the partitions, with YAML paths."""
    return [(("disk", "mounts", index), item) for index, item in enumerate(template["disk"].get("mounts", ()))]


def mounted_places(template: LocatedMapping) -> t.List[str]:
    """Return the directories that something else than a partition covers in the running system."""
    return [item["mountPoint"] for _path, item in mounts(template) if not is_swap(item) and is_mounted(item)]


def is_swap(item: t.Mapping[str, t.Any]) -> bool:
    """Tell whether it is swap space."""
    return item["fsType"] in SWAP_WORDS


def is_bind(item: t.Mapping[str, t.Any]) -> bool:
    """Tell whether it shows a directory at a second place."""
    return item["fsType"] in BIND_WORDS or any(word in item["mountOptions"].split(",") for word in BIND_WORDS)


def is_swap_file(item: t.Mapping[str, t.Any]) -> bool:
    """Tell whether it is a swap file, and not a device."""
    source = item.get("source", "")
    return is_swap(item) and source.startswith("/") and not source.startswith("/dev/")


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      mounts:
        - {fsType: tmpfs}
        - {fsType: nfs4, source: nas.example.com, mountPoint: /srv}
        - {fsType: bind, mountPoint: /opt/data}
    """,
)
def mounts_say_what_and_where(template: LocatedMapping) -> t.Iterator[Finding]:
    """A mount has a mount point, and what is mounted there is named in the form of its file system."""
    for path, item in mounts(template):
        fs_type, source = item["fsType"], item.get("source")
        if is_swap(item):
            if is_mounted(item):
                yield (*path, "mountPoint"), "Swap cannot be mounted. Remove the mountPoint."
        elif not is_mounted(item):
            yield path, f"The {fs_type} is mounted nowhere. Give it a mountPoint."
        if fs_type == "none" and not is_bind(item):
            yield (*path, "fsType"), "Only a bind mount has the fsType none. Use fsType: bind, or name the file system."
        if source is None:
            if fs_type not in WITHOUT_SOURCE:
                what = "the file or the device" if is_swap(item) else "what is mounted"
                yield path, f"A mount of the fsType {fs_type} has to say {what}. Give it a source."
            continue
        problem = _source_problem(item, source)
        if problem:
            yield (*path, "source"), problem


def _source_problem(item: LocatedMapping, source: str) -> str:
    fs_type = item["fsType"]
    if _OCTAL.search(source):
        return f"The source {source} has an octal number for a blank, which the build writes itself. Write the blank."
    if is_bind(item):
        if not source.startswith("/") or not is_normal(source):
            return (
                f"The source {source} of a bind mount must be an absolute path, without //, . and .., and without a / "
                "at its end."
            )
    elif is_swap(item) or fs_type in FILE_SYSTEMS:
        if not _DEVICE.match(source):
            return (
                f"{source} is not the name of a device. Use a path such as /dev/sdb1, or LABEL=, UUID=, PARTLABEL= or "
                "PARTUUID= with a name behind it."
            )
        if is_swap_file(item) and not is_normal(source):
            return f"The swap file {source} must be written without //, . and .., and without a / at its end."
    elif fs_type in _FORMS and not _FORMS[fs_type][0].match(source):
        return f"{source} is no source for {fs_type}. Use the form {_FORMS[fs_type][1]}."
    return ""


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /}
        - {id: data, fsType: ext4, end: "0", mountPoint: /srv}
      mounts:
        - {fsType: tmpfs, mountPoint: /srv}
        - {fsType: tmpfs, mountPoint: /var/cache}
        - {fsType: nfs, source: "nas:/cache", mountPoint: /var/cache}
    """,
)
def mount_points_are_used_once(template: LocatedMapping) -> t.Iterator[Finding]:
    """No two mounts have one mount point, nor a mount and a partition; no swap space is named twice."""
    taken = {item["mountPoint"]: item["id"] for _path, item in partitions(template) if is_mounted(item)}
    if not image_traits(template).can_hold_disk or not partitions(template):
        taken["/"] = ""
    places = [((*path, "mountPoint"), item["mountPoint"]) for path, item in mounts(template) if is_mounted(item)]
    for path, place in places:
        if place in taken:
            owner = f"the partition {taken[place]!r} is" if taken[place] else "the root file system is"
            yield path, f"At {place} {owner} mounted already. Use another mountPoint."
    for path, place in doubles(places):
        yield path, f"Two mounts have the mountPoint {place}. Keep one of them."
    spaces = [((*path, "source"), item.get("source")) for path, item in mounts(template) if is_swap(item)]
    for path, space in doubles(spaces):
        yield path, f"The swap space {space} is named twice. Keep one of them."


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      mounts:
        - {fsType: tmpfs, mountPoint: /mnt/../scratch}
        - {fsType: tmpfs, mountPoint: /lib/cache}
        - {fsType: nfs, source: "nas:/x", mountPoint: /proc/nas}
    """,
)
def mounts_have_sound_places(template: LocatedMapping) -> t.Iterator[Finding]:
    """Mount points are normal paths, not behind links or on the ESP, and do not hide what is needed to mount them."""
    esps = [item["mountPoint"] for _path, item in partitions(template) if is_esp(item) and is_mounted(item)]
    for path, item in mounts(template):
        place = item["mountPoint"]
        if is_swap(item) or not is_mounted(item):
            continue
        esp = enclosing(place, [esp for esp in esps if esp != place])
        # Memory and interfaces of the kernel are mounted there, with other options for example.
        is_at_home = enclosing(place, VIRTUAL) and (item["fsType"] in WITHOUT_SOURCE or enclosing(place, ("/run",)))
        problem = "" if is_at_home and is_normal(place) else mount_point_problem(place)
        if _OCTAL.search(place):
            problem = (
                f"The mountPoint {place} has an octal number for a blank, which the build writes itself. Write the "
                "blank."
            )
        elif place == "/usr":
            problem = "/usr is what mounts are made by. Give it a partition, or leave it on the root file system."
        elif esp:
            problem = (
                f"The mountPoint {place} lies on the EFI system partition ({esp}), which is the firmware's. Use "
                "another directory."
            )
        if problem:
            yield (*path, "mountPoint"), problem


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      mounts:
        - {fsType: bind, source: /srv/a/b, mountPoint: /opt/c}
        - {fsType: bind, source: /opt/c/d, mountPoint: /srv/a}
    """,
)
def mounts_do_not_wait_for_each_other(template: LocatedMapping) -> t.Iterator[Finding]:
    """There is an order in which all mounts can be made."""
    found = [(path, item) for path, item in mounts(template) if not is_swap(item)]
    entries = mount_entries([Mount.from_data(item) for _path, item in found])
    lines = ordered(entries)
    for index, entry in enumerate(lines):
        later = [other for other in lines[index + 1 :] if entry.waits_for(other)]
        if later:
            yield (
                found[entries.index(entry)][0],
                f"What is mounted at {entry.mount_point} has to wait for {later[0].mount_point}, which waits for it in "
                "turn. Change one of the two.",
            )
            return
        if entry.waits_for(entry) or (entry.is_bind and entry.source == entry.mount_point):
            yield (
                (*found[entries.index(entry)][0], "source"),
                f"{entry.source} would be shown at its own place. Use another source or mountPoint.",
            )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      mounts:
        - {fsType: tmpfs, mountPoint: /mnt/a, mountOptions: size=64MiB}
        - {fsType: ext4, source: LABEL=data, mountPoint: /srv, mountOptions: "ro,rw"}
        - {fsType: xfs, source: LABEL=more, mountPoint: /opt/more, mountOptions: compress=zstd}
    """,
)
def options_of_mounts_can_be_used(template: LocatedMapping) -> t.Iterator[Finding]:
    """Options of mounts do not contradict each other, and are those of their file systems."""
    for path, item in mounts(template):
        options = item["mountOptions"].split(",")
        for one, other in contradicting_options(item["mountOptions"]):
            yield (*path, "mountOptions"), f"The mount options {one} and {other} contradict each other. Keep one."
        for option in options:
            name, _equals, value = option.partition("=")
            problem = foreign_option_problem(file_system(item["fsType"]), option) if _is_known(item) else None
            if problem:
                yield (*path, "mountOptions"), f"{problem} Remove it."
            if not option:
                yield (*path, "mountOptions"), "There is nothing between two commas of the mountOptions. Remove one."
            if item["fsType"] == "tmpfs" and name == "size" and not _TMPFS_SIZE.match(value):
                yield (
                    (*path, "mountOptions"),
                    f"tmpfs does not know the size {value}. Write a number with k, m, g or % behind it: size=64m.",
                )
        if item.get("check") and (is_swap(item) or is_bind(item) or item["fsType"] in (*WITHOUT_SOURCE, *_NETWORK)):
            yield (*path, "check"), f"Nothing can be checked where the fsType is {item['fsType']}. Remove check."


def _is_known(item: LocatedMapping) -> bool:
    return item["fsType"] in FILE_SYSTEMS and not is_swap(item)


@SUBJECT.rule(
    "disk",
    "target",
    "iso",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
      mounts:
        - {fsType: swap, source: /swapfile}
        - {fsType: swap, source: /var/swapfile, size: 4GiB}
        - {fsType: swap, source: LABEL=swap, size: 1GiB}
    """,
)
def swap_files_have_a_place(template: LocatedMapping) -> t.Iterator[Finding]:
    """A swap file has a size, and lies on a partition of the image that can be written to and has room for it."""
    layout = planned_layout(template)
    for path, item in mounts(template):
        if not is_swap_file(item):
            if "size" in item:
                yield (*path, "size"), "Only swap files have a size. Remove it; options of tmpfs are mountOptions."
            continue
        source = item["source"]
        if "size" not in item:
            yield path, f"The swap file {source} is made by the system when it first boots. Give it a size."
        if not image_traits(template).can_hold_disk or not partitions(template):
            yield (
                (*path, "source"),
                f"The image has no disk for the swap file {source}, as its root file system is in memory. Remove it.",
            )
            continue
        holder = layout.holding(source) if layout else None
        problem = _holder_problem(template, source, holder)
        if problem:
            yield (*path, "source"), f"{problem} Use another directory."
        elif holder is not None and "size" in item and not (holder.grows or holder.fits_content):
            size = parse_size(item["size"])
            if size >= holder.size and not _ends_with_a_disk_of_any_size(template, holder):
                yield (
                    (*path, "size"),
                    f"The swap file {source} of {show_size(size)} does not fit onto the partition {holder.id!r}, which "
                    f"has {show_size(holder.size)}. Make it smaller, or the partition larger.",
                )


def _ends_with_a_disk_of_any_size(template: LocatedMapping, holder: Partition) -> bool:
    """Tell whether a partition takes the rest of a disk that nobody knows."""
    return "size" not in template["disk"] and holder.size > 0 and not image_traits(template).is_disk


def _holder_problem(template: LocatedMapping, source: str, holder: Partition | None) -> str:
    """Return why a partition has no place for a swap file."""
    above = max((place for place in mounted_places(template) if enclosing(source, [place])), key=len, default="")
    if above and (holder is None or len(above) > len(holder.mount_point or "")):
        return f"The swap file {source} would lie on what is mounted at {above}, and not on a partition of the image."
    if holder is None or not holder.fs_type:
        return ""
    fs = file_system(holder.fs_type)
    if not fs.keeps_owners:
        return (
            f"Everybody could read the swap file {source} on the partition {holder.id!r}, as {fs.name} has no owners."
        )
    is_protected = holder.mount_point == "/" and template["systemConfig"]["immutability"]["enabled"]
    if fs.is_read_only or is_protected or holder.is_read_only:
        return f"The partition {holder.id!r} is never written to, so it has no place for the swap file {source}."
    if enclosing(source, VIRTUAL) or posixpath.dirname(source) in ("/tmp", "/var/tmp"):
        return f"The swap file {source} would not stay where it is."
    return ""


@SUBJECT.advice(
    "disk",
    example="""
    disk:
      mounts:
        - {fsType: nfs4, source: "nas.example.com:/export", mountPoint: /srv/nas}
    """,
)
def systems_start_without_other_machines(template: LocatedMapping) -> t.Iterator[Finding]:
    """A system does not end in its emergency mode because another machine cannot be reached."""
    for path, item in mounts(template):
        options = {option.partition("=")[0] for option in item["mountOptions"].split(",")}
        if item["fsType"] in _NETWORK and not options & {"nofail", "noauto", "x-systemd.automount"}:
            yield (
                (*path, "mountOptions"),
                f"Where {item.get('source')} cannot be reached, systems wait for it and count as degraded. Add nofail, "
                "or x-systemd.automount, unless they are of no use without it.",
            )


def own_table_problems(template: LocatedMapping) -> t.Iterator[Finding]:
    """Yield what is wrong with an additional file that becomes C(/etc/fstab), whose lines are kept.

    Nothing else is wrong with the template, and its files are there.
    """
    layout = planned_layout(template)
    further = [Mount.from_data(item) for _path, item in mounts(template)]
    for index, item in enumerate(template["systemConfig"]["additionalFiles"]):
        if item["final"] != FSTAB or not os.path.isfile(item["local"]):
            continue
        with open(item["local"], encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read(_LARGEST_TABLE)
        try:
            if layout is None:
                fstab_without_disk(further, text, header="", root=_IN_MEMORY, swap_problem="no swap file can be there")
            else:
                fstab(layout, {partition.id: "..." for partition in layout.partitions}, mounts=further, text=text)
        except DiskError as exc:
            yield ("systemConfig", "additionalFiles", index, "local"), " ".join(str(exc).split())


__all__ = ("SUBJECT", "mounted_places", "mounts", "own_table_problems")
