# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Package repositories: where they are, and who signs them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import REPOSITORY_PLACES

SUBJECT = Subject("Package repositories")

_SECRET_IN_URL = (
    "The URL holds a user name or password, which would reach documents and logs. Put them into ~/.netrc of the user "
    "that builds, and remove them here."
)

# What is filled into a URL; see expand_url.
_URL_WORDS = ("{arch}", "$basearch", "$releasever")


# What the provider says of a repository that it knows, and the default of each.
_SAID_OF_PLACES: t.Mapping[str, t.Any] = {
    "pkeys": [],
    "fingerprints": [],
    "gpgcheck": True,
    "repoGpgcheck": True,
    "component": "main",
}


def is_of_provider(item: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a repository is one that the provider knows, as it has no place of its own."""
    return not any(key in item for key in REPOSITORY_PLACES)


def _repositories(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    return [
        (("packageRepositories", index), item)
        for index, item in enumerate(template["packageRepositories"])
        if not is_of_provider(item)
    ]


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - {name: tools, codename: stable, url: https://packages.example.com/debian, pkey: keys/example.asc}
      - {name: tools, codename: stable, url: https://packages.example.net/debian, pkey: keys/example.asc}
    """,
)
def repositories_are_unique(template: LocatedMapping) -> t.Iterator[Finding]:
    """Each name is that of one repository; those without a name may share a suite."""
    for path, name in doubles(((*path, "name"), item.get("name")) for path, item in _repositories(template)):
        yield path, f"Two repositories are called {name!r}. Give one of them a name of its own."


@SUBJECT.advice(
    "packageRepositories",
    example="""
    packageRepositories:
      - {name: tools, codename: stable, url: https://packages.example.com/debian, pkey: keys/example.asc}
      - {name: more, codename: stable, url: https://packages.example.com/debian/, pkey: keys/example.asc}
    """,
)
def repositories_are_described_once(template: LocatedMapping) -> t.Iterator[Finding]:
    """No repository is there twice."""
    places = (
        (path, (item["url"].rstrip("/"), item["codename"], item["component"]))
        for path, item in _repositories(template)
        if "url" in item
    )
    for path, (url, _codename, _component) in doubles(places):
        yield path, f"The repository {url} is there twice. Remove one."


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - codename: stable
        url: https://builder:secret@packages.example.com/debian
        pkey: keys/example.asc
      - name: tools
        codename: stable
        url: "https://packages.example.com/{release}"
        pkey: keys/example.asc
    """,
)
def repository_urls_are_sound(template: LocatedMapping) -> t.Iterator[Finding]:
    """URLs can be fetched, have no blanks to be filled in, and hold no secrets."""
    for path, item in _repositories(template):
        key = next((key for key in ("url", "metalink", "mirrorlist") if key in item), None)
        if key is None:
            continue
        url = item[key]
        # Which list it is stands in the query.
        query = "" if key == "url" else r"(?:\?[^\s#]*)?"
        match = re.match(rf"(https?)://([^/\s?#]+)(/[^\s?#]*)?{query}\Z", url)
        words = [word for word in re.findall(r"\{[^{}]*\}|\$\{?\w+\}?", url) if word not in _URL_WORDS]
        if url.startswith("<"):
            yield (*path, key), f"{url} is a placeholder. Give the URL of the repository, or remove the entry."
        elif url.lower().startswith("file:"):
            yield (
                (*path, key),
                f"{url!r} is a place on the build host. Name a directory of loose packages there by path in the place "
                f"of {key}, or serve the repository by HTTP.",
            )
        elif match is None:
            yield (
                (*path, key),
                f"{url!r} is no URL of a repository. Write it like https://packages.example.com/debian.",
            )
        elif "@" in match.group(2):
            yield (*path, key), _SECRET_IN_URL
        elif words:
            yield (
                (*path, key),
                f"Nothing is known that could be filled in for {words[0]}. Write it out, or use one of "
                f"{', '.join(_URL_WORDS)}.",
            )
        elif match.group(1) == "http" and not item["gpgcheck"]:
            yield (
                (*path, "gpgcheck"),
                "Unsigned packages that come over http can be changed by anybody. Use https, or gpgcheck: true.",
            )


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - {codename: ./, component: contrib, url: https://packages.example.com/debian, pkey: keys/example.asc}
      - {codename: ubuntu/../debian/, url: https://packages.example.com, pkey: keys/example.asc}
    """,
)
def flat_repositories_are_directories(template: LocatedMapping) -> t.Iterator[Finding]:
    """A repository without suites is named by its directory, and has no components."""
    for path, item in _repositories(template):
        codename = item["codename"]
        if ".." in codename.split("/") or "//" in codename:
            yield (*path, "codename"), f"The directory {codename!r} must be written without // and .. in it."
        elif codename.endswith("/") and item["component"] != "main":
            yield (
                (*path, "component"),
                f"{codename!r} ends in a slash, and so is the directory of a repository without suites, which has no "
                "components. Remove component, or the slash.",
            )


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - codename: stable
        url: https://packages.example.com/debian
      - name: tools
        codename: stable
        url: https://packages.example.net/debian
        pkey: https://packages.example.net/key.asc
      - name: more
        codename: stable
        url: https://packages.example.org/debian
        pkey: https://builder:secret@packages.example.org/key.asc
        fingerprints: [9F14DD09C4B7C1F7F2F5C5E5CE1A2D2FBFF47F2B]
    """,
)
def repository_keys_are_named(template: LocatedMapping) -> t.Iterator[Finding]:
    """Signatures are checked with keys in files; no keys without a check."""
    for path, item in _repositories(template):
        keys = [((*path, "pkey"), item["pkey"])] if "pkey" in item else []
        keys += [((*path, "pkeys", index), name) for index, name in enumerate(item["pkeys"])]
        if item["gpgcheck"] and not keys:
            yield (
                path,
                f"The repository {item['codename']!r} has no key. Add pkey with the path of its public key, or "
                "say gpgcheck: false to trust it without.",
            )
        elif not item["gpgcheck"] and (keys or item["fingerprints"]):
            yield (*path, "gpgcheck"), "Keys have no effect with gpgcheck: false. Remove them, or check the signatures."
        for place, name in keys:
            if name.startswith("[trusted"):
                yield place, "Write gpgcheck: false, and no key, to trust a repository without signatures."
            elif name.startswith("<"):
                yield place, f"{name} is a placeholder. Give the path of the repository's public key."
            elif re.match(r"\w+://[^/\s?#]*@", name):
                yield place, _SECRET_IN_URL
            elif "://" in name and not name.lower().startswith("file:") and not item["fingerprints"]:
                yield (
                    place,
                    "A key that is fetched at build time would be trusted blindly. Add its fingerprint to "
                    "fingerprints, as gpg --show-keys shows it, or give the path of a file.",
                )


@SUBJECT.advice(
    "packageRepositories",
    example="""
    packageRepositories:
      - {codename: stable, url: https://packages.example.com/debian, gpgcheck: false}
    """,
)
def repositories_are_signed(template: LocatedMapping) -> t.Iterator[Finding]:
    """A repository without signature checks is worth a word at each build."""
    for path, item in _repositories(template):
        if not item["gpgcheck"]:
            yield (
                (*path, "gpgcheck"),
                f"Signatures of the repository {item['codename']!r} are not checked: whoever controls it controls the "
                "image.",
            )
        elif not item["repoGpgcheck"]:
            yield (
                (*path, "repoGpgcheck"),
                f"The metadata of the repository {item['codename']!r} is not signed: whoever controls it can hold "
                "updates back.",
            )


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - codename: stable
        url: https://packages.example.com/debian
        pkey: keys/example.asc
        allowPackages: [docker-ce=5.27]
    """,
)
def allowed_packages_are_names(template: LocatedMapping) -> t.Iterator[Finding]:
    """What may or may not be taken from a repository is named without versions."""
    for path, item in _repositories(template):
        for key, effect in (("allowPackages", "allows"), ("excludePackages", "excludes")):
            for index, value in enumerate(item[key]):
                if "=" in value:
                    yield (
                        (*path, key, index),
                        f"{key} knows names and globs, so {value} {effect} nothing. Remove the version here, and "
                        "give it in systemConfig.packages.",
                    )


