# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One RPM: the plan of a package, its spec file, and rpmbuild."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.tests.support.rpm_distribution.debian_package import (
    Entry,
    licence_of,
    unpack,
)

#: The date of what has no date of its own: 2025-01-01.
EPOCH = 1735689600

_PRESETS = """\
%post
if [ $1 -eq 1 ] && [ -x /usr/bin/systemctl ]; then
    /usr/bin/systemctl --no-reload preset {units} || :
fi

%preun
if [ $1 -eq 0 ] && [ -x /usr/bin/systemctl ]; then
    /usr/bin/systemctl --no-reload disable --now {units} || :
fi
"""

_SPEC_HEAD = """\
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%global _binary_payload w1.zstdio
%global _binaries_in_noarch_packages_terminate_build 0
%global __requires_exclude ^(perl|python|pkgconfig|/usr/bin/perl|/usr/bin/pkg-config|/lib/runit)
%global __requires_exclude_from ^(/usr/share/doc|/usr/lib/modules|/usr/src)
%global __provides_exclude ^(perl|python|pkgconfig)
"""


@dataclasses.dataclass(frozen=True)
class File:
    """A file that a package has beside what Debian's has.

    :ivar config: Whether it is the administrator's to change.
    """

    content: str
    mode: int = 0o644
    config: bool = False


