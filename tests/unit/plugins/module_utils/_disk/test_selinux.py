# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SELinux labels: the choice is that of libselinux, and they get onto the disk."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import ATTRIBUTE, FileContexts
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.disk_judges import extract, judge, partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import ESP, compose, make_tree

CONTEXTS = r"""
# As in the reference policy.
/.*                              system_u:object_r:default_t:s0
/[^/]+                   --      system_u:object_r:etc_runtime_t:s0
/                        -d      system_u:object_r:root_t:s0
/a?quota\.(user|group)   --      system_u:object_r:quota_db_t:s0
/bin                     -l      system_u:object_r:bin_t:s0
/etc(/.*)?                       system_u:object_r:etc_t:s0
/etc/[^/]*-?shadow.*     --      system_u:object_r:shadow_t:s0
/etc/ld\.so\.cache       --      system_u:object_r:ld_so_cache_t:s0
/etc/ld\.so.*            --      system_u:object_r:wrong_t:s0
/lib(64)?/x|/opt/x               system_u:object_r:odd_t:s0
/usr(/.*)?                       system_u:object_r:usr_t:s0
/usr/(.*/)?bin(/.*)?             system_u:object_r:bin_t:s0
/usr/(.*/)?lib(/.*)?             system_u:object_r:lib_t:s0
/usr/lib/systemd/.*      --      system_u:object_r:systemd_t:s0
/var/log(/.*)?                   system_u:object_r:var_log_t:s0
/var/run/.*                      system_u:object_r:var_run_t:s0
/proc(/.*)?                      <<none>>
"""
PATHS = (
    *(("/", "dir"), ("/bin", "lnk_file"), ("/bin", "dir"), ("/file", "file"), ("/quota.user", "file")),
    *(("/aquota.group", "file"), ("/etc", "dir"), ("/etc/shadow-", "file"), ("/etc/gshadow", "file")),
    *(("/etc/ld.so.cache", "file"), ("/etc/ld.so.conf", "file"), ("/etc/ldxso.cache", "file"), ("/opt/x", "file")),
    *(("/lib64/x", "file"), ("/usr/bin/sh", "file"), ("/usr/local/bin", "dir"), ("/usr/lib/systemd/systemd", "file")),
    *(("/usr/share/lib/x", "file"), ("/run/x", "file"), ("/runx", "dir"), ("/var/log/messages", "file")),
)
KINDS = {"dir": stat.S_IFDIR, "file": stat.S_IFREG, "lnk_file": stat.S_IFLNK}


def policy(tree: pathlib.Path, *, mode: str = "enforcing", contexts: str = CONTEXTS) -> None:
    """Put a policy into a tree."""
    directory = tree / "etc/selinux/targeted/contexts/files"
    directory.mkdir(parents=True)
    (directory / "file_contexts").write_text(contexts)
    (directory / "file_contexts.subs_dist").write_text("# aliases\n/run /var/run\n")
    (tree / "etc/selinux/config").write_text(f"# comment\nSELINUX={mode}\nSELINUXTYPE=targeted\n")


