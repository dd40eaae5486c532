# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The part of dm-verity that an initramfs does: it opens the root file system, and makes /etc and /var writable.

Everything that it goes by is in the command line, or on the root file system that it has opened. Without a root hash in
the command line, as in the live system of an installer, it does nothing.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import (
    DEMANDED,
    PERSISTENT,
    ROOT_HASH_SIGNATURE,
    SIGNATURE_WORD,
    VOLATILE,
    Protection,
)

#: Modules of the kernel that it takes.
MODULES = ("dm_mod", "dm_verity")
OVERLAY_MODULES = ("overlay",)

#: Modules of dracut that open the root file system.
DRACUT_MODULES = ("systemd", "systemd-veritysetup", "dm")

_MEMORY = "/run/volatile"
#: Where the partition at /var keeps the changes of /etc.
STATE = "/var/lib/os-image-composer"

#: The program that the signature of a root hash is unpacked by.
DECODER = "base64"

# The hook of initramfs-tools.
_HOOK = """\
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
copy_exec /usr/sbin/veritysetup /sbin
"""

# Takes the signature off its partition, which begins with a line of JSON; for any shell of an initramfs.
_TAKE_SIGNATURE = f"""\
read -r line < /proc/cmdline
signature=
for word in $line; do
    case $word in {SIGNATURE_WORD}=*) signature=/dev/disk/by-partuuid/${{word#*=}} ;; esac
done
if [ -n "$signature" ]; then
    tries=0
    while [ ! -e "$signature" ] && [ $tries -lt 3000 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    read -r line < "$signature"
    line=${{line#*\\"signature\\":\\"}}
    echo "${{line%%\\"*}}" | {DECODER} -d > {ROOT_HASH_SIGNATURE}
fi
"""

# For the shell of klibc, which initramfs-tools takes where there is no other: it has neither cut nor sed. The PARTUUIDs
# are the two halves of the root hash, see the Discoverable Partitions Specification.
_FIND_ROOT = """\
#!/bin/sh
[ "$1" != prereqs ] || exit 0
hash=
read -r line < /proc/cmdline
for word in $line; do
    case $word in roothash=*) hash=${word#roothash=} ;; esac
done
[ -n "$hash" ] || exit 0

take() {
    rest=${left#$1}
    taken=${left%"$rest"}
    left=$rest
}
next_uuid() {
    take '????????'
    uuid=$taken
    for group in 1 2 3; do
        take '????'
        uuid=$uuid-$taken
    done
    take '????????????'
    uuid=$uuid-$taken
}
left=$hash
next_uuid
data=/dev/disk/by-partuuid/$uuid
next_uuid
hashes=/dev/disk/by-partuuid/$uuid

modprobe -q dm_verity
tries=0
while [ ! -e "$data" ] || [ ! -e "$hashes" ]; do
    [ $tries -lt 3000 ] || break
    tries=$((tries + 1))
    sleep 0.1
done
"""

_OPEN_ROOT = """\
if ! veritysetup open{options} --panic-on-corruption "$data" root "$hashes" "$hash"; then
    echo "verity: the root file system does not have the root hash $hash{problem}"
    sleep 5
    reboot -f
fi
"""

_LOCAL_BOTTOM = """\
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /scripts/functions
read -r line < /proc/cmdline
case " $line " in *" roothash="*) ;; *) exit 0 ;; esac
fail() {{
    panic "The changeable part of the system cannot be mounted: $1"
}}
root=$rootmnt
{steps}"""

# As initramfs-tools does it for /usr, but for options that are none of the kernel's, which mount of klibc hands on.
_MOUNT_STATE = """\
. /scripts/local
read_fstab_entry /var || fail /var
options=rw
IFS=,
for word in $MNT_OPTS; do
    case $word in defaults | x-*) ;; *) options=$options,$word ;; esac
done
unset IFS
local_device_setup "$MNT_FSNAME" "/var file system"
mount -t "$MNT_TYPE" -o "$options" "$DEV" "$root/var" || fail /var
"""

_SCRIPT = """\
#!/bin/sh
fail() {{
    echo "The changeable part of the system cannot be mounted: $1" > /dev/console
    exit 1
}}
root=/sysroot
{steps}"""

_UNIT = """\
[Unit]
Description=Make /etc and /var of the protected system writable
DefaultDependencies=no
ConditionPathExists=/etc/initrd-release
ConditionKernelCommandLine=roothash
After=initrd-root-fs.target initrd-parse-etc.service initrd-fs.target sysroot.mount
Before=initrd-cleanup.service
Conflicts=shutdown.target emergency.target
OnFailure=emergency.target
OnFailureJobMode=replace-irreversibly

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/os-image-overlays
"""


