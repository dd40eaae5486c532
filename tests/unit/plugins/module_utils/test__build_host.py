# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils import _build_host
from ansible_collections.os_image.composer.plugins.module_utils._build_host import (
    existing_parent,
    missing_packages,
    probe_build_host,
    wanted_packages,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import CompletedCommand
from ansible_collections.os_image.composer.plugins.module_utils._emulation import ARCHITECTURES
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import EMULATORS

ROOT = pathlib.Path(__file__).parents[4]
FAMILIES = ("azurelinux", "debian", "redhat")


def test_existing_parent(tmp_path: pathlib.Path) -> None:
    assert existing_parent(str(tmp_path / "a" / "b")) == str(tmp_path)
    assert existing_parent(str(tmp_path)) == str(tmp_path)


def test_wanted_packages_are_those_of_the_host() -> None:
    choices = [
        {"debian": ["fdisk", "zstd"], "debian-aarch64": ["grub-efi-arm64-bin"], "redhat": ["util-linux"]},
        {"debian-x86_64": ["ovmf"]},
        {"all": ["zstd"]},
    ]
    assert wanted_packages(choices, family="debian", machine="x86_64") == ["fdisk", "ovmf", "zstd"]


def test_wanted_packages_for_other_architectures() -> None:
    choices = [{"debian": ["zstd"], "debian-for-aarch64": ["qemu-user-static"], "debian-for-x86_64": ["ovmf"]}]
    # What the host is itself needs no emulator.
    both = ["aarch64", "x86_64"]
    assert wanted_packages(choices, family="debian", machine="x86_64", foreign=both) == ["qemu-user-static", "zstd"]
    assert wanted_packages(choices, family="debian", machine="aarch64", foreign=both) == ["ovmf", "zstd"]
    assert wanted_packages(choices, family="debian", machine="x86_64") == ["zstd"]


def test_missing_emulators_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(arch: str, *, directory: str) -> str | None:
        return None if arch == "x86_64" else "no emulator for it is registered with the kernel"

    monkeypatch.setattr(_build_host, "_tool_facts", dict)
    monkeypatch.setattr(_build_host, "_library_facts", dict)
    monkeypatch.setattr(_build_host, "_kernel_facts", lambda directory: GOOD_KERNEL)
    monkeypatch.setattr(_build_host, "emulation_problem", problem)
    facts = probe_build_host(work_dir="/", space={}, packages=[], foreign_architectures=["x86_64", "aarch64"])
    assert facts["architectures"] == ["x86_64"]
    assert facts["missing_emulators"] == {"aarch64": "no emulator for it is registered with the kernel"}
    # Nobody has asked for it.
    assert probe_build_host(work_dir="/", space={}, packages=[])["missing_emulators"] == {}


def test_every_emulator_has_its_package_and_its_format() -> None:
    variables = yaml.safe_load((ROOT / "roles/build_host/vars/main.yml").read_text(encoding="utf-8"))
    # Azure Linux has none that runs in a root tree.
    assert set(variables["__build_host_formats"]) == {"debian", "redhat"}
    for family, formats in variables["__build_host_formats"].items():
        assert set(formats) == set(ARCHITECTURES) == set(EMULATORS)
        assert all(package.name(family) for package in EMULATORS.values())
    assert not any(package.name("azurelinux") for package in EMULATORS.values())


def test_missing_packages_asks_dpkg() -> None:
    assert missing_packages(["dpkg", "no-such-package", "tar"], family="debian") == ["no-such-package"]
    assert missing_packages([], family="debian") == []


def test_missing_packages_asks_rpm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[t.Sequence[str]] = []

    def run(self: object, argv: t.Sequence[str], **options: t.Any) -> CompletedCommand:
        asked.append(argv)
        if "--whatprovides" in argv:
            return CompletedCommand(tuple(argv), 0 if argv[-1] == "vim" else 1, b"", b"")
        text = b"tar installed\npackage no-such-package is not installed\nrpm installed\n"
        return CompletedCommand(tuple(argv), 1, text, b"")

    monkeypatch.setattr(_build_host.CommandRunner, "run", run)
    assert missing_packages(["tar", "no-such-package", "rpm", "vim"], family="redhat") == ["no-such-package"]
    assert asked[0][1:4] == ["-q", "--qf", "%{NAME} installed\\n"]
    assert asked[0][4:] == ["tar", "no-such-package", "rpm", "vim"]
    # What another package provides is there, too.
    assert [list(argv[1:]) for argv in asked[1:]] == [
        ["-q", "--whatprovides", "no-such-package"],
        ["-q", "--whatprovides", "vim"],
    ]


def test_every_family_has_its_tasks() -> None:
    for family in FAMILIES:
        assert (ROOT / f"roles/build_host/tasks/install_{family}.yml").exists()


def problems(monkeypatch: pytest.MonkeyPatch, space: dict[str, int], kernel: dict[str, t.Any]) -> list[str]:
    monkeypatch.setattr(_build_host, "_tool_facts", dict)
    monkeypatch.setattr(_build_host, "_library_facts", dict)
    monkeypatch.setattr(_build_host, "_kernel_facts", lambda directory: kernel)
    monkeypatch.setattr(_build_host.os, "geteuid", lambda: 0)
    return t.cast("list[str]", probe_build_host(work_dir="/", space=space, packages=[])["problems"])


GOOD_KERNEL = {"namespaces": True, "tmpfs": True, "proc": True, "overlay": True, "complaint": ""}


def test_a_good_host_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, {"/": 1}, GOOD_KERNEL) == []


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = problems(monkeypatch, {"/nonexistent/images": 1 << 60}, GOOD_KERNEL)
    assert "GiB are free for /nonexistent/images, but 1073741824.0 GiB are wanted. Make room" in problem


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("namespaces", "namespaces (mount: Operation not permitted). When the build host is a container, give it CAP"),
        (
            "tmpfs",
            "type tmpfs cannot be mounted in a new namespace of the build host (mount: Operation not permitted).",
        ),
        (
            "overlay",
            "overlay cannot be mounted over / (mount: Operation not permitted). Load the kernel module overlay",
        ),
    ],
)
def test_a_missing_kernel_feature_is_a_problem(monkeypatch: pytest.MonkeyPatch, feature: str, message: str) -> None:
    kernel = {**GOOD_KERNEL, feature: False, "complaint": "mount: Operation not permitted"}
    (problem,) = problems(monkeypatch, {}, kernel)
    assert message in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_trial_is_told_with_its_last_complaint(tmp_path: pathlib.Path) -> None:
    script = 'echo namespaces; echo first >&2; echo "no $1" >&2'
    assert _build_host._try_in_namespace(script, str(tmp_path)) == (["namespaces"], f"no {tmp_path}")


