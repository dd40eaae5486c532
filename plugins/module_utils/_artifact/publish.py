# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Publication: a set of files gets its final names together, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.access import Access
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, OwnershipError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json, sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory

CHECKSUMS = "SHA256SUMS"
#: The signatures that there may be, by what is behind the names of signed files: of OpenPGP, and of CMS.
SIGNATURE_SUFFIXES = (".asc", ".p7s")

_CHECKSUM_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>[^/\n\\]+)")
# What artifacts have behind the name and version of their image.
_ARTIFACT_SUFFIX = r"\.[A-Za-z0-9.]{1,40}"


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file of the output directory.

    :ivar name: Its final name.
    :ivar staged: Whether it lies in the staging directory; if not, it has its final name already.
    """

    name: str
    size: int
    sha256: str
    staged: bool = True


class Signer(t.Protocol):
    """Who signs C(SHA256SUMS).

    :ivar suffix: One of :data:`SIGNATURE_SUFFIXES`.
    """

    fingerprint: str
    suffix: str

    def sign(self, data: bytes) -> bytes:
        """Return a detached signature."""

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a detached signature is a good one of this signer."""


class Staging:
    """A directory inside the output directory in which files are made before they get their final names."""

    def __init__(self, output_dir: str, path: str) -> None:
        self.output_dir = output_dir
        self.path = path

    def join(self, name: str) -> str:
        """Return the path at which the file that will be called C(name) is made."""
        return os.path.join(self.path, name)

    def final(self, name: str) -> str:
        """Return the path that the file will have."""
        return os.path.join(self.output_dir, name)

    def write(self, name: str, data: bytes) -> PublishedFile:
        """Make a file from bytes."""
        with open(self.join(name), "xb") as stream:
            stream.write(data)
        return PublishedFile(name, len(data), sha256_bytes(data))


