# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The program that installs an image from its ISO, and the units that start it; they run in the live system.

Modules are copied to build hosts as Python files only, so the program is kept as text. It is POSIX shell, and needs
what every root tree with systemd has: coreutils, util-linux (sfdisk among it), udev. C(efibootmgr) is used where it is
installed.
"""

from __future__ import annotations

import typing as t

#: What the kernel command line of an installation has to say beside the mode.
#: Systemd's own words about jobs that take long would come between a question and its answer.
TARGET_WORD = "systemd.unit=image-install.target systemd.show_status=false"

#: Where the medium has the image and what is to be known about it.
SETTINGS = "install/settings"

_SERVICE = """\
# Made when the image was built.
[Unit]
Description=Install this system onto a disk of the machine
After=basic.target systemd-udev-trigger.service

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/image-install/image-install
StandardInput=null
TimeoutStartSec=infinity
"""

_TARGET = """\
# Made when the image was built.
[Unit]
Description=Installation of this system
Requires=basic.target
Wants=image-install.service
After=basic.target
AllowIsolate=yes
"""

PROGRAM = r"""#!/bin/sh
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes the disk image of the medium onto a disk of this machine. Words of the kernel command line:
#   image.install=auto|ask         overwrite the disk that the medium names, or the only one that fits; or ask which
#   image.install.disk=/dev/...    the disk, in place of the one that the medium names
#   image.install.after=poweroff|reboot|stay
# The tests run it with other directories for the first two.
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
SYS=${SYS:-/sys} PROC=${PROC:-/proc}
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT

consoles() {
    # shellcheck disable=SC2013  # its words are the names
    for name in $(cat "$SYS/class/tty/console/active" 2>/dev/null); do
        echo "/dev/$name"
    done
}

# Tell everybody who may be looking: each console of the kernel, and the journal.
say() {
    printf '%s\n' "$*"
    for console in $(consoles); do
        printf '\r[install] %s\r\n' "$*" >"$console" 2>/dev/null
    done
}

refuse() {
    say "NOT INSTALLED: $*"
    say "Nothing else is done. Log in to look around, or switch the machine off."
    systemctl --no-block start multi-user.target getty.target 2>/dev/null
    exit 1
}

mebibytes() { echo "$(($1 / 1048576)) MiB"; }

word() {
    # shellcheck disable=SC2013  # its words are the parameters
    for item in $(cat "$PROC/cmdline"); do
        case $item in "$1="*) found=${item#*=} ;; esac
    done
    echo "${found-}"
}

# What there is to install

find_medium() {
    for medium in /run/live/medium /run/initramfs/live /lib/live/mount/medium; do
        [ ! -r "$medium/install/settings" ] || return 0
    done
    refuse "The medium with the image is not mounted."
}

# The disk on which the medium is, also when it is a partition of it.
medium_disk() {
    source=$(findmnt -n -r -o SOURCE --target "$medium")
    parent=$(lsblk -n -r -o PKNAME "$source" 2>/dev/null | head -n 1)
    echo "${parent:-${source##*/}}"
}

# Why a disk cannot be overwritten: says nothing when it can.
problem_of() {
    # shellcheck disable=SC2046  # the columns are the words
    set -- "$1" $(lsblk -d -n -r -b -o RO,SIZE,TYPE,LOG-SEC "/dev/$1" 2>/dev/null)
    if [ "$#" -lt 5 ]; then
        echo "it does not exist"
    elif [ "$4" != disk ]; then
        echo "it is no disk, but a $4"
    elif [ "$1" = "$(medium_disk)" ] || lsblk -n -r -o LABEL "/dev/$1" | grep -q -x -F "$VOLUME_ID"; then
        echo "it is the boot medium"
    elif [ "$2" != 0 ]; then
        echo "it is write-protected"
    elif [ "$3" -lt "$LEAST" ]; then
        echo "it is too small: it has $(mebibytes "$3"), but $(mebibytes "$LEAST") are needed"
    elif [ "$5" != 512 ]; then
        echo "it has sectors of $5 bytes, and the image is made for 512"
    elif lsblk -n -r -o MOUNTPOINT "/dev/$1" | grep -q .; then
        echo "it is in use"
    else
        # Encrypted and logical volumes, arrays: they hold the disk without being mounted.
        users=$(lsblk -n -r -o TYPE "/dev/$1" | grep -v -x -e disk -e part | sort -u | tr '\n' ' ')
        [ -z "$users" ] || echo "it is in use (${users% })"
    fi
}

is_removable() {
    lsblk -d -n -r -o RM,TRAN "/dev/$1" | grep -q -e '^1' -e ' usb$'
}

disks() {
    lsblk -d -n -r -o NAME,TYPE | while read -r name type; do
        case $name in zram* | ram* | nbd* | fd* | mmcblk*boot* | mmcblk*rpmb) continue ;; esac
        [ "$type" != disk ] || echo "$name"
    done
}

describe() {
    model=$(lsblk -d -n -o MODEL "/dev/$1" | sed 's/^ *//; s/ *$//')
    echo "/dev/$1 ($(mebibytes "$(lsblk -d -n -r -b -o SIZE "/dev/$1")")${model:+, $model})"
}

