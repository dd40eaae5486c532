# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Module metadata (C(modules.yaml)) of RPM repositories: streams of modules, and which of them are defaults.

The documents are read as libmodulemd reads them, see
U(https://github.com/fedora-modularity/libmodulemd/tree/main/yaml_specs). What lies in a repository is untrusted, so the
events of the parser are followed: no tag makes an object, no alias multiplies what was written, and no depth matters. A
document that libmodulemd would leave out is left out here as well.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import PackageIndex

# Such metadata have some megabytes, of which one takes about a second; more than this is an attack or an error.
_SIZE_LIMIT = 32 << 20
_STREAMS_LIMIT = 20_000
# Streams of one module exclude each other, pair by pair.
_STREAMS_OF_MODULE_LIMIT = 2_000
# Deeper than anything that is read.
_DEPTH_LIMIT = 8
_PROBLEMS_LIMIT = 20
# They end up in the names of files and in their lines.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.~^-]{0,199}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_STATIC_CONTEXT = re.compile(r"[A-Za-z0-9_]{1,13}")
# name-epoch:version-release.arch; libmodulemd demands the epoch.
_ARTIFACT = re.compile(r"(?P<name>.+)-(?P<epoch>[0-9]+):(?P<version>[^-:]+)-(?P<release>[^-]+)\.(?P<arch>[^-.]+)")
#: What is read of the data of a document, whatever its kind.
_READ_KEYS = frozenset(
    {
        *("name", "stream", "version", "context", "static_context", "arch", "summary", "description", "license"),
        *("dependencies", "profiles", "artifacts", "demodularized", "module", "modified"),
    }
)


class Artifact(t.NamedTuple):
    """A package of a stream.

    :ivar evr: As RPM tools write it, without an epoch of 0.
    """

    name: str
    evr: str
    arch: str


@dataclasses.dataclass(frozen=True)
class Stream:
    """One build of a stream of a module.

    :ivar static: Whether its context was given by people; otherwise builds are told apart by what they require.
    :ivar arch: Empty for any.
    :ivar requires: The modules that it needs, each with streams of which one will do (none for any); C(-stream) is one
        that will not.
    :ivar profiles: The names of packages by the name of the profile.
    :ivar demodularized: Names of packages that are no longer the module's.
    """

    name: str
    stream: str
    version: int
    context: str
    static: bool
    arch: str
    requires: tuple[tuple[str, tuple[str, ...]], ...]
    profiles: t.Mapping[str, tuple[str, ...]]
    artifacts: tuple[Artifact, ...]
    demodularized: frozenset[str]

    @property
    def label(self) -> str:
        """C(name:stream), as people write it."""
        return f"{self.name}:{self.stream}"


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What is taken of a module where nobody asks for anything else.

    :ivar modified: Orders several of one module.
    :ivar stream: V(None) for none.
    :ivar profiles: The names of profiles by stream.
    """

    name: str
    modified: int
    stream: str | None
    profiles: t.Mapping[str, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class ModuleIndex:
    """The module metadata of one repository.

    :ivar problems: What is wrong with documents that were left out.
    """

    streams: tuple[Stream, ...]
    defaults: t.Mapping[str, Defaults]
    problems: tuple[str, ...]


class _LeftOut(Exception):
    """A document cannot be used; the message is the end of a sentence."""


def read_modules(index: PackageIndex, *, repository: str) -> ModuleIndex:
    """Read the module metadata of a repository.

    :param repository: Its name, for messages.
    :raises RepositoryError: It is no YAML, or too much.
    """
    what = f"The module metadata {index.path} of the repository {repository!r}"
    remedy = "The repository is damaged; tell its maintainers."
    if index.size > _SIZE_LIMIT:
        raise RepositoryError(
            f"{what} has {index.size} bytes, more than the {_SIZE_LIMIT} that it may have.", remedy=remedy
        )
    yaml = import_library("yaml")
    # By name, version, context and architecture.
    streams: dict[tuple[str, str, int, str, str], Stream] = {}
    of_module: dict[str, int] = {}
    defaults: dict[str, Defaults] = {}
    problems: list[str] = []
    try:
        for number, (document, problem) in enumerate(_documents(index.path, yaml), 1):
            try:
                if problem:
                    raise _LeftOut(problem)
                found = _read(document)
            except _LeftOut as exc:
                if len(problems) < _PROBLEMS_LIMIT:
                    problems.append(f"{what} has a document ({number}) that is left out: {exc}.")
                continue
            if isinstance(found, Defaults):
                defaults[found.name] = found
            elif found is not None:
                key = (found.name, found.stream, found.version, found.context, found.arch)
                known = streams.pop(key, None)
                if known is not None and known != found:
                    streams[key] = known
                    problems.append(f"{what} describes {found.label} of the version {found.version} in two ways.")
                    continue
                streams[key] = found
                of_module[found.name] = of_module.get(found.name, 0) + (known is None)
                if len(streams) > _STREAMS_LIMIT or of_module[found.name] > _STREAMS_OF_MODULE_LIMIT:
                    raise RepositoryError(
                        f"{what} has more than {_STREAMS_LIMIT} streams, or more than {_STREAMS_OF_MODULE_LIMIT} of "
                        f"one module ({found.name!a}).",
                        remedy=remedy,
                    )
    except yaml.YAMLError as exc:
        reason = " ".join(str(exc).split())
        raise RepositoryError(f"{what} cannot be read: {reason[:300]}.", remedy=remedy) from exc
    except OSError as exc:
        raise RepositoryError(f"{what} cannot be read: {exc.strerror}.", remedy=remedy) from exc
    return ModuleIndex(tuple(streams.values()), defaults, tuple(problems))


# -- YAML


@dataclasses.dataclass
class _Frame:
    """A container that is being read.

    :ivar key: Of a mapping, the key whose value is next.
    """

    node: t.Any
    key: str | None = None


def _documents(path: str, yaml: t.Any) -> t.Iterator[tuple[t.Any, str]]:
    """Yield each document as plain mappings, lists and strings, with what is wrong with it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with open(path, "rb") as stream:
        reader = _Reader(yaml)
        for event in yaml.parse(stream, Loader=loader):
            if isinstance(event, yaml.DocumentStartEvent):
                reader = _Reader(yaml)
            elif isinstance(event, yaml.DocumentEndEvent):
                yield reader.root, reader.problem
            elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
                reader.take(event)


class _Reader:
    """Makes values of the events of one document.

    :ivar problem: Why it cannot be used; empty if it can.
    """

    def __init__(self, yaml: t.Any) -> None:
        self._yaml = yaml
        self._frames: list[_Frame] = []
        # How deep in a part that nobody reads.
        self._skipped = 0
        self.root: t.Any = None
        self.problem = ""

    def take(self, event: t.Any) -> None:
        """Follow an event."""
        starts = isinstance(event, self._yaml.CollectionStartEvent)
        ends = isinstance(event, self._yaml.CollectionEndEvent)
        if isinstance(event, self._yaml.AliasEvent):
            self.problem = "it has an alias"
        if self._skipped or self.problem:
            self._skipped += starts - ends
        elif ends:
            self._frames.pop()
            if self._frames:
                self._frames[-1].key = None
        elif isinstance(event, self._yaml.ScalarEvent):
            self._put(event.value)
        elif starts and self._unread():
            self._put(None)
            self._skipped = 1
        elif starts:
            node: t.Any = {} if isinstance(event, self._yaml.MappingStartEvent) else []
            if self._put(node):
                self._frames.append(_Frame(node))

    def _unread(self) -> bool:
        """Tell whether nobody reads what begins now: most of a document is about how its packages were built."""
        if len(self._frames) >= _DEPTH_LIMIT:
            return True
        key = self._frames[-1].key if self._frames else None
        if key is None:
            return False
        if len(self._frames) == 1:
            return key != "data"
        return len(self._frames) == 2 and key not in _READ_KEYS

    def _put(self, value: t.Any) -> bool:
        if not self._frames:
            self.root = value
            return True
        frame = self._frames[-1]
        if isinstance(frame.node, list):
            frame.node.append(value)
            return True
        if frame.key is None:
            if not isinstance(value, str):
                self.problem = "a key is no text"
                return False
            if value in frame.node:
                self.problem = f"the key {value!a} is there twice"
                return False
            frame.key = value
            return True
        frame.node[frame.key] = value
        # While a container is read, its key tells where that is.
        if not isinstance(value, (dict, list)):
            frame.key = None
        return True


# -- documents


def _read(document: t.Any) -> Stream | Defaults | None:
    """Read a document; V(None) for one of a kind that has nothing to do with which packages there are.

    :raises _LeftOut: It is not as it should be.
    """
    if not isinstance(document, dict):
        raise _LeftOut("it is no mapping")
    kind, version = document.get("document"), document.get("version")
    if kind in ("modulemd-translations", "modulemd-obsoletes", "modulemd-packager"):
        return None
    known = {"modulemd": ("1", "2"), "modulemd-stream": ("1", "2"), "modulemd-defaults": ("1",)}
    if not isinstance(kind, str) or version not in known.get(kind, ()):
        raise _LeftOut(f"it is of the unknown kind {kind!a} in the version {version!a}")
    data = document.get("data")
    if not isinstance(data, dict):
        raise _LeftOut("its data are no mapping")
    return _defaults(data) if kind == "modulemd-defaults" else _stream(data)


def _stream(data: t.Mapping[str, t.Any]) -> Stream:
    name, stream = _text(data, "name"), _text(data, "stream")
    static, context = data.get("static_context", "false"), _text(data, "context", "")
    if static not in ("true", "false"):
        raise _LeftOut("its static_context is neither true nor false")
    if static == "true" and context and not _STATIC_CONTEXT.fullmatch(context):
        raise _LeftOut(f"its context {context!a} cannot be one")
    for key in ("summary", "description"):
        _text(data, key)
    licenses = data.get("license")
    if not isinstance(licenses, dict) or not _texts(licenses, "module"):
        raise _LeftOut("it has no license")
    return Stream(
        name=name,
        stream=stream,
        version=_number(data, "version"),
        context=context,
        static=static == "true",
        arch=_text(data, "arch", ""),
        requires=tuple(_requirements(data.get("dependencies", []))),
        profiles={
            profile: tuple(sorted(set(_texts(_mapping(content), "rpms"))))
            for profile, content in _mapping(data.get("profiles", {})).items()
        },
        artifacts=tuple(_artifact(text) for text in sorted(set(_texts(_mapping(data.get("artifacts", {})), "rpms")))),
        demodularized=frozenset(_texts(_mapping(data.get("demodularized", {})), "rpms")),
    )


def _requirements(dependencies: t.Any) -> t.Iterator[tuple[str, tuple[str, ...]]]:
    # In the first version of the format there is one mapping, with one stream for each module.
    for entry in dependencies if isinstance(dependencies, list) else [dependencies]:
        needed = _mapping(_mapping(entry).get("requires", {}))
        for module in sorted(needed):
            yield module, tuple(sorted(set(_texts(needed, module))))


def _defaults(data: t.Mapping[str, t.Any]) -> Defaults:
    return Defaults(
        name=_text(data, "module"),
        modified=_number(data, "modified"),
        stream=_text(data, "stream", "") or None,
        profiles={stream: frozenset(_texts(data["profiles"], stream)) for stream in _mapping(data.get("profiles", {}))},
    )


def _artifact(text: str) -> Artifact:
    match = _ARTIFACT.fullmatch(text)
    if match is None:
        raise _LeftOut(f"its artifact {text[:200]!a} is not written as name-epoch:version-release.arch")
    epoch = match["epoch"].lstrip("0")
    return Artifact(
        match["name"], f"{epoch + ':' if epoch else ''}{match['version']}-{match['release']}", match["arch"]
    )


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    if not isinstance(value, dict):
        raise _LeftOut("there is something else where a mapping belongs")
    return value


def _text(data: t.Mapping[str, t.Any], key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise _LeftOut(f"its {key} is no text" if key in data else f"it has no {key}")
    if key in ("name", "stream", "module") and value and not _NAME.fullmatch(value):
        raise _LeftOut(f"its {key} {value[:200]!a} cannot be one")
    if default is None and not value and key in ("name", "stream", "module"):
        raise _LeftOut(f"its {key} is empty")
    return value


def _texts(data: t.Mapping[str, t.Any], key: str) -> list[str]:
    """Return a list of strings, which may also be a single one."""
    value = data.get(key, [])
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _LeftOut(f"its {key!a} is no list of texts")
    return items


def _number(data: t.Mapping[str, t.Any], key: str) -> int:
    value = data.get(key, "0")
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise _LeftOut(f"its {key} is no number")
    return int(value)


__all__ = ("Artifact", "Defaults", "ModuleIndex", "Stream", "read_modules")
