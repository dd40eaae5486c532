# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for the limits of package indexes, at which libsolv would crash or take all memory."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._resolver import index_limits, rpm_pool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.index_limits import LimitError, check_rich
from ansible_collections.os_image.composer.tests.support import package_index, rpm_index

_DEEP = "(" * 200_000 + "b" + " or c)" * 200_000
_PRODUCT = "(" + " or ".join(f"(a{number} and b{number})" for number in range(30)) + ")"


def _deb_refusal(directory: pathlib.Path, stanzas: str | bytes) -> str:
    data = package_index.index_text(stanzas).encode() if isinstance(stanzas, str) else stanzas
    with pytest.raises(RepositoryError) as caught:
        package_index.pool_of(package_index.repository(directory, data, name="vendor"))
    return str(caught.value)


def _rpm_refusal(directory: pathlib.Path, primary: str) -> str:
    with pytest.raises(RepositoryError) as caught:
        rpm_index.resolver_of(rpm_index.rpm_repository(directory, "x", name="vendor", primary=primary))
    return str(caught.value)


def _names(prefix: str, number: int, separator: str) -> str:
    return separator.join(f"{prefix}{index}" for index in range(number))


@pytest.mark.parametrize(
    ("stanza", "problem"),
    [
        (
            f"Depends: x, {_names('a', 100_000, ' | ')}",
            "has a dependency with 100000 alternatives (Depends), and more than 1000 are not read",
        ),
        (f"Pre-Depends: {_names('a', 1001, '|')}", "has a dependency with 1001 alternatives (Pre-Depends)"),
        (f"Provides: {_names('a', 5000, ' | ')}", "has a dependency with 5000 alternatives (Provides)"),
        (f"Depends: {_names('a', 20_001, ', ')}", "has 20001 entries in Depends, and more than 20000 are not read"),
        (f"Provides: {_names('a', 100_001, ',')}", "has 100001 entries in Provides, and more than 100000"),
        (f"Depends: {'a' * 5000}", "has a name or a version of 5000 bytes (Depends), and more than 4096 are not read"),
        (f"Depends: a (>= {'1' * 5000})", "has a name or a version of 5001 bytes (Depends)"),
        (f"Version: {'1.0' * 1_000_000}", "has a name or a version of 3000000 bytes (Version)"),
        ("Depends: b\0c", "has a zero byte in it"),
    ],
)
def test_a_deb_package_beyond_a_limit(tmp_path: pathlib.Path, stanza: str, problem: str) -> None:
    message = _deb_refusal(tmp_path, f"first\n\nhostile\n{stanza}\n\nlast")
    where = f"The package index {tmp_path}/vendor.Packages of the repository 'vendor' is not read"
    assert message.startswith(f"{where}: the package 'hostile' {problem}")
    assert "take the repository out of the template" in message


def test_limits_that_are_reached(tmp_path: pathlib.Path) -> None:
    """What is just allowed is read, and libsolv bears it."""
    pool = package_index.pool_of(
        package_index.repository(
            tmp_path,
            f"hello\nDepends: {_names('a', 1000, ' | ')}, {_names('b', 19_999, ', ')}\n"
            f"Provides: {_names('p', 100_000, ', ')}\n\na999",
        )
    )
    (hello, last) = (solvable.id for solvable in pool.pool.solvables_iter())
    clauses = pool.requirements(hello)
    assert (len(clauses), len(clauses[0]), clauses[0][-1].solvables) == (20_000, 1000, (last,))
    assert pool.alternative("p99999").solvables == (hello,)


def test_more_packages_than_any_distribution_has(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_limits, "PACKAGES", 3)
    stanzas = "".join(f"Package: a{number}\nVersion: 1\nArchitecture: amd64\n\n" for number in range(5)).encode()
    assert "is not read: it describes 5 packages, and more than 3 are not read." in _deb_refusal(tmp_path, stanzas)
    primary = rpm_index.index_texts(_names("a", 5, "\n\n"))["primary"]
    assert "is not read: it describes 4 packages, and more than 3 are not read." in _rpm_refusal(tmp_path, primary)


