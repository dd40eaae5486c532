# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of the RPM family, installed by the real rpm, from real packages; nothing that fails goes unnoticed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.cleanup import clean_up
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import LockedPackage, SpoiledTreeError
from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import LayerStore
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm import RpmInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.rpm_header import (
    LICENSE,
    NAME,
    SCRIPTS,
    RpmFormatError,
    read_files,
    read_header,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.rpm_repository import sign_package
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import repositories
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, copy_programs, needs_root
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm

pytestmark = needs_root

UNCHECKED = {"name": "tiny", "gpgcheck": False, "keys": [], "fingerprints": []}


class Bench:
    """Package files, and a tree to install them in."""

    def __init__(self, directory: pathlib.Path, base: tuple[Rpm, pathlib.Path], runner: CommandRunner) -> None:
        self.directory = directory
        self.runner = runner
        self.cache = directory / "cache"
        self.cache.mkdir()
        os.link(base[1], self.cache / base[1].name)
        self.base = base[0].locked(self.cache / base[1].name)
        self.repositories: list[dict[str, t.Any]] = [UNCHECKED]
        self.progress = Progress("test")
        self.documentation = True

    def build(self, *packages: Rpm) -> list[LockedPackage]:
        """Put packages into the cache."""
        return [package.locked(package.build(self.cache)) for package in packages]

    def installer(self, root: str, *, arch: str = "x86_64") -> RpmInstaller:
        """Return an installer for a tree."""
        sandbox = Sandbox(root, self.runner, source_date_epoch=EPOCH)
        return RpmInstaller(
            root,
            sandbox,
            arch=arch,
            newest=EPOCH,
            workers=2,
            progress=self.progress,
            repositories=repositories(*self.repositories),
            documentation=self.documentation,
        )

    def chroot(self, *packages: LockedPackage, name: str = "root", arch: str = "x86_64") -> pathlib.Path:
        """Install packages into a tree of their own, with the one that they need."""
        root = self.directory / name
        root.mkdir()
        installer = self.installer(str(root), arch=arch)
        installer.prepare()
        everything = [self.base, *packages]
        installer.verify(everything)
        installer.install(everything)
        installer.check({package.name: package for package in everything})
        return root


@pytest.fixture
def bench(tmp_path: pathlib.Path, base_rpm: tuple[Rpm, pathlib.Path], runner: CommandRunner) -> Bench:
    """Return a place to install packages."""
    return Bench(tmp_path, base_rpm, runner)


def query(root: pathlib.Path, *arguments: str) -> str:
    """Ask the build host's rpm about a tree."""
    return subprocess.run(
        ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout.decode()


DAEMON = Rpm(
    "daemon",
    files={"/etc/daemon.conf": "setting\n", "/usr/bin/daemon": "#!/bin/sh\n", "/var/lib/daemon": None},
    modes={"/usr/bin/daemon": "4755", "/var/lib/daemon": "0700"},
    tags=["Epoch: 2", "Requires(pre): base", "Requires: base"],
    scripts={
        "%pre": "echo pre $1 >> /var/log/scripts",
        "%post -p <lua>": 'f = io.open("/var/log/scripts", "a"); f:write("lua post\\n"); f:close()',
        "%posttrans": "id -u >> /var/log/scripts; ls / >> /var/log/scripts; env >> /var/log/environment",
    },
)
WATCHER = Rpm(
    "watcher",
    tags=["Requires: base"],
    scripts={"%transfiletriggerin -- /etc": "while read -r path; do echo triggered $path; done >> /var/log/scripts"},
)


def test_packages_with_their_scriptlets(bench: Bench) -> None:
    root = bench.chroot(*bench.build(DAEMON, WATCHER))
    assert (root / "etc/daemon.conf").read_text() == "setting\n"
    assert stat.S_IMODE((root / "usr/bin/daemon").stat().st_mode) == 0o4755
    said = (root / "var/log/scripts").read_text().splitlines()
    assert said[:2] == ["pre 1", "lua post"]
    assert "triggered /etc/daemon.conf" in said
    # The scriptlets see the tree alone, as root.
    assert {"0", "etc", "usr", "var"} <= set(said)
    assert not {"packages", "tree", "work"} & set(said)
    epoch, installed = query(root, "-q", "daemon", "--qf", "%{EPOCH} %{INSTALLTIME}").split()
    # rpm counts a second for each package.
    assert epoch == "2"
    assert EPOCH <= int(installed) < EPOCH + 10
    assert "HOME=/root" in (root / "var/log/environment").read_text()


DOCUMENTED = Rpm(
    "documented",
    files={
        "/usr/bin/documented": "#!/bin/sh\n",
        "/usr/share/man/man1/documented.1": "x",
        "/usr/share/doc/documented/README": "x",
        "/usr/share/licenses/documented/COPYING": "x",
    },
    tags=["Requires: base"],
)


@pytest.mark.parametrize("documentation", [True, False])
def test_documentation_is_left_out(bench: Bench, documentation: bool) -> None:
    bench.documentation = documentation
    root = bench.chroot(*bench.build(DOCUMENTED))
    assert (root / "usr/bin/documented").exists()
    assert (root / "usr/share/licenses/documented/COPYING").exists()
    for path in ("usr/share/man/man1/documented.1", "usr/share/doc/documented/README"):
        assert (root / path).exists() == documentation
    macros = root / "etc/rpm/macros.documentation"
    assert macros.exists() != documentation
    if not documentation:
        argv = ["rpm", "--load", str(macros), "--eval", "%{_excludedocs}"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "1\n"


def test_packages_for_another_architecture(bench: Bench) -> None:
    # Their scriptlets run in this machine's shell: how programs of the other one run is not rpm's affair.
    script = {"%post": "echo done > /etc/foreign"}
    packages = bench.build(Rpm("foreign", arch="aarch64", files={"/usr/share/foreign": "text"}, scripts=script))
    root = bench.chroot(*packages, arch="aarch64")
    assert (root / "etc/foreign").read_text() == "done\n"
    # A host that is of the other one says by itself what is not meant for it.
    with pytest.raises(ChrootError, match="intended for a different architecture"):
        bench.chroot(*packages, name="native")


def test_the_directories_of_the_kernel_are_in_the_tree_with_their_modes(bench: Bench) -> None:
    owned = {"/dev": "0755", "/proc": "0555", "/run": "0755", "/sys": "0555", "/tmp": "1777"}
    filesystem = Rpm("filesystem", files=dict.fromkeys(owned), modes=owned, tags=["Requires: base"])
    host = os.stat("/sys").st_mode
    root = bench.chroot(*bench.build(filesystem))
    modes = {path: f"{stat.S_IMODE(os.stat(f'{root}{path}').st_mode):04o}" for path in owned}
    assert modes == owned
    assert os.listdir(root / "dev") == os.listdir(root / "proc") == os.listdir(root / "tmp") == []
    assert os.stat("/sys").st_mode == host


def test_two_installations_are_the_same(bench: Bench) -> None:
    packages = bench.build(DAEMON, WATCHER)
    store = LayerStore(str(bench.directory / "layers"), who="test")
    found = []
    for digest in ("a", "b"):
        root = bench.chroot(*packages, name=digest)
        clean_up(TreeFiles(str(root)), RpmInstaller.leftovers)
        with store.draft(digest, digest, newest=EPOCH) as draft:
            os.rmdir(draft.root)
            os.rename(root, draft.root)
        layer = store.find(digest)
        assert layer is not None
        found.append(
            subprocess.run(
                ["tar", "--sort=name", "--numeric-owner", "--format=gnu", "-C", layer.root, "-c", "."],
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        assert os.listdir(f"{layer.root}/var/lib/rpm") == ["rpmdb.sqlite"]
    assert found[0] == found[1]


def test_a_layer_above_another(bench: Bench) -> None:
    below = bench.chroot()
    before = (below / "var/lib/rpm/rpmdb.sqlite").read_bytes()
    (daemon,) = bench.build(DAEMON)
    upper, work = bench.directory / "upper", bench.directory / "work"
    upper.mkdir()
    work.mkdir()
    with RootTree([str(below)]).mounted(upper=str(upper), work=str(work)) as root:
        installer = bench.installer(root)
        installer.install([daemon])
        installer.check({"base": bench.base, "daemon": daemon})
    assert (upper / "usr/bin/daemon").exists()
    assert not (upper / "usr/bin/cat").exists()
    assert (below / "var/lib/rpm/rpmdb.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("section", "script", "reason"),
    [
        ("%pre", "echo the reason; exit 3", r"its scriptlet %prein failed \(exit status 3\)"),
        ("%post", "echo the reason; exit 3", r"its scriptlet %post failed \(exit status 3\)"),
        ("%post", "printf 'the reason'; exit 3", r"its scriptlet %post failed \(exit status 3\)"),
        ("%pre", "printf 'the reason'; exit 3", r"its scriptlet %prein failed \(exit status 3\)"),
        ("%transfiletriggerin -- /usr", "printf 'the reason'; false", r"its scriptlet %transfiletriggerin failed"),
        ("%posttrans", "echo the reason >&2; kill -9 $$", r"its scriptlet %posttrans failed \(signal 9\)"),
        ("%post -p <lua>", 'error("the reason")', r"its scriptlet %post failed \(1: the reason\)"),
        ("%pretrans -p <lua>", 'error("the reason")', r"its scriptlet %pretrans failed"),
        ("%transfiletriggerin -- /usr", "echo the reason; false", r"its scriptlet %transfiletriggerin failed"),
        ("%filetriggerin -- /usr", "echo the reason; false", r"its scriptlet %filetriggerin failed"),
        ("%triggerin -- base", "echo the reason; false", r"its scriptlet %triggerin failed"),
        ("%post -p /usr/bin/bad-shell", "", r"its scriptlet %post failed \(exit status 127\)"),
    ],
)
def test_a_failing_scriptlet_is_named_with_its_last_words(bench: Bench, section: str, script: str, reason: str) -> None:
    tags = ["Requires: base", "Requires(pre): base", "Provides: /usr/bin/bad-shell"]
    bad = Rpm("bad", tags=tags, scripts={section: script})
    other = Rpm("other", tags=["Requires: base"], scripts={"%post": "echo what others say"})
    with pytest.raises(ChrootError, match=rf"^Installing the package bad-1\.0-1\.noarch failed: {reason}") as caught:
        bench.chroot(*bench.build(bad, other))
    if "bad-shell" not in section:
        assert "the reason" in str(caught.value)
    assert caught.value.details == {"packages": ["bad-1.0-1.noarch"]}


def test_packages_with_the_same_file(bench: Bench) -> None:
    one, two = (Rpm(name, files={"/usr/bin/same": name}) for name in ("one", "two"))
    message = r"^Installing the package (one|two)-1\.0-1\.noarch failed: rpm refuses it\. .*\n.*file /usr/bin/same"
    with pytest.raises(ChrootError, match=message):
        bench.chroot(*bench.build(one, two))


def test_a_full_disk(bench: Bench) -> None:
    root = bench.directory / "small"
    root.mkdir()
    big = bench.build(Rpm("big", files={"/usr/share/big": os.urandom(6 << 20).hex()}))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", str(root)], check=True)
    try:
        installer = bench.installer(str(root))
        installer.prepare()
        with pytest.raises(
            ChrootError, match=r"^There is no space left on the build host for the packages: "
        ) as caught:
            installer.install([bench.base, *big])
    finally:
        subprocess.run(["umount", str(root)], check=True)
    message = str(caught.value)
    assert f" MiB more are needed at {root}. " in message
    assert "put work_dir where there is more" in message


def test_a_dependency_that_the_lock_does_not_have(bench: Bench) -> None:
    with pytest.raises(ChrootError, match=r"the package lonely-1\.0-1\.noarch failed.*\n.*\n.*friend is needed by"):
        bench.chroot(*bench.build(Rpm("lonely", tags=["Requires: friend"])))


def test_an_epoch_of_zero_is_none(bench: Bench) -> None:
    """Repositories say the same of a package that states it and of one that does not, and so do locks."""
    (package,) = bench.build(Rpm("zero", tags=["Epoch: 0"]))
    assert package.version == "0:1.0-1"
    root = bench.chroot(dataclasses.replace(package, version="1.0-1"))
    assert query(root, "-q", "zero", "--qf", "%{EPOCH}") == "0"


def test_the_wrong_packages_are_named(bench: Bench) -> None:
    root = bench.chroot()
    missing = LockedPackage("missing", "1-1", "noarch", "", 0, "")
    with pytest.raises(ChrootError, match=r"base 1\.0-1 is installed, but not in the lock; missing 1-1 is not inst"):
        bench.installer(str(root)).check({"missing": missing})


def test_packages_that_appear_by_themselves_are_named(bench: Bench) -> None:
    root = bench.chroot()
    (extra,) = bench.build(Rpm("extra"))
    subprocess.run(["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "-i", extra.path], check=True)
    with pytest.raises(ChrootError, match=r"extra 1\.0-1 is installed, but not in the lock"):
        bench.installer(str(root)).check({"base": bench.base})


# Signatures


def signed(bench: Bench, keys: Keys, *packages: Rpm) -> list[LockedPackage]:
    """Build packages, signed by the archive's key, for a repository that is checked."""
    paths = [package.build(bench.cache) for package in packages]
    for path in paths:
        sign_package(str(path), keys.archive)
    bench.repositories = [
        UNCHECKED,
        {
            "name": "signed",
            "gpgcheck": True,
            "keys": [keys.archive.public],
            "fingerprints": [keys.archive.fingerprint],
        },
    ]
    return [package.locked(path, repository="signed") for package, path in zip(packages, paths)]


def test_the_keys_are_in_the_database(bench: Bench, keys: Keys) -> None:
    packages = signed(bench, keys, DAEMON)
    root = bench.chroot(*packages)
    assert query(root, "-q", "gpg-pubkey", "--qf", "%{VERSION}") == keys.archive.fingerprint[-8:].lower()
    assert query(root, "-qa", "gpg-pubkey", "--qf", "%{INSTALLTIME}") == str(EPOCH)


@pytest.mark.parametrize("kind", ["unsigned", "stranger"])
def test_rpm_itself_checks_signatures(bench: Bench, keys: Keys, kind: str) -> None:
    (daemon,) = signed(bench, keys, DAEMON)
    path = DAEMON.build(bench.cache)
    if kind == "stranger":
        sign_package(str(path), keys.stranger)
    bad = DAEMON.locked(path, repository="signed")
    root = bench.chroot()
    installer = bench.installer(str(root))
    with pytest.raises(ChrootError, match=r"^Installing the package daemon-2:1\.0-1\.noarch failed: rpm refuses it"):
        installer.install([bad])
    assert not (root / "etc/daemon.conf").exists()
    assert daemon.sha256 != bad.sha256


def test_keys_are_part_of_a_layer_where_they_decide(bench: Bench, keys: Keys) -> None:
    packages = signed(bench, keys, DAEMON)
    inputs = RpmInstaller.layer_inputs(repositories(*bench.repositories), packages)
    assert inputs == {"keys": [[[keys.archive.public], [keys.archive.fingerprint]]], "all signed": True}
    both = RpmInstaller.layer_inputs(repositories(*bench.repositories), [bench.base, *packages])
    assert both == {**inputs, "all signed": False}
    assert RpmInstaller.layer_inputs(repositories(*bench.repositories), [bench.base])["keys"] == []


# What must not run while packages are installed


def test_nothing_makes_an_initramfs_or_keys(bench: Bench) -> None:
    # As dracut does: it reads its configuration as a part of itself.
    dracut = "#!/bin/sh\nfor file in /etc/dracut.conf.d/*.conf; do . $file; done\ntouch /boot/made\n"
    tool = Rpm(
        "dracut",
        files={"/usr/bin/dracut": dracut, "/usr/bin/ssh-keygen": dracut, "/boot": None},
        modes={"/usr/bin/dracut": "0755", "/usr/bin/ssh-keygen": "0755"},
        tags=["Requires: base"],
        scripts={"%posttrans": "dracut --force && /usr/bin/dracut --force && ssh-keygen -A"},
    )
    root = bench.chroot(*bench.build(tool))
    assert os.listdir(root / "boot") == []
    assert not (root / "etc/dracut.conf.d").exists()
    assert (root / "usr/bin/dracut").read_text() == dracut


def test_a_directory_that_dracut_owns_stays(bench: Bench) -> None:
    root = bench.chroot(*bench.build(Rpm("dracut", files={"/etc/dracut.conf.d": None})))
    assert os.listdir(root / "etc/dracut.conf.d") == []


OWNED = Rpm(
    "owned",
    files={"/usr/bin/owned": "program", "/usr/bin/able": "program", "/var/lib/owned": None, "/srv/link": "-> /nowhere"},
    modes={"/usr/bin/owned": "6750", "/usr/bin/able": "0750", "/var/lib/owned": "2770"},
    owners={
        **dict.fromkeys(("/usr/bin/owned", "/usr/bin/able"), "root,late"),
        **dict.fromkeys(("/var/lib/owned", "/srv/link"), "late,late"),
    },
    capabilities={"/usr/bin/able": "cap_net_raw=ep"},
    tags=["Requires: base"],
)


def ownership(root: pathlib.Path) -> dict[str, tuple[int, int, int]]:
    status = {path: os.lstat(f"{root}{path}") for path in OWNED.files}
    return {path: (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) for path, found in status.items()}


@pytest.mark.parametrize("maker", ["scriptlet", "systemd-sysusers"])
def test_owners_who_come_into_being_with_the_packages(bench: Bench, maker: str) -> None:
    """As packages for rpm 4.19 and later have them, which makes the accounts that are declared by itself."""
    accounts = Rpm("accounts", tags=["Requires: base"])
    source = None
    if maker == "scriptlet":
        script = "echo late:x:77:78::/:/bin/false >> /etc/passwd; echo late:x:78: >> /etc/group"
        accounts.scripts = {"%posttrans": script}
    else:
        source = bench.directory / "sysusers-tree"
        copy_programs(source, ["systemd-sysusers"])
        accounts.arch = "x86_64"
    package = accounts.locked(accounts.build(bench.cache, tree=source))
    declared = Rpm("declared", files={"/usr/lib/sysusers.d/late.conf": "g late 78\nu late 77:78\n"})
    root = bench.chroot(*bench.build(OWNED, declared), package)
    assert ownership(root) == {
        "/usr/bin/owned": (0, 78, 0o6750),
        "/usr/bin/able": (0, 78, 0o750),
        "/var/lib/owned": (77, 78, 0o2770),
        "/srv/link": (77, 78, 0o777),
    }
    # Nothing differs from what the packages state, capabilities included.
    assert query(root, "-V", "owned") == ""


def test_an_owner_who_does_not_exist_is_told(bench: Bench) -> None:
    build_log = bench.directory / "build.log"
    bench.progress = Progress("test", build_log=str(build_log))
    root = bench.chroot(*bench.build(OWNED))
    assert {(uid, gid) for uid, gid, _mode in ownership(root).values()} == {(0, 0)}
    message = "WARN: Files of packages belong to root, as their owners do not exist: group late, user late\n"
    assert build_log.read_text().endswith(message)


# The image's own rpm


def with_rpm(bench: Bench, macros: str) -> LockedPackage:
    """Return a package that has rpm itself, with other settings."""
    source = bench.directory / "rpm-tree"
    (source / "usr/lib").mkdir(parents=True)
    copy_programs(source, ["rpm", "rpmdb"])
    shutil.copytree("/usr/lib/rpm", source / "usr/lib/rpm", symlinks=True)
    with open(source / "usr/lib/rpm/macros", "a", encoding="utf-8") as stream:
        stream.write(macros)
    # rpm's programs for building are not needed, and rpmbuild would look for their interpreters.
    for path in (source / "usr/lib/rpm").rglob("*"):
        if path.is_file() and os.access(path, os.X_OK):
            path.unlink()
    rpm = Rpm("rpm", arch="x86_64", tags=["Requires: base"])
    return rpm.locked(rpm.build(bench.cache, tree=source))


def can_make(backend: str, directory: pathlib.Path) -> bool:
    """Tell whether the build host's rpm can make a form of database."""
    command = ["rpmdb", "--define", f"_db_backend {backend}", "--dbpath", str(directory / "db"), "--initdb"]
    return b"invalid %_db_backend" not in subprocess.run(command, capture_output=True, check=False).stderr


def asked(bench: Bench, root: pathlib.Path) -> list[str]:
    """Ask the tree's own rpm what is installed."""
    sandbox = Sandbox(str(root), bench.runner, source_date_epoch=EPOCH)
    return sorted(sandbox.run(["rpm", "-qa", "--qf", "%{NAME}\n"], merge_output=False).text.split())


@pytest.mark.parametrize("backend", ["sqlite", "ndb"])
@pytest.mark.parametrize("path", ["/var/lib/rpm", "/usr/lib/sysimage/rpm"])
def test_the_database_is_what_the_images_rpm_reads(bench: Bench, backend: str, path: str) -> None:
    rpm = with_rpm(bench, f"%_dbpath {path}\n%_db_backend {backend}\n")
    packages = bench.build(WATCHER)
    if not can_make(backend, bench.directory):
        with pytest.raises(ChrootError, match=rf"(?s)it wants the form '{backend}'.*Build on a host whose rpm has"):
            bench.chroot(rpm, *packages)
        return
    root = bench.chroot(rpm, *packages)
    assert asked(bench, root) == ["base", "rpm", "watcher"]
    names = {"sqlite": "rpmdb.sqlite", "ndb": "Packages.db"}
    assert os.path.isfile(f"{root}{path}/{names[backend]}")
    # More packages go to the same place.
    (daemon,) = bench.build(DAEMON)
    upper, work = bench.directory / "upper", bench.directory / "work"
    upper.mkdir()
    work.mkdir()
    with RootTree([str(root)]).mounted(upper=str(upper), work=str(work)) as merged:
        installer = bench.installer(merged)
        installer.install([daemon])
        installer.check({package.name: package for package in (bench.base, rpm, *packages, daemon)})
        assert asked(bench, pathlib.Path(merged)) == ["base", "daemon", "rpm", "watcher"]


# Package files


def test_files_of_headers(tmp_path: pathlib.Path) -> None:
    files = {"/usr/bin/daemon": "x", "/usr/sbin/daemon": "-> ../bin/daemon", "/var/lib/daemon": None}
    scripts = {"%pre": "echo before", "%posttrans": "echo at last"}
    path = Rpm("daemon", files=files, scripts=scripts).build(tmp_path)
    names, texts = read_files(str(path), SCRIPTS)
    assert sorted(names) == sorted(files)
    assert texts == ["echo before", "echo at last"]
    assert read_files(str(Rpm("empty").build(tmp_path)), SCRIPTS) == ([], [])
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with contextlib.suppress(RpmFormatError):
            read_files(str(path), SCRIPTS)


def test_headers(tmp_path: pathlib.Path) -> None:
    path = DAEMON.build(tmp_path)
    assert read_header(str(path), {NAME, LICENSE}) == {NAME: "daemon", LICENSE: "MIT"}
    assert RpmInstaller.build_date(str(path)) == EPOCH
    data = path.read_bytes()
    for damaged in (b"", b"!<arch>\n" * 20, data[:96], data[:200], data[:96] + b"\0" * 500):
        path.write_bytes(damaged)
        with pytest.raises(RpmFormatError, match=re.escape(str(path)) + "|header of a package"):
            read_header(str(path), {NAME})


def test_the_hosts_database_is_untouched(bench: Bench) -> None:
    def state() -> list[tuple[str, float]]:
        return [
            (directory, os.stat(directory).st_mtime)
            for directory in ("/var/lib/rpm", "/root/.rpmdb", "/usr/lib/sysimage/rpm")
            if os.path.isdir(directory)
        ]

    before = state()
    bench.chroot(*bench.build(DAEMON))
    assert state() == before


DEVICES = Rpm(
    "devices",
    files={"/usr/bin/devices": "x"},
    devices={"/usr/lib/devices/null": (1, 3), "/srv/only/zero": (1, 5)},
)


def test_device_nodes_are_made_from_the_headers(bench: Bench) -> None:
    packages = bench.build(DEVICES, DAEMON)
    with pytest.raises(SpoiledTreeError, match="^A package has device nodes, which programs in the tree cannot make"):
        bench.chroot(*packages, name="first")
    root = bench.directory / "second"
    root.mkdir()
    installer = bench.installer(str(root))
    installer.prepare()
    everything = [bench.base, *packages]
    installer.install(everything, again=True)
    installer.check({package.name: package for package in everything})
    for path, numbers in DEVICES.devices.items():
        status = (root / path.lstrip("/")).lstat()
        assert stat.S_ISCHR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o640
        assert status.st_rdev == os.makedev(*numbers)
        assert status.st_mtime <= EPOCH
    assert query(root, "-V", "devices", "daemon", "--nodeps") == ""


@pytest.mark.parametrize("name", ["rpmdb.sqlite", "rpmdb.sqlite-wal"])
def test_links_in_the_place_of_the_database_are_not_followed(bench: Bench, tmp_path: pathlib.Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    root = bench.chroot()
    own = "/usr/lib/sysimage/rpm"
    (root / own[1:]).mkdir(parents=True)
    (root / own[1:] / name).symlink_to(outside)
    shutil.copy2(outside, root / "var/lib/rpm/rpmdb.sqlite-wal")
    installer = bench.installer(str(root))
    installer._move_database(TreeFiles(str(root)), own)  # noqa: SLF001
    assert (root / own[1:] / name).is_file() and not (root / own[1:] / name).is_symlink()
    assert outside.read_text() == "the host's"


def test_a_link_in_the_database_gives_away_no_file_of_the_host(bench: Bench, tmp_path: pathlib.Path) -> None:
    root = bench.chroot()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (root / "var/lib/rpm/stolen").symlink_to(secret)
    with pytest.raises(FileNotFoundError):
        bench.installer(str(root))._move_database(TreeFiles(str(root)), "/usr/lib/sysimage/rpm")  # noqa: SLF001


@pytest.mark.parametrize("suffix", ["wal", "shm", "journal"])
def test_links_beside_the_database_are_not_followed(bench: Bench, tmp_path: pathlib.Path, suffix: str) -> None:
    root = bench.chroot()
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    (root / f"var/lib/rpm/rpmdb.sqlite-{suffix}").unlink(missing_ok=True)
    (root / f"var/lib/rpm/rpmdb.sqlite-{suffix}").symlink_to(outside)
    bench.installer(str(root))._settle_database()  # noqa: SLF001
    assert outside.read_text() == "the host's"
    assert os.listdir(outside.parent).count("outside") == 1
