# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The RPM family: the packages of a lock, and nothing else, are installed by the build host's rpm, in one transaction.

rpm orders a transaction itself, and runs every scriptlet with the tree as its root directory, in the sandbox. Its exit
status tells whether all packages were installed; that of %post, %posttrans, triggers and scriptlets in Lua it only
mentions on standard error, so that is read, and whatever fails there fails the build.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import (
    Installer,
    Leftovers,
    LockedPackage,
    PackageState,
    Repositories,
    SpoiledTreeError,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import (
    configure_dnf,
    enable_modules,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm_header import BUILD_TIME, read_header
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox_init import TREE
from ansible_collections.os_image.composer.plugins.module_utils._command import CompletedCommand, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import armored_keys
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, by_descriptor

#: Where the database of installed packages is while packages are installed. Distributions that have it elsewhere have a
#: link here.
DATABASE = "/var/lib/rpm"

_PACKAGES = "/packages"
_STUBS = "/run/stubs"
_KEYS = "/run/keys"

#: Programs that must not do anything while packages are installed: what they make is made once, later, or depends on
#: the disk, which does not exist yet.
STUBBED_PROGRAMS = (
    "bootctl",
    "dracut",
    "grub-install",
    "grub-mkconfig",
    "grub2-install",
    "grub2-mkconfig",
    "grubby",
    "kernel-install",
    "mkinitrd",
    "new-kernel-pkg",
    # The keys would not stay: see cleanup.py.
    "ssh-keygen",
)
_STUB = "#!/bin/sh\nexit 0\n"
# Scriptlets that call dracut by its path find no stub. But dracut reads this, as a part of itself.
_DRACUT_STUB = "/etc/dracut.conf.d/00-os-image-composer.conf"

# Where the image's own rpm, and with it dnf and tdnf, learns to leave documentation out.
_DOCUMENTATION_MACROS = "/etc/rpm/macros.documentation"

# Directories that packages own, and that are the kernel's or of the sandbox meanwhile; with their modes.
_BASE_DIRECTORIES: t.Mapping[str, int] = {
    "/dev": 0o755,
    "/proc": 0o555,
    "/run": 0o755,
    "/sys": 0o555,
    "/tmp": 0o1777,  # noqa: S108
}
_FOREIGN_DIRECTORIES = ("/dev", "/proc", "/sys")

# Names of database files by the backend that makes them.
_BACKENDS: t.Mapping[str, str] = {"rpmdb.sqlite": "sqlite", "Packages.db": "ndb", "Packages": "bdb"}

_FAILED = re.compile(r"(?:error|warning): %(?P<script>\w+)\((?P<package>[^()]+)\) scriptlet failed, (?P<why>.*)")
_LUA_FAILED = re.compile(
    r"error: (?:lua script failed|invalid syntax in lua scriptlet|invalid syntax in lua script): "
    r"\[string \"%?(?P<script>\w+)(?:\((?P<package>[^()]+)\))?\"\](?P<why>.*)"
)
_UNKNOWN_OWNER = re.compile(r"warning: (?P<kind>user|group) (?P<name>\S+) does not exist - using root")
# rpm rounds up, to powers of 1024.
_NO_SPACE = re.compile(r"^[ \t]*installing package \S+ needs (\d+)([KM])B more space on the ", re.MULTILINE)
_OWNERS = r"[%{FILEUSERNAME}\t%{FILEGROUPNAME}\t%{FILEMODES:octal}\t%{FILENAMES}\n]"
_CAPABILITY = "security.capability"
_NODE_FAILED = re.compile(
    # The reason that it gives is another where the directory is missing as well.
    r"^error: unpacking of archive failed on file .*: cpio: mknod failed - ",
    re.MULTILINE,
)
_NODES = r"[%{FILEMODES:octal}\t%{FILERDEVS}\t%{FILEMTIMES}\t%{FILEUSERNAME}\t%{FILEGROUPNAME}\t%{FILENAMES}\n]"
_NODE = re.compile(
    r"^(?P<mode>[0-7]+)\t(?P<device>\d+)\t(?P<time>\d+)\t(?P<user>[^\t\n]+)\t(?P<group>[^\t\n]+)\t(?P<path>/.+)$",
    re.MULTILINE,
)
# Of an epoch of 0 repositories and locks say nothing, whether the package states it or not.
_QUERY = r"%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n"


class _DeviceNode(t.NamedTuple):
    """A device node of a package: its mode with the kind, its device number and owners."""

    path: str
    mode: int
    device: int
    mtime: int
    user: str
    group: str


class RpmInstaller(Installer):
    """Installs .rpm files."""

    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("rpm",)
    leftovers = Leftovers(
        files=(
            ("/var/lib/rpm", "__db.*"),
            ("/var/lib/rpm", ".rpm.lock"),
            ("/var/lib/rpm", "*-shm"),
            ("/var/lib/rpm", "*-wal"),
            ("/var/lib/dnf", "*"),
            ("/var/log", "dnf*.log"),
            ("/var/log", "hawkey.log"),
            ("/var/log", "tdnf.log"),
            ("/var/lib/alternatives", "*.new"),
        ),
        downloads=("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/tdnf", "/var/cache/yum"),
    )

    @staticmethod
    def build_date(path: str) -> int:
        return int(read_header(path, {BUILD_TIME}).get(BUILD_TIME, 0))

    @classmethod
    def layer_inputs(cls, repositories: Repositories, packages: t.Sequence[LockedPackage]) -> dict[str, t.Any]:
        used = _used(repositories, packages)
        # The keys get into the database, and rpm decides by them.
        return {
            "keys": [[list(entry.keys), list(entry.fingerprints)] for entry in used if entry.gpgcheck],
            "all signed": all(entry.gpgcheck for entry in used),
        }

    @staticmethod
    def configure_sources(files: TreeFiles, repositories: Repositories) -> None:
        configure_dnf(files, repositories)

    @staticmethod
    def enable_modules(files: TreeFiles, modules: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        enable_modules(files, modules)

    def prepare(self) -> None:
        os.chmod(self._root, 0o755)
        for path, mode in _BASE_DIRECTORIES.items():
            self._files.make_directory(path)
            self._files.set_mode(path, mode)
        self._files.make_directory(DATABASE)
        if not self._documentation:
            self._files.write(_DOCUMENTATION_MACROS, "%_excludedocs 1\n")

    def install(self, packages: t.Sequence[LockedPackage], *, again: bool = False) -> None:
        if not packages:
            return
        used = _used(self._repositories, packages)
        self._import_keys(used)
        # Programs in the tree cannot make them, so that rpm fails with the first.
        nodes = self._device_nodes(packages) if again else []
        # Without this rpm takes unsigned packages.
        level = "all" if all(entry.gpgcheck for entry in used) else "digest"
        options = ["--noplugins", "--define", f"_pkgverify_level {level}"]
        options += ["--define", f"_netsharedpath {':'.join([*_FOREIGN_DIRECTORIES, *(node.path for node in nodes)])}"]
        options += ["--define", f"_install_script_path {_STUBS}:/usr/sbin:/usr/bin:/sbin:/bin"]
        if not self._documentation:
            options.append("--excludedocs")
        if self._arch != os.uname().machine:
            # Otherwise rpm refuses what the host does not run by itself. The resolver has seen to the architecture.
            options.append("--ignorearch")
        names = [f"{_PACKAGES}/{os.path.basename(package.path)}" for package in packages]
        with self._dracut_stubbed():
            done = self._rpm(
                [*options, "-iv", *names],
                binds={_PACKAGES: os.path.dirname(packages[0].path)},
                files={f"{_STUBS}/{name}": _STUB for name in STUBBED_PROGRAMS},
                what="Installing packages",
            )
        if _NODE_FAILED.search(done.text) and not again:
            raise SpoiledTreeError("A package has device nodes, which programs in the tree cannot make.")
        self._judge(done)
        self._make_nodes(nodes)
        self._settle_owners(packages, {(match["kind"], match["name"]) for match in _UNKNOWN_OWNER.finditer(done.text)})
        self._settle_database()

    @property
    def _files(self) -> TreeFiles:
        return TreeFiles(self._root)

    def _device_nodes(self, packages: t.Sequence[LockedPackage]) -> list[_DeviceNode]:
        """Return the device nodes that packages have outside of the directories that rpm leaves alone."""
        done = self._rpm(
            ["-qp", "--qf", _NODES, *(f"{_PACKAGES}/{os.path.basename(package.path)}" for package in packages)],
            binds={_PACKAGES: os.path.dirname(packages[0].path)},
            merge_output=False,
            log_output=False,
            what="Asking for the device nodes of packages",
        )
        if done.rc != 0:
            raise self._script_error([], "", done.error_text)
        nodes = []
        for match in _NODE.finditer(done.text):
            mode, device = int(match["mode"], 8), int(match["device"])
            if stat.S_IFMT(mode) not in (stat.S_IFCHR, stat.S_IFBLK):
                continue
            if match["path"].startswith(tuple(f"{directory}/" for directory in _FOREIGN_DIRECTORIES)):
                continue
            if ":" in match["path"]:
                raise ChrootError(f"The device node {match['path']} of a package has a colon in its name.")
            # As the header has it: 16 bits.
            number = os.makedev(device >> 8 & 0xFF, device & 0xFF)
            nodes.append(_DeviceNode(match["path"], mode, number, int(match["time"]), match["user"], match["group"]))
        return nodes

    def _make_nodes(self, nodes: t.Sequence[_DeviceNode]) -> None:
        for node in nodes:
            self._files.make_directory(os.path.dirname(node.path))
            self._files.make_node(
                node.path,
                node.mode,
                node.device,
                uid=self._files.account_id("passwd", node.user) or 0,
                gid=self._files.account_id("group", node.group) or 0,
                mtime=min(node.mtime, self._newest),
            )

    def _rpm(
        self,
        arguments: t.Sequence[str],
        *,
        what: str | None = None,
        program: str = "rpm",
        backend: str = "",
        binds: t.Mapping[str, str] | None = None,
        files: t.Mapping[str, str] | None = None,
        merge_output: bool = True,
        log_output: bool = True,
    ) -> CompletedCommand:
        """Run the build host's rpm on the tree's database."""
        common = ["--root", TREE, "--dbpath", DATABASE]
        backend = backend or self._backend()
        if backend:
            common += ["--define", f"_db_backend {backend}"]
        argv = [find_tool(program), *common, *arguments]
        return self._sandbox.run(
            argv,
            outside=True,
            binds=binds,
            files=files,
            check=False,
            merge_output=merge_output,
            log_output=log_output,
            what=what,
        )

    def _backend(self) -> str:
        """Return the form of the database that the tree has; nothing when it has none yet."""
        for name, backend in _BACKENDS.items():
            if self._files.exists(f"{DATABASE}/{name}"):
                return backend
        return ""

    def _import_keys(self, repositories: Repositories) -> None:
        keys: list[str] = []
        for repository in repositories:
            if repository.gpgcheck:
                keys += (key for key in armored_keys(repository) if key not in keys)
        if not keys:
            return
        files = {f"{_KEYS}/{number}.asc": key for number, key in enumerate(keys)}
        done = self._rpm(
            ["--import", *(TREE + path for path in files)],
            program="rpmkeys",
            files=files,
            what="Importing the keys of the repositories",
        )
        if done.rc != 0:
            raise self._script_error([], "", done.text)

    @contextlib.contextmanager
    def _dracut_stubbed(self) -> t.Iterator[None]:
        files = self._files
        directory = os.path.dirname(_DRACUT_STUB)
        was_there = files.exists(directory)
        parent_was_there = files.exists(os.path.dirname(directory))
        files.write(_DRACUT_STUB, "exit 0\n")
        try:
            yield
        finally:
            files.remove(_DRACUT_STUB)
            if not was_there and not self._owns_any(directory):
                with contextlib.suppress(OSError):
                    files.remove_directory(directory)
                if not parent_was_there:
                    with contextlib.suppress(OSError):
                        files.remove_directory(os.path.dirname(directory))

    def _owns_any(self, path: str) -> bool:
        """Tell whether a package owns a path; also where there is no database yet."""
        if not self._backend():
            return False
        return self._rpm(["-qf", path], what=f"Asking who owns {path}").rc == 0

    def _judge(self, done: CompletedCommand) -> None:
        """Make an error of what rpm says.

        :raises ChrootError: A package was not installed, or one of its scriptlets failed.
        """
        text = done.text
        failures = list(_failures(text))
        if failures:
            package, script, why, said = failures[0]
            more = [other for other, _script, _why, _said in failures[1:] if other != package]
            raise self._script_error([package, *more], f"its scriptlet %{script} failed ({why})", said or text)
        missing = [int(size) if unit == "M" else 1 for size, unit in _NO_SPACE.findall(text)]
        if missing:
            # rpm adds them up package by package.
            raise ChrootError(
                f"There is no space left on the build host for the packages: {max(missing)} MiB more are needed "
                f"at {self._root}.",
                remedy="Free some, or put work_dir where there is more.",
            )
        if done.rc != 0:
            raise self._script_error(_refused(text), "rpm refuses it", _problems(text) or text)

    def _settle_owners(self, packages: t.Sequence[LockedPackage], unknown: t.Collection[tuple[str, str]]) -> None:
        """Give files to owners who did not exist yet when rpm unpacked them.

        From version 4.19 on rpm itself makes the accounts that packages declare in sysusers.d, before it unpacks
        anything; with an older one a trigger of systemd makes them, too late for the files.

        :param unknown: Pairs (V(user) or V(group), name).
        """
        if not unknown:
            return
        files = self._files
        numbers = _account_ids(files, unknown)
        if len(numbers) < len(unknown) and files.is_executable("/usr/bin/systemd-sysusers"):
            self._sandbox.run(["systemd-sysusers"], check=False, what="Making the accounts that packages declare")
            numbers = _account_ids(files, unknown)
        if numbers:
            names = [package.name for package in packages]
            done = self._rpm(
                ["-q", "--qf", _OWNERS, *names], merge_output=False, log_output=False, what="Asking who owns files"
            )
            for line in done.stdout.split(b"\n"):
                user, _tab, rest = os.fsdecode(line).partition("\t")
                group, _tab, rest = rest.partition("\t")
                mode, _tab, path = rest.partition("\t")
                uid, gid = numbers.get(("user", user)), numbers.get(("group", group))
                if path and (uid, gid) != (None, None):
                    _give(files, path, uid, gid, int(mode, 8))
        missing = sorted(f"{kind} {name}" for kind, name in unknown if (kind, name) not in numbers)
        if missing:
            self._progress.milestone(
                "Chroot",
                f"Files of packages belong to root, as their owners do not exist: {', '.join(missing)}",
                level="warn",
            )

    def _settle_database(self) -> None:
        """Put the database where the tree's own rpm looks for it, in the form that it reads.

        :raises ChrootError: The build host's rpm cannot make that form, or the tree's own rpm cannot read it.
        """
        files = self._files
        if files.is_executable("/usr/bin/rpm"):
            done = self._sandbox.run(
                ["rpm", "--eval", "%{_db_backend}\n%{_dbpath}"],
                merge_output=False,
                what="Asking the image's rpm for the form of its database",
            )
            backend, path = done.text.split()
            if backend != self._backend():
                self._progress.write(f"Making the package database again with the backend {backend}.\n")
                done = self._rpm(["--rebuilddb"], program="rpmdb", backend=backend)
                if self._backend() != backend:
                    raise self._unreadable(backend, done.text)
            self._move_database(files, path)
            listed = self._listed(outside=False)
            if listed != self._listed():
                raise self._unreadable(backend, f"It lists {len(listed)} packages.")
        _fold_log(files)

    def _move_database(self, files: TreeFiles, path: str) -> None:
        """Move the database to the tree's own place, with a link at the usual one."""
        # A place in somebody's home, as in Debian's own rpm, is not that of a distribution of RPM packages.
        if files.resolve(path) == files.resolve(DATABASE) or not path.startswith(("/usr/", "/var/")):
            return
        # A directory of a lower layer cannot be renamed.
        for name in files.names(DATABASE):
            with files.open(f"{DATABASE}/{name}") as source:
                mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
                files.copy(source, f"{path}/{name}", mode=mode, uid=0, gid=0)
        files.empty(DATABASE)
        files.remove_directory(DATABASE)
        files.link(DATABASE, os.path.relpath(path, os.path.dirname(DATABASE)))

    @staticmethod
    def _unreadable(backend: str, said: str) -> ChrootError:
        return ChrootError(
            f"The image's rpm does not read the package database that the build host's rpm makes; it wants the form "
            f"{backend!r}. {said.strip()}",
            remedy="Build on a host whose rpm has that form of database, such as the distribution itself.",
        )

    def _listed(self, *, outside: bool = True) -> list[str]:
        """Return what the database lists, sorted.

        :param outside: Ask the build host's rpm; the tree's own otherwise.
        """
        query = ["-qa", "--qf", _QUERY]
        if outside:
            done = self._rpm(query, merge_output=False, log_output=False, what="Reading the package database")
        else:
            done = self._sandbox.run(
                ["rpm", "--dbpath", DATABASE, *query],
                check=False,
                merge_output=False,
                log_output=False,
                what="Reading the package database",
            )
        return sorted(line for line in done.text.splitlines() if line)

    def installed(self) -> t.Mapping[str, PackageState]:
        found: dict[str, PackageState] = {}
        if not self._backend():
            return found
        for line in self._listed():
            name, version, arch = line.split(" ")
            if name == "gpg-pubkey":
                continue
            version = version.removeprefix("0:")
            if name in found:
                found[name] = PackageState(version, arch, "installed twice")
            else:
                found[name] = PackageState(version, arch)
        return found


def _used(repositories: Repositories, packages: t.Sequence[LockedPackage]) -> Repositories:
    """Return the repositories that packages come from."""
    names = {package.repository for package in packages}
    return [repository for repository in repositories if repository.name in names]


def _failures(text: str) -> t.Iterator[tuple[str, str, str, str]]:
    """Yield package, scriptlet, reason and output of each scriptlet that failed."""
    seen = set()
    said: list[str] = []
    for line in text.splitlines():
        # What rpm says is behind what a scriptlet said without ending its line.
        match = _FAILED.search(line) or _LUA_FAILED.search(line)
        if match is None:
            # rpm names each package as its installation begins.
            said = [] if re.fullmatch(r"\S+-[^-\s]+-[^-\s]+\.\w+", line) else [*said, line]
            continue
        key = (match["package"] or "", match["script"])
        if key not in seen:
            seen.add(key)
            why = match["why"].strip(" :")
            yield (*key, why, "\n".join([*said, line]))
        said = []


def _refused(text: str) -> list[str]:
    """Return the packages that rpm names as the reason why it installs nothing, or not all."""
    patterns = (
        r"^error: (\S+): install failed$",
        r"^\s*file \S+ (?:from install of|conflicts between attempted installs of) (\S+) ",
        r"^\s*package (\S+) does not verify",
        r"^\s*.* is needed by (\S+)$",
        r"^\s*.* conflicts with (\S+)$",
        r"^\s*installing package (\S+) needs \d+ inodes",
    )
    names = [name for pattern in patterns for name in re.findall(pattern, text, re.MULTILINE)]
    return list(dict.fromkeys(names))


def _problems(text: str) -> str:
    """Return the lines in which rpm says what is wrong."""
    return "\n".join(line for line in text.splitlines() if line.startswith(("error:", "\t")))


def _account_ids(files: TreeFiles, accounts: t.Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the numbers of the users and groups that exist."""
    databases = {"user": "passwd", "group": "group"}
    numbers = {(kind, name): files.account_id(databases[kind], name) for kind, name in accounts}
    return {account: number for account, number in numbers.items() if number is not None}


def _give(files: TreeFiles, path: str, uid: int | None, gid: int | None, mode: int) -> None:
    """Give a file that root has got to its owner, and what the kernel takes away with that back to the file.

    :param mode: As its package states it: rpm sets no set-user-ID bit for an unknown owner.
    """
    try:
        with files.opened(path, os.O_PATH | os.O_NOFOLLOW) as descriptor:
            here = by_descriptor(descriptor)
            status = os.fstat(descriptor)
            capability = None
            with contextlib.suppress(OSError):
                capability = os.getxattr(here, _CAPABILITY)
            # A scriptlet may have given it to somebody else meanwhile.
            uid = -1 if uid is None or status.st_uid else uid
            gid = -1 if gid is None or status.st_gid else gid
            os.chown(here, uid, gid)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(here, stat.S_IMODE(mode))
            if capability is not None:
                os.setxattr(here, _CAPABILITY, capability)
    except FileNotFoundError:
        # A %ghost, or documentation that is left out.
        return


def _fold_log(files: TreeFiles) -> None:
    """Write what is only in a database's write-ahead log into the database itself.

    In copies of both: SQLite would follow links, and read what else lies beside a database.
    """
    database = f"{DATABASE}/rpmdb.sqlite"
    log = files.status(f"{database}-wal")
    if log is None:
        return
    if log.st_size:
        # Not above: it loads a large library, and few runs come here.
        import sqlite3

        with tempfile.TemporaryDirectory() as directory:
            copy = os.path.join(directory, "rpmdb.sqlite")
            files.copy_out(database, copy)
            files.copy_out(f"{database}-wal", f"{copy}-wal")
            try:
                with contextlib.closing(sqlite3.connect(copy)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as exc:
                raise ChrootError(f"The package database {database} of the image is damaged: {exc}.") from exc
            with files.open(database) as stream:
                status = os.fstat(stream.fileno())
            with open(copy, "rb") as source:
                place = files.resolve(database)
                files.copy(source, place, mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid)
    for suffix in ("wal", "shm"):
        files.remove(f"{database}-{suffix}")


__all__ = ("DATABASE", "STUBBED_PROGRAMS", "RpmInstaller")
