# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.plugin_utils._template_display import diff_blocks, template_blocks

TEMPLATE = "/w/inputs/0/template/kiosk.yml"
MERGED = {
    "image": {"name": "kiosk"},
    "systemConfig": {"additionalFiles": [{"local": "/w/inputs/0/template/motd", "final": "/etc/motd"}]},
}


def test_a_template_is_shown_as_yaml() -> None:
    result = {"template": MERGED, "provider_id": "debian-debian12-x86_64", "build_dir": "/w/b"}
    heading, text = [text for text, _colour in template_blocks(result, template=TEMPLATE, label="builder1")]
    assert heading == "[builder1] kiosk.yml, merged over the default template of debian-debian12-x86_64:"
    assert text.startswith("image:\n  name: kiosk\n")
    assert "- local: motd\n" in text


def test_what_is_left_out_is_told() -> None:
    result = {"template": {"image": {"name": "a"}}, "provider_id": "x", "build_dir": "/w/b"}
    blocks = [text for text, _colour in template_blocks(result, template=TEMPLATE, label="h")]
    assert blocks[-1] == "[h] The rest is too long to be shown; all of it is in /w/b/template.json."


def test_a_template_that_was_not_validated_is_told() -> None:
    result = {"template": {}, "provider_id": "", "build_dir": "/w/b"}
    ((text, _colour),) = template_blocks(result, template=TEMPLATE, label="h")
    assert text.startswith("[h] kiosk.yml was not validated: in check mode")


def test_diffs() -> None:
    diff = {"before": "a\n", "before_header": "old", "after": "b\n", "after_header": "new"}
    blocks = list(diff_blocks(diff, label="h"))
    assert [text for text, _colour in blocks] == [
        "\n[h] What it changes in the default template:",
        "--- old",
        "+++ new",
        "@@ -1 +1 @@",
        "-a",
        "+b",
    ]
    assert blocks[-1][1] != blocks[-2][1]
    prepared = [text for text, _colour in diff_blocks({"prepared": "--- old\n+++ new\n"}, label="h")]
    assert prepared[1:] == ["--- old", "+++ new"]
    assert list(diff_blocks({"before": {}, "after": {}}, label="h")) == []  # type: ignore[dict-item]
