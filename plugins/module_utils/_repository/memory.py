# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The memory of a build host: what it has seen of a repository before, so that nobody can show it something older.

In C({metadata_dir}/seen/) there is a file for each place, which is not its URL as somebody spells it, and one for each
archive, which a new place is compared with. A file that cannot be understood is an error: with an empty memory
everything would be new.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of, parse_json, write_json

# More would only help who publishes several times between two builds.
_DOCUMENTS = 8
_DEFAULT_PORTS: t.Mapping[str, int] = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen of a repository.

    :ivar date: Of the newest signed document, in seconds since 1970; -1 when none was seen.
    :ivar revision: Orders documents of one date.
    :ivar identity: What the repository says that it is.
    :ivar documents: SHA-256 digests of the last signed documents, the newest last.
    """

    date: int = -1
    revision: int = 0
    identity: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    documents: tuple[str, ...] = ()

    @property
    def latest(self) -> tuple[int, int]:
        """What must not be undercut."""
        return (self.date, self.revision)


class Memory:
    """What this build host remembers of one repository.

    :param metadata_dir: Where the memory of all repositories of a provider lies.
    :param kind: C(place) or C(archive).
    :param subject: What makes it this one, as a JSON value.
    :param shown: The repository, as messages name it.
    :ivar path: The file.
    """

    def __init__(self, metadata_dir: str, kind: str, subject: t.Any, *, shown: str) -> None:
        self._directory = os.path.join(metadata_dir, "seen")
        self._kind = kind
        self._subject = subject
        self._shown = shown
        self.path = os.path.join(self._directory, f"{kind}-{digest_of(subject)[:16]}.json")

    def recall(self) -> Seen:
        """Return what was seen.

        :raises RepositoryError: The file is damaged.
        """
        try:
            return _read(self.path)
        except FileNotFoundError:
            return Seen()
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise RepositoryError(
                f"What this build host remembers of the {self._shown} cannot be read ({self.path}): {reason}. Without "
                "it, old metadata would pass for new.",
                remedy="Make sure that the mirror is up to date, then remove the file.",
            ) from exc

    def others(self) -> t.Iterator[tuple[str, Seen]]:
        """Yield what was seen at the other places, each by the name that the repository had; no damaged files."""
        if not os.path.isdir(self._directory):
            return
        for name in sorted(os.listdir(self._directory)):
            path = os.path.join(self._directory, name)
            if path == self.path or not re.fullmatch(rf"{self._kind}-[0-9a-f]{{16}}\.json", name):
                continue
            try:
                yield _shown_in(path), _read(path)
            except (OSError, ValueError):
                continue

    def keep(self, seen: Seen, *, day: str) -> None:
        """Remember something else from now on.

        :param day: The date in words, for who looks into the file.
        """
        if seen == self.recall():
            return
        os.makedirs(self._directory, exist_ok=True)
        write_json(
            self.path,
            {
                "shown": self._shown,
                "subject": self._subject,
                "date": seen.date,
                "day": day,
                "revision": seen.revision,
                "identity": dict(seen.identity),
                "documents": list(seen.documents),
            },
        )


def _load(path: str) -> t.Dict[str, t.Any]:
    with open(path, encoding="utf-8") as stream:
        value = parse_json(stream.read())
    if not isinstance(value, dict):
        raise ValueError("it holds no mapping")
    return value


def _shown_in(path: str) -> str:
    return str(_load(path).get("shown", ""))


def _read(path: str) -> Seen:
    value = _load(path)
    date, revision, identity, documents = (value.get(key) for key in ("date", "revision", "identity", "documents"))
    if (
        not isinstance(date, int)
        or not isinstance(revision, int)
        or not isinstance(identity, dict)
        or not isinstance(documents, list)
        or not all(isinstance(item, str) for item in (*identity.values(), *documents))
    ):
        raise ValueError("it is not what was written")
    return Seen(date, revision, identity, tuple(documents))


def newer(before: Seen, *, date: int, revision: int, identity: t.Mapping[str, str], document: str, now: int) -> Seen:
    """Return what was seen, together with a document.

    A date in the future is not remembered: clocks differ a little, and what is dated ahead of its time shall not make
    everything that comes after it too old.
    """
    latest = before.latest
    if date <= now:
        latest = max(latest, (date, revision))
    documents = before.documents
    if documents[-1:] != (document,):
        documents = (*(item for item in documents if item != document), document)[-_DOCUMENTS:]
    return Seen(*latest, {**before.identity, **identity}, documents)


def taken_for(document: str, mine: Seen, others: t.Iterable[tuple[str, Seen]]) -> str | None:
    """Return the other repository that a document belongs to, if that is known.

    One repository under two names is nothing strange: then both have had the same documents before.
    """
    if not mine.documents or document in mine.documents:
        return None
    for shown, other in others:
        if document in other.documents and not set(mine.documents).intersection(other.documents):
            return shown
    return None


def same_place(url: str) -> str:
    """Return what all spellings of a URL have in common: by http or https, with or without a slash at the end."""
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    try:
        port = parts.port
    except ValueError:
        port = None
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme.lower()):
        host = f"{host}:{port}"
    path = "/".join(part for part in urllib.parse.unquote(parts.path).split("/") if part not in ("", "."))
    return f"{host}/{path}"


__all__ = ("Memory", "Seen", "newer", "same_place", "taken_for")
