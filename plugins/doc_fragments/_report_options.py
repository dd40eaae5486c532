# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  report_file:
    description:
      - A file on the target that gets the whole report as JSON. Its directory must exist.
      - Results of modules have to be small. The lists of a long report are cut in the result, and RV(ignore:left_out)
        says so; in this file they are whole.
    type: path
  temp_dir:
    description:
      - A directory on the target for temporary files. Images that are compressed, or not raw, are unpacked there as
        sparse files, which take as much space as the images have data.
    type: path
    default: /var/tmp
notes:
  - What is in the image is not mounted, no loop device and no network block device is used, and root is not needed.
    Whatever reads an image runs in a sandbox, as nobody, sees of the target only the image and installed programs, and
    has a time limit. Without root this needs a kernel that lets users create user namespaces.
  - What is on FAT and erofs is taken out into memory, half of what is available at most. Files are read by debugfs
    (ext2, ext3, ext4), mtools (FAT), unsquashfs (squashfs), fsck.erofs (erofs) and xorriso (ISO). What is in other file
    systems, such as xfs and btrfs, is told to be unknown.
  - An image that refers to other files (a backing file, extents of VMDK) is refused.
"""
