# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams of modules: which are active, and what that means for packages."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._resolver import modulemd
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.tests.support.rpm_index import resolver_of, rpm_repository

PACKAGES = """
    php 8.0-1.module x86_64
    Requires: php-common = 8.0

    php-common 8.0-1.module x86_64

    php 8.3-1.module x86_64
    Requires: php-common = 8.3

    php-common 8.3-1.module x86_64

    php 9.0-1 x86_64

    hhvm 1.0-1 x86_64
    Provides: php

    nodejs 18.1-1.module x86_64

    nodejs 20.2-1.module x86_64
    Requires: python-lib

    python-lib 3.9-1.module x86_64

    needs-php 1.0-1 noarch
    Requires: php

    centos-stream-release 9.0-1 noarch
    Provides: system-release, base-module(platform:el9)
"""


def stream(
    module: str,
    name: str,
    artifacts: str,
    *,
    requires: str = "platform: [el9]",
    profiles: str = "common: {rpms: []}",
    version: int = 1,
    more: str = "",
) -> str:
    """Write the document of a stream."""
    rpms = "".join(f"    - {artifact}.x86_64\n" for artifact in artifacts.split())
    return (
        f"---\ndocument: modulemd\nversion: 2\ndata:\n  name: {module}\n  stream: {name!r}\n  version: {version}\n"
        f"  context: c0ffee\n  arch: x86_64\n  summary: s\n  description: d\n  license: {{module: [MIT]}}\n"
        f"  dependencies:\n  - requires: {{{requires}}}\n  profiles: {{{profiles}}}\n{more}"
        f"  artifacts:\n    rpms:\n{rpms}...\n"
    )


def defaults(module: str, name: str, *, profile: str = "common", modified: int = 0) -> str:
    """Write the document of a module's defaults."""
    return (
        f"---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {module}\n  modified: {modified}\n"
        f"  stream: {name!r}\n  profiles: {{'8.0': [{profile}], '8.3': [{profile}]}}\n...\n"
    )


MODULES = (
    stream(
        "php", "8.0", "php-0:8.0-1.module php-common-0:8.0-1.module", profiles="common: {rpms: [php]}, bare: {rpms: []}"
    )
    + stream("php", "8.3", "php-0:8.3-1.module php-common-0:8.3-1.module", profiles="common: {rpms: [php]}")
    + defaults("php", "8.0")
    + stream("nodejs", "18", "nodejs-0:18.1-1.module", profiles="minimal: {rpms: [nodejs]}")
    + stream("nodejs", "20", "nodejs-0:20.2-1.module", requires="platform: [el9], python: []")
    + stream("python", "3.9", "python-lib-0:3.9-1.module")
)


def chosen(
    directory: pathlib.Path,
    *texts: str,
    modules: str = MODULES,
    enabled: t.Sequence[str] = (),
    others: t.Sequence[RepositoryMetadata] = (),
) -> list[str]:
    """Resolve, and return names and versions."""
    resolver = resolver_of(rpm_repository(directory, PACKAGES, modules=modules), *others, modules=enabled)
    numbers = resolver.solve(resolver.select([Request(text, "system") for text in texts]))
    return sorted(resolver.pool.label(number) for number in numbers)


@pytest.mark.parametrize(
    ("texts", "enabled", "expected"),
    [
        # The default stream, although others have newer packages, in modules and without.
        ("php", "", "php 8.0-1.module, php-common 8.0-1.module"),
        ("needs-php", "", "needs-php 1.0-1, php 8.0-1.module, php-common 8.0-1.module"),
        ("php", "php:8.3", "php 8.3-1.module, php-common 8.3-1.module"),
        ("@php:8.3", "", "php 8.3-1.module, php-common 8.3-1.module"),
        ("@php", "", "php 8.0-1.module, php-common 8.0-1.module"),
        ("@php", "php:8.3", "php 8.3-1.module, php-common 8.3-1.module"),
        ("@php/bare needs-php", "", "needs-php 1.0-1, php 8.0-1.module, php-common 8.0-1.module"),
        ("@php:8.3 needs-php", "", "needs-php 1.0-1, php 8.3-1.module, php-common 8.3-1.module"),
        # A stream that needs another module brings it along, whatever its stream is.
        ("nodejs", "nodejs:20", "nodejs 20.2-1.module, python-lib 3.9-1.module"),
        ("@nodejs:18/minimal", "", "nodejs 18.1-1.module"),
    ],
)
def test_packages_are_those_of_active_streams(tmp_path: pathlib.Path, texts: str, enabled: str, expected: str) -> None:
    assert ", ".join(chosen(tmp_path, *texts.split(), enabled=enabled.split())) == expected


