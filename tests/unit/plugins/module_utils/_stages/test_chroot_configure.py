# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage as a whole, with a distribution of a few packages: which layers are made, and when they are made again."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _emulation
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, HostError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import kept_key
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.chroot_configure import ChrootConfigure
from ansible_collections.os_image.composer.tests.support.build_state import leave
from ansible_collections.os_image.composer.tests.support.signing_keys import Keys
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, PYTHON_ENVIRONMENT, Deb, needs_root

pytestmark = needs_root

MKINITRAMFS = "#!/bin/sh\nset -e\necho made >> /etc/made\ncat $2/conf.d/* > $4\n"

KERNEL = Deb(
    "kernel",
    files={"/boot/vmlinuz-6.1": "kernel", "/usr/sbin/mkinitramfs": MKINITRAMFS, "/etc/initramfs-tools/modules": ""},
    modes={"/usr/sbin/mkinitramfs": 0o755},
)
SLOW = Deb("slow", control={"postinst": "#!/bin/sh\ntouch /etc/started\nsleep 600\n"})

PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "MC4CAQAwBQYDK2VwBCIEIB5nQ0Yh9cYDk0aG3wq8b4pV1m8cJ6lY5nT7pQ2r"
    + "\n-----END PRIVATE KEY-----\n"
)

NAMES = ["chrootenv", "packages", "configuration", "initramfs"]


class Image:
    """A build directory whose earlier stages have run."""

    def __init__(self, directory: pathlib.Path, base: tuple[Deb, pathlib.Path]) -> None:
        self.directory = directory
        self.work = directory / "work"
        self.cache = directory / "cache/pkgCache/debian-debian12-x86_64"
        self.cache.mkdir(parents=True)
        os.link(base[1], self.cache / base[1].name)
        self.packages = [base[0].lock_entry(base[1], layer=0)]
        self.build = BuildDirectory(str(self.work / "build"))
        self.config: dict[str, t.Any] = {"hostname": "first", "additionalFiles": []}
        self.files: dict[str, str] = {}
        self.repositories: list[dict[str, t.Any]] = []

    def add(self, package: Deb) -> None:
        """Add a package to the lock."""
        self.packages.append(package.lock_entry(package.build(self.cache), layer=1))

    def add_file(self, final: str, content: str) -> None:
        """Add a file to the template."""
        local = self.directory / os.path.basename(final)
        local.write_text(content)
        self.files[str(local)] = sha256_file(str(local))
        self.config["additionalFiles"] = [{"local": str(local), "final": final}]

    def prepare(self) -> None:
        """Leave what the earlier stages leave."""
        content: Facts = {
            "provider_id": "debian-debian12-x86_64",
            "provider": whole_provider(repositories=self.repositories),
            "template": whole_template(systemConfig=self.config),
            "files": self.files,
            "directories": {
                "cache_dir": str(self.directory / "cache"),
                "work_dir": str(self.work),
                "config_dir": "/nowhere",
            },
            "sources": [],
            "warnings": [],
        }
        leave(self.build, "image_template_validate", document=("template.json", content))
        lock: Facts = {"provider_id": "x", "packages": self.packages, "source_date_epoch": EPOCH + 86400}
        leave(self.build, "pkg_resolve", document=("packages.lock.json", lock))

    def run(self, *, strict: bool = False, install_twice: bool = False, **options: t.Any) -> Facts:
        """Run the stage."""
        self.prepare()
        stage = ChrootConfigure(self.build, StageOptions(**options), strict=strict, install_twice=install_twice)
        return run_stage(stage)

    @property
    def store(self) -> pathlib.Path:
        """Where the layers are."""
        return self.work / "debian-debian12-x86_64/chrootenv"

    @contextlib.contextmanager
    def tree(self) -> t.Iterator[pathlib.Path]:
        """Show the finished tree."""
        with RootTree.from_stamp(self.build.require("chroot_configure")).mounted() as path:
            yield pathlib.Path(path)