# Choosing the disk

# $WORK/fitting: the disks that can be overwritten; $WORK/others: the others, and why.
sort_disks() {
    : >"$WORK/fitting"
    : >"$WORK/others"
    for name in $(disks); do
        problem=$(problem_of "$name")
        if [ -z "$problem" ] && [ "$1" = auto ] && is_removable "$name"; then
            problem="it is removable, and was not named"
        fi
        if [ -z "$problem" ]; then echo "$name"; fi >>"$WORK/fitting"
        if [ -n "$problem" ]; then echo "$(describe "$name"): $problem"; fi >>"$WORK/others"
    done
}

tell_others() {
    while read -r line; do say "  $line"; done <"$WORK/others"
}

# Disks may appear late: wait for the first that fits, or for the one that is named. When nobody watches, look a little
# longer: another one that fits may come up a moment later.
wait_for_disks() {
    tries=0
    looks=1
    [ "$1" = ask ] || looks=5
    while udevadm settle --timeout=30; [ "$tries" -lt 30 ]; do
        tries=$((tries + 1))
        if [ -n "$DISK" ]; then
            [ ! -b "$DISK" ] || return
        else
            sort_disks "$1"
            [ ! -s "$WORK/fitting" ] || [ "$tries" -lt "$looks" ] || return
        fi
        sleep 1
    done
}

choose_named() {
    [ -b "$DISK" ] || refuse "The disk $DISK does not exist in this machine."
    target=$(readlink -f "$DISK")
    target=${target#/dev/}
    problem=$(problem_of "$target")
    [ -z "$problem" ] || refuse "The disk $DISK cannot be overwritten: $problem."
}

choose_only() {
    count=$(grep -c . "$WORK/fitting")
    if [ "$count" -eq 0 ]; then
        say "This machine has no disk to install onto:"
        tell_others
        refuse "No disk fits. At least $(mebibytes "$LEAST") are needed."
    elif [ "$count" -gt 1 ]; then
        say "These disks fit:"
        while read -r name; do say "  $(describe "$name")"; done <"$WORK/fitting"
        refuse "Several disks fit, and none is named. Name one: image.install.disk=/dev/... on the kernel command" \
            "line, or disk.path in the template."
    fi
    read -r target <"$WORK/fitting"
}

# The first line that is typed on any console.
answer() {
    rm -f "$WORK/typed"
    mkfifo "$WORK/typed"
    readers=
    for console in $(consoles); do
        (
            IFS= read -r line <"$console" || sleep 3600
            printf '%s\n' "$line" >"$WORK/typed"
        ) &
        readers="$readers $!"
    done
    [ -n "$readers" ] || refuse "There is no console to ask on."
    IFS= read -r reply <"$WORK/typed"
    # shellcheck disable=SC2086  # several processes
    kill $readers 2>/dev/null
    reply=$(printf '%s' "$reply" | tr -d ' \t\r')
}

choose_asking() {
    while :; do
        sort_disks ask
        say "Onto which disk shall $TITLE be installed? Everything on it is lost."
        number=0
        while read -r name; do
            number=$((number + 1))
            say "  $number) $(describe "$name")"
        done <"$WORK/fitting"
        tell_others
        say "Type its number, r to look again, or q to leave everything as it is, and press Enter."
        answer
        case $reply in
            q) refuse "You have chosen to leave everything as it is." ;;
            r | '') continue ;;
            *[!0-9]* | 0* | ????*) target= ;;
            *) target=$(sed -n "${reply}p" "$WORK/fitting") ;;
        esac
        if [ -z "$target" ]; then
            say "There is no disk with the number $reply."
            continue
        fi
        say "Overwrite $(describe "$target")? Type yes and press Enter."
        answer
        [ "$reply" != yes ] || return 0
        say "Nothing was overwritten."
    done
}

# Writing

# The seventh number counts the sectors that were written.
sectors() { tr -s ' ' <"$SYS/class/block/$target/stat" | sed 's/^ //' | cut -d ' ' -f 7; }

show_progress() {
    before=$(sectors)
    while sleep 5; do
        percent=$((($(sectors) - before) * 512 * 100 / SIZE))
        [ "$percent" -le 99 ] || percent=99
        say "Writing: $percent %"
    done
}

# Both have checksums of what they unpack, and say when these are wrong.
unpack() {
    case $IMAGE in
        *.zst) zstd -q -d -c ;;
        *) gzip -d -c ;;
    esac || : >"$WORK/failed"
}

# With its first MiB a disk loses its partition table, and what a BIOS starts.
clear_at() {
    dd if=/dev/zero of="/dev/$target" bs=1M seek="$1" count="$2" conv=fsync,notrunc status=none 2>/dev/null
}

# What was written must not boot. Firmware takes the second table, at the end, in place of a missing first one.
spoil() {
    clear_at 0 1
    clear_at "$((SIZE / 1048576 - 1))" 2
    wipefs -q -a "/dev/$target" 2>/dev/null
    refuse "$*"
}