@pytest.mark.parametrize(
    ("texts", "enabled", "message"),
    [
        (
            "nodejs",
            "",
            "The package 'nodejs' is of the module streams nodejs:18, nodejs:20, which are not active; enable ",
        ),
        ("@php:9", "", "The module 'php' has no stream '9'; there is: 8.0 (default), 8.3."),
        ("php", "php:9", "The module 'php' has no stream '9'; there is: 8.0 (default), 8.3."),
        ("@ruby", "", "There is no module 'ruby'; modules: nodejs, php, python."),
        ("php", "ruby:3", "There is no module 'ruby'; modules: nodejs, php, python."),
        ("@nodejs", "", "The module 'nodejs' has the streams 18, 20, and none of them is the default; ask for one"),
        ("@nodejs:18", "", "The module stream nodejs:18 has no default profile; there is: minimal."),
        ("@php:8.3/server", "", "The module stream php:8.3 has no profile 'server'; there is: common."),
        ("@php:8.3", "php:8.0", "The module 'php' is asked for in the streams '8.0' and '8.3'; keep one."),
        (
            "php-common",
            "platform:el8",
            "The package 'php-common' is of the module streams php:8.0, php:8.3, which are not active",
        ),
    ],
)
def test_what_cannot_be_had_is_named_with_what_there_is(
    tmp_path: pathlib.Path, texts: str, enabled: str, message: str
) -> None:
    with pytest.raises(ResolveError) as caught:
        chosen(tmp_path, *texts.split(), enabled=enabled.split())
    assert message in str(caught.value)


def test_streams_that_exclude_each_other_are_refused(tmp_path: pathlib.Path) -> None:
    modules = MODULES + stream("app", "1", "hhvm-0:1.0-1", requires="platform: [el9], php: ['8.3']")
    with pytest.raises(
        ResolveError, match="The streams of modules that are asked for .app:1, php:8.0. cannot be enabled"
    ):
        chosen(tmp_path, "php", modules=modules, enabled=["app:1", "php:8.0"])


def test_a_default_stream_that_does_not_fit_is_left_out_with_a_note(tmp_path: pathlib.Path) -> None:
    modules = MODULES + stream("old", "1", "hhvm-0:1.0-1", requires="platform: [el8]") + defaults("old", "1")
    resolver = resolver_of(rpm_repository(tmp_path, PACKAGES, modules=modules))
    resolver.select([Request("php", "system")])
    (note,) = resolver.notes
    assert note.startswith("Default streams of modules are left out, because they do not fit: ")
    assert "nothing provides module(platform:el8) needed by old:1" in note


def test_packages_of_a_hotfix_repository_are_not_filtered(tmp_path: pathlib.Path) -> None:
    text = "php 8.0-2 x86_64\n\nphp-common 8.0-2 x86_64\n"
    plain = rpm_repository(tmp_path, text, name="extra")
    hotfixes = rpm_repository(tmp_path, text, name="fixes", module_hotfixes=True)
    assert chosen(tmp_path, "php", others=[plain]) == ["php 8.0-1.module", "php-common 8.0-1.module"]
    assert chosen(tmp_path, "php", others=[hotfixes]) == ["php 8.0-2"]


def test_a_foreign_repository_says_nothing_about_the_packages_of_the_distribution(tmp_path: pathlib.Path) -> None:
    modules = stream("evil", "1", "php-0:99-1 needs-php-0:99-1 php-0:8.0-1.module") + defaults("evil", "1")
    modules += defaults("php", "8.3", modified=9) + stream("php", "8.0", "needs-php-0:1.0-1", version=7)
    foreign = dataclasses.replace(
        rpm_repository(tmp_path, "other 1-1 noarch", name="vendor", modules=modules), foreign=True
    )
    expected = ["needs-php 1.0-1", "php 8.0-1.module", "php-common 8.0-1.module"]
    assert chosen(tmp_path, "needs-php", others=[foreign]) == expected