@dataclasses.dataclass(frozen=True)
class Change:
    """How a package differs from Debian's.

    :ivar requires: More dependencies; C(provides) and C(conflicts) likewise.
    :ivar requires_pre: What its C(%pre) needs.
    :ivar files: More files by path.
    :ivar directories: More directories by path, with their modes.
    :ivar links: Symbolic links by path.
    :ivar copies: Paths of copies by path of the original.
    :ivar moves: New paths by path of the original.
    :ivar leave_out: Directories whose content does not come along, but for what is moved or copied.
    :ivar edits: By path: what to replace by what.
    :ivar owners: By path: mode, user and group.
    :ivar scriptlets: Sections of the spec file.
    :ivar presets: Whether units that can be enabled follow the distribution's presets.
    """

    requires: t.Sequence[str] = ()
    requires_pre: t.Sequence[str] = ()
    provides: t.Sequence[str] = ()
    conflicts: t.Sequence[str] = ()
    files: t.Mapping[str, File] = dataclasses.field(default_factory=dict)
    directories: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    links: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    moves: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    leave_out: t.Sequence[str] = ()
    edits: t.Mapping[str, t.Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    owners: t.Mapping[str, tuple[int, str, str]] = dataclasses.field(default_factory=dict)
    scriptlets: t.Sequence[str] = ()
    presets: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that shapes one RPM.

    :ivar deb: Path of the Debian package that it is made of; V(None) for one of the distribution's own.
    :ivar deb_digest: Its SHA-256.
    :ivar conffiles: Paths of configuration files.
    :ivar foreign_directories: Directories that another package owns.
    :ivar auto: Whether rpmbuild finds dependencies in the files.
    """

    name: str
    epoch: str
    version: str
    release: str
    arch: str
    summary: str
    description: str = ""
    url: str = ""
    requires: t.Sequence[str] = ()
    requires_pre: t.Sequence[str] = ()
    recommends: t.Sequence[str] = ()
    suggests: t.Sequence[str] = ()
    provides: t.Sequence[str] = ()
    conflicts: t.Sequence[str] = ()
    obsoletes: t.Sequence[str] = ()
    deb: str | None = None
    deb_digest: str = ""
    conffiles: t.Sequence[str] = ()
    change: Change = Change()
    foreign_directories: t.Collection[str] = ()
    auto: bool = True

    @property
    def filename(self) -> str:
        """The file name of the RPM."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    def digest(self, builder: str) -> str:
        """Return the digest of all inputs.

        :param builder: What stands for the program that builds, and its tools.
        """
        facts = dataclasses.asdict(self)
        facts["deb"] = bool(self.deb)
        facts["foreign_directories"] = sorted(self.foreign_directories)
        return hashlib.sha256(json.dumps([builder, facts], sort_keys=True).encode()).hexdigest()


def build(plan: Plan, target: str) -> None:
    """Build an RPM, unsigned: the same bytes for the same plan.

    :param target: Path of the file.
    :raises RuntimeError: rpmbuild has failed; the message is what it said.
    """
    with tempfile.TemporaryDirectory(prefix="rpm-", dir=os.path.dirname(target)) as work:
        tree = os.path.join(work, "root")
        os.mkdir(tree)
        entries = unpack(plan.deb, tree, name=plan.name) if plan.deb else {}
        _apply(plan.change, tree, entries)
        spec = os.path.join(work, "package.spec")
        with open(spec, "w", encoding="utf-8") as stream:
            stream.write(_spec(plan, tree, entries))
        _rpmbuild(plan, spec, tree, epoch=_newest(tree, entries))
        os.replace(os.path.join(work, "out", plan.filename), target)


def _apply(change: Change, tree: str, entries: dict[str, Entry]) -> None:
    for old, new in change.moves.items():
        _parent(tree, new)
        os.rename(tree + old, tree + new)
        entries[new] = entries.pop(old)
    for old, new in change.copies.items():
        _parent(tree, new)
        shutil.copy2(tree + old, tree + new)
        entries[new] = entries[old]
    for directory in change.leave_out:
        for path in [path for path in entries if f"{path}/".startswith(f"{directory}/")]:
            del entries[path]
        shutil.rmtree(tree + directory)
    for path, replacements in change.edits.items():
        with open(tree + path, encoding="utf-8") as stream:
            text = stream.read()
        for old, new in replacements:
            assert old in text, f"{path} has no {old!r}"
            text = text.replace(old, new)
        _write(tree + path, text)
    for path, file in change.files.items():
        _parent(tree, path)
        _write(tree + path, file.content)
        entries[path] = Entry("file", file.mode)
    for path, mode in change.directories.items():
        os.makedirs(tree + path, exist_ok=True)
        entries[path] = Entry("dir", mode)
    for path, to in change.links.items():
        _parent(tree, path)
        os.symlink(to, tree + path)
        entries[path] = Entry("link", 0o777)
    for path, (mode, user, group) in change.owners.items():
        entries[path] = Entry(entries[path].kind, mode, user, group)


def _parent(tree: str, path: str) -> None:
    os.makedirs(os.path.dirname(tree + path), exist_ok=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.utime(path, (EPOCH, EPOCH))


def _newest(tree: str, entries: t.Mapping[str, Entry]) -> int:
    times = [int(os.lstat(tree + path).st_mtime) for path, entry in entries.items() if entry.kind == "file"]
    return max(times, default=EPOCH)


def _spec(plan: Plan, tree: str, entries: t.Mapping[str, Entry]) -> str:
    lines = [
        f"Name: {plan.name}",
        f"Version: {plan.version}",
        f"Release: {plan.release}",
        f"Summary: {_escaped(plan.summary)}",
        f"License: {licence_of(f'{tree}/usr/share/licenses/{plan.name}/copyright') if plan.deb else 'MIT'}",
        "Vendor: Composer Linux",
    ]
    if plan.epoch:
        lines.append(f"Epoch: {plan.epoch}")
    if plan.url:
        lines.append(f"URL: {plan.url}")
    if plan.arch == "noarch":
        lines.append("BuildArch: noarch")
    if not plan.auto:
        lines.append("AutoReqProv: no")
    change = plan.change
    for tag, values in (
        ("Requires", [*plan.requires, *change.requires]),
        ("Requires(pre)", [*plan.requires_pre, *change.requires_pre]),
        ("Recommends", plan.recommends),
        ("Suggests", plan.suggests),
        ("Provides", [*plan.provides, *change.provides]),
        ("Conflicts", [*plan.conflicts, *change.conflicts]),
        ("Obsoletes", plan.obsoletes),
    ):
        lines.extend(f"{tag}: {value}" for value in dict.fromkeys(values))
    parts = ["\n".join(lines), f"%description\n{_escaped(plan.description) or plan.summary}", *change.scriptlets]
    units = _units(tree, entries) if change.presets else []
    if units:
        parts.append(_PRESETS.format(units=" ".join(units)).rstrip())
    return f"{_SPEC_HEAD}\n" + "\n\n".join(parts) + "\n\n%files\n" + "".join(_files(plan, entries))


def _units(tree: str, entries: t.Mapping[str, Entry]) -> list[str]:
    """Return the units that can be enabled."""
    found = []
    for path, entry in sorted(entries.items()):
        if entry.kind == "file" and re.fullmatch(r"/usr/lib/systemd/system/[^/@]+", path):
            with open(tree + path, encoding="utf-8") as stream:
                if "\n[Install]" in stream.read():
                    found.append(os.path.basename(path))
    return found


def _files(plan: Plan, entries: t.Mapping[str, Entry]) -> t.Iterator[str]:
    config = {*plan.conffiles, *(path for path, file in plan.change.files.items() if file.config)}
    config.update(new for old, new in plan.change.copies.items() if new.startswith("/etc/"))
    for path, entry in sorted(entries.items()):
        if path in plan.foreign_directories and entry.kind == "dir":
            continue
        assert not re.search(r'[*?"]', path), f"{plan.name}: {path} has characters that rpmbuild would expand"
        words = [f"%attr({'-' if entry.kind == 'link' else format(entry.mode, '04o')},{entry.user},{entry.group})"]
        if entry.kind == "dir":
            words.append("%dir")
        if entry.kind == "file" and path in config:
            words.append("%config(noreplace)")
        if path.startswith("/usr/share/licenses/") and entry.kind == "file":
            words.append("%license")
        place = _escaped(path)
        yield f"{' '.join(words)} {chr(34) + place + chr(34) if ' ' in place else place}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _rpmbuild(plan: Plan, spec: str, tree: str, *, epoch: int) -> None:
    work = os.path.dirname(spec)
    macros = {
        "_topdir": work,
        "_rpmdir": os.path.join(work, "out"),
        "_dbpath": os.path.join(work, "db"),
        "_tmppath": work,
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_buildhost": "composer.invalid",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "__check_files": "%{nil}",
    }
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    done = subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--nodeps", "--target", plan.arch, "--buildroot", tree, *defines, spec],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": work, "SOURCE_DATE_EPOCH": str(epoch)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"rpmbuild failed for {plan.name}:\n{done.stdout}{done.stderr}")


__all__ = ("EPOCH", "Change", "File", "Plan", "build")
