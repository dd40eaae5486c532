# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of how dependencies and versions of Debian become those of RPM."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.support.rpm_distribution.relations import (
    MissingPackage,
    Relation,
    Translator,
    parse,
    rpm_relation,
    split_version,
)

TRANSLATOR = Translator(
    names={"libc6": "glibc", "libc-bin": "glibc-common", "gawk": "gawk", "udev": "systemd-udev", "dbus": "dbus"},
    virtual={"awk": False, "dbus-system-bus": False, "linux-initramfs-tool": False, "libglib": True},
    dropped={"debconf", "debconf-2.0", "mawk"},
)


def test_a_field_has_requirements_with_alternatives() -> None:
    assert parse("libc6 (>= 2.38), mawk | gawk (<< 1:5.2-1~), python3:any") == [
        [Relation("libc6", ">=", "2.38")],
        [Relation("mawk"), Relation("gawk", "<<", "1:5.2-1~")],
        [Relation("python3")],
    ]
    assert parse("") == []
    with pytest.raises(ValueError, match="not a relation"):
        parse("libc6 (2.38)")


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("5.2.37-2+b10", ("", "5.2.37", "2+b10.cl1")),
        ("1:4.17.4-2", ("1", "4.17.4", "2.cl1")),
        ("0:1.0-1", ("", "1.0", "1.cl1")),
        ("20250419", ("", "20250419", "1.cl1")),
        ("2.0-rc1-3~deb13u1", ("", "2.0.rc1", "3~deb13u1.cl1")),
    ],
)
def test_versions_have_an_epoch_and_a_release(version: str, parts: tuple[str, str, str]) -> None:
    assert split_version(version) == parts


@pytest.mark.parametrize(
    ("operator", "version", "expected"),
    [
        (">=", "2.38", "x >= 2.38"),
        # Debian's 2.41 comes before all 2.41-N.
        (">>", "2.41", "x >= 2.41"),
        ("<<", "2.42", "x < 2.42"),
        ("=", "1:10.0p1-7+deb13u4", "x = 1:10.0p1-7+deb13u4.cl1"),
        ("=", "0.148", "x = 0.148"),
        ("<=", "1.2-3", "x <= 1.2-3.cl1"),
        (">>", "1.2-3", "x > 1.2-3.cl1"),
        # A package that was built once more has the release 3+b1.cl1, which RPM takes to be before 3.cl1.
        (">=", "1.2-3", "x >= 1.2-3"),
        ("<<", "1.2-3.1~", "x < 1.2-3.1~"),
        ("<<", "106-6+b+~", "x < 106-6.cl1.1"),
        ("", "", "x"),
    ],
)
def test_relations_keep_their_meaning(operator: str, version: str, expected: str) -> None:
    assert rpm_relation("x", Relation("whatever", operator, version)) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("libc6 (>= 2.38)", ["glibc >= 2.38"]),
        ("gawk | udev", ["(gawk or systemd-udev)"]),
        # What is not there is no alternative.
        ("mawk | gawk, fancy-udev | udev", ["gawk", "systemd-udev"]),
        ("debconf (>= 0.5) | debconf-2.0", []),
        ("awk", ["awk"]),
        ("libglib (>= 2)", ["libglib >= 2"]),
        ("libc6, libc6", ["glibc"]),
    ],
)
def test_requirements_are_translated(field: str, expected: list[str]) -> None:
    assert TRANSLATOR.requires(field) == expected


# dpkg does not let a virtual package without a version meet a dependency with one.
@pytest.mark.parametrize("field", ["libfancy", "awk (>= 1)", "libfancy | libplain"])
def test_what_nothing_meets_is_told(field: str) -> None:
    with pytest.raises(MissingPackage):
        TRANSLATOR.requires(field)


def test_weak_requirements_are_those_that_there_are() -> None:
    assert TRANSLATOR.weak("libfancy, gawk | libplain, debconf, udev | gawk") == ["gawk", "(systemd-udev or gawk)"]


def test_a_package_does_not_provide_itself() -> None:
    assert TRANSLATOR.provides("dbus-system-bus, libc6 (= 2.41-12), dbus", own="dbus") == [
        "dbus-system-bus",
        "glibc = 2.41-12.cl1",
    ]


def test_conflicts_are_with_other_real_packages() -> None:
    fields = ["awk, dbus (<< 1.2-1), systemd-shim", "libc6 (<< 2.38), udev"]
    assert TRANSLATOR.conflicts(fields, own="systemd-udev") == ["dbus < 1.2-1", "glibc < 2.38"]


def test_obsolete_is_what_was_replaced_and_is_gone() -> None:
    replaces = "libold (<< 2.0-1), libmoved (<< 3), gawk (<< 4), libfriend"
    conflicts = ["libold (<< 2.0-1), gawk (<< 4), libfriend"]
    assert TRANSLATOR.obsoletes(replaces, conflicts, own="libnew") == ["libold < 2.0-1"]