@pytest.fixture
def image(tmp_path: pathlib.Path, base_deb: tuple[Deb, pathlib.Path]) -> Image:
    """Return an image that is not built yet."""
    made = Image(tmp_path, base_deb)
    made.add(KERNEL)
    return made


def digests(result: Facts) -> dict[str, str]:
    """Return the digests of the layers by name."""
    return {layer["name"]: layer["digest"] for layer in result["layers"]}


def remade(before: Facts, after: Facts) -> list[str]:
    """Return the names of the layers that differ."""
    return [name for name in NAMES if digests(before).get(name) != digests(after).get(name)]


def test_a_tree_of_four_layers(image: Image) -> None:
    host_mounts = pathlib.Path(f"/proc/{os.getppid()}/mounts").read_text()
    result = image.run()
    assert result["changed"]
    assert result["installed"] == 2
    assert not result["chrootenv_reused"]
    assert [layer["name"] for layer in result["layers"]] == NAMES
    with image.tree() as root:
        assert (root / "etc/hostname").read_text() == "first\n"
        assert "MODULES=list" in (root / "boot/initrd.img-6.1").read_text()
        newest = max(path.lstat().st_mtime for path in root.rglob("*"))
        assert newest <= EPOCH + 86400
    assert pathlib.Path(f"/proc/{os.getppid()}/mounts").read_text() == host_mounts
    log = pathlib.Path(image.build.build_log).read_text()
    assert "[Chroot] Creating the chroot environment (1 packages)" in log
    assert "[Chroot] Making the initramfs with initramfs-tools" in log


def test_a_second_run_changes_nothing(image: Image) -> None:
    first = image.run()
    second = image.run()
    assert not second["changed"]
    assert second["layers"] == first["layers"]


def test_another_host_name_makes_the_configuration_again_and_nothing_else(image: Image) -> None:
    first = image.run()
    image.config["hostname"] = "second"
    second = image.run()
    assert second["rebuild_reason"] == "systemConfig.hostname changed"
    assert remade(first, second) == ["configuration"]
    with image.tree() as root:
        assert (root / "etc/hostname").read_text() == "second\n"
        # Once, although the tree below the initramfs has changed.
        assert (root / "etc/made").read_text() == "made\n"


MAIL = Deb(
    "mail",
    control={
        "postinst": "#!/bin/sh\nset -e\nread -r name < /proc/sys/kernel/hostname\n"
        'grep "$name" /etc/hosts > /etc/mailname\ncat /etc/hostname >> /etc/mailname\n'
    },
)


def test_packages_that_write_the_host_name_down_are_configured_for_it(image: Image) -> None:
    image.add(MAIL)
    image.config["hostname"] = "mx.example.org"
    first = image.run()
    with image.tree() as root:
        assert (root / "etc/mailname").read_text() == "127.0.1.1 mx.example.org mx\nmx.example.org\n"
        assert (root / "etc/hosts").read_text().count("mx.example.org") == 1
    log = pathlib.Path(image.build.build_log)
    assert "/etc/mailname is made of the host name, so the packages are configured for this one" in log.read_text()
    image.config["hostname"] = "short"
    second = image.run()
    assert remade(first, second) == NAMES[1:]
    with image.tree() as root:
        assert (root / "etc/mailname").read_text() == "127.0.1.1 short\nshort\n"
    # It is known by now that they do.
    assert log.read_text().count("is made of the host name") == 1
    image.config["hostname"] = "mx.example.org"
    assert digests(image.run()) == digests(first)


def test_packages_on_a_host_without_a_name(image: Image) -> None:
    image.add(Deb("mail", control={"postinst": "#!/bin/sh\ncat /proc/sys/kernel/hostname > /etc/mailname\n"}))
    image.config["hostname"] = ""
    image.run()
    with image.tree() as root:
        assert (root / "etc/mailname").read_text() == "localhost\n"
        assert not (root / "etc/hostname").exists()


