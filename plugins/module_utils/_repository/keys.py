# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The keys of a repository as files: where the kept ones of URLs lie, and which may sign."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    normalised,
    read_keyring,
    read_public_keys,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository


def is_url(key: str) -> bool:
    """Tell whether a key is named by its URL, and not by the path of a file."""
    return key.startswith(("http://", "https://", "file:"))


def kept_key(url: str, fingerprints: t.Iterable[str], *, metadata_dir: str) -> str:
    """Return the path of the file that holds the pinned keys of a URL, once they have been fetched.

    :param fingerprints: All fingerprints that the repository pins: with others, other keys are kept.
    """
    name = digest_of({"url": url, "fingerprints": sorted(normalised(fingerprints))})[:16]
    return os.path.join(metadata_dir, "keys", f"{name}.asc")


def with_kept_keys(repository: Repository, *, metadata_dir: str) -> Repository:
    """Return a repository with all keys as paths; those of URLs need not have been fetched."""
    pinned = repository.fingerprints
    keys = [kept_key(key, pinned, metadata_dir=metadata_dir) if is_url(key) else key for key in repository.keys]
    return repository.replace(keys=tuple(keys))


def armored_keys(repository: Repository) -> list[str]:
    """Return the keys that may sign for a repository, each as an armored block, and no other that its files hold.

    :param repository: See :func:`with_kept_keys`.
    :raises SignatureError: A file cannot be read, or none of its keys is good.
    """
    what = f"the repository {repository.name!r}"
    pinned = normalised(repository.fingerprints)
    keys = read_public_keys(read_keyring(repository.keys, what=what))
    good = [key for key in keys if not key.problem and (not pinned or pinned & key.fingerprints)]
    if not good:
        raise SignatureError(
            f"The key files of {what} hold no key that is good and allowed.",
            remedy="Get the present key from the repository's owner over a trusted way.",
        )
    return [key.armored.decode("ascii") for key in good]


__all__ = ("armored_keys", "is_url", "kept_key", "with_kept_keys")
