# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The programs by which a running system brings its kernels to its bootloader: text for the shell of any distribution.

They use the shell, coreutils, grep and sed, which every image has, and are put together by :mod:`kernel_updates`.
"""

from __future__ import annotations

#: Where the program lies in the image.
BOOT_ENTRY = "/usr/libexec/os-image/boot-entry"

#: What the program begins with; settings and the functions C(check), C(entries), C(put) and C(drop) follow.
HEAD = """\
#!/bin/sh
# Made when the image was built: brings the kernels of this system to its bootloader.
#
#   boot-entry add VERSION [KERNEL]    a kernel was installed, or its initramfs made again
#   boot-entry remove VERSION          it was removed
#   boot-entry sync                    add and remove what was installed and removed since
set -eu
fail() {
    echo "boot-entry: $*" >&2
    exit 1
}
is_installed() {
    [ -e "/usr/lib/modules/$1/kernel" ] || [ -e "/usr/lib/modules/$1/vmlinuz" ]
}
image_of() {
    for image in "/boot/vmlinuz-$1" "/usr/lib/modules/$1/vmlinuz"; do
        if [ -f "$image" ]; then
            echo "$image"
            return
        fi
    done
    return 1
}
initrd_of() {
    for initrd in "/boot/initrd.img-$1" "/boot/initramfs-$1.img" "/boot/initrd-$1"; do
        if [ -f "$initrd" ]; then
            echo "$initrd"
            return
        fi
    done
    return 1
}
kernels() {
    for modules in /usr/lib/modules/*/; do
        version=${modules%/}
        version=${version##*/}
        if is_installed "$version" && image_of "$version" >/dev/null; then
            echo "$version"
        fi
    done
}
"""

#: For systemd-boot, by the distribution's kernel-install. Settings: esp, token, entries, suffix.
KERNEL_INSTALL = """\
check() {
    [ -n "$esp" ] || fail "This image mounts its EFI system partition nowhere, so that the kernel $1 cannot" \\
        "get there. Build one that has a mountPoint for it."
    [ -e "$esp/loader/loader.conf" ] || fail "The EFI system partition is not mounted at $esp, so that the kernel" \\
        "$1 does not get there. Mount it, and run: $0 sync"
}
entries() {
    for entry in "$esp/$entries/$token"-*"$suffix"; do
        [ -e "$entry" ] || continue
        entry=${entry##*/"$token"-}
        entry=${entry%"$suffix"}
        # What systemd-boot counts tries with.
        case ${entry##*+} in
            "$entry" | *[!0-9-]*) ;;
            *) entry=${entry%+*} ;;
        esac
        echo "$entry"
    done
}
store() {
    needed=$(($(stat -L -c %s "$2") + $(stat -L -c %s "$3")))
    # Files of an entry are replaced one by one; a unified kernel image is there until the new one is whole.
    for present in "$esp/$token/$1"/*; do
        [ ! -f "$present" ] || needed=$((needed - $(stat -c %s "$present")))
    done
    needed=$((needed / 1048576 + 1))
    free=$(($(stat -f -c %a "$esp") * $(stat -f -c %S "$esp") / 1048576))
    [ "$needed" -le "$free" ] || fail "The EFI system partition has no room for the kernel $1: it needs $needed MiB" \\
        "more, and $free MiB are free. Remove the package of a kernel that is not needed, and run: $0 sync"
    kernel-install add "$1" "$2" "$3"
    sync -f "$esp"
}
put() {
    case $(od -An -tx1 -N2 "$2" | tr -d ' ') in
        1f8b)
            # Firmware for Arm starts no packed kernel.
            plain=$(mktemp -d)
            gzip -dc "$2" >"$plain/linux"
            store "$1" "$plain/linux" "$3"
            rm -r "$plain"
            ;;
        *) store "$@" ;;
    esac
}
drop() {
    kernel-install remove "$1"
    sync -f "$esp"
}
"""

#: For GRUB's menu: by the distribution's own program, and where there is none, or it finds no kernel, in the form of
#: the menu that the build made. Settings: menu, mkconfig, header, title, partition, prefix, cmdline, pinned.
GRUB = """\
check() {
    [ -d "${menu%/*}" ] || fail "There is no ${menu%/*}, so that the kernel $1 does not get into GRUB's menu." \\
        "Mount the partition that has it, and run: $0 sync"
}
entries() {
    sed -n 's,.*/vmlinuz-\\([^ ]*\\) .*,\\1,p' "$menu" | sort -u
}
has_entry() {
    grep -q "/vmlinuz-$1 " "$menu"
}
put() {
    # As kernel-install does, where packages leave it to that.
    [ "$2" = "/boot/vmlinuz-$1" ] || cp "$2" "/boot/vmlinuz-$1"
    # The hook of the distribution may have been here.
    if ! has_entry "$1" || ! grep -q "/${3##*/}\\>" "$menu"; then
        make_menu "/vmlinuz-$1 "
    fi
}
drop() {
    if has_entry "$1" || ! grep -q /vmlinuz- "$menu"; then
        make_menu /vmlinuz-
    fi
}
make_menu() {
    # It finds no kernel in a root file system on a loop device.
    if [ -z "$mkconfig" ] || ! "$mkconfig" -o "$menu" || ! grep -q "$1" "$menu"; then
        write_menu
    fi
}
write_menu() {
    images=$(printf '%s\\n' /boot/vmlinuz-* | sort -rV)
    if [ -n "$pinned" ] && [ -f "/boot/vmlinuz-$pinned" ]; then
        images="/boot/vmlinuz-$pinned
$(printf '%s\\n' "$images" | grep -vxF "/boot/vmlinuz-$pinned" || :)"
    fi
    {
        printf '%s\\n' "$header"
        for image in $images; do
            case $image in *.old | *.bak | *.dpkg-new | *.rpmnew | *.rpmsave) continue ;; esac
            version=${image#/boot/vmlinuz-}
            initrd=$(initrd_of "$version") || continue
            printf "menuentry '%s' {\\n" "$title, $version"
            printf '\\tsearch --no-floppy --fs-uuid --set=root %s\\n' "$partition"
            printf '\\tlinux %s %s\\n' "${image#"$prefix"}" "$cmdline"
            printf '\\tinitrd %s\\n}\\n' "${initrd#"$prefix"}"
        done
    } >"$menu.new"
    grep -q '^menuentry ' "$menu.new" || fail "No kernel in /boot has an initramfs, so that $menu stays as it is."
    mv "$menu.new" "$menu"
    sync -f "$menu"
}
"""

#: For kernels that have to be signed, with a key that is not here. Settings: esp, token, entries, suffix.
REFUSE = """\
check() {
    fail "The kernel $1 is not put into the bootloader: this image starts kernels that were signed for Secure Boot" \\
        "when it was built, and the key is not on this machine. Build a new image with that kernel, or hold its" \\
        "packages back."
}
put() {
    check "$1"
}
"""

#: How initramfs and leftovers are dealt with, by family.
DEB = """\
make_initrd() {
    fail "The kernel $1 has no initramfs. Install initramfs-tools or dracut, and run: update-initramfs -c -k $1"
}
wait_for_packages() {
    :
}
forget() {
    :
}
"""
RPM = """\
make_initrd() {
    dracut --force --quiet --kver "$1" "/boot/initramfs-$1.img"
}
wait_for_packages() {
    for lock in /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do
        [ -e "$lock" ] || continue
        lock=$(stat -L -c %i "$lock")
        while grep -q ":$lock " /proc/locks; do
            sleep 1
        done
    done
}
# What was copied or made for a kernel, and is no part of its package.
forget() {
    for left in "/boot/vmlinuz-$1" "/boot/initrd.img-$1" "/boot/initramfs-$1.img" "/boot/initrd-$1"; do
        if [ -f "/usr/lib/modules/$1/vmlinuz" ] || ! rpm -qf "$left" >/dev/null 2>&1; then
            rm -f "$left"
        fi
    done
}
"""

#: What the program ends with.
TAIL = """\
case ${1:-} in
    add)
        check "$2"
        image=${3:-$(image_of "$2")}
        initrd=$(initrd_of "$2") || {
            make_initrd "$2"
            initrd=$(initrd_of "$2")
        }
        put "$2" "$image" "$initrd"
        ;;
    remove)
        forget "$2"
        drop "$2"
        ;;
    sync)
        wait_for_packages
        failed=0
        present=$(entries)
        for version in $(kernels); do
            printf '%s\\n' "$present" | grep -qxF "$version" || "$0" add "$version" || failed=1
        done
        # The kernel that runs stays in the menu until another one does.
        for version in $present; do
            is_installed "$version" || [ "$version" = "$(uname -r)" ] || "$0" remove "$version" || failed=1
        done
        exit "$failed"
        ;;
    *)
        sed -n 's/^# //p' "$0" | head -n 5 >&2
        exit 2
        ;;
