# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Layers of installed trees, kept by the digest of what they hold.

    {store}/{digest}/root        the tree, as a layer of an overlay
    {store}/{digest}/layer.json  what it is; its modification time is when the layer was last used
    {store}/{digest}/comparison.json  which of its files are others when it is made a second time, once somebody asked
    {store}/{digest}/lock        see P(tree.LAYER_LOCK)
    {store}/.tmp-*               layers that are being built, or that a killed build has left

A layer is built under a temporary name and renamed when it is whole. So whatever has the name of a digest is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import stat
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.private_keys import private_key_in
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import LAYER_LOCK
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree_difference import differing_files
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import write_json
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, remove_tree

#: Raised whenever the same packages or settings give another layer than before.
LAYER_VERSION = 9

#: How much the layers of a provider may take; beyond it the least recently used are removed.
SIZE_LIMIT = 24 << 30

#: The bytes that a path in a tree may have. What reads whole trees has limits of its own, and mke2fs writes over memory
#: that is not its own before it comes to what the kernel takes.
LONGEST_PATH = 1024

_SCHEMA_VERSION = 1
_DOCUMENT = "layer.json"
_COMPARISON = "comparison.json"
_TEMPORARY = ".tmp-"
_BUILDING = ".building-"
_STORE_LOCK = ".lock"
_BUILD_TIMEOUT = 3600