@pytest.mark.parametrize("relation", ["Requires", "Provides", "Obsoletes", "Conflicts", "Recommends"])
@pytest.mark.parametrize(
    ("dependency", "problem"),
    [
        (_DEEP, "has a rich dependency nested 200000 deep, and more than 32 is not read"),
        ("(" * 33, "has a rich dependency nested 33 deep"),
        (f"({_names('a', 100_000, ' or ')})", "has a rich dependency of 100000 parts, and more than 1000 are not read"),
        (_PRODUCT, "has a rich dependency that means 1073741824 alternatives at once, and more than 10000 are not"),
    ],
)
def test_a_rich_dependency_beyond_a_limit(tmp_path: pathlib.Path, relation: str, dependency: str, problem: str) -> None:
    primary = rpm_index.index_texts(f"first\n\nhostile\n{relation}: {dependency}\n\nlast")["primary"]
    message = _rpm_refusal(tmp_path, primary)
    where = f"The package index {tmp_path}/vendor.primary of the repository 'vendor' is not read"
    assert message.startswith(f"{where}: the package 'hostile' {problem}")


@pytest.mark.parametrize(
    "written",
    [
        'name="(( a or b) or c)"',
        "name='((a or b) or c)'",
        'name = \n "((a or b) or c)"',
        'name="&#40;(a or b) or c)"',
        'name="&#x28;&#x28;a or b) or c)"',
        'name="((a&#9;or&#9;b) or c)"',
    ],
)
def test_every_spelling_of_a_rich_dependency_is_seen(
    tmp_path: pathlib.Path, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_limits, "NESTED", 1)
    primary = rpm_index.index_texts("hostile\nRequires: sought")["primary"].replace('name="sought"', written)
    assert "the package 'hostile' has a rich dependency nested 2 deep" in _rpm_refusal(tmp_path, primary)


@pytest.mark.parametrize(
    ("relation", "number", "problem"),
    [
        ("Requires", 20_001, "has 20001 entries in a list, and more than 20000 are not read"),
        ("Provides", 100_000, "has 100001 entries in provides, and more than 100000 are not read"),
    ],
)
def test_an_rpm_package_with_too_many_relations(
    tmp_path: pathlib.Path, relation: str, number: int, problem: str
) -> None:
    primary = rpm_index.index_texts(f"hostile\n{relation}: {_names('a', number, ', ')}")["primary"]
    assert f"the package 'hostile' {problem}" in _rpm_refusal(tmp_path, primary)


def test_an_rpm_package_that_provides_many_names(tmp_path: pathlib.Path) -> None:
    """As kernels do."""
    metadata = rpm_index.rpm_repository(tmp_path, f"kernel\nProvides: {_names('ksym-', 50_000, ', ')}")
    assert rpm_index.resolver_of(metadata).pool.providers("ksym-49999")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<name>hostile", f'<name x="{"y" * (1 << 21)}">hostile'),
        ("<name>hostile", f'<name x=">{"y" * (1 << 21)}">hostile'),
        ("<summary>", "<summary>" + "y" * (1 << 21)),
    ],
)
def test_a_tag_or_a_text_without_end(tmp_path: pathlib.Path, old: str, new: str) -> None:
    primary = rpm_index.index_texts("hostile")["primary"].replace(old, new)
    message = _rpm_refusal(tmp_path, primary)
    assert " has a tag or a text of 20971" in message
    assert "and more than 1048576 are not read" in message


def test_what_is_made_to_take_long(tmp_path: pathlib.Path) -> None:
    """Parentheses, lines and tags without end: each of them is looked at once."""
    started = time.monotonic()
    for number, text in enumerate(
        (
            "hello\nDepends: " + "(" * 4000,
            "hello\nSection: x" + "\n y" * 1_000_000,
            "hello\nDescription: x" + "\n" + " (" * 1_000_000,
        )
    ):
        place = tmp_path / str(number)
        place.mkdir()
        data = f"Package: {text}\nVersion: 1\nArchitecture: amd64\n\nPackage: last\nVersion: 1\n".encode()
        pool = package_index.pool_of(package_index.repository(place, data, name="vendor"))
        assert pool.is_named_first("hello", "last")
        assert pool.stanza(next(pool.pool.solvables_iter()).id)["Version"] == "1"
    file_lists = tmp_path / "filelists"
    sound = '<package pkgid="ab" name="x"><file>/opt/x</file></package>'
    for text in ("<package " * 500_000, "<file " * 500_000, "x" * (40 << 20), "<file>" * 500_000):
        file_lists.write_text(sound + text + sound)
        assert ("ab", "/opt/x") in list(rpm_pool._owners_in(str(file_lists), ["/opt/x"]))  # noqa: SLF001
    assert time.monotonic() - started < 30