# Disks may come late: those of machines that are busy, or that have to start first. systemd waits 90 seconds.
_PATIENCE = """\
[Manager]
DefaultDeviceTimeoutSec=300s
"""


_SIGNATURE_SCRIPT = f"#!/bin/sh\n{_TAKE_SIGNATURE}"

_SIGNATURE_UNIT = f"""\
[Unit]
Description=Take the signature of the root hash off its partition
DefaultDependencies=no
ConditionPathExists=/etc/initrd-release
ConditionKernelCommandLine={SIGNATURE_WORD}
After=systemd-udev-trigger.service
Before=systemd-veritysetup@root.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/os-image-root-hash
"""

_AFTER_SIGNATURE = """\
[Unit]
Requires=os-image-root-hash.service
After=os-image-root-hash.service
"""


def hook(protection: Protection) -> str:
    """Return the hook of initramfs-tools."""
    return f"{_HOOK}copy_exec /usr/bin/{DECODER} /bin\n" if protection.signature == DEMANDED else _HOOK


def open_root(protection: Protection) -> str:
    """Return the script of initramfs-tools that opens the root file system."""
    if protection.signature != DEMANDED:
        return _FIND_ROOT + _OPEN_ROOT.format(options="", problem="")
    demanded = _OPEN_ROOT.format(
        options=f" --root-hash-signature={ROOT_HASH_SIGNATURE}",
        problem=", or that is not signed by a certificate that the kernel knows",
    )
    return _FIND_ROOT + _TAKE_SIGNATURE + demanded


def dracut_programs(protection: Protection | None) -> t.Tuple[str, ...]:
    """Return the programs that dracut has to put into the initramfs beside its own."""
    return (DECODER,) if protection is not None and protection.signature == DEMANDED else ()


def overlay_steps(protection: Protection) -> str:
    """Return the shell commands that mount what is above the root file system at C($root)."""
    steps = []
    if VOLATILE in (protection.etc, protection.var):
        steps.append(f"mkdir -p {_MEMORY} && mount -t tmpfs -o mode=0755 tmpfs {_MEMORY} || fail memory")
    for name, form in (("var", protection.var), ("etc", protection.etc)):
        if form == VOLATILE:
            steps.append(_overlay(name, f"{_MEMORY}/{name}"))
        elif form == PERSISTENT and name == "etc":
            steps.append(_overlay(name, f"$root{STATE}/{name}"))
    return "\n".join(steps) + "\n"


def _overlay(name: str, place: str) -> str:
    options = f'"lowerdir=$root/{name},upperdir={place}/upper,workdir={place}/work"'
    return (
        f'mkdir -p "{place}/upper" "{place}/work" && '
        f'mount -t overlay -o {options} overlay "$root/{name}" || fail /{name}'
    )


def local_bottom(protection: Protection) -> str:
    """Return the script of initramfs-tools that runs when the root file system is mounted."""
    steps = overlay_steps(protection)
    if protection.etc == PERSISTENT:
        steps = _MOUNT_STATE + steps
    return _LOCAL_BOTTOM.format(steps=steps)


def dracut_files(protection: Protection) -> t.Dict[str, str]:
    """Return what dracut has to put into the initramfs: path in it -> content.

    systemd, which runs there, mounts /var where the changes of /etc lie on it: fstab asks for that.
    """
    files = {"/etc/systemd/system.conf.d/os-image-verity.conf": _PATIENCE}
    if protection.signature == DEMANDED:
        units = "/usr/lib/systemd/system"
        files["/usr/bin/os-image-root-hash"] = _SIGNATURE_SCRIPT
        files[f"{units}/os-image-root-hash.service"] = _SIGNATURE_UNIT
        files[f"{units}/systemd-veritysetup@root.service.d/os-image.conf"] = _AFTER_SIGNATURE
    if not protection.has_overlays:
        return files
    return {
        **files,
        "/usr/bin/os-image-overlays": _SCRIPT.format(steps=overlay_steps(protection)),
        "/usr/lib/systemd/system/os-image-overlays.service": _UNIT,
        # As a link in its directory of wants would, without being one.
        "/usr/lib/systemd/system/initrd.target.d/os-image-overlays.conf": "[Unit]\nWants=os-image-overlays.service\n",
    }


__all__ = (
    "DRACUT_MODULES",
    "MODULES",
    "OVERLAY_MODULES",
    "STATE",
    "dracut_files",
    "dracut_programs",
    "hook",
    "local_bottom",
    "open_root",
    "overlay_steps",
)
