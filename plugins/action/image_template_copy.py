# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import ABSOLUTE_FOLDER, CONFIG_FOLDER
from ansible_collections.os_image.composer.plugins.plugin_utils._controller_version import require_version
from ansible_collections.os_image.composer.plugins.plugin_utils._template_bundle import (
    OWN_CONFIG,
    Bundle,
    collect_content,
    collect_file,
    is_encrypted,
)

Result = dict[str, t.Any]


class ActionModule(ActionBase):
    """Collects a template on the controller, and transfers it when the build host has not got it."""

    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: Result | None = None) -> Result:
        """Run the action; see M(ansible.plugins.action)."""
        require_version()
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, options = self.validate_argument_spec(
            argument_spec={
                "template": {"type": "str"},
                "content": {"type": "raw"},
                "base_dir": {"type": "path"},
                "config_dir": {"type": "path"},
                "asset_roots": {"type": "list", "elements": "path", "default": []},
                "work_dir": {"type": "str", "required": True},
                "keep": {"type": "int", "default": 5},
            },
            mutually_exclusive=[("template", "content")],
            required_one_of=[("template", "content")],
        )
        config_dir = os.path.abspath(options["config_dir"] or OWN_CONFIG)
        template = self._find(options["template"]) if options["template"] else None
        try:
            bundle = self._collect(template, options, config_dir)
            # Not C.config's value, which is a template still.
            with tempfile.NamedTemporaryFile(dir=t.cast(t.Any, C).DEFAULT_LOCAL_TMP, suffix=".tar") as archive:
                digest = bundle.write(t.cast(t.BinaryIO, archive))
                archive.flush()
                result.update(self._deliver(archive.name, digest, bundle, options, variables))
        except ComposerError as exc:
            result.update(failed=True, msg=str(exc), **exc.details)
            return result
        except OSError as exc:
            raise AnsibleActionFail(f"The template cannot be collected on the controller: {exc}") from exc
        if "template" in result:
            result["shown_paths"] = self._shown_paths(result, template, options, config_dir)
        if result.get("changed") and self._task.check_mode:
            result["msg"] = "The template would be copied."
            if self._connection.transport == "local" and template is not None and not is_encrypted(template):
                roots = [self._find(root) for root in options["asset_roots"]]
                result.update(template=template, config_dir=config_dir, asset_roots=roots)
        return result

    def _collect(self, template: str | None, options: Result, config_dir: str) -> Bundle:
        roots = [self._find(root) for root in options["asset_roots"]]
        if template is not None:
            return collect_file(template, config_dir=config_dir, decrypt=self._decrypt, asset_roots=roots)
        content = options["content"]
        if not isinstance(content, (dict, str)):
            raise AnsibleActionFail(f"content is a {type(content).__name__}, but must be a mapping or YAML text.")
        return collect_content(
            content,
            base_dir=options["base_dir"] or self._loader.get_basedir(),
            config_dir=config_dir,
            decrypt=self._decrypt,
            asset_roots=roots,
        )

    def _shown_paths(self, result: Result, template: str | None, options: Result, config_dir: str) -> dict[str, str]:
        """Return what the user knows the files on the build host as."""
        copy = str(result["template"])
        shown = {str(result["config_dir"]): config_dir}
        if os.path.basename(str(result["config_dir"])) == CONFIG_FOLDER:
            # What has an absolute path on the controller has it behind that of its copy.
            shown[os.path.join(os.path.dirname(str(result["config_dir"])), ABSOLUTE_FOLDER, "")] = "/"
        if template is not None:
            shown[os.path.dirname(copy)] = os.path.dirname(os.path.abspath(template))
        else:
            shown[copy] = "content"
            shown[os.path.dirname(copy)] = os.path.abspath(options["base_dir"] or self._loader.get_basedir())
        return shown

    def _decrypt(self, path: str) -> str:
        try:
            return str(self._loader.get_real_file(path))
        except AnsibleError as exc:
            # Ansible itself puts the reason behind it.
            raise AnsibleActionFail(
                f"The file {path} cannot be decrypted. Give the password of its vault, for example by --ask-vault-pass."
            ) from exc

    def _find(self, name: str) -> str:
        """Return the absolute path of the template on the controller."""
        expanded = os.path.expanduser(name)
        places = [os.path.join(self._loader.get_basedir(), expanded), os.path.abspath(expanded)]
        # A symbolic link that leads nowhere is found too: the loader says what is wrong with it.
        return os.path.normpath(next((path for path in places if os.path.lexists(path)), places[-1]))

    def _deliver(self, archive: str, digest: str, bundle: Bundle, options: Result, variables: Result) -> Result:
        """Ask the build host for the digest, and transfer the archive when it is not there, or lacks its keys."""
        args = {
            "work_dir": options["work_dir"],
            "keep": options["keep"],
            "digest": digest,
            "name": bundle.name,
            "private_keys": list(bundle.private_keys),
        }
        answer = self._module(args, variables)
        is_complete = not answer.get("changed") and not answer.get("restored")
        if answer.get("failed") or is_complete or self._task.check_mode:
            return answer
        directory = self._connection._shell.tmpdir or self._make_tmp_path()
        remote = self._connection._shell.join_path(directory, "template.tar")
        self._transfer_file(archive, remote)
        self._fixup_perms2((directory, remote))
        return self._module({**args, "archive": remote}, variables)

    def _module(self, args: Result, variables: Result) -> Result:
        answer: Result = self._execute_module(
            module_name="os_image.composer.image_template_copy", module_args=args, task_vars=variables
        )
        answer.pop("invocation", None)
        return answer


__all__ = ("ActionModule",)