def test_file_lists_without_line_breaks(tmp_path: pathlib.Path) -> None:
    entries = "".join(f"<file>/opt/{number}</file>" for number in range(400_000))
    path = tmp_path / "filelists"
    path.write_text("".join(f'<package pkgid="{package}">{entries}</package>' for package in ("aa", "bb")))
    wanted = ["/opt/0", "/opt/399999", "/opt/none"]
    expected = [(package, name) for package in ("aa", "bb") for name in wanted[:2]]
    assert list(rpm_pool._owners_in(str(path), wanted)) == expected  # noqa: SLF001


@pytest.mark.parametrize("end", ["", "</package >"])
def test_a_description_without_end(tmp_path: pathlib.Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_limits, "DESCRIPTION", 100_000)
    primary = rpm_index.index_texts("hostile")["primary"].replace("</package>", "x" * 100_001 + end)
    assert "the package 'hostile' is described by more than 100000 bytes" in _rpm_refusal(tmp_path, primary)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("hello", 1),
        ("font(:lang=en)", 1),
        ("(a or b)", 1),
        ("(a and b and c)", 3),
        ("((a and b) or (c and d))", 4),
        ("(a >= 1.0 with a < 2)", 1),
        ("((a and b) if (c or d))", 4),
        ("(a if b else c)", 2),
        ("(a unless (b or c))", 3),
        ("((lib(a)(64bit) >= 1 and b) if (c or d or e))", 6),
        ("(a", 1),
        ("(a or", 1),
        ("()", 1),
        ("(a b c)", 1),
    ],
)
def test_how_much_a_rich_dependency_means(text: str, clauses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_limits, "CLAUSES", clauses)
    check_rich(text)
    monkeypatch.setattr(index_limits, "CLAUSES", clauses - 1)
    if text.startswith("("):
        with pytest.raises(LimitError, match=f"means {clauses} alternatives at once"):
            check_rich(text)


_MEASURE = """
import dataclasses, os, pathlib, sys
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import PackageIndex
from ansible_collections.os_image.composer.tests.support import package_index, rpm_index

def peak():
    # The size that is told of a process by getrusage() may be that of who has started it.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10

path, directory = sys.argv[1], pathlib.Path(sys.argv[2])
if path.endswith("Packages"):
    metadata, load = package_index.repository(directory, "x"), package_index.pool_of
else:
    metadata, load = rpm_index.rpm_repository(directory, "x"), rpm_index.resolver_of
load(metadata)
index = PackageIndex(path, "0" * 64, "main", "amd64", os.path.getsize(path))
before = peak()
load(dataclasses.replace(metadata, indexes=(index,)))
print(peak() - before)
"""


def test_memory_is_less_than_twice_the_index(tmp_path: pathlib.Path) -> None:
    """Measured in a process of its own, of which the size before is taken off."""
    long = "word " * 200
    deb, primary = tmp_path / "Packages", tmp_path / "primary"
    stanza = "a{0}\nDepends: a{1}, b{0} (>= 1.0) | c, libc6 (>= 2.36)\nDescription: " + long
    deb.write_text(package_index.index_text("\n\n".join(stanza.format(i, i + 1) for i in range(20_000))))
    packages = "\n\n".join(f"a{i}\nRequires: a{i + 1}, libc.so.6" for i in range(20_000))
    text = rpm_index.index_texts(packages)["primary"]
    primary.write_text(text.replace("<description>test", f"<description>{long}"))
    for path in (deb, primary):
        argv = [sys.executable, "-c", _MEASURE, path, tmp_path]
        taken = int(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
        assert path.stat().st_size // 10 < taken < 2 * path.stat().st_size, path.name
