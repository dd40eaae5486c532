# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layers: whole or not there, shared, and removed when they are not used."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Stamp
from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import Draft, Layer, LayerStore
from ansible_collections.os_image.composer.plugins.module_utils._chroot.shared_secrets import shared_secrets
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, DocumentError
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, PYTHON_ENVIRONMENT, needs_root

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> LayerStore:
    """Return an empty store with room for two of the layers below."""
    return LayerStore(str(tmp_path / "store"), who="test", size_limit=250_000)


def make(store: LayerStore, digest: str, *, used: int | None = None, **files: str) -> None:
    """Make a layer of about 100 kB."""
    with store.draft("layer", digest, newest=EPOCH) as draft:
        pathlib.Path(draft.root, "bulk").write_bytes(b"x" * 100_000)
        for name, content in files.items():
            path = pathlib.Path(draft.root, name.replace("__", "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    if used is not None:
        os.utime(os.path.join(store.directory, digest, "layer.json"), (used, used))


def names(store: LayerStore) -> list[str]:
    """Return the names in the store that are not its own."""
    return sorted(name for name in os.listdir(store.directory) if name != ".lock")


def test_a_finished_layer_is_found(store: LayerStore) -> None:
    assert store.find(A) is None
    make(store, A, etc__hostname="x")
    layer = store.find(A)
    assert layer is not None
    assert (layer.name, layer.digest) == ("layer", A)
    assert sorted(os.listdir(layer.root)) == ["bulk", "etc"]
    assert layer.size >= 100_000


def test_a_layer_is_built_once(store: LayerStore) -> None:
    def build(draft: Draft) -> None:
        pathlib.Path(draft.root, "made").touch()

    def build_again(draft: Draft) -> None:
        raise AssertionError("The layer is there.")

    layer, found = store.get_or_build("layer", A, build, newest=EPOCH)
    assert (layer.name, os.listdir(layer.root), found) == ("layer", ["made"], False)
    assert store.get_or_build("layer", A, build_again, newest=EPOCH) == (layer, True)
    assert names(store) == [A]


def test_only_one_process_builds_a_layer(store: LayerStore) -> None:
    """The second one waits for the first, and finds what it has built."""
    first = threading.Event()
    built = []

    def build(draft: Draft) -> None:
        built.append(draft)
        first.set()
        time.sleep(0.3)

    def get_or_build() -> tuple[Layer, bool]:
        return store.get_or_build("layer", A, build, newest=EPOCH)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(get_or_build)
        assert first.wait(10)
        other = pool.submit(get_or_build)
        assert (one.result()[1], other.result()[1]) == (False, True)
    assert len(built) == 1


def test_a_layer_that_goes_at_once_is_named(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "find", lambda digest: None)
    with pytest.raises(ChrootError, match=f"The layer {A} has gone right after it was made. Run the stage again"):
        store.get_or_build("layer", A, lambda draft: None, newest=EPOCH)


def test_times_are_cut(store: LayerStore) -> None:
    make(store, A, etc__hostname="x")
    layer = store.find(A)
    assert layer is not None
    times = {os.lstat(os.path.join(layer.root, name)).st_mtime for name in ("", "bulk", "etc", "etc/hostname")}
    assert times == {EPOCH}


def test_a_failed_build_leaves_nothing(store: LayerStore) -> None:
    with pytest.raises(RuntimeError, match="broken"), store.draft("layer", A, newest=EPOCH) as draft:
        pathlib.Path(draft.root, "half").touch()
        raise RuntimeError("broken")
    assert store.find(A) is None
    assert names(store) == []


def test_paths_without_an_end_are_refused_and_removed(store: LayerStore) -> None:
    """A script makes directories in directories; nothing of it is left, and the next build is not stopped by it."""

    def nest(directory: str, name: str, depth: int) -> None:
        current = os.open(directory, os.O_RDONLY)
        for _number in range(depth):
            os.mkdir(name, dir_fd=current)
            inner = os.open(name, os.O_RDONLY, dir_fd=current)
            os.close(current)
            current = inner
        os.close(current)

    for name, depth in (("d", 3000), ("x" * 250, 5)):
        with (
            pytest.raises(
                ChrootError, match=r"A path in the root tree has more than 1024 bytes; it begins with '/(d/d|x)"
            ),
            store.draft("layer", A, newest=EPOCH) as draft,
        ):
            nest(draft.root, name, depth)
        assert names(store) == []
    make(store, A, **{"__".join(["x" * 250] * 4): "content"})
    with pytest.raises(RuntimeError), store.draft("layer", B, newest=EPOCH) as draft:
        nest(draft.root, "d", 3000)
        raise RuntimeError
    assert names(store) == [A]


def test_a_full_disk_is_a_message(store: LayerStore) -> None:
    message = "The layer layer of the root tree cannot be written: .*No space left"
    with pytest.raises(ChrootError, match=message), store.draft("layer", A, newest=EPOCH):
        raise OSError(28, "No space left on device")


def test_a_killed_build_is_removed_by_the_next_one(store: LayerStore, tmp_path: pathlib.Path) -> None:
    script = (
        "import os, signal\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._chroot.layers import LayerStore\n"
        f"with LayerStore({store.directory!r}, who='x').draft('layer', {A!r}, newest=0) as draft:\n"
        "    open(draft.root + '/half', 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], env=PYTHON_ENVIRONMENT, check=False)
    assert len([name for name in names(store) if name.startswith(".tmp-")]) == 1
    assert store.find(A) is None
    make(store, B)
    assert names(store) == [B]


def test_a_build_that_runs_is_left_alone(store: LayerStore) -> None:
    with store.draft("layer", A, newest=EPOCH) as draft:
        pathlib.Path(draft.root, "half").touch()
        make(store, B)
        assert os.path.exists(os.path.join(draft.root, "half"))
    assert names(store) == [A, B]


def test_a_changed_layer_is_not_used_and_made_again(store: LayerStore) -> None:
    make(store, A, etc__hostname="x")
    pathlib.Path(store.directory, A, "root/etc/hostname").write_text("y")
    assert store.find(A) is None
    make(store, A, etc__hostname="x")
    assert store.find(A) is not None


def test_the_least_recently_used_goes_first(store: LayerStore) -> None:
    for number, digest in enumerate((A, B, C)):
        make(store, digest, used=1000 + number)
    assert store.find(A) is not None
    assert store.prune(keep=()) == [B]
    assert names(store) == [A, C]


def test_kept_layers_stay(store: LayerStore) -> None:
    for number, digest in enumerate((A, B, C)):
        make(store, digest, used=1000 + number)
    assert store.prune(keep=(A, B)) == [C]


def test_pruning_an_empty_store_does_nothing(store: LayerStore) -> None:
    assert store.prune(keep=()) == []
    assert not os.path.exists(store.directory)


@needs_root
def test_mounted_layers_stay(store: LayerStore) -> None:
    for number, digest in enumerate((A, B, C)):
        make(store, digest, used=1000 + number)
    with RootTree([os.path.join(store.directory, A, "root")]).mounted():
        assert store.prune(keep=()) == [B]
    assert store.prune(keep=()) == []


@needs_root
def test_layers_are_shown_as_one_tree(store: LayerStore, tmp_path: pathlib.Path) -> None:
    make(store, A, etc__low="low", etc__both="low")
    make(store, B, etc__both="high")
    tree = RootTree([os.path.join(store.directory, digest, "root") for digest in (A, B)])
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    with tree.mounted() as reading, tree.mounted(upper=str(upper), work=str(work)) as writing:
        assert pathlib.Path(reading, "etc/both").read_text() == "high"
        with pytest.raises(OSError, match="Read-only file system"):
            pathlib.Path(reading, "etc/new").touch()
        pathlib.Path(writing, "etc/new").write_text("new")
        os.unlink(os.path.join(writing, "etc/low"))
    assert pathlib.Path(upper, "etc/new").read_text() == "new"
    with RootTree([*tree.layers, str(upper)]).mounted() as both:
        assert sorted(os.listdir(os.path.join(both, "etc"))) == ["both", "new"]
    host = subprocess.run(["cat", f"/proc/{os.getppid()}/mounts"], stdout=subprocess.PIPE, check=False).stdout
    assert store.directory.encode() not in host


def _stamp(*paths: str) -> Stamp:
    layers: list[dict[str, t.Any]] = [{"name": "x", "digest": A, "path": path} for path in paths]
    return Stamp("chroot_configure", "", {}, (), {"layers": layers}, {}, 0.0)


def test_a_stamp_gives_the_tree(store: LayerStore) -> None:
    make(store, A)
    path = os.path.join(store.directory, A, "root")
    assert RootTree.from_stamp(_stamp(path)).layers == (path,)


def test_a_pruned_layer_is_named() -> None:
    with pytest.raises(DocumentError, match="The layer /gone/root of the root tree no longer exists. Run the module"):
        RootTree.from_stamp(_stamp("/gone/root"))


def test_a_draft_starts_empty(store: LayerStore) -> None:
    with store.draft("layer", A, newest=EPOCH) as draft:
        assert isinstance(draft, Draft)
        assert (os.listdir(draft.root), os.listdir(draft.work)) == ([], [])


# Private keys and second layers


def test_private_keys_of_a_layer_are_known(store: LayerStore) -> None:
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519"], check=True, stdout=subprocess.PIPE, text=True)
    make(store, A, etc__own__key=key.stdout, etc__hostname="x")
    layer = store.find(A)
    assert layer is not None
    assert layer.private_keys == {"/etc/own/key": "a private key (PEM)"}


def test_names_that_are_no_utf_8_can_be_written_down(store: LayerStore) -> None:
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519"], check=True, stdout=subprocess.PIPE).stdout
    with store.draft("layer", A, newest=EPOCH) as draft:
        pathlib.Path(draft.root, os.fsdecode(b"cl\xe9")).write_bytes(key)
    layer = store.find(A)
    assert layer is not None
    assert layer.private_keys == {"/cl\\xe9": "a private key (PEM)"}
    assert store.compare(layer, lambda draft: None) == ["/cl\\xe9"]
    assert shared_secrets([layer], differing={}, has_writable_etc=True) == [
        "All machines that are made from the image share /cl\\xe9, a private key (PEM)."
    ]


def test_notes_of_a_layer_are_kept(store: LayerStore) -> None:
    with store.draft("layer", A, newest=EPOCH) as draft:
        draft.notes["made"] = {"/etc/key": "a unit"}
    layer = store.find(A)
    assert layer is not None
    assert layer.notes == {"made": {"/etc/key": "a unit"}}


def test_a_second_layer_is_compared_once_and_removed(store: LayerStore) -> None:
    make(store, A, etc__hostname="x")
    layer = store.find(A)
    assert layer is not None
    before = names(store)
    times = 0

    def again(draft: Draft) -> None:
        nonlocal times
        times += 1
        pathlib.Path(draft.root, "bulk").write_bytes(b"x" * 100_000)
        pathlib.Path(draft.root, "etc").mkdir()
        pathlib.Path(draft.root, "etc/hostname").write_text("y")

    assert store.compare(layer, again) == ["/etc/hostname"]
    assert store.compare(layer, again) == ["/etc/hostname"]
    assert (times, names(store)) == (1, before)
