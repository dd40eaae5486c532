# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of the DEB family, installed: what our way leaves is what dpkg alone leaves."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb import DebInstaller
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
