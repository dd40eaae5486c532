# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Swap files, which the running system makes before it uses them for the first time.

A swap file must not have holes, and the programs that write file systems leave holes where there are zeros. So the
image does not hold it, only the room for it, and a unit that makes it: whole, and under its name when it is ready.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_UNITS = "/etc/systemd/system"
_PROGRAM = "/usr/lib/os-image-composer/make-swap-file"
_NEEDED: t.Mapping[str, t.Sequence[str]] = {
    "util-linux": ("/usr/sbin/mkswap", "/sbin/mkswap"),
    "systemd": ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"),
}

# Btrfs wants a file that is never copied on writing; not every file system can allocate without writing.
_SCRIPT = """\
#!/bin/sh
# Makes the swap file $1 of $2 bytes, unless it is there and has no holes.
set -e
if [ -e "$1" ]; then
    [ "$(stat -c %b "$1")" -lt "$(($2 / 512))" ] || exit 0
    rm -f -- "$1"
fi
umask 077
new=$1.new
rm -f -- "$new"
: > "$new"
chattr +C "$new" 2> /dev/null || :
fallocate --length "$2" "$new" 2> /dev/null ||
    dd if=/dev/zero of="$new" bs=1M count="$((($2 + 1048575) / 1048576))" conv=fsync
mkswap "$new"
mv -f -- "$new" "$1"
"""

# Not after local-fs.target: file systems in memory, which that waits for, wait for swap space.
_UNIT = """\
# Made when the image was built: the swap file is made at the first boot.
[Unit]
Description=Make the swap file {shown}
DefaultDependencies=no
RequiresMountsFor={directory}
After=systemd-remount-fs.service{growth}
Before={swap}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {program} {path} {size}
"""

_DROP_IN = """\
# Made when the image was built: the swap file is made at the first boot.
[Unit]
Requires={unit}
After={unit}
"""


def swap_file_units(tree: str, layout: DiskLayout, sizes: t.Mapping[str, int]) -> t.Dict[str, bytes]:
    """Return what makes the swap files at the first boot: path in the tree -> content.

    :param sizes: Absolute path -> bytes of each swap file.
    :raises DiskError: The image has not the programs that do it, or the file would be where it cannot be.
    """
    files: t.Dict[str, bytes] = {}
    for path, size in sorted(sizes.items()):
        for package, places in _NEEDED.items():
            if not any(TreeFiles(tree).exists(place) for place in places):
                raise DiskError(
                    f"The swap file {path} is made at the first boot, but the root tree has no {places[0]}.",
                    remedy=f"Add the package {package!r} to systemConfig.packages, or remove the swap file.",
                )
        name = escaped_path(path)
        unit = f"make-swap-file-{name}.service"
        holder = layout.holding(path)
        growth = ""
        if holder is not None and holder.grows:
            where = str(holder.mount_point)
            service = "systemd-growfs-root" if where == "/" else f"systemd-growfs@{escaped_path(where)}"
            growth = f" {service}.service"
        text = _UNIT.format(
            shown=path.replace("%", "%%"),
            directory=_quoted(posixpath.dirname(path)),
            growth=growth,
            swap=f"{name}.swap",
            program=_PROGRAM,
            path=_quoted(path, command=True),
            size=size,
        )
        files[_PROGRAM] = _SCRIPT.encode("ascii")
        files[f"{_UNITS}/{unit}"] = text.encode("utf-8", errors="surrogateescape")
        files[f"{_UNITS}/{name}.swap.d/make.conf"] = _DROP_IN.format(unit=unit).encode("ascii")
    return files


def escaped_path(path: str) -> str:
    """Return a path as it is part of the names of units; see systemd-escape(1), option C(--path)."""
    stripped = path.strip("/")
    if not stripped:
        return "-"
    data = stripped.encode("utf-8", errors="surrogateescape")
    shown = "".join(
        "-" if byte == 0x2F else chr(byte) if re.match(r"[A-Za-z0-9:_.]", chr(byte)) else f"\\x{byte:02x}"
        for byte in data
    )
    return f"\\x2e{shown[1:]}" if shown.startswith(".") else shown


def _quoted(path: str, *, command: bool = False) -> str:
    """Quote a path for a unit; see systemd.syntax(7) and, for commands, systemd.service(5)."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if command else text}"'


__all__ = ("escaped_path", "swap_file_units")
