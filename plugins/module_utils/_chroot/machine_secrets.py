# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Machine secrets of a tree: taken out of it, with the units that make them again on each machine.

A unit runs before sysinit.target, and so before every ordinary service, whenever a file is missing or empty: once on a
machine that keeps what is written, at each start where changes are in memory.
"""

from __future__ import annotations

import posixpath
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._machine_secret import MACHINE_SECRETS, MachineSecret
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

# Not in /etc, where nobody could mask them.
_UNITS = "/usr/lib/systemd/system"
_OWN_UNITS = "/etc/systemd/system"
_SCRIPTS = "/usr/libexec/os-image"
_SYSTEMD = "/usr/lib/systemd/systemd"
_PROGRAMS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_WILDCARD = re.compile(r"[*?\[]")
# What needs no quotes, neither in a unit nor in a script.
_PLAIN = re.compile(r"[\w./@+:-]+\Z", re.ASCII)

# All directories are there and can be written to when local-fs.target is reached. Programs may want /tmp.
_UNIT = """\
# Made by os_image.composer, because {packages} made these files when the image was built.
[Unit]
Description=Make what each machine has of its own: {name}
DefaultDependencies=no
RequiresMountsFor={directories}
{conditions}
After=local-fs.target systemd-tmpfiles-setup.service
Before=sysinit.target shutdown.target{before}
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
UMask=0077
Environment=DEBIAN_FRONTEND=noninteractive HOME=/root
ExecStart=/bin/sh -e {script}

[Install]
WantedBy=sysinit.target
"""

_SCRIPT_HEAD = """\
# Made by os_image.composer. {unit} runs this.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
_SETTLE = """\
settle() {
    [ -e "$3" ] || return 0
    chown "$1" "$3"
    chmod "$2" "$3"
    [ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon "$3" || :
}
"""


