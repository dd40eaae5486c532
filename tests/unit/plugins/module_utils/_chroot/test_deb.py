# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of the DEB family, installed: what our way leaves is what dpkg alone leaves."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller
from ansible_collections.os_image.composer.plugins.module_utils._chroot.dpkg_database import DpkgDatabase
from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import LockedPackage, SpoiledTreeError
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, Deb, needs_root

pytestmark = needs_root

SCRIPT = '#!/bin/sh\nset -e\necho "$0 $* $DPKG_MAINTSCRIPT_PACKAGE $DPKG_MAINTSCRIPT_NAME" >> /var/log/scripts\n'

PACKAGES = (
    Deb(
        "watcher",
        files={"/usr/share/watched/README": "x"},
        control={"triggers": "interest-noawait /usr/share/watched\ninterest named\n", "postinst": SCRIPT},
    ),
    Deb(
        "library",
        files={"/usr/lib/x/lib.so": "elf", "/usr/share/watched/library": "x"},
        fields={"Multi-Arch": "same"},
        control={"postinst": SCRIPT, "shlibs": "lib 1\n"},
    ),
    Deb(
        "daemon",
        files={
            "/etc/daemon.conf": "setting\n",
            "/etc/init.d/daemon": "#!/bin/sh\n",
            "/usr/sbin/daemon": "#!/bin/sh\n",
            "/usr/sbin/alias": "-> daemon",
            "/var/lib/daemon": None,
        },
        modes={"/usr/sbin/daemon": 0o4755, "/var/lib/daemon": 0o700},
        fields={"Depends": "library"},
        control={
            "conffiles": "/etc/daemon.conf\n/etc/init.d/daemon\nremove-on-upgrade /etc/daemon.old\n",
            "preinst": SCRIPT + "ls /var/lib/dpkg/tmp.ci >> /var/log/scripts\n",
            "postinst": SCRIPT + "cat /etc/daemon.conf\ndpkg-trigger named\n",
            "triggers": "activate-noawait named\n",
        },
    ),
)


class Bench:
    """A chroot environment of one package, and packages to install above it."""

    def __init__(self, directory: pathlib.Path, base: tuple[Deb, pathlib.Path], runner: CommandRunner) -> None:
        self.directory = directory
        self.base = base[0].locked(base[1])
        self.runner = runner
        self.cache = directory / "cache"
        self.cache.mkdir()
        self.documentation = True

    def build(self, *packages: Deb) -> list[LockedPackage]:
        """Put packages into the cache."""
        return [package.locked(package.build(self.cache)) for package in packages]

    def installer(self, root: str) -> DebInstaller:
        """Return an installer for a tree."""
        sandbox = Sandbox(root, self.runner, source_date_epoch=EPOCH)
        return DebInstaller(
            root,
            sandbox,
            arch="amd64",
            newest=EPOCH,
            workers=2,
            progress=Progress("test"),
            documentation=self.documentation,
        )

    def chroot(self, name: str, *, directly: bool) -> pathlib.Path:
        """Make the chroot environment."""
        root = self.directory / name
        root.mkdir()
        installer = self.installer(str(root))
        installer.prepare()
        installer.install([self.base], again=not directly)
        installer.check({"dpkg": self.base})
        return root

    def layer(self, name: str, below: pathlib.Path, packages: list[LockedPackage], *, directly: bool) -> pathlib.Path:
        """Install packages into a layer of their own."""
        upper, work = self.directory / name, self.directory / f"{name}.work"
        upper.mkdir()
        work.mkdir()
        with RootTree([str(below)]).mounted(upper=str(upper), work=str(work)) as root:
            installer = self.installer(root)
            installer.install(packages, again=not directly)
            installer.check({package.name: package for package in (self.base, *packages)})
        return upper


@pytest.fixture
def bench(tmp_path: pathlib.Path, base_deb: tuple[Deb, pathlib.Path], runner: CommandRunner) -> Bench:
    """Return a place to install packages."""
    return Bench(tmp_path, base_deb, runner)


