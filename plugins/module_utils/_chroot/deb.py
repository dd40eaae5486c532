# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The DEB family: the packages of a lock, and nothing else, are installed by the target's own dpkg.

Unpacking is where the time goes: dpkg needs a process or three for each package, writes every file under another name
first, and rewrites its database again and again. Into a tree that is thrown away when anything fails none of that is
needed, so the files are extracted directly, and the packages recorded as unpacked, in the very form that
C(dpkg --unpack) leaves. preinst scripts run in the order of the lock, each with its Pre-Depends configured. Where
packages touch each other's files (diversions, replaced files) dpkg itself unpacks. C(dpkg --configure) does the rest in
either case.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    TAR_BLOCK,
    DebArchive,
    TarMember,
    build_date,
    read_tar,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.documentation import (
    DOCUMENTATION_FILTER,
    FILTER_TEXT,
    is_kept,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.dpkg_database import (
    ADMIN_DIRECTORY,
    DpkgDatabase,
    UnpackedPackage,
    file_stem,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.extract import (
    Extractor,
    NotPlainError,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import (
    Installer,
    Leftovers,
    LockedPackage,
    PackageState,
    Repositories,
    SpoiledTreeError,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.package_sources import configure_apt
from ansible_collections.os_image.composer.plugins.module_utils._command import CompletedCommand
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_POLICY = "/usr/sbin/policy-rc.d"
_FORBID_SERVICES = "#!/bin/sh\nexit 101\n"

#: Programs of packages that must not do anything while packages are configured: what they make is made once, later,
#: or depends on the disk, which does not exist yet.
STUBBED_PROGRAMS = (
    "/usr/sbin/update-initramfs",
    "/usr/sbin/update-grub",
    "/usr/sbin/update-grub2",
    "/usr/sbin/grub-install",
    "/usr/bin/dracut",
    "/usr/bin/bootctl",
    "/usr/bin/kernel-install",
    # The keys would not stay: see cleanup.py.
    "/usr/bin/ssh-keygen",
)

# A new configuration file wins over one that a script made before; nobody is there to be asked.
_DPKG_OPTIONS = ("--force-unsafe-io", "--force-confnew", "--no-pager")

_FAILED_ARCHIVE = re.compile(r"^dpkg: error processing archive /run/packages/(\S+) ", re.MULTILINE)
_FAILED_NODE = re.compile(
    r"^dpkg: error processing archive /run/packages/(\S+) \(--unpack\):\s+error creating device ", re.MULTILINE
)
# Of the patterns of --path-exclude, see fnmatch(3).
_GLOB_CHARACTERS = r"([*?\[\\])"
_ESCAPED = r"\\\1"

# The directories that one tree of /usr has replaced; the links must be there before the first file is.
_MERGED_DIRECTORIES = ("bin", "lib", "sbin")
_MERGED_FOR_ARCH: t.Mapping[str, tuple[str, ...]] = {"amd64": ("lib64",), "i386": (), "arm64": (), "armhf": ()}


class DebInstaller(Installer):
    """Installs .deb files."""

    leftovers = Leftovers(
        files=(
            ("/var/cache/apt", "*.bin"),
            ("/var/cache/debconf", "*-old"),
            ("/var/lib/dpkg", "*-old"),
            ("/var/lib/dpkg", "lock*"),
            ("/var/lib/dpkg/triggers", "Lock"),
            ("/var/lib/ucf", "*.?"),
            ("/var/log", "alternatives.log"),
            ("/var/log", "bootstrap.log"),
            ("/var/log", "dpkg.log"),
            ("/var/log/apt", "*"),
        ),
        # The directories in them belong to the package apt.
        downloads=("/var/lib/apt/lists", "/var/cache/apt/archives"),
    )
    # Where this is a link to locale.conf, both are one.
    locale_file = "/etc/default/locale"
    timezone_file = "/etc/timezone"
    initramfs_name = "initrd.img-{}"

    @property
    def _database(self) -> DpkgDatabase:
        return DpkgDatabase(self._root)

    @property
    def _files(self) -> TreeFiles:
        return TreeFiles(self._root)

    @staticmethod
    def build_date(path: str) -> int:
        return build_date(path)

    @staticmethod
    def forbidden_services(root: str) -> contextlib.AbstractContextManager[None]:
        return forbidden_services(root)

    @staticmethod
    def configure_sources(files: TreeFiles, repositories: Repositories) -> None:
        configure_apt(files, repositories)

    def prepare(self, *, merged_usr: bool = True) -> None:
        """Make an empty tree ready for its first packages."""
        os.chmod(self._root, 0o755)
        if merged_usr:
            for name in (*_MERGED_DIRECTORIES, *_MERGED_FOR_ARCH.get(self._arch, ())):
                self._files.make_directory(f"/usr/{name}")
                self._files.link(f"/{name}", f"usr/{name}")
        self._database.create()
        if not self._documentation:
            self._files.write(DOCUMENTATION_FILTER, FILTER_TEXT)

    def install(self, packages: t.Sequence[LockedPackage], *, again: bool = False) -> None:
        if again:
            self.install_by_dpkg(packages)
            return
        try:
            self.install_directly(packages)
        except NotPlainError as exc:
            raise SpoiledTreeError(f"The packages cannot be extracted directly ({exc}); dpkg unpacks them.") from exc

    def install_directly(self, packages: t.Sequence[LockedPackage]) -> None:
        """Extract, record and configure packages.

        :raises NotPlainError: Only dpkg itself can unpack them; the tree is spoiled.
        :raises ChrootError: It failed.
        """
        empty = not self._database.packages()
        with contextlib.ExitStack() as stack:
            archives = [(package, stack.enter_context(DebArchive(package.path))) for package in packages]
            for package, archive in archives:
                if archive.fields.get("Package") != package.name:
                    raise ChrootError(f"{package.path} holds the package {archive.fields.get('Package')}.")
            done = 0
            for batch in self._batches(archives, empty=empty):
                self._install_batch(batch, empty=empty, done=done, total=len(packages))
                done += len(batch)
                empty = False

    def _batches(
        self, archives: t.Sequence[tuple[LockedPackage, DebArchive]], *, empty: bool
    ) -> t.Iterator[list[tuple[LockedPackage, DebArchive]]]:
        """Split packages where a preinst script needs what an earlier package of them brings, configured.

        The packages of an empty tree cannot be split: they have to do without, as in every new system.
        """
        batch: list[tuple[LockedPackage, DebArchive]] = []
        provided: set[str] = set()
        for package, archive in archives:
            if not empty and "preinst" in archive.control:
                wanted = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", archive.fields.get("Pre-Depends", ""))
                if provided.intersection(wanted):
                    yield batch
                    batch, provided = [], set()
            batch.append((package, archive))
            provided.add(package.name)
            provided.update(re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]+)", archive.fields.get("Provides", "")))
        if batch:
            yield batch

    def _install_batch(
        self, batch: t.Sequence[tuple[LockedPackage, DebArchive]], *, empty: bool, done: int, total: int
    ) -> None:
        if not empty:
            self._run_preinst_scripts(batch)
        for _package, archive in batch:
            self._database.register(archive, file_stem(archive))
        extractor = Extractor(
            self._root,
            owned=self._database.owned_paths(),
            reserved=self._database.reserved_paths(),
            newest=self._newest,
            conffiles_in_place=empty,
            is_wanted=self._is_wanted,
        )
        extracted = extractor.extract(
            [(package.name, archive) for package, archive in batch],
            workers=self._workers,
            extracted=lambda count: self._progress.count(
                "Chroot", "Extracting packages ({done}/{total})", done=done + count, total=total
            ),
        )
        unpacked = [
            UnpackedPackage(file_stem(archive), archive, files.paths)
            for (_package, archive), files in zip(batch, extracted)
        ]
        self._database.record_unpacked(unpacked)
        if empty:
            self._run_preinst_scripts(batch)
            reserved = self._database.reserved_paths()
            for package in unpacked:
                clash = reserved.intersection(package.paths)
                if clash:
                    raise NotPlainError(f"{min(clash)} of {package.stem} is diverted or overridden")
        self._configure(len(batch))

    @property
    def _is_wanted(self) -> t.Callable[[TarMember], bool] | None:
        return None if self._documentation else is_kept

    def _run_preinst_scripts(self, batch: t.Sequence[tuple[LockedPackage, DebArchive]]) -> None:
        """Run all preinst scripts in one sandbox, each with what dpkg tells it."""
        version = self._dpkg_version(batch)
        # dpkg runs the script in a directory with all of the package's control files, and some look into it.
        stage = f"{ADMIN_DIRECTORY}/tmp.ci"
        lines = [
            "cd /",
            f"export DPKG_RUNNING_VERSION={version} DPKG_ADMINDIR={ADMIN_DIRECTORY} DPKG_ROOT=",
            "export DPKG_FORCE=unsafe-io,confnew DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1",
        ]
        staged = False
        for package, archive in batch:
            if "preinst" not in archive.control:
                continue
            staged = True
            with self._files.new_directory(f"{stage}-{package.name}") as directory:
                archive.write_control(directory)
            environment = (
                f"DPKG_MAINTSCRIPT_PACKAGE={package.name} DPKG_MAINTSCRIPT_ARCH={archive.fields['Architecture']}"
            )
            failed = f'echo "composer: preinst of {package.name} failed with status $?"; exit 1'
            lines.append(f"mv {stage}-{package.name} {stage}")
            lines.append(f"{environment} {stage}/preinst install </dev/null || {{ {failed}; }}")
            lines.append(f"rm -rf {stage}")
        if not staged:
            return
        with forbidden_services(self._root):
            done = self._sandbox.run(
                ["/bin/sh", "-c", "\n".join(lines)],
                stubs=STUBBED_PROGRAMS,
                check=False,
                what="Running the packages' preinst scripts",
            )
        if done.rc != 0:
            names = re.findall(r"^composer: preinst of (\S+) failed", done.text, re.MULTILINE)
            raise self._script_error(names, "its preinst script failed", done.text)

    def _dpkg_version(self, batch: t.Sequence[tuple[LockedPackage, DebArchive]]) -> str:
        for package, archive in batch:
            if package.name == "dpkg":
                return archive.fields["Version"]
        installed = self._database.packages().get("dpkg")
        if installed is None:
            raise ChrootError(
                f"The package database {ADMIN_DIRECTORY} of the image does not list dpkg.",
                remedy="Look for the script or package that has removed or replaced the database.",
            )
        return installed.version

    def unpack(self, packages: t.Sequence[LockedPackage]) -> None:
        """Let dpkg unpack packages; in an empty tree they have to be extracted first, so that there is a dpkg.

        Programs in the tree cannot make device nodes: packages that have some are unpacked without them, and they are
        made from what the packages' archives say.
        """
        if not self._database.packages():
            self._extract_only(packages)
        done = self._unpack(packages)
        failed = set(_FAILED_ARCHIVE.findall(done.text))
        if done.rc != 0 and failed and failed == set(_FAILED_NODE.findall(done.text)):
            rest = [package for package in packages if os.path.basename(package.path) in failed]
            nodes = [node for package in rest for node in _device_nodes(package)]
            done = self._unpack(rest, without=[node.path for node in nodes])
            if done.rc == 0:
                self._make_nodes(nodes)
        if done.rc != 0:
            raise self._dpkg_error(done.text, "unpacked")

    def _unpack(self, packages: t.Sequence[LockedPackage], *, without: t.Sequence[str] = ()) -> CompletedCommand:
        names = "".join(f"/run/packages/{os.path.basename(package.path)}\0" for package in packages)
        argv = ["xargs", "-0", "-x", "-s", "2000000", "dpkg", *_DPKG_OPTIONS, "--force-depends", "--no-triggers"]
        argv += [f"--abort-after={len(packages) + 1}"]
        argv += [f"--path-exclude={re.sub(_GLOB_CHARACTERS, _ESCAPED, path)}" for path in without]
        with forbidden_services(self._root):
            return self._sandbox.run(
                [*argv, "--unpack"],
                data=names.encode("utf-8"),
                binds={"/run/packages": os.path.dirname(packages[0].path)},
                check=False,
                what="Unpacking packages",
            )

    def _make_nodes(self, nodes: t.Sequence[TarMember]) -> None:
        for node in nodes:
            self._files.make_node(
                node.path,
                node.file_type | node.mode,
                node.device,
                uid=node.uid,
                gid=node.gid,
                mtime=min(node.mtime, self._newest),
            )

    def install_by_dpkg(self, packages: t.Sequence[LockedPackage]) -> None:
        """Install packages as dpkg alone would, one after another."""
        self.unpack(packages)
        self._configure(len(packages))

    def _extract_only(self, packages: t.Sequence[LockedPackage]) -> None:
        for package in packages:
            # One by one and each with rules of its own: whoever comes last wins, and dpkg sorts it out afterwards.
            with DebArchive(package.path) as archive:
                archive.control.pop("conffiles", None)
                extractor = Extractor(self._root, owned=(), reserved=(), newest=self._newest, is_wanted=self._is_wanted)
                extractor.extract([(package.name, archive)], workers=1)

    def _configure(self, count: int) -> None:
        self._progress.milestone("Chroot", f"Configuring {count} packages")
        command = shlex.join(["dpkg", *_DPKG_OPTIONS, "--configure", "--pending"])
        with forbidden_services(self._root):
            done = self._sandbox.run(
                ["/bin/sh", "-c", f"{command} && dpkg --audit"],
                stubs=STUBBED_PROGRAMS,
                check=False,
                what="Configuring packages",
            )
        if done.rc != 0:
            raise self._dpkg_error(done.text, "configured")

    def installed(self) -> t.Mapping[str, PackageState]:
        return {
            name: PackageState(
                package.version,
                package.arch,
                "" if package.status == "install ok installed" else f"in the state {package.status!r}",
            )
            for name, package in self._database.packages().items()
        }

    def _dpkg_error(self, output: str, what: str) -> ChrootError:
        names = re.findall(r"^dpkg: error processing (?:package|archive) (\S+)", output, re.MULTILINE)
        return self._script_error([os.path.basename(name) for name in names], f"it could not be {what}", output)


def _device_nodes(package: LockedPackage) -> list[TarMember]:
    """Return the device nodes that a package has."""
    nodes = []
    with DebArchive(package.path) as archive:
        stream = archive.data()
        for member in read_tar(stream):
            if member.file_type in (stat.S_IFCHR, stat.S_IFBLK):
                nodes.append(member)
            stream.skip(member.size + -member.size % TAR_BLOCK)
    return nodes


@contextlib.contextmanager
def forbidden_services(root: str) -> t.Iterator[None]:
    """Keep scripts from starting services in a tree while the block runs; see the policy of invoke-rc.d(8)."""
    files = TreeFiles(root)
    if files.exists(_POLICY, follow_last=False):
        yield
        return
    files.write(_POLICY, _FORBID_SERVICES, mode=0o755)
    try:
        yield
    finally:
        files.remove(_POLICY)


__all__ = ("STUBBED_PROGRAMS", "DebInstaller", "forbidden_services")
