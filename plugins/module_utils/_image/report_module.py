# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The ending of C(main()) that the modules that report on images share."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._image.report import Report, shorten, write_report
from ansible_collections.os_image.composer.plugins.module_utils._module import failing


def exit_with_report(module: AnsibleModule, report: Report, **values: str) -> t.NoReturn:
    """Write the report where C(report_file) asks for it, and return what of it fits.

    :param values: Of the result, beside the report.
    """
    changed = False
    if module.params["report_file"]:
        with failing(module):
            changed = write_report(module.params["report_file"], report, check_mode=module.check_mode)
    shortened, left_out = shorten(report)
    module.exit_json(changed=changed, left_out=left_out, **values, **shortened)


__all__ = ("exit_with_report",)