def described(root: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Describe everything in a tree but logs and directory times."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, others in os.walk(root):
        for name in [*names, *others]:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            if relative.startswith("var/log") or relative.endswith(("-old", "triggers/Unincorp", "/lock-frontend")):
                continue
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = pathlib.Path(path).read_bytes()
            found[relative] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def test_the_chroot_environment_is_what_dpkg_makes(bench: Bench) -> None:
    ours, theirs = bench.chroot("ours", directly=True), bench.chroot("theirs", directly=False)
    assert described(ours) == described(theirs)
    assert not (ours / "usr/sbin/policy-rc.d").exists()


def test_a_layer_is_what_dpkg_makes(bench: Bench) -> None:
    below = bench.chroot("below", directly=True)
    packages = bench.build(*PACKAGES)
    ours = bench.layer("ours", below, packages, directly=True)
    theirs = bench.layer("theirs", below, packages, directly=False)
    assert described(ours) == described(theirs)
    assert (ours / "etc/daemon.conf").read_text() == "setting\n"
    assert not (ours / "etc/daemon.conf.dpkg-new").exists()
    scripts = [(path / "var/log/scripts").read_text().splitlines() for path in (ours, theirs)]
    assert sorted(scripts[0]) == sorted(scripts[1])
    assert "/var/lib/dpkg/tmp.ci/preinst install daemon preinst" in scripts[0]
    assert any("postinst triggered named" in line for line in scripts[0])


# What dpkg takes of those who write packages by other programs than its own.
CONTROL_FORMS: t.Mapping[str, t.Callable[[bytes], bytes]] = {
    "lines of Windows": lambda data: data.replace(b"\n", b"\r\n"),
    "lower case": lambda data: re.sub(rb"(?m)^[\w-]+(?=:)", lambda match: match[0].lower(), data),
    "upper case": lambda data: re.sub(rb"(?m)^[\w-]+(?=:)", lambda match: match[0].upper(), data),
    "tabs": lambda data: re.sub(rb"(?m)^([\w-]+): ", rb"\1:\t", data),
    "blanks": lambda data: re.sub(rb"(?m)^([\w-]+): ", rb"\1 :  ", data),
    "Latin-1": lambda data: data.replace(b"Nobody", b"Jos\xe9"),
    "separators of lines": lambda data: data.replace(b" A package", " A\u2028Package: \x85 \x0b x".encode()),
}


@pytest.mark.parametrize("form", CONTROL_FORMS)
def test_every_form_of_control_data_that_dpkg_takes(bench: Bench, form: str) -> None:
    below = bench.chroot("below", directly=True)
    library, daemon = (dataclasses.replace(deb, edit_control=CONTROL_FORMS[form]) for deb in PACKAGES[1:])
    packages = bench.build(PACKAGES[0], library, daemon)
    ours = bench.layer("ours", below, packages, directly=True)
    theirs = bench.layer("theirs", below, packages, directly=False)
    found, expected = described(ours), described(theirs)
    differing = [path for path in {*found, *expected} if found.get(path) != expected.get(path)]
    # dpkg writes the bytes that it has read; here they are characters.
    assert differing in ([], ["var/lib/dpkg/status"])
    encoding = "latin-1" if form == "Latin-1" else "utf-8"
    read = (theirs / "var/lib/dpkg/status").read_bytes().decode(encoding).replace("\r", "")
    assert (ours / "var/lib/dpkg/status").read_bytes().decode() == read


def test_dpkg_itself_finds_nothing_wrong(bench: Bench) -> None:
    below = bench.chroot("below", directly=True)
    upper = bench.layer("upper", below, bench.build(*PACKAGES), directly=True)
    with RootTree([str(below), str(upper)]).mounted() as root:
        sandbox = Sandbox(root, bench.runner, source_date_epoch=EPOCH)
        assert sandbox.run(["/bin/sh", "-c", "dpkg --audit; dpkg --verify daemon library"]).text == ""


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ((Deb("one", files={"/usr/bin/same": "1"}), Deb("two", files={"/bin/same": "2"})), "both have /usr/bin/same"),
        ((Deb("one", files={"/usr/bin/cat": "1"}),), "/usr/bin/cat of one belongs to an installed package"),
        (
            (
                Deb(
                    "one",
                    files={"/usr/bin/new": "1"},
                    control={"preinst": "#!/bin/sh\ndpkg-divert --package o --add --rename /usr/bin/new\n"},
                ),
            ),
            "/usr/bin/new of one is diverted",
        ),
    ],
)
def test_what_only_dpkg_can_do_is_left_to_dpkg(bench: Bench, packages: tuple[Deb, ...], message: str) -> None:
    below = bench.chroot("below", directly=True)
    locked = bench.build(*packages)
    with pytest.raises(SpoiledTreeError, match=message):
        bench.layer("ours", below, locked, directly=True)


