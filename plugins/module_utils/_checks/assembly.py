# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The assembly of a template: load, merge over the default, check, and tell all errors at once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import RAW
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import SYSTEMD_BOOT
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import starts_by_shim_grub
from ansible_collections.os_image.composer.plugins.module_utils._checks.catalogue import ADVICE, RULES
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import image_traits
from ansible_collections.os_image.composer.plugins.module_utils._checks.mounts import own_table_problems
from ansible_collections.os_image.composer.plugins.module_utils._checks.repositories import is_of_provider
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import DEMANDED, complete_disk
from ansible_collections.os_image.composer.plugins.module_utils._template.inheritance import fold, load_levels
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import load_yaml
from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Origin,
    Path,
    from_data,
    origin_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.merge import merge_templates
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Target
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import (
    ProviderConfig,
    load_provider,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.references import (
    FileReference,
    asset_name,
    file_references,
    find_asset,
    find_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.removal import take_out
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, doubles, findings
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import (
    DEFAULT_TEMPLATE,
    FULL_TEMPLATE,
    OVERRIDES,
    REPOSITORY_PLACES,
    SECTIONS,
    USER_TEMPLATE,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.spelling import normalise, translate
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import (
    drop_empty,
    fill_defaults,
    nearest,
    validate,
)

#: The words that stand for the file of overrides.
OVERRIDES_NAME = "overrides"


@dataclasses.dataclass
class Assembly:
    """A valid merged template with everything that it refers to. Passwords are as they were written.

    :ivar template: The merged template, defaults filled in, local files by absolute paths.
    :ivar default: The default template as it would be without the user's, for showing what that changes.
    :ivar files: Absolute paths of the files that the template and the provider name, with their SHA-256.
    :ivar levels: The files that the default template was folded from: its own first, its root last.
    :ivar sources: The YAML files that were read.
    """

    template: LocatedMapping
    default: LocatedMapping
    provider: ProviderConfig
    files: t.Dict[str, str]
    levels: t.Tuple[str, ...]
    sources: t.Tuple[str, ...]
    warnings: t.List[str]


class _Assembler:
    """Collects problems, and goes on with what is left."""

    def __init__(
        self, template_path: str, config_dir: str, absent_files: t.Mapping[str, str], brought: str | None
    ) -> None:
        self.template_path = os.path.abspath(template_path)
        self.config_dir = os.path.abspath(config_dir)
        self.absent_files = absent_files
        self.brought = brought
        #: Directories that templates share, and where such files lie that came with the template.
        self.asset_roots: t.Sequence[str] = ()
        self.assets: str | None = None
        #: Where the default template of the target lies.
        self.default_folder: str | None = None
        self.problems: t.List[Problem] = []
        self.tainted: t.Set[str] = set()
        self.files: t.Dict[str, str] = {}

    def form(self, data: LocatedMapping, schema: t.Dict[str, t.Any]) -> None:
        """Hold a template against its schema; parts with errors are taken out of it, and texts that say nothing."""
        drop_empty(data, schema)
        for problem in validate(data, schema):
            self.problems.append(problem)
            steps = [str(step) for step in problem.origin.path[:2]]
            section = steps[0] if steps else ""
            holder = data.get(section)
            if section == "systemConfig" and len(steps) > 1 and isinstance(holder, LocatedMapping):
                # Its parts stand for themselves: one that is wrong does not spoil the others.
                self.tainted.add(".".join(steps))
                if steps[1] in holder:
                    holder.drop(steps[1])
            else:
                self.tainted.add(section)
                if section in data:
                    data.drop(section)

    def skipped(self) -> t.Set[str]:
        """The names of sections and parts that rules must not read."""
        names = set(self.tainted)
        for name in self.tainted:
            if name == "systemConfig":
                names.update(f"systemConfig.{part}" for part in SECTIONS["systemConfig"]["properties"])
        return names

    def resolve_files(self, template: LocatedMapping) -> None:
        """Make the paths of local files absolute, and note the digests of the files."""
        for reference in file_references(template):
            is_default = reference.origin.file.startswith(self.config_dir + os.sep)
            directory = os.path.dirname(reference.origin.file if is_default else self.template_path)
            root = self.config_dir if is_default else directory
            path = os.path.normpath(os.path.join(os.path.realpath(directory), reference.name))
            if path in self.absent_files:
                self.files[path] = self.absent_files[path]
                reference.replace(path)
                continue
            if not is_default and reference.is_relative and self._take_asset(reference, directory):
                continue
            name = reference.name
            if self.brought is not None and reference.is_repository_key and not os.path.exists(path):
                copy = f"{self.brought}{path}"
                name = copy if os.path.isfile(copy) else name
            try:
                path = find_file(name, directory=directory, root=root)
                self.files[path] = sha256_file(path)
            except TemplateError as exc:
                self.problems.append(Problem(reference.origin, str(exc)))
            except OSError as exc:
                message = f"The file {reference.name} cannot be read: {exc.strerror}."
                self.problems.append(Problem(reference.origin, message))
            else:
                reference.replace(path)

    def _take_asset(self, reference: FileReference, directory: str) -> bool:
        """Take a file that is not beside the template from a directory that templates share, if one has it."""
        with contextlib.suppress(TemplateError):
            find_file(reference.name, directory=directory, root=directory)
            return False
        if self.assets is not None:
            path = os.path.join(self.assets, asset_name(reference.name))
            if path in self.absent_files:
                self.files[path] = self.absent_files[path]
                reference.replace(path)
                return True
        found = None
        if self.assets is not None:
            found = find_asset(asset_name(reference.name), directory=self.assets, roots=(self.assets,))
        found = found or find_asset(reference.name, directory=directory, roots=self.asset_roots)
        if found is None and self.default_folder is not None:
            # As in the original tool, whose default templates and templates name the same files by the same paths.
            found = find_asset(reference.name, directory=self.default_folder, roots=(self.config_dir,))
        if found is None or not os.access(found, os.R_OK):
            return False
        self.files[found] = sha256_file(found)
        reference.replace(found)
        return True

    def target(self, *templates: LocatedMapping) -> Target | None:
        """Return the target that the uppermost template with one names."""
        values: t.Dict[str, str] = {}
        for template in templates:
            values.update(template.get("target", {}))
        if any(not isinstance(values.get(name), str) for name in ("os", "dist", "arch", "imageType")):
            return None
        return Target.from_data(values)

    def fail(self) -> t.NoReturn:
        raise template_error(f"The image template {self.template_path}", self.problems)


def assemble(
    template_path: str,
    *,
    config_dir: str,
    overrides: t.Mapping[str, t.Any] | None = None,
    absent_files: t.Mapping[str, str] | None = None,
    brought: str | None = None,
    asset_roots: t.Sequence[str] = (),
    assets: str | None = None,
) -> Assembly:
    """Load a template, merge it, and check everything that can be checked without packages.

    :param template_path: Path of the user's template.
    :param config_dir: The configuration directory with the providers.
    :param overrides: Parts of a template that are merged over everything.
    :param brought: Where keys of repositories lie that this host does not have at their absolute paths.
    :param asset_roots: Directories that templates share, for the files that they name by relative paths.
    :param assets: Where the files lie that came from such directories of the controller.
    :param absent_files: Real paths of files that need not be there, with their SHA-256.
    :raises TemplateError: Something is wrong; the message lists all of it.
    """
    assembler = _Assembler(template_path, config_dir, absent_files or {}, brought)
    assembler.asset_roots, assembler.assets = asset_roots, assets
    user = load_yaml(assembler.template_path, what="The image template")
    upper: LocatedMapping = from_data(overrides or {}, file=OVERRIDES_NAME)
    for written, schema in ((user, USER_TEMPLATE), (upper, OVERRIDES)):
        assembler.form(written, schema)
        translate(written)
    target = assembler.target(user, upper)
    if target is None:
        assembler.fail()
    try:
        provider = load_provider(assembler.config_dir, merge_templates(user, upper), target)
        assembler.default_folder = os.path.dirname(provider.default_template_path)
        default, levels = _load_default(provider)
    except TemplateError as exc:
        if not assembler.problems:
            raise
        assembler.problems += [
            Problem(Origin(item["file"], item["line"], (item["path"],)), item["message"])
            for item in exc.details.get("errors", [])
        ]
        assembler.fail()
    merged = default
    for written in (user, upper):
        kept, problems = take_out(merged, written)
        assembler.problems += problems
        merged = merge_templates(kept, written)
    _name_configuration(merged, default)
    for tree in (merged, default):
        fill_defaults(tree, FULL_TEMPLATE)
        normalise(tree)
    if merged["systemConfig"]["immutability"]["enabled"]:
        complete_disk(merged, is_own=any("partitions" in written.get("disk", {}) for written in (user, upper)))
        fill_defaults(merged, FULL_TEMPLATE)
    assembler.files.update(provider.files)
    assembler.resolve_files(merged)
    skipped = assembler.skipped()
    found = [
        *findings(merged, RULES, without=skipped),
        *_kernel_verifies(merged, provider, skipped),
        *_has_shim(merged, provider, skipped),
    ]
    if not assembler.problems and not found:
        found += own_table_problems(merged)
    for path, message in found:
        assembler.problems.append(Problem(origin_of(merged, path), message))
    if "packageRepositories" not in skipped:
        for path, message in _unknown_repositories(merged, provider):
            assembler.problems.append(Problem(origin_of(merged, path), message))
    if "systemConfig.components" not in skipped:
        for path, message in _unknown_components(merged, provider):
            assembler.problems.append(Problem(origin_of(merged, path), message))
    for path, message in _lists_of_mirrors(merged, provider):
        assembler.problems.append(Problem(origin_of(merged, path), message))
    if assembler.problems:
        assembler.fail()
    assembler.problems += validate(merged, FULL_TEMPLATE)
    if assembler.problems:
        assembler.fail()
    _complete(merged)
    alone = _Assembler(assembler.template_path, assembler.config_dir, assembler.absent_files, brought)
    alone.resolve_files(default)
    # A file that is missing is of no concern when the user's template does without it.
    if not alone.problems:
        _complete(default)
    return Assembly(
        template=merged,
        default=default,
        provider=provider,
        files=dict(sorted(assembler.files.items())),
        levels=levels,
        sources=(assembler.template_path, *levels, *provider.sources),
        warnings=_lines(merged, (*findings(merged, ADVICE), *_without_repositories(merged, provider))),
    )


def _load_default(provider: ProviderConfig) -> t.Tuple[LocatedMapping, t.Tuple[str, ...]]:
    """Return a provider's default template, and the files of its levels: its own first, its root last.

    :raises TemplateError: Something is wrong with one of them, or with what they say together.
    """
    path, what = provider.default_template_path, "The default template"
    levels = load_levels(path, roots=provider.directories, what=what)
    problems = [problem for level in levels for problem in validate(level, DEFAULT_TEMPLATE)]
    if problems:
        raise template_error(f"{what} {path}", problems)
    for level in levels:
        translate(level)
    default, problems = fold(levels)
    problems += validate(default, FULL_TEMPLATE)
    if problems:
        raise template_error(f"{what} {path}", problems)
    return default, tuple(level.origin.file for level in reversed(levels))


def _kernel_verifies(
    template: LocatedMapping, provider: ProviderConfig, skipped: t.Collection[str]
) -> t.Iterator[Finding]:
    """Yield a problem when the kernel would be asked for what it cannot do, and the system would never start."""
    if "systemConfig.immutability" in skipped or provider.verifies_root_hash:
        return
    if template["systemConfig"]["immutability"].get("rootHashSignature") == DEMANDED:
        target = provider.target
        yield (
            ("systemConfig", "immutability", "rootHashSignature"),
            f"The kernel of {target.os}/{target.dist} for {target.arch} is not known to verify a signature of the root "
            "hash by the certificates of the firmware, so that the system might never start. Use kept.",
        )


def _has_shim(template: LocatedMapping, provider: ProviderConfig, skipped: t.Collection[str]) -> t.Iterator[Finding]:
    """Yield a problem when there are no packages of what stands before GRUB that the build signs."""
    sections = {f"systemConfig.{name}" for name in ("bootloader", "kernel", "signing", "immutability")}
    if sections.intersection(skipped) or provider.shim_bootloader_packages:
        return
    if starts_by_shim_grub(template):
        target = provider.target
        yield (
            ("systemConfig", "bootloader", "provider"),
            f"GRUB that the build signs for Secure Boot stands behind a shim, and for {target.os}/{target.dist} on "
            f"{target.arch} no package with an unsigned one is known. Use provider: {SYSTEMD_BOOT}.",
        )


def _lines(template: LocatedMapping, findings: t.Iterable[Finding]) -> t.List[str]:
    return [Problem(origin_of(template, path), message).line for path, message in findings]


def _without_repositories(template: LocatedMapping, provider: ProviderConfig) -> t.Iterator[Finding]:
    """Yield a warning when there is nothing that packages could come from.

    A provider has no repository when this collection cannot vouch for the key that signs it.
    """
    if not provider.data["repositories"] and not template["packageRepositories"]:
        target = provider.target
        yield (
            ("target", "dist"),
            f"{target.os}/{target.dist} brings no package repository, as none of its keys is known for certain. "
            f"Add one with its pkey and fingerprints to packageRepositories; {provider.sources[-1]} shows how.",
        )


def _lists_of_mirrors(template: LocatedMapping, provider: ProviderConfig) -> t.Iterator[Finding]:
    """Yield an error for each list of mirrors of a Debian repository."""
    if provider.data["family"] != "deb":
        return
    for index, item in enumerate(template["packageRepositories"]):
        for key in ("metalink", "mirrorlist"):
            if key in item:
                yield (
                    ("packageRepositories", index, key),
                    "Only RPM repositories have lists of mirrors. Name one mirror of this repository by url.",
                )


def _unknown_components(template: LocatedMapping, provider: ProviderConfig) -> t.Iterator[Finding]:
    """Yield an error for each component that no repository of the provider has, and where its main one is left out."""
    wanted: t.Sequence[str] = template["systemConfig"].get("components", ())
    path: Path = ("systemConfig", "components")
    known = list(dict.fromkeys(name for components in provider.components.values() for name in components))
    target = f"{provider.target.os}/{provider.target.dist}"
    if not wanted:
        return
    if not known:
        yield (
            path,
            f"No repository that {target} brings has components. Remove the key; repositories of packageRepositories "
            "have a key component of their own."
            if provider.data["family"] == "deb"
            else f"RPM repositories, as {target} has them, have no components. Remove the key.",
        )
        return
    for place, name in doubles(((*path, index), name) for index, name in enumerate(wanted)):
        yield place, f"The component {name} is named twice. Remove one."
    for index, name in enumerate(wanted):
        if name not in known:
            yield (*path, index), f"The repositories of {target} have no component {name!r}. {nearest(name, known)}"
    if known[0] not in wanted:
        yield path, f"Without the component {known[0]}, which all others build upon, nothing can be installed. Add it."


def _unknown_repositories(template: LocatedMapping, provider: ProviderConfig) -> t.Iterator[Finding]:
    """Yield an error for each repository without a place that the provider does not know."""
    known = [entry["name"] for entry in provider.optional]
    used = [entry["name"] for entry in provider.data["repositories"]]
    target = f"{provider.target.os}/{provider.target.dist}"
    for index, item in enumerate(template["packageRepositories"]):
        name = item.get("name") or item["codename"]
        if not is_of_provider(item) or name in known:
            continue
        path: Path = ("packageRepositories", index)
        if name in used:
            yield path, f"{target} takes the repository {name!r} anyway. Remove the entry, or say where another one is."
        else:
            places = f"{', '.join(REPOSITORY_PLACES[:-1])} and {REPOSITORY_PLACES[-1]}"
            others = f", or name one that {target} knows: {', '.join(known)}" if known else ""
            yield path, f"One of the keys {places} is needed. Add one of them{others}."


def _name_configuration(merged: LocatedMapping, default: LocatedMapping) -> None:
    """Name a systemConfig after the image when only the default template names it: images must not share a name."""
    config, origins = merged.get("systemConfig"), default["systemConfig"].origins
    name = merged.get("image", {}).get("name")
    if isinstance(config, LocatedMapping) and isinstance(name, str):
        inherited = "name" in config and config.origins["name"] is origins.get("name")
        if inherited or "name" not in config:
            config.put("name", name, merged["image"].origins["name"])


def _complete(template: LocatedMapping) -> None:
    """Say, in place, what follows from the rest of a valid template."""
    if image_traits(template).is_disk and not template["disk"]["artifacts"]:
        origin = template["disk"].origin
        artifact = LocatedMapping(origin)
        artifact.put("type", RAW, origin)
        t.cast(LocatedList, template["disk"]["artifacts"]).add(artifact, origin)
    for item in template["systemConfig"]["additionalFiles"]:
        # Part of the document, so that changing the permissions of a file changes the image.
        item.setdefault("mode", f"{stat.S_IMODE(os.stat(item['local']).st_mode) & 0o755:04o}")


__all__ = ("OVERRIDES_NAME", "Assembly", "assemble")
