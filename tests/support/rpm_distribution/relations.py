# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dependencies and versions of Debian's packages in the words of RPM."""

from __future__ import annotations

import dataclasses
import re
import typing as t

#: What the distribution puts behind every release.
DIST = ".cl1"

_RELATION = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?", re.I)
_OPERATORS: t.Mapping[str, str] = {"<<": "<", "<=": "<=", "=": "=", ">=": ">=", ">>": ">"}

# The upper bound of what Debian calls a binary rebuild: (<< 1.2-3+b+~).
_BEFORE_REBUILD = re.compile(rf"\+b\+~{re.escape(DIST)}$")


@dataclasses.dataclass(frozen=True)
class Relation:
    """A package's name, and the versions that are meant.

    :ivar operator: As Debian writes it, C(<<) for example; empty for every version.
    """

    name: str
    operator: str = ""
    version: str = ""


class MissingPackage(Exception):
    """A dependency names what neither the distribution has nor its makers have decided to do without."""


def parse(field: str) -> list[list[Relation]]:
    """Read a field such as C(Depends): alternatives within requirements."""
    return [[_relation(text) for text in group.split("|")] for group in field.split(",") if group.strip()]


def _relation(text: str) -> Relation:
    match = _RELATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a relation: {text!r}")
    return Relation(match[1], match[2] or "", match[3] or "")


def split_version(version: str) -> tuple[str, str, str]:
    """Return epoch, version and release of a Debian version; the epoch may be empty, the release is the revision.

    A package without a revision is Debian's own and gets the release 1.
    """
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "1"
    return (epoch if colon and epoch != "0" else ""), upstream.replace("-", "."), revision + DIST


def rpm_relation(name: str, relation: Relation) -> str:
    """Return a relation in RPM's words, for the package of that name.

    Without a release, RPM means every release, where Debian means one before all. The releases of the distribution end
    in its own suffix: where equal releases count, the dependency gets it, too.
    """
    if not relation.operator:
        return name
    operator = _OPERATORS[relation.operator]
    epoch, upstream, release = split_version(relation.version)
    version = f"{epoch + ':' if epoch else ''}{upstream}"
    if "-" not in relation.version:
        return f"{name} {'>=' if operator == '>' else operator} {version}"
    if _BEFORE_REBUILD.search(release):
        # Less than any version of the source that is higher, but no less than what was built once more of this one.
        release = _BEFORE_REBUILD.sub(f"{DIST}.1", release)
    elif operator in (">=", "<"):
        release = release.removesuffix(DIST)
    return f"{name} {operator} {version}-{release}"


@dataclasses.dataclass(frozen=True)
class Translator:
    """Translates the relations of Debian packages.

    :ivar names: RPM name by Debian name, of all packages of the distribution.
    :ivar virtual: Names that packages of the distribution provide, with whether some version is provided.
    :ivar dropped: Names of packages, and of what they provide, that the distribution does without.
    """

    names: t.Mapping[str, str]
    virtual: t.Mapping[str, bool]
    dropped: t.Collection[str]

    def requires(self, field: str) -> list[str]:
        """Translate C(Depends) or C(Pre-Depends): C(a | b) becomes C((a or b)).

        :raises MissingPackage: Nothing meets a dependency.
        """
        result = []
        for group in parse(field):
            words = self._available(group)
            if len(words) > 1:
                result.append(f"({' or '.join(words)})")
            elif words:
                result.append(words[0])
            elif not any(relation.name in self.dropped for relation in group):
                raise MissingPackage(" | ".join(relation.name for relation in group))
        return list(dict.fromkeys(result))

    def weak(self, field: str) -> list[str]:
        """Translate C(Recommends) or C(Suggests): what the distribution has of it."""
        result = []
        for group in parse(field):
            words = self._available(group)
            if words:
                result.append(f"({' or '.join(words)})" if len(words) > 1 else words[0])
        return list(dict.fromkeys(result))

    def provides(self, field: str, *, own: str) -> list[str]:
        """Translate C(Provides), without what the package called C(own) is anyway."""
        found = [
            rpm_relation(self.names.get(relation.name, relation.name), relation)
            for group in parse(field)
            for relation in group
        ]
        return [word for word in dict.fromkeys(found) if word.split()[0] != own]

    def conflicts(self, fields: t.Iterable[str], *, own: str) -> list[str]:
        """Translate C(Conflicts) and C(Breaks), as far as they name real packages of the distribution.

        For dpkg a versioned conflict never meets an unversioned virtual package, and a package never conflicts with
        itself; for RPM both do. So nothing virtual is taken over.
        """
        found = [
            rpm_relation(self.names[relation.name], relation)
            for field in fields
            for group in parse(field)
            for relation in group
            if self.names.get(relation.name, own) != own
        ]
        return list(dict.fromkeys(found))

    def obsoletes(self, replaces: str, conflicts: t.Iterable[str], *, own: str) -> list[str]:
        """Return which packages are obsolete: older ones that are both replaced and broken, and no longer exist."""
        gone = {relation.name for field in conflicts for group in parse(field) for relation in group}
        taken = {*self.names.values(), *self.names, *self.virtual, own}
        found = [
            rpm_relation(relation.name, relation)
            for group in parse(replaces)
            for relation in group
            if relation.operator.startswith("<") and relation.name in gone and relation.name not in taken
        ]
        return list(dict.fromkeys(found))

    def _available(self, group: t.Sequence[Relation]) -> list[str]:
        words = []
        for relation in group:
            if relation.name in self.names:
                words.append(rpm_relation(self.names[relation.name], relation))
            elif relation.name in self.virtual and (not relation.operator or self.virtual[relation.name]):
                words.append(rpm_relation(relation.name, relation))
        return list(dict.fromkeys(words))


__all__ = ("DIST", "MissingPackage", "Relation", "Translator", "parse", "rpm_relation", "split_version")
