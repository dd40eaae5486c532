# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The exchange of EFI programs with a host that signs them: what is to be signed, and what comes back.

Files are named by the digest of what is to be signed. What comes back is believed for nothing: it has to be what was
handed out with a signature behind it, and nothing else.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.efi_program import differs_by_signature_alone


class SigningExchange:
    """A directory with the directories C(unsigned) and C(signed).

    :param directory: Only its owner may look into it.
    """

    def __init__(self, directory: str) -> None:
        self._unsigned, self._signed = (os.path.join(directory, name) for name in ("unsigned", "signed"))

    def signatures(self) -> t.Dict[str, str]:
        """Return what has come back: file name -> SHA-256."""
        if not os.path.isdir(self._signed):
            return {}
        paths = {name: os.path.join(self._signed, name) for name in sorted(os.listdir(self._signed))}
        return {name: sha256_file(path) for name, path in paths.items() if os.path.isfile(path)}

    def hand_out(self, programs: t.Mapping[str, str]) -> t.List[t.Dict[str, str]]:
        """Lay out the programs whose signatures have not come back yet, and drop what is of no use any longer.

        :param programs: Path on the EFI system partition -> path of the file.
        :returns: For each its C(path), C(sha256), C(unsigned) and C(signed), where it is to be put.
        """
        shutil.rmtree(self._unsigned, ignore_errors=True)
        waiting: t.Dict[str, t.Dict[str, str]] = {}
        digests = {path: sha256_file(source) for path, source in programs.items()}
        for path, source in programs.items():
            digest = digests[path]
            unsigned, signed = (os.path.join(parent, f"{digest}.efi") for parent in (self._unsigned, self._signed))
            if digest in waiting or os.path.exists(signed):
                continue
            for parent in (self._unsigned, self._signed):
                os.makedirs(parent, mode=0o700, exist_ok=True)
            shutil.copyfile(source, unsigned)
            waiting[digest] = {"path": path, "sha256": digest, "unsigned": unsigned, "signed": signed}
        # Otherwise all is as it was when somebody decided to sign, and stays so.
        if waiting:
            for name in {*os.listdir(self._signed)} - {f"{digest}.efi" for digest in digests.values()}:
                os.unlink(os.path.join(self._signed, name))
        return [*waiting.values()]

    def take(self, source: str, destination: str) -> None:
        """Copy what has come back for a program.

        :raises SigningError: It is another program.
        """
        signed = os.path.join(self._signed, f"{sha256_file(source)}.efi")
        with open(source, "rb") as unsigned_stream, open(signed, "rb") as signed_stream:
            unsigned, content = unsigned_stream.read(), signed_stream.read()
        if not differs_by_signature_alone(content, unsigned):
            raise SigningError(
                f"{signed} is not the program that was handed out with a signature: something else in it has changed.",
                remedy="Remove it, and look what the host does that signs.",
            )
        with open(destination, "wb") as stream:
            stream.write(content)


__all__ = ("SigningExchange",)