def _remove_abandoned(output_dir: str, prefix: str) -> None:
    """Remove staging directories whose process is dead: nobody holds their lock."""
    for path in glob.glob(os.path.join(glob.escape(output_dir), glob.escape(prefix) + "*")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            # A living process works in there.
            continue
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def staging(output_dir: str, base_name: str, *, is_shared: bool = False) -> t.Iterator[Staging]:
    """Make a staging directory for the block; whatever is left in it goes away at the end.

    :param output_dir: Made when it does not exist.
    :param base_name: The image's name and version.
    :param is_shared: Whether others may write into the output directory, too.
    :raises OwnershipError: They may not, but can.
    :raises ArtifactError: The output directory cannot be made or written to.
    """
    if not is_shared:
        try:
            require_own_directory(output_dir, what="output directory")
        except OwnershipError as exc:
            raise OwnershipError(str(exc), remedy="Where others shall publish too, set output_shared: true.") from exc
    prefix = f".{base_name}.part-"
    try:
        os.makedirs(output_dir, mode=0o755, exist_ok=True)
        _remove_abandoned(output_dir, prefix)
        path = tempfile.mkdtemp(dir=output_dir, prefix=prefix)
    except OSError as exc:
        raise ArtifactError(
            f"The output directory {output_dir} cannot be used: {exc.strerror}.",
            remedy="Give output_dir a directory in which the module may write.",
        ) from exc
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Staging(output_dir, path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def manifest_name(base_name: str) -> str:
    """Return the manifest's file name."""
    return f"{base_name}.manifest.json"


def others_in(output_dir: str, base_name: str) -> bool:
    """Tell whether another image, or another version, is published in the same directory."""
    own = manifest_name(base_name)
    return any(name.endswith(".manifest.json") and name != own for name in os.listdir(output_dir))


def _previous_artifacts(output_dir: str, base_name: str) -> set[str]:
    """Return the names of the artifacts that the manifest of the last publication lists, and what enrols its keys."""
    try:
        with open(os.path.join(output_dir, manifest_name(base_name)), encoding="utf-8") as stream:
            manifest = parse_json(stream.read())
        names = {artifact["path"] for artifact in manifest["artifacts"]}
        names.update((manifest.get("secure_boot") or {}).get("files", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    # A manifest that somebody edited must not make us remove files that are not of this image.
    own = re.compile(re.escape(base_name) + _ARTIFACT_SUFFIX)
    return {name for name in names if isinstance(name, str) and own.fullmatch(name)}


def _read_existing(output_dir: str, name: str) -> bytes:
    """Return a file of the last publication; nothing when there is none."""
    with contextlib.suppress(OSError), open(os.path.join(output_dir, name), "rb") as stream:
        return stream.read()
    return b""


def _checksums_of_others(output_dir: str, own: t.Collection[str]) -> t.Dict[str, str]:
    """Return the digests that C(SHA256SUMS) has of other files that lie in the directory, by name."""
    others = {}
    with contextlib.suppress(UnicodeDecodeError):
        for line in _read_existing(output_dir, CHECKSUMS).decode("utf-8").splitlines():
            match = _CHECKSUM_LINE.fullmatch(line)
            if match and match["name"] not in own and os.path.exists(os.path.join(output_dir, match["name"])):
                others[match["name"]] = match["sha256"]
    return others


def _check_signature(output_dir: str, others: t.Collection[str], signer: Signer | None) -> None:
    """Refuse to vouch for what somebody else has put into the directory, and to take a signature from it.

    :raises ArtifactError: The other files are not signed by the same signer, or are and would lose that.
    """
    signatures = {suffix: _read_existing(output_dir, CHECKSUMS + suffix) for suffix in SIGNATURE_SUFFIXES}
    if not others or (signer is None and not any(signatures.values())):
        return
    where = f"The output directory {output_dir} holds files of other images ({', '.join(sorted(others)[:3])}, ...)"
    if signer is None:
        raise ArtifactError(
            f"{where} whose {CHECKSUMS} is signed; this image has no key to sign it again.",
            remedy="Give another output_dir, or the key of those images in systemConfig.signing.checksums.",
        )
    signature = signatures[signer.suffix]
    if not signature or not signer.has_signed(_read_existing(output_dir, CHECKSUMS), signature):
        raise ArtifactError(
            f"{where} whose {CHECKSUMS} is not signed with the key {signer.fingerprint}; a signature would vouch for "
            "them too.",
            remedy="Give another output_dir.",
        )


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(
    stage: Staging,
    base_name: str,
    files: t.Sequence[PublishedFile],
    *,
    who: str,
    lock_timeout: float,
    signer: Signer | None = None,
    optional: t.Collection[str] = (),
    access: Access | None = None,
) -> t.List[PublishedFile]:
    """Give the staged files their final names, all or none, and write C(SHA256SUMS) last.

    Artifacts that the last publication of the same image and version left, and that this one does not have, are
    removed. Whoever reads the directory meanwhile sees whole files only, and the set is complete when the checksums
    are right.

    :param files: In the order in which they appear; those with C(staged=False) stay as they are.
    :param access: Who may do what with the files.
    :param signer: Who signs the checksums, in C(SHA256SUMS.asc) or C(SHA256SUMS.p7s); V(None) when nobody does.
    :param optional: The names of documents that an image may have: those that this one has not any more are removed.
    :returns: The checksums file, and its signature when there is one.
    :raises ArtifactError: It was not possible; the output directory is as it was.
    """
    directory = stage.output_dir
    access = access or Access()
    with file_lock(
        os.path.join(directory, ".lock"), what=f"output directory {directory}", who=who, timeout=lock_timeout
    ):
        own = {file.name: file.sha256 for file in files}
        stale = {*_previous_artifacts(directory, base_name), *optional} - own.keys()
        others = _checksums_of_others(directory, own.keys() | stale)
        _check_signature(directory, others, signer)
        lines = sorted({**others, **own}.items())
        content = "".join(f"{sha256}  {name}\n" for name, sha256 in lines).encode("utf-8")
        checksums = [stage.write(CHECKSUMS, content)]
        stale |= {CHECKSUMS + suffix for suffix in SIGNATURE_SUFFIXES}
        if signer is not None:
            checksums.append(stage.write(CHECKSUMS + signer.suffix, signer.sign(content)))
            stale.discard(CHECKSUMS + signer.suffix)
        moves = [file.name for file in [*files, *reversed(checksums)] if file.staged]
        try:
            for name in moves:
                if os.path.isdir(stage.final(name)) and not os.path.islink(stage.final(name)):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), stage.final(name))
                access.give(stage.join(name), directory)
                _sync(stage.join(name))
            _move_all(stage, moves)
            for file in files:
                if not file.staged:
                    access.give(stage.final(file.name), directory)
        except OSError as exc:
            raise ArtifactError(
                f"The artifacts cannot be published in {directory}: {exc.strerror}: {exc.filename}.",
                remedy="What was there before is unchanged. Clear the reason away and run the stage again.",
            ) from exc
        for name in stale:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(stage.final(name))
        _sync(directory)
    return checksums


def _move_all(stage: Staging, names: t.Sequence[str]) -> None:
    """Rename the files; when one fails, or the module is told to end, put the old ones back."""
    undo = contextlib.ExitStack()
    with undo:
        for number, name in enumerate(names):
            old = stage.join(f".old-{number}")
            try:
                os.link(stage.final(name), old, follow_symlinks=False)
            except FileNotFoundError:
                undo.callback(_unlink_quietly, stage.final(name))
            except OSError:
                # A file system without hard links: the name is free for a moment.
                os.rename(stage.final(name), old)
                undo.callback(os.rename, old, stage.final(name))
            else:
                undo.callback(os.rename, old, stage.final(name))
            os.rename(stage.join(name), stage.final(name))
        undo.pop_all()


def _unlink_quietly(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


__all__ = (
    "CHECKSUMS",
    "SIGNATURE_SUFFIXES",
    "PublishedFile",
    "Signer",
    "Staging",
    "manifest_name",
    "others_in",
    "publish",
    "staging",
)
