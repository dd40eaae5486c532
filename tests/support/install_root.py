# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root directory into which other programs than ours install packages, with what scriptlets expect of the kernel."""

from __future__ import annotations

#: Lines of a shell script that runs in a mount namespace of its own: nothing is left of the mounts when it ends.
#: C($root) is the directory.
MOUNTS = """\
mount --make-rprivate / && mkdir -p "$root"/dev "$root"/proc "$root"/run "$root"/sys &&
mount -t proc proc "$root/proc" && mount -t sysfs -o ro sysfs "$root/sys" &&
mount -t tmpfs tmpfs "$root/run" && mount -t tmpfs tmpfs "$root/dev" || exit
for name in null zero full random urandom tty; do
    touch "$root/dev/$name" && mount --bind "/dev/$name" "$root/dev/$name" || exit
done
ln -s /proc/self/fd "$root/dev/fd"
"""

__all__ = ("MOUNTS",)
