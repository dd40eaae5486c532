# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The package lock: exactly what is installed, where it lies, and why it is there."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import SCHEMA_VERSION, Facts
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._resolver.graph import DependencyGraph
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import (
    DIGEST,
    FILENAME,
    NAME,
    VERSION,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import REASONS

DOCUMENT = "packages.lock.json"

_SHOWN = 3

# Of modules and their streams.
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.~^-]*")

Form = t.Mapping[str, t.Callable[[t.Any], bool]]


def _is_text(value: t.Any) -> bool:
    return isinstance(value, str)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_texts(value: t.Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_entries(value: t.Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _matches(pattern: t.Pattern[str]) -> t.Callable[[t.Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_LOCK_FORM: Form = {
    "provider_id": _is_text,
    "repositories": _is_entries,
    "requested": _is_texts,
    "packages": _is_entries,
    "source_date_epoch": _is_number,
}
_REPOSITORY_FORM: Form = {
    "name": _is_text,
    "url": _is_text,
    "metadata_digest": _matches(DIGEST),
    "signed_by": _is_texts,
}
_PACKAGE_FORM: Form = {
    "name": _matches(NAME),
    "version": _matches(VERSION),
    "arch": _matches(NAME),
    "sha256": _matches(DIGEST),
    "size": _is_number,
    "url": _is_text,
    "repository": _is_text,
    "reason": lambda value: value in REASONS,
    "depends": _is_texts,
    "layer": lambda value: value in (0, 1),
    "installed_size": _is_number,
    "source": _is_text,
    "filename": _matches(FILENAME),
}


_MODULE_FORM: Form = {
    "name": _matches(_STREAM),
    "stream": _matches(_STREAM),
    "profiles": lambda value: _is_texts(value) and all(_STREAM.fullmatch(item) for item in value),
}


def make_lock(
    *,
    provider_id: str,
    pool: PackagePool,
    graph: DependencyGraph,
    base_layer: t.Container[str],
    requested: t.Sequence[str],
    repositories: t.Sequence[RepositoryMetadata],
    source_date_epoch: int,
) -> Facts:
    """Return the lock of a solution.

    :param base_layer: The names of the packages of the chroot environment (layer 0).
    :param requested: The strings that were given to the resolver.
    """
    packages = []
    order = graph.install_order(graph.packages)
    for layer, names in enumerate(
        ([name for name in order if name in base_layer], [name for name in order if name not in base_layer])
    ):
        for name in names:
            package = pool.package(graph.solvable(name))
            packages.append(
                {
                    "name": package.name,
                    "version": package.version,
                    "arch": package.arch,
                    "sha256": package.sha256,
                    # Until the file itself tells the other one.
                    **({} if package.sha256 else {"sha512": package.sha512}),
                    "size": package.size,
                    "url": package.url,
                    "repository": package.repository.name,
                    "reason": graph.reason(name),
                    "depends": graph.depends(name),
                    "layer": layer,
                    "installed_size": package.installed_size,
                    "source": package.source,
                    "filename": package.filename,
                    # That of most packages needs no word.
                    **({"component": package.component} if package.component not in ("", "main") else {}),
                    # Where the repository does not tell, the package itself does.
                    **({"license": package.license} if package.license else {}),
                }
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "provider_id": provider_id,
        "repositories": [
            {
                "name": repository.name,
                "url": repository.base_url,
                "suite": repository.suite,
                "metadata_digest": repository.metadata_digest,
                "signed_by": list(repository.signed_by),
                "gpgcheck": repository.gpgcheck,
                **({"mirrors": list(repository.mirrors)} if repository.mirrors else {}),
            }
            for repository in repositories
        ],
        "requested": list(requested),
        "packages": packages,
        "source_date_epoch": source_date_epoch,
    }


def read_lock(path: str, *, provider_id: str) -> Facts:
    """Read a lock that the user gives, and check all of its form.

    :raises ResolveError: It is unreadable, of another provider, or not a lock.
    """
    remedy = "Give a packages.lock.json that an earlier build left in its output directory, or leave out lock_file."
    try:
        with open(path, encoding="utf-8") as stream:
            lock = parse_json(stream.read())
    except OSError as exc:
        raise ResolveError(f"Cannot read the lock file {path}: {exc.strerror}.", remedy=remedy) from exc
    except ValueError as exc:
        raise ResolveError(f"The lock file {path} is not JSON: {exc}.", remedy=remedy) from exc
    problems = list(_problems(lock))
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ResolveError(
            f"The lock file {path} is not a package lock: {shown}.", remedy=remedy, details={"problems": problems}
        )
    if lock["provider_id"] != provider_id:
        raise ResolveError(
            f"The lock file {path} was made for {lock['provider_id']!r}, but this image is for {provider_id!r}.",
            remedy=remedy,
        )
    return t.cast(Facts, lock)


def _problems(lock: t.Any) -> t.Iterator[str]:
    if not isinstance(lock, dict):
        yield "it is not a JSON object"
        return
    if lock.get("schema_version") != SCHEMA_VERSION:
        yield f"schema_version is {lock.get('schema_version')!r}, not {SCHEMA_VERSION}"
        return
    broken = list(_misfits(lock, _LOCK_FORM, ""))
    yield from broken
    if broken:
        return
    modules = lock.get("modules", [])
    if not _is_entries(modules):
        yield "modules has the wrong form"
        return
    for number, entry in enumerate(modules):
        yield from _misfits(entry, _MODULE_FORM, f"modules[{number}].")
    for number, entry in enumerate(lock["repositories"]):
        form = {**_REPOSITORY_FORM, **({"mirrors": _is_texts} if "mirrors" in entry else {})}
        misfits = list(_misfits(entry, form, f"repositories[{number}]."))
        yield from misfits
        broken += misfits
    if broken:
        return
    known = {entry["name"] for entry in lock["repositories"]}
    names: set[str] = set()
    for number, entry in enumerate(lock["packages"]):
        misfits = list(_misfits(entry, _PACKAGE_FORM, f"packages[{number}]."))
        yield from misfits
        if misfits:
            continue
        if entry["name"] in names:
            yield f"packages[{number}] is a second {entry['name']!r}"
        names.add(entry["name"])
        if entry["repository"] not in known:
            yield f"packages[{number}] is of the unknown repository {entry['repository']!r}"


def _misfits(entry: t.Mapping[str, t.Any], form: Form, where: str) -> t.Iterator[str]:
    for key, fits in form.items():
        if key not in entry:
            yield f"{where}{key} is missing"
        elif not fits(entry[key]):
            yield f"{where}{key} has the wrong form"


def lock_fingerprint(lock: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return what a lock says about an image, for the inputs of later stages: no URL, so that mirrors may change.

    :returns: Version and digest by name.
    """
    return {package["name"]: f"{package['version']} {package['sha256']}" for package in lock["packages"]}


def package_changes(before: t.Mapping[str, t.Any] | None, after: t.Mapping[str, t.Any]) -> Facts:
    """Return the difference of two locks.

    :returns: C(added) and C(removed) (C(name version)), C(changed) (C(name old -> new)), sorted.
    """
    return _difference(_versions(before or {}), _versions(after))


def _difference(old: t.Mapping[str, tuple[str, str]], new: t.Mapping[str, tuple[str, str]]) -> Facts:
    changed = []
    for name in sorted(old.keys() & new.keys()):
        if old[name][0] != new[name][0]:
            changed.append(f"{name} {old[name][0]} -> {new[name][0]}")
        elif old[name][1] != new[name][1]:
            changed.append(f"{name} {new[name][0]} (another build of the same version)")
    return {
        "added": [f"{name} {new[name][0]}" for name in sorted(new.keys() - old.keys())],
        "removed": [f"{name} {old[name][0]}" for name in sorted(old.keys() - new.keys())],
        "changed": changed,
    }


def _versions(lock: t.Mapping[str, t.Any]) -> dict[str, tuple[str, str]]:
    """Take versions and digests from a lock, or from what a stage remembers of it."""
    if isinstance(lock.get("packages"), list):
        return {package["name"]: (package["version"], package["sha256"]) for package in lock["packages"]}
    return {name: (str(text).partition(" ")[0], str(text).partition(" ")[2]) for name, text in lock.items()}


def describe_lock_change(before: t.Mapping[str, t.Any] | None, after: t.Mapping[str, t.Any] | None) -> str:
    """Say in words how a lock has changed: "package lock changed: openssl 3.0.17-1 -> 3.0.18-1".

    :param before: A lock, its :func:`lock_fingerprint`, or versions by name; V(None) when there was none.
    """
    difference = _difference(_versions(before or {}), _versions(after or {}))
    parts = [
        *difference["changed"],
        *(f"{text} added" for text in difference["added"]),
        *(f"{text} removed" for text in difference["removed"]),
    ]
    if not parts:
        return "package lock changed"
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"package lock changed: {', '.join(parts[:_SHOWN])}{more}"


__all__ = (
    "DOCUMENT",
    "describe_lock_change",
    "lock_fingerprint",
    "make_lock",
    "package_changes",
    "read_lock",
)
