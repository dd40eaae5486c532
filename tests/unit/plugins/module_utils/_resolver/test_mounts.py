# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.mounts import require_mount_helpers
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template


def document(fs_type: str) -> TemplateDocument:
    mount = {"fsType": fs_type, "source": "nas:/export", "mountPoint": "/srv"}
    return TemplateDocument(
        provider_id="debian-debian12-x86_64",
        provider_data=whole_provider(),
        template=whole_template(disk={"mounts": [mount]}),
        files={},
        cache_dir="/c",
        work_dir="/w",
        config_dir="/config",
    )


@pytest.mark.parametrize(
    ("fs_type", "missing", "package"),
    [("nfs4", "nfs-common or nfs-utils", "nfs-utils"), ("cifs", "cifs-utils", "cifs-utils"), ("tmpfs", "", "")],
)
def test_the_program_that_mounts_is_in_a_package(fs_type: str, missing: str, package: str) -> None:
    given = document(fs_type)
    if missing:
        message = rf"disk\.mounts\[0\] mounts nas:/export by {fs_type}, for which mount needs .* call it {missing}\."
        with pytest.raises(ResolveError, match=message):
            require_mount_helpers(given, {"packages": [{"name": "base-files"}]})
    require_mount_helpers(given, {"packages": [{"name": package}]})