def test_a_preinst_script_finds_its_predependencies_configured(bench: Bench) -> None:
    tool = Deb("tool", files={"/usr/bin/tool": "#!/bin/sh\ncat /etc/tool\n"}, modes={"/usr/bin/tool": 0o755})
    tool.control = {"postinst": "#!/bin/sh\necho ready > /etc/tool\n"}
    user = Deb("user", fields={"Pre-Depends": "tool (>= 1)"}, control={"preinst": "#!/bin/sh\ntool > /etc/seen\n"})
    upper = bench.layer("upper", bench.chroot("below", directly=True), bench.build(tool, user), directly=True)
    assert (upper / "etc/seen").read_text() == "ready\n"


@pytest.mark.parametrize("script", ["preinst", "postinst"])
@pytest.mark.parametrize("directly", [True, False])
def test_a_failing_script_is_named_with_its_last_words(bench: Bench, script: str, directly: bool) -> None:
    below = bench.chroot("below", directly=True)
    locked = bench.build(Deb("bad", control={script: "#!/bin/sh\necho the reason\nexit 1\n"}))
    with pytest.raises(ChrootError, match=r"^Installing the package bad\S* failed: .*") as caught:
        bench.layer("upper", below, locked, directly=directly)
    assert "the reason" in str(caught.value)


def test_the_wrong_packages_are_named(bench: Bench) -> None:
    root = bench.chroot("root", directly=True)
    other = LockedPackage("dpkg", "9", "amd64", "", 0, "")
    missing = LockedPackage("missing", "1", "amd64", "", 0, "")
    with pytest.raises(ChrootError, match=r"dpkg is 1\.21\.22 \(amd64\), not 9 \(amd64\); missing 1 is not installed"):
        bench.installer(str(root)).check({"dpkg": other, "missing": missing})
    with pytest.raises(ChrootError, match=r"dpkg 1\.21\.22 is installed, but not in the lock"):
        bench.installer(str(root)).check({})


def test_a_tampered_package_is_refused_before_anything_is_installed(bench: Bench, tmp_path: pathlib.Path) -> None:
    locked = bench.build(*PACKAGES)
    with open(locked[1].path, "r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\1")
    installer = bench.installer(str(tmp_path))
    with pytest.raises(ChrootError, match=r"is not the package library 1\.0-1 that the lock names\. Run the module"):
        installer.verify(locked)
    os.unlink(locked[0].path)
    with pytest.raises(ChrootError, match=r"The package watcher 1\.0-1 is not in the package cache"):
        installer.verify(locked)


def test_no_service_may_start(bench: Bench) -> None:
    package = Deb("service", control={"postinst": "#!/bin/sh\n/usr/sbin/policy-rc.d; echo $? > /etc/answer\n"})
    upper = bench.layer("upper", bench.chroot("below", directly=True), bench.build(package), directly=True)
    assert (upper / "etc/answer").read_text() == "101\n"
    assert not os.path.lexists(upper / "usr/sbin/policy-rc.d")


def test_host_dpkg_is_untouched(bench: Bench) -> None:
    before = subprocess.run(["stat", "-c", "%Y", "/var/lib/dpkg/status"], stdout=subprocess.PIPE, check=True).stdout
    bench.chroot("root", directly=True)
    after = subprocess.run(["stat", "-c", "%Y", "/var/lib/dpkg/status"], stdout=subprocess.PIPE, check=True).stdout
    assert before == after


