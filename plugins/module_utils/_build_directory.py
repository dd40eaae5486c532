# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The directory of one build: documents, stamps, logs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    parse_json,
    sha256_bytes,
    sha256_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory

#: Version of the form of all documents in a build directory; raised when a reader of an older form would err.
SCHEMA_VERSION = 1


# Content of outputs up to this size is compared by digest on each run; of larger ones size and time decide.
_DIGEST_LIMIT = 4 << 20


# Of a file, in Linux.
_LONGEST_NAME = 255

#: Each document and the stage that writes it.
DOCUMENT_PRODUCERS: t.Mapping[str, str] = {
    "template.json": "image_template_validate",
    "packages.lock.json": "pkg_resolve",
}


Facts = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Output:
    """A file that a stage left, as its stamp records it.

    :ivar path: Absolute, or relative to the build directory.
    :ivar sha256: 64 hexadecimal digits; V(None) for a large file whose digest nobody needed.
    :ivar released: A later stage has taken what it needs, and removed the file to save space: nobody misses it.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str | None
    released: bool = False

    @classmethod
    def of(cls, path: str, *, relative_to: str, sha256: str | None = None) -> Output:
        """Record a file as it is now.

        :param path: Absolute path of the file.
        :param sha256: Its digest, when it is known already.
        """
        status = os.stat(path)
        if sha256 is None and status.st_size <= _DIGEST_LIMIT:
            sha256 = sha256_file(path)
        inside = os.path.commonpath([path, relative_to]) == relative_to
        recorded = os.path.relpath(path, relative_to) if inside else path
        return cls(recorded, status.st_size, status.st_mtime_ns, sha256)

    @classmethod
    def recorded(cls, data: t.Mapping[str, t.Any]) -> Output:
        """Take a record out of its JSON form.

        :raises ValueError: It is not what a stage has written.
        :raises TypeError: The same.
        """
        output = cls(**data)
        inside = os.path.normpath(f"/{output.path}")[1:] == output.path and output.path
        if not (inside or os.path.isabs(output.path)) or "\0" in output.path:
            raise ValueError(f"no record of a file: {data}")
        if not isinstance(output.sha256, (str, type(None))) or max(map(len, output.path.split("/"))) > _LONGEST_NAME:
            raise ValueError(f"no record of a file: {data}")
        numbers = (output.size, output.mtime_ns)
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise ValueError(f"no record of a file: {data}")
        return output

    def problem(self, *, relative_to: str) -> str | None:
        """Tell in words what is wrong with the file now; V(None) when it is intact."""
        path = os.path.join(relative_to, self.path)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None if self.released else f"output {self.path} is missing"
        except OSError as exc:
            return f"output {self.path} cannot be looked at: {exc.strerror}"
        if status.st_size != self.size:
            return f"output {self.path} has changed: {self.size} -> {status.st_size} bytes"
        if self.sha256 is not None and self.size <= _DIGEST_LIMIT:
            return None if sha256_file(path) == self.sha256 else f"output {self.path} has changed"
        return None if status.st_mtime_ns == self.mtime_ns else f"output {self.path} was written to"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """The record of a stage's last complete run (C(stages/{stage}.json))."""

    stage: str
    fingerprint: str
    inputs: Facts
    outputs: t.Tuple[Output, ...]
    result: Facts
    facts: Facts
    duration: float

    def sha256_of(self, path: str) -> str | None:
        """Return the digest of one output by its recorded path."""
        return next((output.sha256 for output in self.outputs if output.path == path), None)


class BuildDirectory:
    """The directory of one build: documents, stamps, logs, and the stages' own files.

    :param path: Absolute path; it need not exist yet.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def __str__(self) -> str:
        return self.path

    def join(self, *parts: str) -> str:
        """Return a path below the build directory."""
        return os.path.join(self.path, *parts)

    @property
    def build_log(self) -> str:
        """The file with the milestones of all stages."""
        return self.join("build.log")

    def stage_log(self, stage: str) -> str:
        """The file with everything that a stage did."""
        return self.join("log", f"{stage}.log")

    def prepare(self) -> None:
        """Make the directory and its fixed subdirectories; only root may look into it.

        :raises OwnershipError: Somebody else could write into it.
        """
        require_own_directory(self.path, what="build directory")
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name in ("stages", "log"):
            os.makedirs(self.join(name), mode=0o700, exist_ok=True)

    def stamp(self, stage: str) -> Stamp | None:
        """Read a stage's stamp; V(None) when it never ran to its end, or the stamp is of another form."""
        try:
            with open(self.join("stages", f"{stage}.json"), encoding="utf-8") as stream:
                data = parse_json(stream.read())
            if data["schema_version"] != SCHEMA_VERSION:
                return None
            return Stamp(
                stage=data["stage"],
                fingerprint=data["fingerprint"],
                inputs=data["inputs"],
                outputs=tuple(Output.recorded(output) for output in data["outputs"]),
                result=data["result"],
                facts=data["facts"],
                duration=data["duration"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            # An unreadable stamp proves nothing; the stage runs again and replaces it.
            return None

    def require(self, stage: str) -> Stamp:
        """Read the stamp of an earlier stage.

        :raises DocumentError: The stage has not run in this build directory.
        """
        stamp = self.stamp(stage)
        if stamp is None:
            raise DocumentError(
                f"The stage {stage} has not been completed in {self.path}.",
                remedy=f"Run the module os_image.composer.{stage} for this build directory first.",
            )
        return stamp

    def release_outputs(self, stage: str, *paths: str) -> None:
        """Remove files that a stage left in the build directory; the stage's stamp stays good without them.

        :func:`restore_outputs` makes them again when somebody needs them after all.

        :param paths: Absolute paths of outputs; without any, all that lie in the build directory.
        """
        document = self.join("stages", f"{stage}.json")
        with open(document, encoding="utf-8") as stream:
            data = parse_json(stream.read())
        released = [
            output
            for output in data["outputs"]
            if not os.path.isabs(output["path"]) and (not paths or self.join(output["path"]) in paths)
        ]
        if not released:
            return
        for output in released:
            output["released"] = True
        # The stamp first: a file that is released but still there is checked like any other.
        write_json(document, data, mode=0o600)
        for output in released:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(self.join(output["path"]))

    def read_document(self, name: str) -> Facts:
        """Read a document that an earlier stage left, and check that nobody changed it since.

        :param name: A key of C(DOCUMENT_PRODUCERS).
        :raises DocumentError: It is missing, of another form, or not what the stage wrote.
        """
        producer = DOCUMENT_PRODUCERS[name]
        stamp = self.require(producer)
        remedy = f"Run the module os_image.composer.{producer} again."
        try:
            with open(self.join(name), "rb") as stream:
                data = stream.read()
        except OSError as exc:
            raise DocumentError(f"Cannot read {self.join(name)}: {exc.strerror}.", remedy=remedy) from exc
        if sha256_bytes(data) != stamp.sha256_of(name):
            raise DocumentError(f"{self.join(name)} is not what {producer} wrote.", remedy=remedy)
        document = parse_json(data)
        if document.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError(
                f"{self.join(name)} has the form {document.get('schema_version')!r}, not {SCHEMA_VERSION}.",
                remedy=remedy,
            )
        return t.cast(Facts, document)


__all__ = ("DOCUMENT_PRODUCERS", "SCHEMA_VERSION", "BuildDirectory", "Facts", "Output", "Stamp")
