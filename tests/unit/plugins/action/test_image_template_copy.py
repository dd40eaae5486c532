# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.os_image.composer.plugins.action.image_template_copy import ActionModule
from ansible_collections.os_image.composer.plugins.plugin_utils._template_bundle import Bundle

OPTIONS = {"work_dir": "/work", "keep": 5}


@pytest.mark.parametrize(
    ("answer", "check", "transfers"),
    [
        ({"changed": True, "restored": []}, False, 1),
        ({"changed": True, "restored": []}, True, 0),
        ({"changed": False, "restored": []}, False, 0),
        ({"changed": False, "restored": ["template/db.key"]}, False, 1),
        ({"changed": False, "restored": ["template/db.key"]}, True, 0),
        ({"failed": True}, False, 0),
    ],
)
def test_what_is_transferred(answer: dict[str, t.Any], check: bool, transfers: int) -> None:
    action: t.Any = ActionModule.__new__(ActionModule)
    action._task = types.SimpleNamespace(check_mode=check)
    action._connection = mock.MagicMock()
    action._transfer_file = mock.Mock()
    action._fixup_perms2 = mock.Mock()
    action._module = mock.Mock(return_value=answer)
    bundle = Bundle("t.yml", {}, ["template/db.key"])
    assert action._deliver("/tmp/x.tar", "0" * 64, bundle, OPTIONS, {}) is answer
    assert action._transfer_file.call_count == transfers
    calls = [call.args[0] for call in action._module.call_args_list]
    assert ["archive" in args for args in calls] == [False, True][: transfers + 1]
    assert all(args["private_keys"] == ["template/db.key"] for args in calls)


def test_a_file_that_cannot_be_decrypted_is_named_once() -> None:
    action: t.Any = ActionModule.__new__(ActionModule)
    action._loader = mock.Mock()
    action._loader.get_real_file.side_effect = AnsibleError("There is no secret for /s/api.token")
    with pytest.raises(AnsibleActionFail) as caught:
        action._decrypt("/s/api.token")
    assert str(caught.value) == (
        "The file /s/api.token cannot be decrypted. Give the password of its vault, for example by --ask-vault-pass: "
        "There is no secret for /s/api.token"
    )
