# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Keys of repositories: files of the build host, or URLs that are fetched once."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download import Downloader, redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, write_file

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
    if not key.startswith(("http://", "https://", "file:")):
        return key
    if key.startswith("http://") and not fingerprints:
        raise SignatureError(
            f"The key {redact(key)} of {what} comes over plain HTTP, and no fingerprint is given: whoever sits on the "
            "way could replace it.",
            remedy="Use https, or name the key's fingerprint in the template.",
        )
    path = os.path.join(directory, f"key-{sha256_bytes(key.encode('utf-8'))[:16]}.asc")
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


__all__ = ("local_key",)
