# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The maker of an image's artifacts, several at once."""

from __future__ import annotations

import errno
import os
import threading
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import (
    BEST_RATIO,
    CompressedFile,
    compress_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.plan import ArtifactPlan
from ansible_collections.os_image.composer.plugins.module_utils._artifact.publish import Staging
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._file_limits import file_name_problem, require_file_size
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._sparse import (
    allocated,
    clone_file,
    copy_sparse,
    sha256_sparse,
)

_MIB = 1 << 20


class ArtifactMaker:
    """Makes the artifacts of one run.

    :param stage: Where they are until they are published.
    :param sources: The paths of what they are made from, by C(ArtifactPlan.source).
    :param build_digest: What identifiers in the formats are derived from.
    :param epoch: The time for formats that hold one.
    :param workers: How many processors may be used.
    """

    def __init__(
        self,
        stage: Staging,
        sources: t.Mapping[str, str],
        *,
        build_digest: str,
        epoch: int,
        workers: int,
        progress: Progress,
    ) -> None:
        self._stage = stage
        self._sources = sources
        self._image = sources["image"]
        self._build_digest = build_digest
        self._epoch = epoch
        self._workers = workers
        self._progress = progress
        self._runner = CommandRunner(log=progress)
        self._stop = threading.Event()
        # Compression uses all processors by itself: two at once would only get into each other's way.
        self._all_processors = threading.Lock()

    def make_all(self, plans: t.Sequence[ArtifactPlan]) -> t.Dict[str, Artifact]:
        """Return the artifacts by name.

        :raises ArtifactError: One of them cannot be made, or there is too little space for all.
        """
        if not plans:
            return {}
        self._check_space(plans)
        # What takes longest begins first: qemu-img compresses on one processor as long as it keeps an order.
        ordered = sorted(plans, key=lambda plan: (_uses_all_processors(plan), not plan.is_compact))
        alone = sum(not _uses_all_processors(plan) for plan in ordered)
        workers = min(alone, self._workers, len(os.sched_getaffinity(0)))
        # One beside, which mostly waits for its turn.
        workers += alone < len(ordered)
        made = run_parallel(self._make, ordered, workers=workers, stop=self._stop)
        return {artifact.name: artifact for artifact in made}

    def _check_space(self, plans: t.Sequence[ArtifactPlan]) -> None:
        directory = self._stage.output_dir
        for plan in plans:
            option = "output_dir"
            if not plan.is_converted and not plan.compression:
                size = os.path.getsize(self._sources[plan.source])
                require_file_size(directory, size, what=f"The artifact {plan.name}", option=option)
            problem = file_name_problem(directory, plan.name, what=f"The name {plan.name}", option=option)
            if problem:
                raise ArtifactError(problem)
        stored = allocated(self._image)
        needed = 0
        for plan in plans:
            if plan.compression:
                needed += stored // BEST_RATIO
            if plan.is_converted:
                # Also one that is compressed as a whole, for as long as that takes.
                needed += stored // BEST_RATIO if plan.is_compact else stored
            elif not plan.compression and self._is_elsewhere():
                needed += allocated(self._sources[plan.source])
        status = os.statvfs(self._stage.path)
        free = status.f_bavail * status.f_frsize
        if free < needed:
            raise ArtifactError(
                f"The artifacts need at least {needed // _MIB} MiB in {self._stage.output_dir}, "
                f"but only {free // _MIB} MiB are free.",
                remedy="Free some space, ask for fewer artifacts, or give another output_dir.",
                details={"needed_bytes": needed, "free_bytes": free},
            )

    def _is_elsewhere(self) -> bool:
        return os.stat(self._image).st_dev != os.stat(self._stage.path).st_dev

    def _make(self, plan: ArtifactPlan) -> Artifact:
        try:
            return self._made(plan)
        except OSError as exc:
            raise write_error(exc, self._stage.final(plan.name)) from exc

    def _made(self, plan: ArtifactPlan) -> Artifact:
        path = self._stage.join(plan.name)
        source = self._sources[plan.source]
        if plan.is_converted and plan.compression:
            # Under the name that it has when it is unpacked, as VMDK holds its name.
            source = os.path.join(self._stage.path, f".{plan.name}", _name_without_compression(plan))
            os.mkdir(os.path.dirname(source))
            self._convert(plan, source, compact=False)
        elif plan.is_converted:
            self._convert(plan, path, compact=True)
        if plan.compression:
            with self._all_processors:
                compressed = self._compress(plan, source, path)
            if source != self._image:
                os.unlink(source)
            return plan.finished(compressed.size, compressed.sha256)
        if not plan.is_converted:
            self._progress.milestone("Artifacts", f"Writing {plan.name}")
            self._take(source, path)
        sha256 = sha256_sparse(path, stop=self._stop)
        return plan.finished(os.path.getsize(path), sha256)

    def _take(self, source: str, path: str) -> None:
        """Publish an image itself, with a second copy of its data only where there is no other way."""
        if clone_file(source, path):
            return
        try:
            # Stages never write into a file that they have finished, they make a new one: what is published stays.
            os.link(source, path)
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            copy_sparse(source, path, stop=self._stop)

    def _convert(self, plan: ArtifactPlan, destination: str, *, compact: bool) -> None:
        self._progress.milestone("Artifacts", f"Converting to {plan.format}")
        convert(
            self._image,
            destination,
            plan.format,
            runner=self._runner,
            build_digest=self._build_digest,
            epoch=self._epoch,
            compact=compact,
            subformat=plan.subformat,
            stop=self._stop,
        )

    def _compress(self, plan: ArtifactPlan, source: str, destination: str) -> CompressedFile:
        if plan.compression is None:
            raise AssertionError("plan.compression is known here")

        def tell(done: int, total: int) -> None:
            self._progress.count(
                "Artifacts",
                f"Compressing {plan.name} ({{done}}/{{total}} MiB)",
                done=done // _MIB,
                total=total // _MIB,
            )

        return compress_file(
            source,
            destination,
            plan.compression,
            workers=self._workers,
            level=plan.level,
            stop=self._stop,
            on_progress=tell,
        )


def _name_without_compression(plan: ArtifactPlan) -> str:
    """Return the file name that an artifact has before it is compressed."""
    if plan.compression is None:
        raise AssertionError("plan.compression is known here")
    return plan.name[: -len(COMPRESSIONS[plan.compression].extension) - 1]


def _uses_all_processors(plan: ArtifactPlan) -> bool:
    return plan.compression is not None


def write_error(exc: OSError, path: str) -> ArtifactError:
    """Return what went wrong when a path was written, in words."""
    remedy = {
        errno.ENOSPC: "Free some space, or give another output_dir.",
        errno.EDQUOT: "Free some space, or give another output_dir.",
        errno.EFBIG: "Give an output_dir on a file system that holds larger files, such as XFS.",
        errno.ENAMETOOLONG: "Give an output_dir on a file system that has longer names, or shorten image.name.",
    }.get(exc.errno or 0)
    return ArtifactError(
        f"Writing {path} failed: {exc.strerror or exc}. What was published before is unchanged.", remedy=remedy
    )


__all__ = ("ArtifactMaker", "write_error")