def test_security_is_part_of_the_configuration(image: Image) -> None:
    first = image.run()
    image.config["security"] = {"hardening": ["sysctl", "coredumps"]}
    image.add_file("/etc/sysctl.d/60-hardening.conf", "the template's own")
    second = image.run()
    assert second["rebuild_reason"] == "systemConfig.additionalFiles, systemConfig.security changed"
    # An initramfs holds sysctl.d.
    assert remade(first, second) == ["configuration", "initramfs"]
    with image.tree() as root:
        assert (root / "etc/sysctl.d/60-hardening-coredumps.conf").exists()
        # The template has the last word.
        assert (root / "etc/sysctl.d/60-hardening.conf").read_text() == "the template's own"
    image.config["security"] = {"selinux": "enforcing", "hardening": []}
    with pytest.raises(ChrootError, match="the image has no policy"):
        image.run()


def test_the_image_gets_the_kept_key_of_a_url(image: Image, keys: Keys) -> None:
    key, fingerprint = "https://packages.example.com/key.asc", keys.archive.fingerprint
    image.repositories = [
        {
            **{"name": "vendor", "url": "https://packages.example.com/debian", "suite": "stable"},
            **{"components": ["main"], "gpgcheck": True, "keys": [key], "fingerprints": [fingerprint]},
        }
    ]
    image.add(Deb("apt", files={"etc/apt/apt.conf.d/01x": "\n"}))
    with pytest.raises(SignatureError, match=r"of the repository 'vendor' cannot be read: .* run it once without lock"):
        image.run()
    kept = pathlib.Path(kept_key(key, [fingerprint], metadata_dir=str(image.cache / "metadata")))
    kept.parent.mkdir(parents=True)
    pinned = pathlib.Path(keys.archive.public).read_text()
    kept.write_text(pinned)
    first = image.run()
    with image.tree() as root:
        assert (root / "etc/apt/keyrings/vendor.asc").read_text() == pinned
        sources = (root / "etc/apt/sources.list.d/vendor.sources").read_text()
        assert "Signed-By: /etc/apt/keyrings/vendor.asc\n" in sources
    assert image.run()["changed"] is False
    kept.write_text(pinned + pathlib.Path(keys.stranger.public).read_text())
    second = image.run()
    assert second["rebuild_reason"].startswith("repository keys from the network changed: ")
    assert remade(first, second) == ["configuration"]


def test_a_changed_file_is_noticed(image: Image) -> None:
    image.add_file("/srv/file", "one")
    first = image.run()
    image.add_file("/srv/file", "two")
    second = image.run()
    assert second["rebuild_reason"] == "systemConfig.additionalFiles changed"
    assert remade(first, second) == ["configuration"]


def test_what_goes_into_the_initramfs_makes_it_again(image: Image) -> None:
    first = image.run()
    image.add_file("/etc/modprobe.d/own.conf", "blacklist x\n")
    second = image.run()
    assert remade(first, second) == ["configuration", "initramfs"]
    image.config["kernel"] = {"enableExtraModules": "nbd"}
    third = image.run()
    assert remade(second, third) == ["initramfs"]


def test_another_package_keeps_the_chroot_environment(image: Image) -> None:
    first = image.run()
    image.add(Deb("more", files={"/usr/share/more": "x"}))
    second = image.run()
    assert second["rebuild_reason"] == "package lock changed: more added"
    assert second["chrootenv_reused"]
    assert remade(first, second) == ["packages", "configuration", "initramfs"]
    shown = second["diff"]["after"]["packages"]
    assert shown["more"] == "1.0-1"


def test_documentation_is_part_of_the_packages(image: Image) -> None:
    image.add(Deb("manual", files={"/usr/bin/manual": "", "/usr/share/man/man1/manual.1.gz": "page"}))
    first = digests(image.run())
    with image.tree() as tree:
        assert (tree / "usr/share/man/man1/manual.1.gz").exists()
    image.config["documentation"] = False
    second = image.run()
    assert second["rebuild_reason"] == "systemConfig.documentation changed"
    assert not first.items() & digests(second).items()
    with image.tree() as tree:
        assert (tree / "usr/bin/manual").exists()
        assert not (tree / "usr/share/man/man1/manual.1.gz").exists()


