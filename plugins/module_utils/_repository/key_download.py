# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The download of keys that are named by URL.

What a server delivers is believed for its fingerprint alone. Of a key file from the network nothing is kept but the
keys with the fingerprints that the template or the provider pins, in C({metadata_dir}/keys/): an image that takes its
updates from the repository gets this file, and shall not trust whatever else lay at the URL that day.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import is_url, kept_key
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    dearmor,
    normalised,
    read_keyring,
    select_keys,
)

_KEY_LIMIT = 1 << 20


def local_keys(
    keys: t.Sequence[str],
    fingerprints: t.Sequence[str],
    *,
    metadata_dir: str,
    what: str,
    downloader: Downloader,
    offline: bool = False,
    anew: bool = False,
    now: int | None = None,
) -> list[str]:
    """Return the key files of a repository; those that are named by URL are fetched once and kept.

    They are fetched again when a pinned fingerprint is in none of the files, or only that of an expired key.

    :param keys: Paths and URLs.
    :param fingerprints: Fingerprints that the repository pins, of primary keys or of subkeys.
    :param what: The repository, as messages name it.
    :param anew: Fetch them in any case.
    :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
    :raises SignatureError: A URL has no pinned fingerprint, or what lies there has none of them.
    :raises RepositoryError: A key cannot be fetched, and none is kept.
    """
    urls = [key for key in keys if is_url(key)]
    if not urls:
        return list(keys)
    pinned = normalised(fingerprints)
    if not pinned:
        raise SignatureError(
            f"The key {redact(urls[0])} of {what} is fetched from the network, and no fingerprint is given: whoever "
            "controls the server, or the way to it, could replace it.",
            remedy="Add its fingerprint, as gpg --show-keys shows it, to the fingerprints of the repository, or give "
            "the path of a file.",
        )
    paths = {key: kept_key(key, pinned, metadata_dir=metadata_dir) if is_url(key) else key for key in keys}
    held = {key: _held(path, pinned, what=what, now=now) for key, path in paths.items()}
    missing = pinned.difference(*held.values())
    for url in urls:
        if held[url] and (offline or not (missing or anew)):
            continue
        if offline:
            raise SignatureError(
                f"The key {redact(url)} of {what} is not in the cache, and this is an offline run.",
                remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
            )
        # Where something is kept, the repository's signature tells whether it suffices.
        with contextlib.suppress(RepositoryError) if held[url] else contextlib.nullcontext():
            data = _fetch(url, pinned, what=what, downloader=downloader, now=now)
            os.makedirs(os.path.dirname(paths[url]), exist_ok=True)
            write_file(paths[url], data)
    return list(paths.values())


def _held(path: str, pinned: t.FrozenSet[str], *, what: str, now: int | None) -> t.FrozenSet[str]:
    """Return the pinned fingerprints of the keys in a file that may still sign."""
    try:
        keyring = read_keyring([path], what=what)
    except SignatureError:
        # Whether a file that the user names is missing is told when it is used.
        return frozenset()
    return select_keys(keyring, pinned, now=now).usable


def _fetch(url: str, pinned: t.FrozenSet[str], *, what: str, downloader: Downloader, now: int | None) -> bytes:
    """Return the pinned keys that lie at a URL, armored."""
    document = downloader.get(url, limit=_KEY_LIMIT, what=f"the key of {what}")
    if document is None or document.data is None:
        raise AssertionError("document and document.data is known here")
    selected = select_keys(dearmor(document.data, path=redact(url), what=what), pinned, now=now)
    if not selected.armored:
        found = ", ".join(selected.found) or "no key that GnuPG understands"
        raise SignatureError(
            f"At {redact(url)} lies none of the keys that are pinned for {what}, but {found}.",
            remedy="If the repository has changed its keys, get the new fingerprint from its owner over a trusted way.",
        )
    return selected.armored


__all__ = ("local_keys",)
