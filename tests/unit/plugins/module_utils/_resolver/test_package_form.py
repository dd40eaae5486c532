# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for what a repository may say about a package that is chosen."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import shortened
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import Package
from ansible_collections.os_image.composer.tests.support import package_index, rpm_index

_DIGITS = "9" * 30


def _deb(directory: pathlib.Path, old: str, new: str) -> Package:
    text = package_index.index_text("hello").replace(old, new)
    assert text != package_index.index_text("hello")
    pool = package_index.pool_of(package_index.repository(directory, text.encode()))
    return pool.package(next(pool.pool.solvables_iter()).id)


def _rpm(directory: pathlib.Path, old: str, new: str) -> Package:
    text = rpm_index.index_texts("hello")["primary"]
    assert old in text
    metadata = rpm_index.rpm_repository(directory, "hello", primary=text.replace(old, new))
    pool = rpm_index.resolver_of(metadata).pool
    return pool.package(next(pool.pool.solvables_iter()).id)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Package: hello", "Package: he/llo", "with the name 'he/llo', which cannot be one"),
        ("Package: hello", "Package: <NULL>", "with the name '<NULL>', which cannot be one"),
        ("Package: hello", "Package: ..", "with the name '..', which cannot be one"),
        ("Version: 1.0-1", "Version: 1/../../x", "with the version '1/../../x', which cannot be one"),
        ("Version: 1.0-1", "Version: 1\x01\x7f", r"with the version '1\x01\x7f', which cannot be one"),
        ("Version: 1.0-1", "Version: " + "1" * 300, "with a name and a version of 316 characters"),
        ("Size: 1000", "Size: -5", "with the size '-5', which is no number"),
        ("Size: 1000", f"Size: {_DIGITS}", f"with the size '{_DIGITS}', which is no number"),
        ("Size: 1000", "Size: 1099511627776", "with the size 1099511627776, which no package has"),
        ("Size: 1000", "Size: ١", "with the size '١', which is no number"),
        ("Installed-Size: 10", "Installed-Size: -5", "with the size '-5', which is no number"),
        ("Installed-Size: 10", "Installed-Size: 99999999999", "with the size 102399999998976, which no package has"),
        ("SHA256: ", "SHA256: x", "with the SHA-256 checksum 'x"),
        ("SHA256: ", "SHA512: ", "without a usable SHA512"),
        ("Filename: ", "X-Filename: ", "without a usable Filename"),
        ("Filename: ", "Filename: /", "with the file name '/pool/hello_1.0-1.deb', which is not below the repository"),
        ("Filename: pool", "Filename: pool/..", "which leads out of the repository"),
        ("Filename: pool", "Filename: pool/%2e%2e", "which leads out of the repository"),
        ("Filename: ", "Filename: http://other.example.org/", "which is a URL, and not a path below the repository"),
        ("Filename: pool", "Filename: po\\ol", "which has characters that no path has"),
    ],
)
def test_a_deb_package_that_cannot_be_had(tmp_path: pathlib.Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(RepositoryError, match=re.escape(problem)) as caught:
        _deb(tmp_path, old, new)
    assert str(caught.value).startswith("The repository 'stable' describes the package ")
    assert "Take the package from another repository" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<name>hello", "<name>he/llo", "with the name 'he/llo', which cannot be one"),
        ("<name>hello</name>", "", "with the name '<NULL>', which cannot be one"),
        ("<name>hello", "<name>", "with the name '', which cannot be one"),
        ('ver="1.0"', 'ver="1/0"', "with the version '1/0-1', which cannot be one"),
        ('ver="1.0"', 'ver="1&#10;0"', r"with the version '1\n0-1', which cannot be one"),
        ('ver="1.0"', f'ver="{"1" * 300}"', "with a name and a version of 319 characters"),
        ("<arch>noarch", "<arch>../noarch", "with the architecture '../noarch', which cannot be one"),
        ('package="1000"', 'package="-5"', "with the size -5, which no package has"),
        ('package="1000"', f'package="{_DIGITS}"', "with the size -1, which no package has"),
        ('package="1000"', 'package="x"', "without a usable size"),
        ('installed="2000"', 'installed="-5"', "with the size -5, which no package has"),
        ('<location href="Packages/hello-1.0-1.noarch.rpm"/>', "", "without a usable location"),
        ('href="Packages', 'href="/Packages', "which is not below the repository"),
        ('href="Packages', 'href="../Packages', "which leads out of the repository"),
        ('href="Packages', 'href="https://other.example.org/x', "which is a URL, and not a path below the repository"),
        ("href=", 'xml:base="../other" href=', "with the xml:base '../other', which is no absolute URL of a server"),
        ("href=", 'xml:base="//other/x" href=', "which is no absolute URL of a server"),
        ("href=", 'xml:base="http://[::1" href=', "which is no URL (Invalid IPv6 URL)"),
        ("href=", 'xml:base="http://x:y/" href=', "which is no URL"),
        ("href=", 'xml:base="http://u:secret@h/x" href=', "with the xml:base 'http://h/x', which holds credentials"),
        ("href=", 'xml:base="file:///etc" href=', "which is a place on the build host"),
        ("href=", 'xml:base="http://h/a/../.." href=', "which is no plain place on a server"),
        ("href=", 'xml:base="http://h/?x=" href=', "which is no plain place on a server"),
    ],
)
def test_an_rpm_package_that_cannot_be_had(tmp_path: pathlib.Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(RepositoryError, match=re.escape(problem)) as caught:
        _rpm(tmp_path, old, new)
    assert str(caught.value).startswith("The repository 'base' describes the package ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "old", "new", "url"),
    [
        (_deb, "Filename: pool", "Filename: ./pool", "http://mirror.example.org/debian/pool/hello_1.0-1.deb"),
        (_deb, "Filename: pool", "Filename: po ol", "http://mirror.example.org/debian/po%20ol/hello_1.0-1.deb"),
        (_deb, "Filename: pool", "Filename: a%3ab", "http://mirror.example.org/debian/a%3ab/hello_1.0-1.deb"),
        (_rpm, "href=", 'xml:base="https://h:8443/x/" href=', "https://h:8443/x/Packages/hello-1.0-1.noarch.rpm"),
        (_rpm, "Packages/", "a b/#", "http://mirror.example.org/rpm/a%20b/%23hello-1.0-1.noarch.rpm"),
    ],
)
def test_places_that_packages_may_have(
    tmp_path: pathlib.Path, make: t.Callable[[pathlib.Path, str, str], Package], old: str, new: str, url: str
) -> None:
    assert make(tmp_path, old, new).url == url


def test_long_and_odd_texts_are_shown_in_part() -> None:
    assert shortened("a" * 201) == "a" * 200 + "..."
    assert shortened("a\x1b[31m\nb") == r"a\x1b[31m\nb"
    assert shortened("straße") == "straße"
