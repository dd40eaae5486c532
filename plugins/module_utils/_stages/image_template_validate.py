# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The first stage: a template becomes C(template.json)."""

from __future__ import annotations

import json
import os
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import RAW
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import (
    SCHEMA_VERSION,
    BuildDirectory,
    Facts,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import Assembly, assemble
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import command_line_without_root
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import image_traits, planned_layout
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    DocumentError,
    TemplateError,
    ToolMissingError,
)
from ansible_collections.os_image.composer.plugins.module_utils._file_limits import file_name_problem, file_size_problem
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file, write_json
from ansible_collections.os_image.composer.plugins.module_utils._resolver.boot import require_boot_tools
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    describe_change,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import DOCUMENT, TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore
from ansible_collections.os_image.composer.plugins.module_utils._template.located import origin_of, show_path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import PackageRepository, SystemConfig
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import expand_url
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY
from ansible_collections.os_image.composer.plugins.module_utils._template.rendering import as_yaml, diff_result
from ansible_collections.os_image.composer.plugins.module_utils._template.secrets import hash_passwords, redacted

# The result stays far below what a callback or AWX cuts off: bytes of the template in it, and of that with the diff.
_TEMPLATE_LIMIT = 38_000
_RESULT_LIMIT = 45_000


class TemplateValidate(Stage):
    """Writes C(template.json): the merged template, its provider, and digests of all files that it names."""

    name = "image_template_validate"
    topic = "Template"
    is_first = True

    def __init__(
        self,
        build: BuildDirectory,
        options: StageOptions,
        *,
        document: TemplateDocument | None,
        default: Facts | None = None,
        default_name: str = "",
    ) -> None:
        super().__init__(build, options)
        self._document = document
        self._default = default or {}
        self._default_name = default_name

    @classmethod
    def open(
        cls,
        template: str,
        *,
        config_dir: str,
        work_dir: str,
        cache_dir: str,
        overrides: t.Mapping[str, t.Any] | None,
        options: StageOptions,
        output_dir: str | None = None,
        asset_roots: t.Sequence[str] = (),
    ) -> TemplateValidate:
        """Read and check a template, which tells where its build directory is.

        :raises TemplateError: Something is wrong with the template or the configuration; the message lists all of it.
        """
        if options.check_mode and _is_still_to_come(template, work_dir):
            return cls(BuildDirectory(os.path.join(os.path.dirname(template), "build")), options, document=None)
        inputs = InputStore(work_dir)
        removed = inputs.removed_keys(template)
        if removed and not options.check_mode:
            raise TemplateError(
                f"The private key {min(removed)} was removed when the last build of this template ended.",
                remedy="Run the module os_image.composer.image_template_copy again, which puts it back.",
            )
        assembly = assemble(
            template,
            config_dir=config_dir,
            overrides=overrides,
            absent_files=removed,
            brought=inputs.absolute_folder(template),
            asset_roots=tuple(asset_roots),
            assets=inputs.asset_folder(template),
        )
        problems = list(_limits(assembly, work_dir=work_dir, output_dir=output_dir))
        if problems:
            raise template_error(f"The image template {os.path.abspath(template)}", problems)
        document = _document(
            assembly,
            config_dir=os.path.abspath(config_dir),
            work_dir=os.path.abspath(work_dir),
            cache_dir=os.path.abspath(cache_dir),
        )
        name = document.section("systemConfig", "name")
        build = BuildDirectory(os.path.join(document.provider_work, "imagebuild", name))
        return cls(
            build,
            options,
            document=document,
            default=redacted(assembly.default),
            default_name=_levels_in_words(assembly.levels, os.path.join(document.config_dir, "osv")),
        )

    @property
    def document(self) -> TemplateDocument:
        """The document that the stage writes.

        :raises DocumentError: In check mode, the template is still on the controller.
        """
        if self._document is None:
            raise DocumentError("the template is not on this host yet")
        return self._document

    def inputs(self) -> Facts:
        """Return the merged template and all that it refers to."""
        document = self.document
        # A stamp never holds a password's hash itself.
        template = document.fingerprint(_with_digested_passwords(document.template))
        return {
            "template": template,
            "provider": document.fingerprint(document.provider_data),
            "files": {path: f"sha256:{digest}" for path, digest in document.files.items()},
            "sources": {source["path"]: source["sha256"] for source in document.sources},
            "directories": {
                "cache_dir": document.cache_dir,
                "work_dir": document.work_dir,
                "config_dir": document.config_dir,
            },
        }

    def execute(self, decision: Decision) -> Outcome:
        """Write the document."""
        path = self.build.join(DOCUMENT)
        write_json(path, self.document.as_data(schema_version=SCHEMA_VERSION), mode=0o600)
        warnings = [*self.document.warnings, *_missing_tools(self.document)]
        for warning in warnings:
            self.progress.milestone("Template", warning, level="warn")
        self.progress.milestone("Template", f"Template validated: {self.build}")
        return Outcome(
            result={**self.planned_result(), "warnings": warnings},
            outputs={path: None},
            facts=self.plan(),
        )

    def planned_result(self) -> Facts:
        """Return all values: nothing about them depends on writing the document."""
        if self._document is None:
            return {"build_dir": self.build.path, "provider_id": "", "template": {}, "warnings": []}
        shown = redacted(self.document.template)
        if len(json.dumps(shown)) > _TEMPLATE_LIMIT:
            shown = {key: shown[key] for key in ("image", "target", "disk")}
        return {
            "build_dir": self.build.path,
            "provider_id": self.document.provider_id,
            "template": shown,
            "warnings": list(self.document.warnings),
        }

    def plan(self) -> Facts:
        """Return nothing: what C(--diff) shows does not depend on the last run."""
        return {}

    def diff(self, before: Facts, after: Facts) -> Facts:
        """Return the default template as it would be alone, and the merged one, as YAML."""
        if self._document is None:
            return super().diff(before, after)
        template = self.document.sources[0]["path"]
        return diff_result(
            as_yaml(self._default),
            as_yaml(redacted(self.document.template), directory=os.path.dirname(template)),
            before_name=self._default_name,
            after_name=os.path.basename(template),
            limit=_RESULT_LIMIT - len(json.dumps(self.planned_result())),
        )

    def describe_change(self, name: str, before: t.Any, after: t.Any) -> str:
        """Name the fields of the template that have changed."""
        if name != "template":
            return describe_change(name, before, after)
        changes = list(_changes(before, after, ()))
        shown = ", ".join(changes[:3]) + (f" and {len(changes) - 3} more" if len(changes) > 3 else "")
        return f"template changed: {shown}"