DOCUMENTED = Deb(
    "documented",
    files={
        "/usr/bin/documented": "#!/bin/sh\n",
        "/usr/share/doc/documented/changelog.gz": "x",
        "/usr/share/doc/documented/copyright": "x",
        "/usr/share/doc/documented/examples/copyright.txt": "x",
        "/usr/share/doc/documented-link": "-> documented",
        "/usr/share/doc-base/documented": "x",
        "/usr/share/doc-base/more": None,
        "/usr/share/info/documented.info": "x",
        "/usr/share/lintian/overrides/documented": "x",
        "/usr/share/man/man1/documented.1.gz": "x",
        "/usr/share/man/de/man1/documented.1.gz": "x",
        "/usr/share/manual": "x",
    },
)


@pytest.mark.parametrize("documentation", [True, False])
def test_documentation_is_left_out_as_dpkg_does(bench: Bench, documentation: bool) -> None:
    bench.documentation = documentation
    packages = bench.build(DOCUMENTED)
    layers = {}
    for directly in (True, False):
        below = bench.chroot(f"root-{directly}", directly=directly)
        layers[directly] = bench.layer(f"layer-{directly}", below, packages, directly=directly)
        assert (below / "etc/dpkg/dpkg.cfg.d/documentation").exists() != documentation
    assert described(layers[True]) == described(layers[False])
    files = {str(path.relative_to(layers[True])) for path in layers[True].rglob("*") if "usr/" in str(path)}
    kept = {"usr/bin/documented", "usr/share/doc/documented/copyright", "usr/share/man/man1", "usr/share/manual"}
    assert kept <= files
    left_out = {path for path in files if path.endswith((".gz", ".info", ".txt", "overrides/documented"))}
    assert bool(left_out) == documentation
    # The list has them nevertheless, see dpkg(1).
    listed = (layers[True] / "var/lib/dpkg/info/documented.list").read_text().splitlines()
    assert "/usr/share/man/man1/documented.1.gz" in listed


def is_device(path: pathlib.Path, major: int, minor: int) -> bool:
    """Tell whether there is this character device."""
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(major, minor)


DEVICES = Deb(
    "devices",
    files={"/usr/bin/devices": "x"},
    devices={"/usr/lib/devices/null": (1, 3), "/usr/lib/devices/a[b]*": (1, 5), "/srv/only/zero": (1, 5)},
)


@pytest.mark.parametrize("directly", [True, False])
def test_device_nodes_are_made_from_the_archive(bench: Bench, directly: bool) -> None:
    below = bench.chroot("below", directly=True)
    packages = bench.build(DEVICES, *PACKAGES)
    upper = bench.layer("upper", below, packages, directly=directly)
    for path, (major, minor) in DEVICES.devices.items():
        assert is_device(upper / path.lstrip("/"), major, minor)
        assert stat.S_IMODE((upper / path.lstrip("/")).stat().st_mode) == 0o640
        assert (upper / path.lstrip("/")).stat().st_mtime <= EPOCH
    assert (upper / "etc/daemon.conf").read_text() == "setting\n"
    with RootTree([str(below), str(upper)]).mounted() as root:
        sandbox = Sandbox(root, bench.runner, source_date_epoch=EPOCH)
        assert sandbox.run(["/bin/sh", "-c", "dpkg --audit; dpkg --verify devices"]).text == ""


def test_another_failure_beside_a_device_node_is_named(bench: Bench) -> None:
    bad = Deb("bad", control={"preinst": "#!/bin/sh\necho the reason\nexit 1\n"})
    below, packages = bench.chroot("below", directly=True), bench.build(DEVICES, bad)
    with pytest.raises(ChrootError, match=r"^Installing the package \S+ failed: it could not be unpacked") as caught:
        bench.layer("upper", below, packages, directly=False)
    assert "the reason" in str(caught.value)


# What follows are attacks: packages and scripts that want host code to follow a path of theirs out of the tree.


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Return a directory of the host with a file, which nobody touches."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "file").write_text("the host's")
    yield directory
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert (directory / "file").read_text() == "the host's"


@pytest.mark.parametrize("trigger", ["../../../../../..{}/file", "../File", "File", "a/b", ".."])
def test_a_trigger_is_no_path(bench: Bench, outside: pathlib.Path, trigger: str) -> None:
    package = Deb("evil", control={"triggers": f"interest-noawait {trigger.format(outside)}\n"})
    below, packages = bench.chroot("below", directly=True), bench.build(package)
    message = rf"^The package evil names the trigger '{re.escape(trigger.format(outside))}', which cannot be one\."
    with pytest.raises(ChrootError, match=message):
        bench.layer("upper", below, packages, directly=True)