esac
"""

#: A plugin of kernel-install for C(layout=uki): what ukify would make, where there is no ukify. Setting: stub.
#: The form is that of :mod:`uki`.
UKI_PLUGIN = """\
set -eu
command=$1 version=$2
output=$KERNEL_INSTALL_BOOT_ROOT/EFI/Linux/$KERNEL_INSTALL_ENTRY_TOKEN-$version.efi
[ "$KERNEL_INSTALL_LAYOUT" = uki ] || exit 0
if [ "$command" = remove ]; then
    rm -f "$output"
    exit 0
fi
[ "$command" = add ] || exit 0
uki=$KERNEL_INSTALL_STAGING_AREA/uki.efi
# Another plugin has made it.
[ ! -e "$uki" ] || exit 0
fail() {
    echo "kernel-install: no unified kernel image can be made of the kernel $version: $*" >&2
    exit 1
}
kernel=$4
shift 4
work=$KERNEL_INSTALL_STAGING_AREA/sections
rm -rf "$work"
mkdir "$work"
for initrd in "$@" "$KERNEL_INSTALL_STAGING_AREA"/microcode* "$KERNEL_INSTALL_STAGING_AREA"/initrd*; do
    [ ! -f "$initrd" ] || cat "$initrd" >>"$work/.initrd"