def _limits(assembly: Assembly, *, work_dir: str, output_dir: str | None) -> t.Iterator[Problem]:
    """Yield what the file systems of the build host cannot hold."""
    template = assembly.template
    disk = template["disk"]
    layout = planned_layout(template) if image_traits(template).is_disk else None
    # What is as large as its content is known when that is.
    size = 0 if layout is None or layout.needs_content else layout.size
    places = [(work_dir, "work_dir")]
    if output_dir and any(item["type"] == RAW and not item.get("compression") for item in disk["artifacts"]):
        places.append((output_dir, "the output directory"))
    for directory, option in places:
        problem = file_size_problem(directory, size, what="The image", option=option)
        if problem:
            yield Problem(origin_of(template, ("disk", "size") if "size" in disk else ("disk",)), problem)
            break
    image = template["image"]
    base_name = f"{image['name']}-{image['version']}"
    if output_dir:
        problem = file_name_problem(
            output_dir, base_name, what="The name with the version", option="the output directory"
        )
        if problem:
            yield Problem(origin_of(template, ("image", "name")), problem)


def _missing_tools(document: TemplateDocument) -> t.List[str]:
    """Return what the build host lacks of what makes the image boot; a template is valid without it all the same."""
    try:
        require_boot_tools(document)
    except ToolMissingError as exc:
        return [f"The image cannot be built on this host: {exc}"]
    return []


def _is_still_to_come(template: str, work_dir: str) -> bool:
    """Tell whether a template is one that image_template_copy has not copied, as it ran in check mode too."""
    inputs = InputStore(work_dir).directory
    return os.path.abspath(template).startswith(inputs + os.sep) and not os.path.exists(template)


def _levels_in_words(levels: t.Sequence[str], directory: str) -> str:
    """Name a default template, and what it extends.

    :param directory: What the paths of parents are shown relative to.
    """
    own, *parents = levels
    extended = ", ".join(os.path.relpath(parent, directory) for parent in parents)
    return os.path.basename(own) + (f" (extends {extended})" if parents else "")


def _document(assembly: Assembly, *, config_dir: str, work_dir: str, cache_dir: str) -> TemplateDocument:
    hash_passwords(assembly.template)
    template = _plain(assembly.template)
    template["systemConfig"]["kernel"]["cmdline"] = command_line_without_root(assembly.template)
    provider = dict(assembly.provider.data)
    packages = assembly.provider.packages_for(SystemConfig.from_data(template["systemConfig"]))
    if template["systemConfig"]["immutability"]["enabled"]:
        # What opens the root file system is part of the boot chain.
        packages += assembly.provider.verity_packages
    provider["bootloader_packages"] = packages
    added = [PackageRepository.from_data(item) for item in template["packageRepositories"]]
    components = template["systemConfig"].get("components", ())
    own = assembly.provider.with_components(provider["repositories"], components)
    optional = {
        entry["name"]: entry for entry in assembly.provider.with_components(assembly.provider.optional, components)
    }
    replaced = {item.name for item in added}.intersection(entry["name"] for entry in own)
    repositories = [entry for entry in own if entry["name"] not in replaced]
    for item in added:
        if item.is_of_provider:
            repositories.append(_chosen(optional.pop(item.name or item.codename), item))
            continue
        entry = _repository(item, {repository["name"] for repository in repositories})
        # A directory of the build host is its owner's; what takes the place of a provider's repository has its rights.
        if not item.path and item.name not in replaced:
            entry["foreign"] = True
        repositories.append(entry)
    provider["repositories"] = [_expanded(entry, provider) for entry in repositories]
    used = {entry["name"] for entry in repositories}
    left = [_expanded(entry, provider) for name, entry in optional.items() if name not in used]
    if left:
        provider["optional_repositories"] = left
    return TemplateDocument(
        provider_id=assembly.provider.target.provider_id,
        provider_data=provider,
        template=template,
        files=assembly.files,
        cache_dir=cache_dir,
        work_dir=work_dir,
        config_dir=config_dir,
        sources=tuple({"path": path, "sha256": sha256_file(path)} for path in assembly.sources),
        warnings=tuple(assembly.warnings),
    )


