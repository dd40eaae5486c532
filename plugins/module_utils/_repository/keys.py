# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Keys of repositories: files of the build host, or URLs that are fetched once."""

from __future__ import annotations

import glob
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download import Downloader, redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, write_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    read_keyring,
    read_public_keys,
)

RepositoryConfig = t.Mapping[str, t.Any]

_KEY_LIMIT = 1 << 20


def local_key(
    key: str, *, what: str, fingerprints: t.Sequence[str], directory: str, downloader: Downloader, offline: bool
) -> str:
    """Return the path of a key file; one that is named by its URL is fetched once and kept.

    :param what: The repository, as messages name it.
    :param fingerprints: The fingerprints that are allowed; without any, a key has to come over a trusted way.
    :param directory: Where fetched keys are kept.
    :raises SignatureError: The key is not there, or must not be believed.
    """
    if not _is_url(key):
        return key
    if key.startswith("http://") and not fingerprints:
        raise SignatureError(
            f"The key {redact(key)} of {what} comes over plain HTTP, and no fingerprint is given: whoever sits on the "
            "way could replace it.",
            remedy="Use https, or name the key's fingerprint in the template.",
        )
    path = os.path.join(directory, _file_name(key))
    if not os.path.exists(path):
        if offline:
            raise SignatureError(
                f"The key {redact(key)} of {what} is not in the cache, and this is an offline run.",
                remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
            )
        document = downloader.get(key, limit=_KEY_LIMIT, what=f"the key of {what}")
        if document is None or document.data is None:
            raise AssertionError("document and document.data is known here")
        os.makedirs(directory, exist_ok=True)
        write_file(path, document.data)
    return path


def with_local_keys(repositories: t.Sequence[RepositoryConfig], metadata_dir: str) -> list[RepositoryConfig]:
    """Return repositories with the paths of all their keys; those named by URLs came with the metadata.

    :param repositories: As in C(template.json).
    :param metadata_dir: C({cache_dir}/pkgCache/{provider_id}/metadata).
    :raises SignatureError: A key is not there.
    """
    return [
        {**entry, "keys": [_kept_key(entry, key, metadata_dir) for key in entry.get("keys") or ()]}
        for entry in repositories
    ]


def armored_keys(repository: RepositoryConfig) -> list[str]:
    """Return the keys that may sign for a repository, each as an armored block, and no other that its files hold.

    :param repository: See :func:`with_local_keys`.
    :raises SignatureError: A file cannot be read, or none of its keys is good.
    """
    what = f"the repository {repository['name']!r}"
    pinned = {fingerprint.replace(" ", "").upper() for fingerprint in repository.get("fingerprints") or ()}
    keys = read_public_keys(read_keyring(repository.get("keys") or (), what=what))
    good = [key for key in keys if not key.problem and (not pinned or pinned & key.fingerprints)]
    if not good:
        raise SignatureError(
            f"The key files of {what} hold no key that is good and allowed.",
            remedy="Get the present key from the repository's owner over a trusted way.",
        )
    return [key.armored.decode("ascii") for key in good]


def _kept_key(repository: RepositoryConfig, key: str, metadata_dir: str) -> str:
    if not _is_url(key):
        return key
    found = sorted(glob.glob(os.path.join(glob.escape(metadata_dir), "*", _file_name(key))))
    if not found:
        raise SignatureError(
            f"The key {redact(key)} of the repository {repository['name']!r} is not in the package cache.",
            remedy="Run the module os_image.composer.pkg_resolve again with rebuild: always.",
        )
    return found[0]


def _is_url(key: str) -> bool:
    return key.startswith(("http://", "https://", "file:"))


def _file_name(key: str) -> str:
    return f"key-{sha256_bytes(key.encode('utf-8'))[:16]}.asc"


__all__ = ("armored_keys", "local_key", "with_local_keys")
