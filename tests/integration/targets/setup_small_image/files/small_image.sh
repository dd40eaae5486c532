#!/bin/sh
# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes a disk with an EFI system partition and a root file system, of which all identifiers are drawn anew.
#
#   small_image.sh DIRECTORY VERSION     VERSION of the package hello in it

set -eu
umask 022
export PATH="$PATH:/usr/sbin:/sbin" MTOOLS_SKIP_CHECK=1

directory=$1
version=$2
image=$directory/image.raw
root_uuid=$(cat /proc/sys/kernel/random/uuid)

mkdir -p "$directory/tree/etc" "$directory/tree/usr/lib" "$directory/tree/var/lib/dpkg" "$directory/tree/boot/efi"
printf 'ID=small\nPRETTY_NAME="Small 1"\n' >"$directory/tree/usr/lib/os-release"
ln -s ../usr/lib/os-release "$directory/tree/etc/os-release"
printf 'PARTUUID=%s / ext4 defaults 0 1\n' "$root_uuid" >"$directory/tree/etc/fstab"
printf 'Package: hello\nStatus: install ok installed\nVersion: %s\nArchitecture: all\n\n' "$version" \
    >"$directory/tree/var/lib/dpkg/status"
printf 'title Small 1\nversion 1\nlinux /linux\ninitrd /initrd\noptions root=PARTUUID=%s quiet\n' "$root_uuid" \
    >"$directory/entry.conf"

truncate -s 64M "$image"
printf 'label: gpt\nstart=2048, size=32768, type=uefi, name=esp\nsize=65536, uuid=%s, name=root\n' "$root_uuid" |
    sfdisk --quiet "$image"
truncate -s 16M "$directory/esp"
mkfs.vfat -n ESP "$directory/esp" >/dev/null
mmd -i "$directory/esp" ::/loader ::/loader/entries
mcopy -i "$directory/esp" "$directory/entry.conf" ::/loader/entries/small.conf
dd if="$directory/esp" of="$image" bs=1M seek=1 conv=notrunc status=none
mke2fs -q -F -t ext4 -L root -d "$directory/tree" -E offset=$((17 << 20)) "$image" 32M