done
[ -s "$work/.initrd" ] || fail "it has no initramfs."
cat /etc/os-release >"$work/.osrel"
for cmdline in /etc/kernel/cmdline /usr/lib/kernel/cmdline; do
    [ -f "$cmdline" ] && break
done
[ -f "$cmdline" ] || fail "there is no /etc/kernel/cmdline."
cmdline=$(grep -v '^[[:space:]]*#' "$cmdline" | tr '\\n' ' ')
printf '%s\\0' "${cmdline% }" >"$work/.cmdline"
printf '%s' "$version" >"$work/.uname"
# For Arm it may be packed, where a package calls kernel-install itself.
case $(od -An -tx1 -N2 "$kernel" | tr -d ' ') in
    1f8b) gzip -dc "$kernel" >"$work/.linux" ;;
    *) cat "$kernel" >"$work/.linux" ;;
esac

number() { # FILE OFFSET BYTES
    od -An "-tu$3" "-j$2" "-N$3" "$1" | tr -d ' '
}
store() { # FILE OFFSET BYTES NUMBER
    value=$4 bytes='' left=$3
    while [ "$left" -gt 0 ]; do
        bytes=$bytes\\\\0$(printf %03o $((value % 256)))
        value=$((value / 256)) left=$((left - 1))
    done
    printf %b "$bytes" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
aligned() { # NUMBER ALIGNMENT
    echo $((($1 + $2 - 1) / $2 * $2))
}
header=$(number "$stub" 60 4)
optional=$((header + 24))
[ "$(number "$stub" "$header" 4)" = 17744 ] && [ "$(number "$stub" "$optional" 2)" = 523 ] ||
    fail "$stub is not a 64-bit EFI program."
count=$(number "$stub" $((header + 6)) 2)
table=$((optional + $(number "$stub" $((header + 20)) 2)))
step=$(number "$stub" $((optional + 32)) 4)
file_step=$(number "$stub" $((optional + 36)) 4)
room=$(number "$stub" $((optional + 60)) 4)
end=0 address=0 index=0
while [ "$index" -lt "$count" ]; do
    entry=$((table + 40 * index))
    size=$(number "$stub" $((entry + 8)) 4) place=$(number "$stub" $((entry + 12)) 4)
    raw_size=$(number "$stub" $((entry + 16)) 4) raw=$(number "$stub" $((entry + 20)) 4)
    [ $((place + size)) -le "$address" ] || address=$((place + size))
    [ $((raw + raw_size)) -le "$end" ] || end=$((raw + raw_size))
    [ "$raw_size" = 0 ] || [ "$raw" -ge "$room" ] || room=$raw
    index=$((index + 1))
done
[ $((table + 40 * (count + 5))) -le "$room" ] || fail "the header of $stub has no room for it."
page=$step
[ "$page" -ge 4096 ] || page=4096
made=$work/uki
head -c "$end" "$stub" >"$made"
# Of the table of symbols, which is left out.
store "$made" $((header + 12)) 4 0
store "$made" $((header + 16)) 4 0
truncate -s "$(aligned "$end" "$file_step")" "$made"
address=$(aligned "$address" "$page")
position=$(aligned "$end" "$file_step")
initialized=$(number "$stub" $((optional + 8)) 4)
for section in .osrel .cmdline .uname .initrd .linux; do
    size=$(stat -c %s "$work/$section")
    raw_size=$(aligned "$size" "$file_step")
    entry=$((table + 40 * count))
    printf %s "$section" | dd of="$made" bs=1 seek="$entry" conv=notrunc status=none
    store "$made" $((entry + ${#section})) $((8 - ${#section})) 0
    store "$made" $((entry + 8)) 4 "$size"
    store "$made" $((entry + 12)) 4 "$address"
    store "$made" $((entry + 16)) 4 "$raw_size"
    store "$made" $((entry + 20)) 4 "$position"
    store "$made" $((entry + 24)) 4 0
    store "$made" $((entry + 28)) 4 0
    store "$made" $((entry + 32)) 4 0
    # Initialized data, readable.
    store "$made" $((entry + 36)) 4 1073741888
    cat "$work/$section" >>"$made"
    rm "$work/$section"
    position=$((position + raw_size))
    truncate -s "$position" "$made"
    initialized=$((initialized + raw_size))
    address=$(aligned $((address + size)) "$page")
    count=$((count + 1))
done
store "$made" $((header + 6)) 2 "$count"
store "$made" $((optional + 8)) 4 "$initialized"
store "$made" $((optional + 56)) 4 "$(aligned "$address" "$step")"
store "$made" $((optional + 64)) 4 0
mv "$made" "$uki"
rm -rf "$work"
# Newer versions of kernel-install copy it themselves.
if [ ! -e /usr/lib/kernel/install.d/90-uki-copy.install ]; then
    mkdir -p "${output%/*}"
    cp "$uki" "$output.new"
    mv "$output.new" "$output"
fi
"""

__all__ = (
    "BOOT_ENTRY",
    "DEB",
    "GRUB",
    "HEAD",
    "KERNEL_INSTALL",
    "REFUSE",
    "RPM",
    "TAIL",
    "UKI_PLUGIN",
)
