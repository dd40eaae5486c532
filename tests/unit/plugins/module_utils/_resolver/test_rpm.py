# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RPM packages: what is asked for, what is chosen, and why not."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm import RpmResolver
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_pool import RpmPool
from ansible_collections.os_image.composer.tests.support.rpm_index import resolver_of, rpm_repository


def solve(resolver: RpmResolver, *texts: str | Request) -> list[str]:
    """Return what is installed for some requests: names, versions and architectures, sorted."""
    requests = [text if isinstance(text, Request) else Request(text, "system") for text in texts]
    chosen = resolver.solve(resolver.select(requests))
    solvables = [resolver.pool.solvable(number) for number in chosen]
    return sorted(f"{solvable.name} {solvable.evr}.{solvable.arch}" for solvable in solvables)


def names(resolver: RpmResolver, *texts: str | Request) -> list[str]:
    """Return the names of what is installed for some requests."""
    return [line.split()[0] for line in solve(resolver, *texts)]


def refused(resolver: RpmResolver, *texts: str | Request) -> str:
    with pytest.raises(ResolveError) as caught:
        solve(resolver, *texts)
    return str(caught.value)


# ---- the forms of requests

FORMS = """
    openssl 1:3.2.1-1.el10 x86_64
    Provides: tls

    openssl 1:3.2.1-2.el10 x86_64
    Provides: tls

    openssl 1:3.4.0-1.el10 x86_64
    Provides: tls

    gnutls 3.8-1
    Provides: tls

    kernel 6.6.57-1.azl3 x86_64

    kernel 6.12.9-1.azl3 x86_64

    kernel-devel 6.6.57-1.azl3 x86_64

    firmware-one 1.0-1
    Files: /usr/lib/firmware/one

    firmware-two 2.0-1
    Files: /etc/firmware.conf /usr/bin/firmware

    python3.12 3.12.4-1 x86_64

    g++-next 14-1 x86_64
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openssl", ["openssl 1:3.4.0-1.el10.x86_64"]),
        (" openssl ", ["openssl 1:3.4.0-1.el10.x86_64"]),
        ("openssl.x86_64", ["openssl 1:3.4.0-1.el10.x86_64"]),
        ("firmware-one.noarch", ["firmware-one 1.0-1.noarch"]),
        ("openssl=3.2.1", ["openssl 1:3.2.1-2.el10.x86_64"]),
        ("openssl=3.2.1-1.el10", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl=1:3.2.1-1.el10", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl=3.2*", ["openssl 1:3.2.1-2.el10.x86_64"]),
        ("openssl.x86_64=3.2.1", ["openssl 1:3.2.1-2.el10.x86_64"]),
        ("openssl-3.2.1", ["openssl 1:3.2.1-2.el10.x86_64"]),
        ("openssl-3.2.1-1.el10", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl-1:3.2.1-1.el10", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl-1:3.2.1-1.el10.x86_64", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl-3.2.1-1.el10.x86_64", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("openssl-3.2.1-1.el10.x86_64.rpm", ["openssl 1:3.2.1-1.el10.x86_64"]),
        ("python3.12-0:3.12.4-1.x86_64", ["python3.12 3.12.4-1.x86_64"]),
        ("python3.12=0:3.12.4", ["python3.12 3.12.4-1.x86_64"]),
        ("python3.12", ["python3.12 3.12.4-1.x86_64"]),
        ("python3.12-3.12.4", ["python3.12 3.12.4-1.x86_64"]),
        ("g++-next", ["g++-next 14-1.x86_64"]),
        ("firmware-*", ["firmware-one 1.0-1.noarch", "firmware-two 2.0-1.noarch"]),
        ("firmware-*=2*", ["firmware-two 2.0-1.noarch"]),
        ("firmware-[o]*", ["firmware-one 1.0-1.noarch"]),
        ("kernel-6.6*", ["kernel 6.6.57-1.azl3.x86_64"]),
        ("kernel-6.*-1.azl3.x86_64", ["kernel 6.12.9-1.azl3.x86_64"]),
        ("kernel*-6.6.57-*", ["kernel 6.6.57-1.azl3.x86_64", "kernel-devel 6.6.57-1.azl3.x86_64"]),
        ("tls", ["openssl 1:3.4.0-1.el10.x86_64"]),
        ("/usr/bin/firmware", ["firmware-two 2.0-1.noarch"]),
        ("/etc/firmware.conf", ["firmware-two 2.0-1.noarch"]),
        ("/usr/lib/firmware/one", ["firmware-one 1.0-1.noarch"]),
    ],
)
def test_a_package_may_be_asked_for_in_many_forms(tmp_path: pathlib.Path, text: str, expected: list[str]) -> None:
    # Which of several providers the solver takes is not said here.
    packages = FORMS.replace("Provides: tls", "Summary: -", 2) if text == "tls" else FORMS
    packages = packages.replace("gnutls 3.8-1\n    Provides: tls", "gnutls 3.8-1") if text == "tls" else packages
    assert solve(resolver_of(rpm_repository(tmp_path, packages)), text) == expected


def test_a_version_with_its_release_is_meant_before_one_without(tmp_path: pathlib.Path) -> None:
    packages = rpm_repository(tmp_path, "tool 1.0-1\n\ntool-1.0 1-1")
    assert solve(resolver_of(packages), "tool-1.0-1") == ["tool 1.0-1.noarch"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opensl", "There is no package 'opensl'. Similar names: openssl."),
        ("openssl=9", "The package 'openssl' is not available in the version '9'; available: 1:3.4.0-1.el10 (base), "),
        (
            "openssl=1*",
            "The package 'openssl' is not available in the version '1*'; available: 1:3.4.0-1.el10 (base), ",
        ),
        ("openssl-0:3.2.1-1.el10", "There is no package 'openssl-0:3.2.1-1.el10'."),
        ("kernel-5*", "No package matches the pattern 'kernel-5*'."),
        (
            "openssl-9",
            "There is no package 'openssl-9'. If the version '9' of 'openssl' is meant, available are: 1:3.4",
        ),
        ("firmware-x*", "No package matches the pattern 'firmware-x*'."),
        ("/no/such/file", "No package has the file '/no/such/file'."),
        ("openssl.i686", "is asked for the architecture 'i686', but this image is for 'x86_64'."),
        ("only-arm", "The package 'only-arm' is there for another architecture only: aarch64 (base)."),
        ("source", "The package 'source' is there for another architecture only: src (base)."),
    ],
)
def test_what_cannot_be_had_is_explained(tmp_path: pathlib.Path, text: str, message: str) -> None:
    packages = FORMS + "\nonly-arm 1-1 aarch64\n\nsource 1-1 src\n"
    found = refused(resolver_of(rpm_repository(tmp_path, packages)), text)
    assert message in found
    assert found.startswith("One requested package cannot be had:\n- ")
    assert "Repositories searched: base." in found


def test_packages_of_a_repository_that_the_provider_knows_are_told(tmp_path: pathlib.Path) -> None:
    resolver = resolver_of(rpm_repository(tmp_path, FORMS))
    (tmp_path / "crb").mkdir()
    crb = rpm_repository(tmp_path / "crb", "openssl-static 3.5-1 x86_64\n\nother 1-1", name="crb")
    resolver.pool.elsewhere.optional = lambda: [crb]
    message = refused(resolver, "openssl-static", "openssl-s*", "nothing")
    add = (
        "the repository crb, which the provider knows and the template does not use: add '- codename: crb' to packageRe"
    )
    assert f"\n- The package 'openssl-static' is in {add}" in message
    assert f"\n- No package matches the pattern 'openssl-s*'. Packages that do are in {add}" in message
    assert "\n- There is no package 'nothing'." in message


def test_all_that_is_missing_is_told_at_once(tmp_path: pathlib.Path) -> None:
    message = refused(resolver_of(rpm_repository(tmp_path, FORMS)), "opensl", "nothing")
    assert "2 requested packages cannot be had:" in message


@pytest.mark.parametrize(("version", "expected"), [("6.6", "6.6.57-1.azl3"), ("6.12", "6.12.9-1.azl3")])
def test_the_kernel_version_selects_among_the_kernels(tmp_path: pathlib.Path, version: str, expected: str) -> None:
    resolver = resolver_of(rpm_repository(tmp_path, FORMS))
    assert solve(resolver, Request("kernel", "kernel", version)) == [f"kernel {expected}.x86_64"]


def test_a_kernel_version_that_nobody_has_is_explained(tmp_path: pathlib.Path) -> None:
    message = refused(resolver_of(rpm_repository(tmp_path, FORMS)), Request("kernel-devel", "kernel", "6.12"))
    assert "The kernel package 'kernel-devel' is not available in the version '6.12'" in message


# ---- the choice


def test_only_packages_of_the_architecture_are_taken(tmp_path: pathlib.Path) -> None:
    packages = """
        app 1.0-1 x86_64
        Requires: lib

        app 2.0-1 i686

        lib 2.0-1 aarch64

        lib 1.0-1

        data 1.0-1 x86_64

        data 2.0-1
    """
    repository = rpm_repository(tmp_path, packages)
    assert solve(resolver_of(repository), "app", "data") == [
        "app 1.0-1.x86_64",
        "data 2.0-1.noarch",
        "lib 1.0-1.noarch",
    ]
    assert solve(resolver_of(repository, arch="aarch64"), "lib") == ["lib 2.0-1.aarch64"]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("1.10-1", "1.9-1"),
        ("1:1.0-1", "2.0-1"),
        ("1.0-2.el10", "1.0-1.el10"),
        ("1.0-1", "1.0~rc1-9"),
        ("1.0^git1-1", "1.0-9"),
    ],
)
def test_the_newest_version_wins(tmp_path: pathlib.Path, newer: str, older: str) -> None:
    resolver = resolver_of(rpm_repository(tmp_path, f"app {newer}\n\napp {older}"))
    assert solve(resolver, "app") == [f"app {newer}.noarch"]
    assert resolver.pool.label(t.cast("int", resolver.pool.candidate("app"))) == f"app {newer}"


def test_the_larger_priority_wins(tmp_path: pathlib.Path) -> None:
    base = rpm_repository(tmp_path, "app 1.0-1\nRequires: lib\n\nlib 1.0-1", priority=900)
    extra = rpm_repository(tmp_path, "app 2.0-1\n\nlib 2.0-1\n\nmore 1.0-1", name="extra")
    assert solve(resolver_of(extra, base), "app", "more") == [
        "app 1.0-1.noarch",
        "lib 1.0-1.noarch",
        "more 1.0-1.noarch",
    ]


def test_of_equal_packages_the_first_repository_counts(tmp_path: pathlib.Path) -> None:
    first, second = (rpm_repository(tmp_path, "app", name=name) for name in ("first", "second"))
    resolver = resolver_of(first, second)
    (number,) = resolver.solve(resolver.select([Request("app", "system")]))
    assert resolver.pool.repository(number).name == "first"


def test_only_allowed_packages_come_from_a_repository(tmp_path: pathlib.Path) -> None:
    base = rpm_repository(tmp_path, "app 1.0-1\n\nlib 1.0-1")
    extra = rpm_repository(tmp_path, "app 2.0-1\n\nlib 2.0-1\n\nmore 1.0-1", name="extra", allow_packages=["l*"])
    resolver = resolver_of(base, extra)
    assert solve(resolver, "app", "lib") == ["app 1.0-1.noarch", "lib 2.0-1.noarch"]
    assert (
        "The package 'more' is in extra, but allowPackages, excludePackages, a negative priority or what it would "
        "replace keeps it out." in refused(resolver, "more")
    )
    assert resolver.pool.names() == {"app", "lib"}


def test_a_foreign_repository_replaces_nothing(tmp_path: pathlib.Path) -> None:
    base = rpm_repository(tmp_path, "app 1.0-1\nRequires: libx\n\nlib 1.0-1\nProvides: libx\n\nshell 1.0-1")
    packages = """
        lib 2.0-1

        other-lib 9.0-1
        Provides: libx

        better-shell 1.0-1
        Obsoletes: shell < 2

        claims 1.0-1
        Provides: shell = 9

        agent 1.0-1
    """
    vendor = rpm_repository(tmp_path, packages, name="vendor", foreign=True)
    resolver = resolver_of(base, vendor)
    assert solve(resolver, "app", "shell", "agent") == [
        "agent 1.0-1.noarch",
        "app 1.0-1.noarch",
        "lib 1.0-1.noarch",
        "shell 1.0-1.noarch",
    ]
    assert resolver.pool.left_out == {"vendor": ["lib 2.0-1", "better-shell 1.0-1", "claims 1.0-1"]}
    assert "The package 'better-shell' is in vendor, but allowPackages, " in refused(resolver, "better-shell")
    allowed = resolver_of(base, rpm_repository(tmp_path, packages, name="vendor", foreign=True, allow_packages=["*"]))
    assert solve(allowed, "lib", "shell") == ["better-shell 1.0-1.noarch", "lib 2.0-1.noarch"]


def test_excluded_packages_come_from_elsewhere(tmp_path: pathlib.Path) -> None:
    base = rpm_repository(tmp_path, "app 1.0-1\n\nlib 1.0-1")
    extra = rpm_repository(
        tmp_path, "app 2.0-1\n\nlib 2.0-1\n\nmore 1.0-1", name="extra", exclude_packages=["app", "m*"]
    )
    resolver = resolver_of(base, extra)
    assert solve(resolver, "app", "lib") == ["app 1.0-1.noarch", "lib 2.0-1.noarch"]
    assert "The package 'more' is in extra, but allowPackages, excludePackages" in refused(resolver, "more")


def test_the_best_version_of_a_request_is_taken_or_none(tmp_path: pathlib.Path) -> None:
    resolver = resolver_of(rpm_repository(tmp_path, "app 1.0-1\n\napp 2.0-1\nRequires: nobody-has-this"))
    message = refused(resolver, "app")
    assert "app 2.0-1 (requested, from base) needs 'nobody-has-this', which no repository has." in message
    assert "or ask for a version that fits" in message
    assert solve(resolver, "app=1.0") == ["app 1.0-1.noarch"]


def test_of_what_is_only_needed_an_older_version_may_do(tmp_path: pathlib.Path) -> None:
    packages = "app\nRequires: lib\n\nlib 1.0-1\n\nlib 2.0-1\nRequires: nobody-has-this"
    assert solve(resolver_of(rpm_repository(tmp_path, packages)), "app") == ["app 1.0-1.noarch", "lib 1.0-1.noarch"]


def test_what_obsoletes_a_requested_package_takes_its_place(tmp_path: pathlib.Path) -> None:
    packages = "old 1.0-1\n\nold 3.0-1\n\nnew 2.0-1\nObsoletes: old < 2\nProvides: old = 2"
    assert solve(resolver_of(rpm_repository(tmp_path, packages)), "old") == ["old 3.0-1.noarch"]
    packages = "old 1.0-1\n\nnew 2.0-1\nObsoletes: old < 2\nProvides: old = 2\n\napp\nRequires: old"
    resolver = resolver_of(rpm_repository(tmp_path, packages))
    assert names(resolver, "old") == ["new"]
    assert names(resolver, "app", "old") == ["app", "new"]
    # By its version nothing but itself is meant.
    assert names(resolver, "old=1.0") == ["old"]


def test_obsoletes_are_about_names_not_provides(tmp_path: pathlib.Path) -> None:
    packages = "mailer\nProvides: mta = 1\n\nother\nObsoletes: mta"
    assert names(resolver_of(rpm_repository(tmp_path, packages)), "mailer", "other") == ["mailer", "other"]


def test_an_obsoleted_package_does_not_go_with_what_obsoletes_it(tmp_path: pathlib.Path) -> None:
    packages = "old 1.0-1\n\nnew 2.0-1\nObsoletes: old < 2"
    message = refused(resolver_of(rpm_repository(tmp_path, packages)), "old=1.0", "new")
    assert "new 2.0-1 (requested, from base) replaces old 1.0-1 (requested, from base)." in message


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ("(one or two)", ["app", "one"]),
        ("(missing or two)", ["app", "two"]),
        ("(one and two)", ["app", "one", "two"]),
        ("(one if missing)", ["app"]),
        ("(one if two), two", ["app", "one", "two"]),
        ("(one if missing else two)", ["app", "two"]),
        ("(one if two else three), two", ["app", "one", "two"]),
        ("(feature with feature-b)", ["app", "two"]),
        ("(feature without feature-b)", ["app", "one"]),
        ("one >= 1, two < 2", ["app", "one", "two"]),
    ],
)
def test_rich_dependencies(tmp_path: pathlib.Path, requires: str, expected: list[str]) -> None:
    packages = f"""
        app
        Requires: {requires}

        one 1.0-1
        Provides: feature

        two 1.0-1
        Provides: feature, feature-b
    """
    assert names(resolver_of(rpm_repository(tmp_path, packages)), "app") == expected


def test_weak_dependencies_are_an_option(tmp_path: pathlib.Path) -> None:
    packages = """
        app
        Recommends: nice, /opt/nice/data
        Suggests: other

        nice
        Requires: nicer

        nicer

        other

        data
        Files: /opt/nice/data

        plugin
        Supplements: app
    """
    repository = rpm_repository(tmp_path, packages)
    assert names(resolver_of(repository), "app") == ["app"]
    assert names(resolver_of(repository, weak=True), "app") == ["app", "data", "nice", "nicer", "plugin"]


# ---- files


def test_files_of_the_primary_index_need_no_file_list(tmp_path: pathlib.Path) -> None:
    asked: list[str] = []
    packages = """
        app
        Requires: /usr/bin/sh, /etc/shells, /usr/lib/sendmail

        shell
        Files: /usr/bin/sh /etc/shells

        mailer
        Files: /usr/lib/sendmail

        unrelated
        Requires: /opt/unrelated
    """
    resolver = resolver_of(rpm_repository(tmp_path, packages, asked=asked))
    assert names(resolver, "app", "/usr/bin/sh") == ["app", "mailer", "shell"]
    assert asked == []


@pytest.mark.parametrize("cached", [False, True])
def test_file_lists_are_asked_where_something_needs_them(tmp_path: pathlib.Path, cached: bool) -> None:
    asked: list[str] = []
    packages = """
        app
        Requires: middle

        middle
        Requires: (/opt/a&b/tool if app)

        tool
        Files: /opt/a&b/tool /opt/other

        wrong
        Files: /opt/a&b/tools

        fallback
        Requires: /opt/other
    """
    repository = rpm_repository(tmp_path, packages, asked=asked)
    for _run in range(2):
        resolver = resolver_of(repository, cache_dir=tmp_path / "cache" if cached else None)
        assert names(resolver, "app") == ["app", "middle", "tool"]
        assert asked == ["base filelists"]
        assert names(resolver, "fallback") == ["fallback", "tool"]
        # All files that any package of the repositories asks for were looked up at once.
        assert asked == ["base filelists"]
        asked.clear()


def test_a_file_that_is_only_conflicted_with_counts(tmp_path: pathlib.Path) -> None:
    packages = "app\nConflicts: /opt/x\n\nowner\nFiles: /opt/x"
    message = refused(resolver_of(rpm_repository(tmp_path, packages)), "app", "owner")
    assert "app 1.0-1 (requested, from base) conflicts with '/opt/x', which is owner 1.0-1 (requested" in message


def test_a_file_that_nobody_has(tmp_path: pathlib.Path) -> None:
    message = refused(resolver_of(rpm_repository(tmp_path, "app\nRequires: /opt/x")), "app")
    assert "app 1.0-1 (requested, from base) needs '/opt/x', which no repository has." in message


def test_file_provides_are_kept_with_the_index(tmp_path: pathlib.Path) -> None:
    """Of another repository too: what was looked for in one set of repositories need not do for the next."""
    base = rpm_repository(tmp_path, "shell\nFiles: /usr/bin/sh /usr/bin/zsh")
    first = rpm_repository(tmp_path, "app\nRequires: /usr/bin/sh", name="first")
    second = rpm_repository(tmp_path, "tool\nRequires: /usr/bin/zsh", name="second")
    for repositories, request in (((base, first), "app"), ((base, second), "tool"), ((base, first), "app")) * 2:
        resolver = resolver_of(*repositories, cache_dir=tmp_path / "cache")
        assert names(resolver, request) == sorted([request, "shell"])


# ---- explanations


def test_a_dependency_that_nothing_provides(tmp_path: pathlib.Path) -> None:
    packages = "app\nRequires: middle\n\nmiddle\nRequires: lib >= 2\n\nlib 1.5-1"
    message = refused(resolver_of(rpm_repository(tmp_path, packages)), "app")
    assert message.startswith("The requested packages cannot be installed together:\n")
    assert "- app 1.0-1 (requested, from base) needs 'middle'; available: middle 1.0-1 (base).\n" in message
    assert (
        "middle 1.0-1 (from base) needs 'lib >= 2', which no repository has (of 'lib' they have 1.5-1 (base))."
        in message
    )


def test_a_dependency_whose_providers_may_not_be_taken(tmp_path: pathlib.Path) -> None:
    base = rpm_repository(
        tmp_path, "app\nRequires: libx.so.1, lib32\n\nlib32 1-1 i686\n\nlibx 1-1 i686\nProvides: libx.so.1"
    )
    libraries = "libx 1-1 x86_64\nProvides: libx.so.1\n\nlibx 1-1 noarch\nProvides: libx.so.1"
    extra = rpm_repository(tmp_path, libraries, name="extra", exclude_packages=["libx"])
    message = refused(resolver_of(base, extra), "app")
    assert (
        "needs 'lib32', which no repository has; it is there for another architecture only: i686 (base).\n" in message
    )
    message = refused(resolver_of(rpm_repository(tmp_path, "app\nRequires: libx.so.1"), extra), "app")
    reason = "allowPackages, excludePackages, a negative priority or what it would replace keep it out of extra."
    assert f"needs 'libx.so.1', which no repository has; {reason}\n" in message
    assert "in extra, but allowPackages" in refused(resolver_of(base, extra), "libx.so.1")


def test_a_conflict(tmp_path: pathlib.Path) -> None:
    packages = "app\nConflicts: foe < 2\n\nfoe 1.0-1"
    message = refused(resolver_of(rpm_repository(tmp_path, packages)), "app", "foe")
    assert "app 1.0-1 (requested, from base) conflicts with 'foe < 2', which is foe 1.0-1 (requested" in message


def test_two_versions_at_once(tmp_path: pathlib.Path) -> None:
    message = refused(resolver_of(rpm_repository(tmp_path, "app 1-1\n\napp 2-1")), "app=1", "app=2")
    assert "The package 'app' is asked for in several versions at once: 1-1, 2-1." in message


# ---- what is known of a package


def test_a_package_has_everything_that_the_index_says(tmp_path: pathlib.Path) -> None:
    repository = rpm_repository(tmp_path, "app 2:1.0-1.el10 x86_64\nLicense: GPL-2.0-only AND MIT\nSize: 345")
    for _run in range(2):
        pool = resolver_of(repository, cache_dir=tmp_path / "cache").pool
        package = pool.package(t.cast("int", pool.candidate("app")))
        assert (package.name, package.version, package.arch) == ("app", "2:1.0-1.el10", "x86_64")
        assert package.url == "http://mirror.example.org/rpm/Packages/app-1.0-1.el10.x86_64.rpm"
        assert package.filename == "app-1.0-1.el10.x86_64.rpm"
        assert (package.size, package.installed_size, package.source) == (345, 2000, "app-1.0-1.el10.src.rpm")
        assert (package.license, len(package.sha256)) == ("GPL-2.0-only AND MIT", 64)


@pytest.mark.parametrize(("field", "what"), [("Size: 0", "size"), ("Checksum: sha", "SHA-256 checksum")])
def test_a_package_that_cannot_be_verified(tmp_path: pathlib.Path, field: str, what: str) -> None:
    pool = resolver_of(rpm_repository(tmp_path, f"app\n{field}")).pool
    with pytest.raises(RepositoryError, match=rf"'base' describes the package app 1\.0-1 without a usable {what}\."):
        pool.package(t.cast("int", pool.candidate("app")))


def test_the_date_is_that_of_the_newest_package(tmp_path: pathlib.Path) -> None:
    pool = resolver_of(rpm_repository(tmp_path, "app\nBuilt: 1600000000\n\nlib\nBuilt: 1600000001\n\nnew")).pool
    numbers = [t.cast("int", pool.candidate(name)) for name in ("app", "lib")]
    assert pool.date_of(numbers) == 1600000001
    assert pool.date_of([]) is None


def test_an_index_that_is_no_xml(tmp_path: pathlib.Path) -> None:
    repository = rpm_repository(tmp_path, "app")
    pathlib.Path(repository.indexes[0].path).write_text("<metadata>")
    with pytest.raises(RepositoryError, match="of the repository 'base' cannot be read: "):
        resolver_of(repository)


@pytest.mark.parametrize("suffix", ["index", "solv", "files", "provides"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: b"\0" * len(good),
        lambda good: good[: len(good) // 2],
        lambda good: good + b"x",
        lambda good: good[: len(good) // 2] + bytes((good[len(good) // 2] ^ 1,)) + good[len(good) // 2 + 1 :],
        lambda good: b"5",
        lambda good: b"[" * 100_000,
        lambda good: b'[["a", "/opt/x", 1]]',
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path: pathlib.Path, suffix: str, damage: t.Callable[[bytes], bytes]) -> None:
    repository = rpm_repository(tmp_path, "app\nRequires: /opt/x\n\nowner\nFiles: /opt/x")
    cache = tmp_path / "cache"
    assert names(resolver_of(repository, cache_dir=cache), "app") == ["app", "owner"]
    (path,) = cache.glob(f"*.{suffix}")
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert names(resolver_of(repository, cache_dir=cache), "app") == ["app", "owner"]
    assert path.read_bytes() == good


def test_the_cache_is_used(tmp_path: pathlib.Path) -> None:
    repository = rpm_repository(tmp_path, "app\nRequires: /usr/bin/sh\n\nshell\nFiles: /usr/bin/sh")
    resolver_of(repository, cache_dir=tmp_path / "cache")
    pathlib.Path(repository.indexes[0].path).write_text("not looked at")
    resolver = resolver_of(repository, cache_dir=tmp_path / "cache")
    assert isinstance(resolver.pool, RpmPool)
    assert names(resolver, "app") == ["app", "shell"]