def test_two_images_share_layers(image: Image, tmp_path: pathlib.Path, base_deb: tuple[Deb, pathlib.Path]) -> None:
    first = image.run()
    image.build = BuildDirectory(str(image.work / "other"))
    second = image.run()
    assert second["layers"] == first["layers"]
    assert second["chrootenv_reused"]


def test_the_tarball_brings_the_chroot_environment_back(image: Image) -> None:
    first = image.run()
    before = digests(first)["chrootenv"]
    shutil.move(str(image.store / before), str(image.directory / "moved"))
    second = image.run()
    assert second["rebuild_reason"].endswith("layer.json is missing")
    assert second["chrootenv_reused"]
    assert digests(second) == digests(first)
    subprocess.run(
        ["diff", "-r", "--no-dereference", str(image.store / before), str(image.directory / "moved")], check=True
    )
    assert "Restoring the chroot environment from its tarball" in pathlib.Path(image.build.build_log).read_text()


def test_a_damaged_tarball_is_not_used(image: Image) -> None:
    first = image.run()
    shutil.rmtree(image.store)
    tarball = image.work / "debian-debian12-x86_64/chrootbuild/chrootenv.tar.gz"
    data = bytearray(tarball.read_bytes())
    data[len(data) // 2] ^= 1
    tarball.write_bytes(data)
    second = image.run()
    assert not second["chrootenv_reused"]
    assert digests(second) == digests(first)


def test_a_layer_that_somebody_worked_in_is_made_again(image: Image) -> None:
    first = image.run()
    path = pathlib.Path(first["layers"][2]["path"])
    (path / "etc/hostname").write_text("touched\n")
    second = image.run(rebuild="always")
    assert digests(second) == digests(first)
    with image.tree() as root:
        assert (root / "etc/hostname").read_text() == "first\n"


def test_scripts_run_at_their_moments(image: Image) -> None:
    image.config["scripts"] = {
        "preInstall": [
            {"name": "early", "inline": "ls /boot > /etc/early 2>&1 || true; cat /etc/hostname >> /etc/early; false"}
        ],
        "postInstall": [{"name": "late", "inline": "cat /etc/hostname > /etc/late; ls /boot >> /etc/late"}],
    }
    with pytest.raises(
        Exception, match=r"The script systemConfig.scripts.preInstall\[0\] \(early\) ended with status 1"
    ):
        image.run()
    image.config["scripts"]["preInstall"][0]["inline"] += " || true"
    image.run()
    with image.tree() as root:
        assert "vmlinuz" not in (root / "etc/early").read_text()
        assert (root / "etc/early").read_text().endswith("first\n")
        assert (root / "etc/late").read_text() == "first\nvmlinuz-6.1\n"


KEYS = Deb(
    "keys",
    files={"/usr/lib/systemd/systemd": "", "/usr/share/keys/example.pem": PEM},
    control={
        "postinst": "#!/bin/sh -e\nmkdir -p /etc/munge /etc/own\n"
        "cat /proc/sys/kernel/random/uuid > /etc/munge/munge.key\n"
        "cat /proc/sys/kernel/random/uuid > /etc/own/id\n"
        "cp /usr/share/keys/example.pem /etc/own/key.pem\n"
    },
)
SHARE = "All machines that are made from the image share"
SHARED_KEYS = [
    f"{SHARE} /etc/own/key.pem, a private key (PEM).",
    f"{SHARE} /usr/share/keys/example.pem, a private key (PEM).",
]
SHARED_ID = (
    f"{SHARE} /etc/own/id, which is another one each time that the packages layer is made: it may hold a secret, or "
    "what machines are told apart by."
)


def test_what_machines_would_share_is_taken_out_or_told(image: Image) -> None:
    image.add(KEYS)
    result = image.run()
    assert result["machine_secrets"] == {"/etc/munge/munge.key": "machine-secret-munge.service"}
    assert result["shared_secrets"] == SHARED_KEYS
    log = pathlib.Path(image.build.build_log).read_text()
    assert all(problem in log for problem in SHARED_KEYS)
    with image.tree() as root:
        assert os.listdir(root / "etc/munge") == []
        unit = root / "etc/systemd/system/sysinit.target.wants/machine-secret-munge.service"
        assert os.readlink(unit) == "/usr/lib/systemd/system/machine-secret-munge.service"
    # It is known of layers that are there, too.
    image.config["hostname"] = "second"
    second = image.run()
    assert remade(result, second) == ["configuration"]
    assert second["shared_secrets"] == SHARED_KEYS


def test_a_second_installation_shows_what_no_table_knows(image: Image) -> None:
    image.add(KEYS)
    first = image.run()
    second = image.run(install_twice=True)
    assert second["rebuild_reason"] == "checks changed"
    assert remade(first, second) == []
    assert second["shared_secrets"] == [SHARED_ID, *SHARED_KEYS]
    # What was compared once is not made again.
    image.config["hostname"] = "second"
    assert image.run(install_twice=True)["shared_secrets"] == [SHARED_ID, *SHARED_KEYS]
    log = pathlib.Path(image.build.stage_log("chroot_configure")).read_text()
    assert log.count("Setting up keys") == 2


def test_a_script_that_makes_a_secret_is_found(image: Image) -> None:
    script = "mkdir -p /srv/own && cat /proc/sys/kernel/random/uuid > /srv/own/token"
    image.config["scripts"] = {"preInstall": [], "postInstall": [{"name": "token", "inline": script}]}
    assert image.run()["shared_secrets"] == []
    (problem,) = image.run(install_twice=True)["shared_secrets"]
    assert problem.startswith(f"{SHARE} /srv/own/token, which is another one each time that the configuration layer")


def test_strict_refuses_what_would_be_shared(image: Image) -> None:
    image.add(KEYS)
    with pytest.raises(ChrootError, match=r"image_build_strict .* is set: .*/etc/own/id.*/etc/own/key\.pem") as raised:
        image.run(strict=True)
    assert raised.value.details["machine_secrets"] == [SHARED_ID, *SHARED_KEYS]
    # It does not count as built.
    with pytest.raises(ChrootError, match="/etc/own/key"):
        image.run(strict=True)
    removes = "rm -r /etc/own /usr/share/keys"
    image.config["scripts"] = {"preInstall": [], "postInstall": [{"name": "remove", "inline": removes}]}
    result = image.run(strict=True)
    assert result["shared_secrets"] == []
    assert not image.run(strict=True)["changed"]


def test_a_key_that_the_template_brings_is_no_surprise(image: Image) -> None:
    image.add_file("/etc/own/key.pem", PEM)
    result = image.run(strict=True)
    assert result["shared_secrets"] == []
    with image.tree() as root:
        assert (root / "etc/own/key.pem").read_text() == PEM


def test_a_known_secret_that_the_template_brings_stays(image: Image) -> None:
    image.add(KEYS)
    image.add_file("/etc/munge/munge.key", "the cluster's")
    assert image.run()["machine_secrets"] == {}
    with image.tree() as root:
        assert (root / "etc/munge/munge.key").read_text() == "the cluster's"
        assert not (root / "usr/lib/systemd/system/machine-secret-munge.service").exists()


def test_a_script_that_gives_the_tree_an_identity_gives_none_to_machines(image: Image) -> None:
    script = "mkdir -p /var/lib/dbus; for file in /etc/machine-id /var/lib/dbus/machine-id; do echo 0123 > $file; done"
    image.add(KEYS)
    image.config["scripts"] = {"preInstall": [], "postInstall": [{"name": "identity", "inline": script}]}
    image.run()
    with image.tree() as root:
        assert (root / "etc/machine-id").read_text() == ""
        assert os.readlink(root / "var/lib/dbus/machine-id") == "/etc/machine-id"


def test_host_keys_that_the_template_brings_stay(image: Image) -> None:
    image.add_file("/etc/ssh/ssh_host_rsa_key", PEM)
    image.run()
    with image.tree() as root:
        assert (root / "etc/ssh/ssh_host_rsa_key").read_text() == PEM


def test_a_machine_that_cannot_write_to_etc_is_told(image: Image) -> None:
    image.add(KEYS)
    image.config["immutability"] = {"enabled": True, "etc": "readonly"}
    image.packages = [package for package in image.packages if package["name"] != "kernel"]
    assert image.run()["shared_secrets"] == [
        "No machine gets /etc/munge/munge.key, which machine-secret-munge.service would make: "
        "systemConfig.immutability.etc is readonly.",
        *SHARED_KEYS,
    ]


def test_packages_that_touch_each_other_are_left_to_dpkg(image: Image) -> None:
    image.add(Deb("old", files={"/usr/share/moved": "old"}, version="1"))
    image.add(Deb("new", files={"/usr/share/moved": "new"}, fields={"Replaces": "old", "Depends": "old"}))
    image.run()
    with image.tree() as root:
        assert (root / "usr/share/moved").read_text() == "new"
    assert "dpkg unpacks them" in pathlib.Path(image.build.stage_log("chroot_configure")).read_text()


def test_an_image_for_a_machine_that_cannot_be_emulated(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="s390x", release="6.1"))
    monkeypatch.setattr(_emulation, "_runs", lambda arch, directory: False)
    with pytest.raises(
        HostError, match=r"^The image is for x86_64, and this build host \(s390x\) cannot run its programs"
    ):
        image.run()
    assert not image.store.exists()