class MachineSecrets:
    """What a tree holds of the table, and what becomes of it.

    :ivar made: Path -> who makes it on a machine: a unit, or in words.
    :ivar kept: Path -> why it stays in the image.
    :ivar brought: Paths of files that the template brings, without symbolic links. They stay.
    """

    def __init__(self, files: TreeFiles, brought: t.Iterable[str] = ()) -> None:
        self._files = files
        self.brought = frozenset(brought)
        self.made: t.Dict[str, str] = {}
        self.kept: t.Dict[str, str] = {}

    def make_units(self) -> None:
        """Write the units for what is there; one that has the name of such a unit already is left as it is."""
        for secret, found in self._found():
            if secret.unit and not self._reason_to_keep(secret):
                self._write_unit(secret, found)

    def remove(self) -> None:
        """Take all of it out of the tree, and write the units that are not there yet."""
        for secret, found in self._found():
            reason = self._reason_to_keep(secret)
            if reason:
                self.kept.update(dict.fromkeys(found, reason))
                continue
            if secret.unit:
                self._write_unit(secret, found)
            for path in found:
                if secret.lines:
                    self._remove_lines(path, secret.lines)
                else:
                    self._remove_file(path)
                self.made[path] = secret.unit or secret.maker
        self.kept = {path: why for path, why in self.kept.items() if path not in self.made}

    def _found(self) -> t.Iterator[t.Tuple[MachineSecret, t.List[str]]]:
        """Yield the parts of the table with those of their files that the tree has."""
        for secret in MACHINE_SECRETS:
            found = sorted({path for pattern in secret.files for path in self._matching(pattern)} - self.brought)
            if secret.lines:
                found = [path for path in found if self._has_line(path, secret.lines)]
            if found:
                yield secret, found

    def _matching(self, pattern: str) -> t.List[str]:
        directory, name = posixpath.split(pattern)
        found = self._files.glob(directory, name) if _WILDCARD.search(name) else [pattern]
        return [path for path in found if _PLAIN.match(path) and self._is_content(path)]

    def _is_content(self, path: str) -> bool:
        # A link leads to what is another's; an empty file is nobody's secret.
        status = self._files.status(path, follow_last=False)
        return status is not None and stat.S_ISREG(status.st_mode) and status.st_size > 0

    def _reason_to_keep(self, secret: MachineSecret) -> str:
        """Return why a machine could not make the files, in words; nothing when it can."""
        if secret.command and any(secret.names(path) for path in self.brought):
            return "the template brings another file of the same set"
        if secret.unit and not self._files.exists(_SYSTEMD):
            return "systemd, which would have it made again, is not in the image"
        for need in secret.needs:
            places = [need] if need.startswith("/") else [f"{directory}/{need}" for directory in _PROGRAMS]
            if not any(self._files.exists(place) for place in places):
                return f"{need}, which would make it again, is not in the image"
        return ""

    def _remove_file(self, path: str) -> None:
        self._files.remove(path)
        directory, name = posixpath.split(path)
        # OpenSSL finds certificates by links that are called by a hash.
        for link in self._files.glob(directory, "*.[0-9]"):
            if self._files.link_target(link) == name:
                self._files.remove(link)

    def _has_line(self, path: str, lines: t.Tuple[str, ...]) -> bool:
        return any(text.startswith(lines) for text in self._files.read(path).splitlines())

    def _remove_lines(self, path: str, lines: t.Tuple[str, ...]) -> None:
        status = self._files.status(path)
        if status is None:
            return
        rest = [text for text in self._files.read(path).splitlines(keepends=True) if not text.startswith(lines)]
        mode = stat.S_IMODE(status.st_mode)
        self._files.write(path, "".join(rest), mode=mode, uid=status.st_uid, gid=status.st_gid)

    def _write_unit(self, secret: MachineSecret, found: t.Sequence[str]) -> None:
        unit, script = f"{_UNITS}/{secret.unit}", f"{_SCRIPTS}/machine-secret-{secret.name}"
        # Also one of the template, and a link to /dev/null, which masks it.
        if any(self._files.exists(path, follow_last=False) for path in (unit, f"{_OWN_UNITS}/{secret.unit}")):
            return
        directories = sorted({posixpath.dirname(path) for path in found})
        conditions = [f"ConditionPathIsReadWrite={directory}" for directory in directories]
        if secret.proof:
            proof = [pattern for pattern in secret.proof if posixpath.dirname(pattern) in directories]
            conditions += [f"ConditionPathExistsGlob=|!{pattern}" for pattern in proof]
        elif not secret.lines:
            conditions += [f"ConditionFileNotEmpty=|!{path}" for path in found]
        self._files.write(
            unit,
            _UNIT.format(
                packages=secret.packages,
                name=secret.name,
                directories=" ".join(directories),
                conditions="\n".join(conditions),
                before="".join(f" {name}" for name in secret.before),
                script=script,
            ),
        )
        self._files.write(script, self._script(secret, found), mode=0o755)
        self._files.link(f"{_OWN_UNITS}/sysinit.target.wants/{secret.unit}", unit)

    def _script(self, secret: MachineSecret, found: t.Sequence[str]) -> str:
        lines = [_SCRIPT_HEAD.format(unit=secret.unit), _SETTLE]
        if secret.command:
            lines.append(f'files="{" ".join(found)}"\n{secret.command}\n')
        for path in found:
            status = self._files.status(path)
            if status is None:
                continue
            if secret.each:
                made = f'grep -q "^{secret.lines[0]}" "$file"' if secret.lines else '[ -s "$file" ]'
                lines.append(f"file={path}\nif ! {made}; then\n{secret.each}\nfi\n")
            mode = stat.S_IMODE(status.st_mode)
            lines.append(f"settle {status.st_uid}:{status.st_gid} {mode:04o} {path}\n")
        # What is made once must not be lost with the power.
        lines.append("sync\n")
        return "".join(lines)


__all__ = ("MachineSecrets",)