# Cheap evidence that nobody has worked in a layer: these files change with every package and every account.
_WITNESSES = ("var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "etc/passwd", "etc/hostname")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A finished layer.

    :ivar name: What it is: V(chrootenv), V(packages), V(configuration), V(initramfs).
    :ivar root: Absolute path of its tree.
    :ivar size: The bytes that it takes.
    :ivar private_keys: The files in it that hold private keys, by their paths: of what kind, in words.
    :ivar notes: See :class:`Draft`.
    """

    name: str
    digest: str
    root: str
    size: int
    private_keys: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def document(self) -> str:
        """The path of its document."""
        return os.path.join(os.path.dirname(self.root), _DOCUMENT)


@dataclasses.dataclass(frozen=True)
class Draft:
    """A layer that is being built.

    :ivar root: The directory that becomes the layer's tree.
    :ivar work: An empty directory for overlayfs.
    :ivar notes: What is known of the layer from having made it, JSON types by name.
    """

    root: str
    work: str
    notes: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)


class LayerStore:
    """The layers of one provider.

    :param directory: C({work_dir}/{provider_id}/chrootenv).
    :param who: Who uses the store, for the messages of others.
    """

    def __init__(self, directory: str, *, who: str, size_limit: int = SIZE_LIMIT) -> None:
        self.directory = directory
        self._who = who
        self._size_limit = size_limit

    def get_or_build(
        self, name: str, digest: str, build: t.Callable[[Draft], None], *, newest: int
    ) -> tuple[Layer, bool]:
        """Return a layer, and whether it was there; otherwise it is built, by one process at a time.

        :param name: See :class:`Layer`.
        :param build: Fills the tree of the layer.
        :param newest: See :meth:`draft`.
        :raises ChrootError: The layer cannot be written.
        """
        with self._building(digest):
            layer = self.find(digest)
            if layer is not None:
                return layer, True
            with self.draft(name, digest, newest=newest) as draft:
                build(draft)
            layer = self.find(digest)
        if layer is None:
            raise ChrootError(f"The layer {digest} has gone right after it was made.", remedy="Run the stage again.")
        return layer, False

    def find(self, digest: str) -> Layer | None:
        """Return a layer that is there and intact, and note that it is used."""
        layer = self._read(digest)
        if layer is not None:
            with contextlib.suppress(OSError):
                os.utime(layer.document)
        return layer

    def _read(self, digest: str) -> Layer | None:
        home = os.path.join(self.directory, digest)
        try:
            with open(os.path.join(home, _DOCUMENT), encoding="utf-8") as stream:
                data = json.load(stream)
            root = os.path.join(home, "root")
            files = TreeFiles(root)
            if data["schema_version"] != _SCHEMA_VERSION or data["digest"] != digest:
                return None
            if _entries(root) != data["entries"]:
                return None
            for path, sha256 in data["witnesses"].items():
                if files.sha256(path) != sha256:
                    return None
            return Layer(data["name"], digest, root, data["size"], data["private_keys"], data["notes"])
        except (ChrootError, OSError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def _building(self, digest: str) -> t.Iterator[None]:
        """Let only one process at a time build the layer; the others wait, and find it."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        path = os.path.join(self.directory, f"{_BUILDING}{digest}")
        with file_lock(path, what=f"layer {digest[:12]}", who=self._who, timeout=_BUILD_TIMEOUT):
            try:
                yield
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    @contextlib.contextmanager
    def draft(self, name: str, digest: str, *, newest: int) -> t.Iterator[Draft]:
        """Build a layer: it gets its name when the block ends well, and is removed otherwise.

        :param newest: Modification times after this time are cut to it.
        """
        home, lock = self._temporary()
        try:
            draft = Draft(os.path.join(home, "root"), os.path.join(home, "work"))
            os.mkdir(draft.root, 0o755)
            os.mkdir(draft.work, 0o700)
            yield draft
            remove_tree(draft.work)
            size, private_keys = _settle(draft.root, newest)
            files = TreeFiles(draft.root)
            document = {
                "schema_version": _SCHEMA_VERSION,
                "name": name,
                "digest": digest,
                "size": size,
                "private_keys": private_keys,
                "notes": draft.notes,
                "entries": _entries(draft.root),
                "witnesses": {path: files.sha256(path) for path in _WITNESSES if files.is_file(path)},
            }
            write_json(os.path.join(home, _DOCUMENT), document)
            self._publish(home, digest)
        except OSError as exc:
            raise ChrootError(f"The layer {name} of the root tree cannot be written: {exc}.") from exc
        finally:
            # Gone under this name when it was published.
            remove_tree(home, ignore_errors=True)
            os.close(lock)

    def compare(self, layer: Layer, build: t.Callable[[Draft], None]) -> list[str]:
        """Return the paths of a layer that are others when it is made a second time, sorted.

        :param build: Fills the tree of the layer, from nothing.
        """
        known = os.path.join(os.path.dirname(layer.root), _COMPARISON)
        with self._building(layer.digest):
            with contextlib.suppress(OSError, ValueError), open(known, encoding="utf-8") as stream:
                return [str(path) for path in json.load(stream)]
            home, lock = self._temporary()
            try:
                again = Draft(os.path.join(home, "root"), os.path.join(home, "work"))
                os.mkdir(again.root, 0o755)
                os.mkdir(again.work, 0o700)
                build(again)
                found = [_written(path) for path in differing_files(layer.root, again.root)]
                write_json(known, found)
            except OSError as exc:
                raise ChrootError(f"The layer {layer.name} cannot be made a second time: {exc}.") from exc
            finally:
                remove_tree(home, ignore_errors=True)
                os.close(lock)
        return found

    def _temporary(self) -> tuple[str, int]:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with self._exclusive():
            self._remove_abandoned()
            home = tempfile.mkdtemp(dir=self.directory, prefix=_TEMPORARY)
            # Held while the layer is built: an abandoned directory is one whose lock nobody holds.
            lock = os.open(os.path.join(home, LAYER_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return home, lock

    def _publish(self, home: str, digest: str) -> None:
        final = os.path.join(self.directory, digest)
        with self._exclusive():
            if self._read(digest) is not None:
                return
            if os.path.lexists(final):
                self._discard(final)
            os.rename(home, final)

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        path = os.path.join(self.directory, _STORE_LOCK)
        return file_lock(path, what=f"layer store {self.directory}", who=self._who, timeout=_BUILD_TIMEOUT)

    def _remove_abandoned(self) -> None:
        for entry in os.scandir(self.directory):
            if entry.name.startswith(_TEMPORARY) and not _is_locked(entry.path):
                remove_tree(entry.path, ignore_errors=True)

    def _discard(self, home: str) -> None:
        doomed = tempfile.mkdtemp(dir=self.directory, prefix=_TEMPORARY)
        os.rename(home, os.path.join(doomed, "doomed"))
        remove_tree(doomed, ignore_errors=True)

    def prune(self, keep: t.Collection[str]) -> list[str]:
        """Remove the least recently used layers until the rest fits the limit; returns their digests.

        :param keep: Digests of layers that stay in any case; layers that somebody has mounted stay as well.
        """
        if not os.path.isdir(self.directory):
            return []
        with self._exclusive():
            self._remove_abandoned()
            layers = []
            for entry in os.scandir(self.directory):
                if entry.name.startswith("."):
                    continue
                layer = self._read(entry.name)
                if layer is not None:
                    layers.append((os.stat(layer.document).st_mtime_ns, layer))
            total = sum(layer.size for _used, layer in layers)
            removed = []
            for _used, layer in sorted(layers, key=lambda item: item[0]):
                if total <= self._size_limit:
                    break
                home = os.path.dirname(layer.root)
                if layer.digest in keep or _is_locked(home):
                    continue
                self._discard(home)
                total -= layer.size
                removed.append(layer.digest)
            return removed


def _entries(root: str) -> list[str]:
    return sorted(_written(name) for name in os.listdir(root))


def _is_locked(home: str) -> bool:
    try:
        descriptor = os.open(os.path.join(home, LAYER_LOCK), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _written(path: str) -> str:
    r"""Return a path as documents have it: bytes that are no UTF-8 are written as C(\\xe9)."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _settle(root: str, newest: int) -> tuple[int, dict[str, str]]:
    """Cut all modification times to C(newest); returns the bytes that the tree takes, and its private keys.

    :raises ChrootError: A path is longer than any program expects.
    """
    size = 0
    limit = newest * 1_000_000_000
    private_keys = {}
    pending = [root]
    while pending:
        directory = pending.pop()
        place = directory[len(root) :]
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    path = f"{place}/{entry.name}"
                    if len(os.fsencode(path)) > LONGEST_PATH:
                        raise ChrootError(
                            f"A path in the root tree has more than {LONGEST_PATH} bytes; it begins with "
                            f"{path[:60]!r}.",
                            remedy="Look for the package or script that has made it.",
                        )
                    status = entry.stat(follow_symlinks=False)
                    size += status.st_blocks * 512
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                    elif stat.S_ISREG(status.st_mode):
                        kind = private_key_in(descriptor, entry.name, path, status.st_size)
                        if kind:
                            private_keys[_written(path)] = kind
                    if status.st_mtime_ns > limit:
                        os.utime(entry.path, ns=(limit, limit), follow_symlinks=False)
        finally:
            os.close(descriptor)
    os.utime(root, ns=(limit, limit))
    return size, dict(sorted(private_keys.items()))


__all__ = ("LAYER_VERSION", "LONGEST_PATH", "SIZE_LIMIT", "Draft", "Layer", "LayerStore")