# Reads the disk, and writes it but for its first MiB, which goes to $WORK/first. Zeros are written, too: a disk that
# was used before holds something else there.
write_disk() {
    dd of="$WORK/first" bs=1M count=1 iflag=fullblock status=none || return
    dd of="/dev/$target" bs=4M seek=1M iflag=fullblock oflag=direct,seek_bytes conv=fsync,notrunc status=none
}

write_image() {
    say "Writing $(mebibytes "$SIZE") onto $(describe "$target")"
    wipefs -q -a "/dev/$target" || refuse "/dev/$target is in use, or cannot be written to."
    clear_at 0 1 || refuse "/dev/$target cannot be written to."
    mkfifo "$WORK/copy"
    sha256sum <"$WORK/copy" >"$WORK/sum" &
    summing=$!
    show_progress &
    showing=$!
    tee "$WORK/copy" <"$medium/$IMAGE" | unpack | write_disk || : >"$WORK/failed"
    wait "$summing"
    kill "$showing"
    [ ! -e "$WORK/failed" ] || spoil "Writing failed: the medium or the disk /dev/$target is damaged."
    [ "$(cut -c 1-64 "$WORK/sum")" = "$SHA256" ] || spoil "The image on the medium is damaged: its checksum is wrong."
    # Last, so that a disk whose installation was cut off does not boot.
    dd if="$WORK/first" of="/dev/$target" bs=1M oflag=direct conv=fsync,notrunc status=none \
        || spoil "Writing failed: the disk /dev/$target is damaged."
}

settle_disk() {
    blockdev --rereadpt "/dev/$target" 2>/dev/null
    udevadm settle --timeout=30
}

grow() {
    if [ "$TABLE" = gpt ]; then
        # The second partition table belongs at the end of this disk, not at that of the image.
        sfdisk -q --relocate gpt-bak-std "/dev/$target" \
            || spoil "The second partition table cannot be moved to the end of the disk."
    fi
    [ -n "$GROWS" ] || return 0
    total=$(blockdev --getsz "/dev/$target")
    # An MBR counts sectors in 32 bits; sfdisk would leave out what does not fit, and make the partition too small.
    [ "$TABLE" = gpt ] || [ "$total" -le 4294967295 ] || total=4294967295
    # Up to the last whole MiB that the second partition table leaves.
    end=$(((total - 34) / 2048 * 2048))
    [ -z "$EXTENDED" ] || enlarge "$EXTENDED" "$((end - EXTENDED_FROM))"
    enlarge "$GROWS" "$((end - GROWS_FROM))" \
        || say "The partition $GROWS could not be enlarged; the rest of the disk stays free."
}

enlarge() { printf ', %s\n' "$2" | sfdisk -q --no-reread -N "$1" "/dev/$target"; }

set_boot_entry() {
    { [ -n "$ESP" ] && [ -d "$SYS/firmware/efi" ]; } || return 0
    if ! command -v efibootmgr >/dev/null; then
        say "There is no efibootmgr: the firmware finds the disk by itself, or has to be told."
        return 0
    fi
    efibootmgr 2>/dev/null | while IFS= read -r line; do
        label=${line#Boot????}
        case $line in Boot????[*\ ]*) ;; *) continue ;; esac
        label=${label#?}
        label=${label# }
        label=${label%%"$(printf '\t')"*}
        number=${line#Boot}
        number=${number%"${number#????}"}
        [ "$label" != "$TITLE" ] || efibootmgr -q -b "$number" -B
    done
    efibootmgr -q -c -d "/dev/$target" -p "$ESP" -L "$TITLE" -l "$LOADER" \
        || say "The firmware took no boot entry; it finds the disk by itself, or has to be told."
}

finish() {
    sync
    say "INSTALLED: $TITLE is on /dev/$target."
    case $AFTER in
        stay) systemctl --no-block start multi-user.target getty.target ;;
        *)
            say "The machine goes on with: $AFTER. Remove the medium."
            systemctl --no-block "$AFTER"
            ;;
    esac
}

find_medium
# The medium is ours; its values are quoted for the shell.
# shellcheck source=/dev/null
. "$medium/install/settings"
named=$(word image.install.disk)
DISK=${named:-$DISK}
after=$(word image.install.after)
AFTER=${after:-$AFTER}
mode=$(word image.install)
case $AFTER in poweroff | reboot | stay) ;; *) refuse "There is no image.install.after=$AFTER." ;; esac
say "Installing $TITLE"
case $mode in
    ask)
        DISK=
        wait_for_disks ask
        choose_asking
        ;;
    auto)
        wait_for_disks auto
        if [ -n "$DISK" ]; then choose_named; else choose_only; fi
        ;;
    *) refuse "There is no image.install=$mode. Use auto or ask." ;;
esac
write_image
grow
settle_disk
set_boot_entry
finish
"""

#: The files that a live system needs to install: its path -> content.
FILES: t.Mapping[str, str] = {
    "/usr/lib/image-install/image-install": PROGRAM,
    "/usr/lib/systemd/system/image-install.service": _SERVICE,
    "/usr/lib/systemd/system/image-install.target": _TARGET,
}

__all__ = ("FILES", "PROGRAM", "SETTINGS", "TARGET_WORD")