@SUBJECT.advice(
    "packageRepositories",
    example="""
    packageRepositories:
      - {codename: stable, url: https://packages.example.com/debian, pkey: keys/example.asc, priority: -1}
      - {codename: testing, url: https://packages.example.com/debian, pkey: keys/example.asc, priority: 1001}
    """,
)
def priorities_let_the_best_win(template: LocatedMapping) -> t.Iterator[Finding]:
    """A repository is used, and does not bring older packages than others have."""
    for path, item in _repositories(template):
        name, priority, place = item.get("name") or item["codename"], item["priority"], (*path, "priority")
        if priority < 0:
            yield place, f"Nothing is taken from {name!r} with a priority below 0. Remove the entry, or the priority."
        elif priority > 1000:
            yield (
                place,
                f"With a priority above 1000, packages of {name!r} are taken even where others are newer, security "
                "updates included. Use 990 to prefer it.",
            )


@SUBJECT.rule(
    "packageRepositories",
    example="""
    packageRepositories:
      - {codename: bookworm-backports, pkey: keys/example.asc}
    """,
)
def places_of_repositories_are_given(template: LocatedMapping) -> t.Iterator[Finding]:
    """Whoever says how a repository is to be used, beside its name and packages, says where it is."""
    for index, item in enumerate(template["packageRepositories"]):
        wrong = [key for key in _SAID_OF_PLACES if item[key] != _SAID_OF_PLACES[key]] if is_of_provider(item) else []
        wrong += [key for key in ("pkey", "maxAge", "moduleHotfixes") if is_of_provider(item) and key in item]
        for key in wrong:
            yield (
                ("packageRepositories", index, key),
                f"Without url, mirror or path, {item['codename']!r} is a repository that the provider knows, with all "
                f"that belongs to it. Remove {key}, or say where another one is.",
            )


__all__ = ("SUBJECT", "is_of_provider")