def test_a_missing_package_is_named_and_nothing_is_lost(image: Image) -> None:
    first = image.run()
    image.add(Deb("gone"))
    (image.cache / "gone_1.0-1_amd64.deb").unlink()
    with pytest.raises(ChrootError, match=r"^The package gone 1\.0-1 is not in the package cache"):
        image.run()
    image.packages.pop()
    again = image.run()
    assert not again["changed"]
    assert again["layers"] == first["layers"]


def test_check_mode_tells_and_writes_nothing(image: Image) -> None:
    image.prepare()
    before = sorted(os.listdir(image.work))
    result = run_stage(ChrootConfigure(image.build, StageOptions(check_mode=True)))
    assert result["changed"]
    assert result["msg"] == "chroot_configure: would build: not built yet"
    assert result["diff"]["after"]["packages"] == {"dpkg": "1.21.22", "kernel": "1.0-1"}
    assert sorted(os.listdir(image.work)) == before


def test_a_virgin_host_is_told_so(tmp_path: pathlib.Path) -> None:
    result = run_stage(ChrootConfigure(BuildDirectory(str(tmp_path / "no")), StageOptions(check_mode=True)))
    assert "would build: The stage image_template_validate has not been completed" in result["msg"]


def _mounts_below(directory: pathlib.Path) -> list[str]:
    """Return the mounts in a directory; elsewhere, others mount and unmount meanwhile."""
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if str(directory) in line]


def test_kill_in_a_package_script_leaves_what_the_next_run_removes(image: Image) -> None:
    image.run()
    image.add(SLOW)
    image.prepare()
    mounts = _mounts_below(image.work)
    script = (
        "from ansible_collections.os_image.composer.plugins.module_utils._stages.chroot_configure "
        "import ChrootConfigure\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._stage import *\n"
        f"run_stage(ChrootConfigure(BuildDirectory({image.build.path!r}), StageOptions()))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=PYTHON_ENVIRONMENT)
    try:
        end = time.monotonic() + 30
        while not list(image.store.glob(".tmp-*/root/etc/started")):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(image.store.glob(".tmp-*"))) == 1
    assert _mounts_below(image.work) == mounts
    image.packages.pop()
    image.config["hostname"] = "third"
    image.run()
    assert list(image.store.glob(".tmp-*")) == []