def _expanded(entry: Facts, provider: t.Mapping[str, t.Any]) -> Facts:
    places: Facts = {key: expand_url(entry[key], provider) for key in ("url", "metalink", "mirrorlist") if key in entry}
    return {**entry, **places}


def _chosen(entry: Facts, item: PackageRepository) -> Facts:
    """Return a repository of the provider as a template takes it."""
    return {
        **entry,
        **({"priority": item.priority} if item.priority not in (0, DEFAULT_PRIORITY) else {}),
        "allow_packages": list(item.allow_packages),
        "exclude_packages": list(item.exclude_packages),
    }


def _repository(item: PackageRepository, taken: t.Collection[str]) -> Facts:
    """Return a repository of a template in the form that the provider's have.

    :param taken: The names of those before it.
    """
    url = item.url or item.metalink or item.mirrorlist
    place = (urllib.parse.urlsplit(url).hostname if url else item.mirror) or "local"
    is_flat = item.codename.endswith("/")
    # A directory such as ./ is no name that anybody would know the repository by.
    directory = "-".join(part for part in item.codename.split("/") if part not in ("", "."))
    name = base = item.name or (directory or place if is_flat else item.codename)
    if name in taken:
        name = base = f"{name}-{place}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    places = {"mirror": item.mirror, "url": item.url, "path": item.path}
    places.update(metalink=item.metalink, mirrorlist=item.mirrorlist)
    return {
        "name": name,
        **{key: place for key, place in places.items() if place is not None},
        "suite": item.codename,
        "components": [] if is_flat else item.component.split(),
        "priority": item.priority or DEFAULT_PRIORITY,
        "allow_packages": list(item.allow_packages),
        "exclude_packages": list(item.exclude_packages),
        "gpgcheck": item.gpgcheck,
        "repo_gpgcheck": item.repo_gpgcheck,
        "keys": sorted({*item.pkeys, *([item.pkey] if item.pkey else [])}),
        "fingerprints": sorted(fingerprint.upper() for fingerprint in item.fingerprints),
        **({"module_hotfixes": item.module_hotfixes} if item.module_hotfixes is not None else {}),
        **({"max_age": item.max_age} if item.max_age is not None else {}),
    }


def _plain(value: t.Any) -> t.Any:
    """Return located data as plain dictionaries and lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _with_digested_passwords(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {
            key: f"sha256:{sha256_bytes(item.encode())}"
            if key == "password" and isinstance(item, str)
            else _with_digested_passwords(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_digested_passwords(item) for item in value]
    return value


_Path = t.Tuple[t.Union[str, int], ...]


def _changes(before: t.Any, after: t.Any, path: _Path) -> t.Iterator[str]:
    """Yield in words what differs between two merged templates."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _mapping_changes(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(before, after, path)
    elif path and path[-1] == "password":
        yield show_path(path)
    else:
        yield f"{show_path(path)} {_label(before)} -> {_label(after)}"


def _mapping_changes(before: Facts, after: Facts, path: _Path) -> t.Iterator[str]:
    for key in [*after, *(key for key in before if key not in after)]:
        if key not in before:
            yield f"{show_path((*path, key))} added"
        elif key not in after:
            yield f"{show_path((*path, key))} removed"
        else:
            yield from _changes(before[key], after[key], (*path, key))


def _list_changes(before: t.Sequence[t.Any], after: t.Sequence[t.Any], path: _Path) -> t.Iterator[str]:
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after)):
            yield from _changes(old, new, (*path, index))
        return
    words = [f"+{_label(item)}" for item in after if item not in before]
    words += [f"-{_label(item)}" for item in before if item not in after]
    yield f"{show_path(path)} {' '.join(words[:5])}" if words else f"{show_path(path)} in another order"


def _label(item: t.Any) -> str:
    """Name a value in a few words."""
    if isinstance(item, dict):
        item = next((item[key] for key in ("name", "final", "id", "match", "type", "cmd") if item.get(key)), "entry")
    text = " ".join(str(item).split())
    if text.startswith("sha256:"):
        text = text[7:19]
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ("TemplateValidate",)