def test_links_in_the_database_are_replaced_and_not_followed(bench: Bench, outside: pathlib.Path) -> None:
    root = bench.chroot("root", directly=True)
    links = {f"/var/lib/dpkg/info/victim.{name}": f"-> {outside}/file" for name in ("list", "md5sums", "postinst")}
    bench.installer(str(root)).install(bench.build(Deb("evil", files=links)))
    victim = Deb("victim", files={"/etc/victim": "x"}, control={"postinst": SCRIPT})
    bench.installer(str(root)).install(bench.build(victim))
    for name in ("list", "md5sums", "postinst"):
        assert (root / f"var/lib/dpkg/info/victim.{name}").is_file()
        assert not (root / f"var/lib/dpkg/info/victim.{name}").is_symlink()


def test_a_directory_for_scripts_that_is_there_already(bench: Bench, outside: pathlib.Path) -> None:
    root = bench.chroot("root", directly=True)
    evil = Deb("evil", files={"/var/lib/dpkg/tmp.ci-victim": f"-> {outside}"})
    bench.installer(str(root)).install(bench.build(evil))
    victim = Deb("victim", control={"preinst": SCRIPT})
    with pytest.raises(ChrootError, match=r"^The path /var/lib/dpkg/tmp\.ci-victim of the image exists already\."):
        bench.installer(str(root)).install(bench.build(victim))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("usr/sbin", "'ldconfig' not found in PATH"),
        ("var/lib/dpkg/info", "unable to create new file '/var/lib/dpkg/info/format-new'"),
        ("var/lib/dpkg/triggers", "unable to create new file '/var/lib/dpkg/triggers/named-new'"),
    ],
)
def test_directories_that_a_script_has_made_links_of(
    bench: Bench, outside: pathlib.Path, link: str, message: str
) -> None:
    root = bench.chroot("root", directly=True)
    os.rename(root / link, root / "moved")
    (root / link).symlink_to(outside)
    # What has been made before lies in the tree, where dpkg sees it, too.
    with pytest.raises(ChrootError, match=message):
        bench.installer(str(root)).install(bench.build(*PACKAGES))


def test_a_database_that_a_script_has_replaced_by_a_link(bench: Bench, outside: pathlib.Path) -> None:
    root = bench.chroot("root", directly=True)
    os.rename(root / "var/lib/dpkg", root / "moved")
    (root / "var/lib/dpkg").symlink_to(outside)
    with pytest.raises(ChrootError, match=r"^The package database /var/lib/dpkg of the image does not list dpkg\."):
        bench.installer(str(root)).install(bench.build(*PACKAGES))


@pytest.mark.parametrize("path", ["info/q.list", "status", "diversions", "triggers/File"])
@pytest.mark.parametrize("kind", ["FIFO", "device", "size", "link"])
def test_what_is_read_is_a_file_of_a_sane_size(bench: Bench, path: str, kind: str) -> None:
    root = bench.chroot("root", directly=True)
    here = root / "var/lib/dpkg" / path
    here.unlink(missing_ok=True)
    expected = f"^The path /var/lib/dpkg/{path} of the image is a FIFO, not a regular file"
    if kind == "FIFO":
        os.mkfifo(here)
    elif kind == "device":
        os.mknod(here, 0o644 | stat.S_IFCHR, os.makedev(1, 5))
        expected = f"^The path /var/lib/dpkg/{path} of the image is a character device, not a regular file"
    elif kind == "link":
        # Of the tree, where there is no such device.
        here.symlink_to("/dev/zero")
        DpkgDatabase(str(root)).owned_paths()
        DpkgDatabase(str(root)).reserved_paths()
        return
    else:
        here.touch()
        os.truncate(here, 1 << 40)
        expected = f"^The file /var/lib/dpkg/{path} of the image has 1024 GiB, and no more than 64 MiB of it would be"
    with pytest.raises(ChrootError, match=expected):
        bench.installer(str(root)).install(bench.build(*PACKAGES))