BAD = {
    "no YAML": "---\n{",
    "tags": "--- !!python/object/apply:os.system [exit]\n",
    "an alias": "---\ndocument: modulemd\nversion: 2\ndata: {name: &a x, stream: *a}\n...\n",
    "deep": "---\n" + "[" * 3000 + "]" * 3000 + "\n",
    "a scalar": "--- hello\n...\n",
    "control characters": "---\ndocument: \x00\n",
    "complex keys": "---\ndocument: modulemd\nversion: 2\ndata:\n  ? [a]\n  : b\n...\n",
    "no number": "---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: php, modified: x}\n...\n",
    "a negative number": "---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: php, modified: -1}\n...\n",
    "lists": "---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: [php], stream: {}}\n...\n",
    "profiles": "---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: php, profiles: [a]}\n...\n",
    "an artifact": stream("php", "1", "php-8.0-1"),
    "an unknown version": "---\ndocument: modulemd\nversion: 9\ndata: {name: a}\n...\n",
    "no data": "---\ndocument: modulemd\nversion: 2\n...\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_bad_metadata_is_refused_or_left_out_in_words(tmp_path: pathlib.Path, text: str) -> None:
    """The packages are then what they are without the bad document, as with dnf."""
    try:
        resolver = resolver_of(rpm_repository(tmp_path, PACKAGES, modules=text + MODULES))
        resolver.select([Request("php", "system")])
    except ComposerError as exc:
        assert "The module metadata" in str(exc)
        assert "'base'" in str(exc)
    else:
        assert resolver.notes
        assert all("is left out: " in note for note in resolver.notes)


def test_too_much_metadata_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modulemd, "_STREAMS_OF_MODULE_LIMIT", 1)
    with pytest.raises(ComposerError, match="more than 1 of one module .'php'."):
        chosen(tmp_path, "php")
    monkeypatch.setattr(modulemd, "_SIZE_LIMIT", 100)
    with pytest.raises(ComposerError, match="bytes, more than the 100 that it may have"):
        chosen(tmp_path, "php")


def test_default_streams_that_repositories_disagree_on_are_none(tmp_path: pathlib.Path) -> None:
    other = rpm_repository(tmp_path, "other 1-1 noarch", name="other", modules=defaults("php", "8.3"))
    with pytest.raises(ResolveError, match="php:8.0, php:8.3, which are not active"):
        chosen(tmp_path, "php-common", others=[other])
    newer = rpm_repository(tmp_path, "other 1-1 noarch", name="other", modules=defaults("php", "8.3", modified=1))
    assert chosen(tmp_path, "php-common", others=[newer]) == ["php-common 8.3-1.module"]


def test_without_modules_nothing_is_asked(tmp_path: pathlib.Path) -> None:
    resolver = resolver_of(rpm_repository(tmp_path, PACKAGES), modules=["php:8.3"])
    with pytest.raises(ResolveError, match="There is no module 'php': no repository has modules"):
        resolver.select([])


def test_streams_that_the_image_depends_on_are_known(tmp_path: pathlib.Path) -> None:
    def in_use(*texts: str, enabled: t.Sequence[str] = ()) -> list[dict[str, t.Any]]:
        resolver = resolver_of(rpm_repository(tmp_path, PACKAGES, modules=MODULES), modules=enabled)
        requests = [Request(text, "system") for text in texts]
        return resolver.modules_in_use(resolver.solve(resolver.select(requests)), requests)

    php = {"name": "php", "stream": "8.0", "profiles": []}
    python = {"name": "python", "stream": "3.9", "profiles": []}
    nodejs = {"name": "nodejs", "stream": "20", "profiles": []}
    assert in_use("centos-stream-release") == []
    assert in_use("needs-php") == [php]
    assert in_use("centos-stream-release", enabled=["nodejs:20"]) == [nodejs, python]
    assert in_use("@php/bare", "centos-stream-release") == [{**php, "profiles": ["bare"]}]


@pytest.mark.parametrize("name", ["../../etc/x", "a\\nb", "", "-x", "a b"])
def test_names_that_cannot_be_written_down_are_left_out(tmp_path: pathlib.Path, name: str) -> None:
    document = MODULES + defaults("php", "8.0").replace("module: php", f'module: "{name}"')
    resolver = resolver_of(rpm_repository(tmp_path, PACKAGES, modules=document))
    resolver.select([])
    (note,) = resolver.notes
    assert "is left out: its module" in note