def test_a_user_without_rights_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build_host, "_tool_facts", dict)
    monkeypatch.setattr(_build_host, "_library_facts", dict)
    monkeypatch.setattr(_build_host, "_kernel_facts", lambda directory: GOOD_KERNEL)
    monkeypatch.setattr(_build_host.os, "geteuid", lambda: 1000)
    facts = probe_build_host(work_dir="/", space={}, packages=[])
    assert facts["problems"] == ["The modules do not run as root on the build host. Use become."]


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [
        ([], {"another"}),
        (["build"], {"another", "xz-utils", "grub-pc-bin", "qemu-user-static"}),
        (["boot_test"], {"another", "ovmf", "qemu-system-x86", "qemu-efi-aarch64", "qemu-system-arm"}),
    ],
)
def test_packages_for_the_purposes_of_a_host_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, purposes: list[str], expected: set[str]
) -> None:
    monkeypatch.setattr(_build_host, "_tool_facts", dict)
    monkeypatch.setattr(_build_host, "_library_facts", dict)
    monkeypatch.setattr(_build_host, "_kernel_facts", lambda directory: GOOD_KERNEL)
    monkeypatch.setattr(_build_host, "read_distribution", lambda: {"name": "Debian", "family": "debian"})
    monkeypatch.setattr(_build_host.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_build_host, "missing_packages", lambda packages, **_family: [*packages])
    facts = probe_build_host(
        work_dir="/",
        space={},
        packages=[{"all": ["another"]}],
        purposes=purposes,
        foreign_architectures=["aarch64"],
    )
    missing = facts["missing_packages"]
    assert missing == sorted(missing)
    assert expected <= set(missing)
    assert "build" in purposes or set(missing) == expected