def test_the_choice_is_that_of_libselinux(tmp_path: pathlib.Path) -> None:
    policy(tmp_path)
    contexts = FileContexts.of(TreeFiles(str(tmp_path)))
    assert contexts is not None
    path = tmp_path / "etc/selinux/targeted/contexts/files/file_contexts"
    for name, kind in PATHS:
        said = subprocess.run(
            ["matchpathcon", "-n", "-f", str(path), "-m", kind, name],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        assert contexts.label(name, KINDS[kind]) == said.strip(), name
    assert contexts.label("/proc", stat.S_IFDIR) is None


@pytest.mark.parametrize(
    ("mode", "is_enforced"), [("enforcing", True), ("Enforcing", True), ("permissive", False), ("PERMISSIVE", False)]
)
def test_the_mode_may_be_in_any_case(tmp_path: pathlib.Path, mode: str, is_enforced: bool) -> None:
    policy(tmp_path, mode=mode)
    contexts = FileContexts.of(TreeFiles(str(tmp_path)))
    assert contexts is not None
    assert contexts.is_enforced == is_enforced


@pytest.mark.parametrize("mode", ["disabled", ""])
def test_without_selinux_nothing_is_labelled(tmp_path: pathlib.Path, mode: str) -> None:
    assert FileContexts.of(TreeFiles(str(tmp_path))) is None
    policy(tmp_path, mode=mode)
    assert FileContexts.of(TreeFiles(str(tmp_path))) is None


def test_local_additions_count_more(tmp_path: pathlib.Path) -> None:
    policy(tmp_path)
    local = tmp_path / "etc/selinux/targeted/contexts/files/file_contexts.local"
    local.write_text("/var/log/own(/.*)?  system_u:object_r:own_t:s0\n")
    contexts = FileContexts.of(TreeFiles(str(tmp_path)))
    assert contexts is not None
    assert contexts.label("/var/log/own/x", stat.S_IFREG) == "system_u:object_r:own_t:s0"


@pytest.mark.parametrize("line", ["/etc(/.*?  system_u:object_r:x_t:s0", "/etc -x system_u:object_r:x_t:s0"])
def test_a_damaged_policy_is_an_error(tmp_path: pathlib.Path, line: str) -> None:
    policy(tmp_path, contexts=f"{line}\n")
    with pytest.raises(DiskError, match="The SELinux policy in the tree is damaged"):
        FileContexts.of(TreeFiles(str(tmp_path)))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_the_labels_are_on_the_disk(tmp_path: pathlib.Path) -> None:
    tree = make_tree(tmp_path / "tree")
    policy(tree)
    (tree / "usr/share").mkdir(exist_ok=True)
    (tree / "usr/share/big").write_bytes(os.urandom(1 << 20))
    composed = compose(tree, tmp_path / "out")
    for path, label in (
        ("/etc/fstab", "system_u:object_r:etc_t:s0"),
        ("/etc", "system_u:object_r:etc_t:s0"),
        ("/", "system_u:object_r:root_t:s0"),
        ("/usr/lib", "system_u:object_r:lib_t:s0"),
    ):
        assert label in composed.debugfs("rootfs", f"ea_get {path} security.selinux"), path
    # The layers are as they were.
    assert "security.selinux" not in os.listxattr(tree / "etc")
    # No content was copied for a label.
    assert (tmp_path / "out/upper/usr/share/big").stat().st_blocks * 512 <= 8192


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("fs_type", ["ext4", "ext3", "ext2", "xfs", "btrfs", "squashfs", "erofs"])
def test_everything_on_a_root_file_system_has_its_label(fs_type: str, tmp_path: pathlib.Path) -> None:
    tree = make_tree(tmp_path / "tree")
    policy(tree)
    root = {"id": "rootfs", "fsType": fs_type, "size": "content", "mountPoint": "/"}
    composed = compose(tree, tmp_path / "out", {"size": "content", "partitions": [ESP, root]})
    contexts = FileContexts.of(TreeFiles(str(tree)))
    assert contexts is not None
    entry = partition_table(composed.image)["partitions"][1]
    volume = extract(composed.image, entry, tmp_path / "root.img")
    wrong, count = {}, 0
    with mounted(volume, tmp_path / "mounted") as top:
        for parent, directories, names in os.walk(top):
            for name in (".", *directories, *names):
                path = os.path.normpath(os.path.join(parent, name))
                inside = "/" + os.path.relpath(path, top).lstrip(".")
                expected = contexts.label(inside, os.lstat(path).st_mode)
                try:
                    found = os.getxattr(path, ATTRIBUTE, follow_symlinks=False).rstrip(b"\0").decode()
                except OSError:
                    found = None
                count += 1
                if found != expected:
                    wrong[inside] = (found, expected)
        assert os.path.isdir(top / "lost+found") is fs_type.startswith("ext")
        if fs_type.startswith("ext"):
            assert stat.S_IMODE(os.stat(top / "lost+found").st_mode) == 0o700
    assert wrong == {}
    assert count > 300


@contextlib.contextmanager
def mounted(volume: pathlib.Path, where: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Mount a volume read-only for the block."""
    where.mkdir()
    judge("mount", "-o", "loop,ro", str(volume), str(where))
    try:
        yield where
    finally:
        judge("umount", str(where))
