# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""System calls that programs in a sandbox may make, as a seccomp filter that libseccomp compiles.

The measure is the default profile of container runtimes, without what only capabilities open that the sandbox does
not give. What is listed is allowed. What a program could reasonably try, and has to be told that it may not, fails
with EPERM; everything else, system calls of kernels to come among it, fails with ENOSYS, which is what programs expect
of a kernel that does not have them.

Numbers and architectures are libseccomp's business. So the filter also holds for the 32-bit programs of a machine, and
for those of another one, whose emulator makes the system calls of the host.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import LIBSECCOMP, install_remedy

#: What programs may call.
ALLOWED: t.Sequence[str] = """
accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint brk
cacheflush cachestat capget capset chdir chmod chown chown32 chroot clock_adjtime clock_adjtime64 clock_getres
clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range
connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
fcntl64 fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd
getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid
getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set ipc kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack
membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
mq_unlink mremap mseal msgctl msgget msgrcv msgsnd munlock munlockall munmap name_to_handle_at nanosleep
newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32
setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32
setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area
set_tid_address set_tls setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack
signalfd signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat
sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes
vfork vmsplice wait4 waitid waitpid write writev
""".split()  # noqa: SIM905  (a list literal would be five times as long)

#: What fails with EPERM: mounts, namespaces, modules, time, tracing of the system, keys, raw access.
REFUSED: t.Sequence[str] = """
acct add_key bpf clock_settime clock_settime64 delete_module fanotify_init finit_module fsconfig fsmount fsopen
fspick init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load
keyctl lookup_dcookie mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree
perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev quotactl quotactl_fd
reboot request_key setdomainname sethostname setns settimeofday stime swapoff swapon syslog umount umount2
unshare uselib userfaultfd vhangup
""".split()  # noqa: SIM905  (a list literal would be five times as long)

#: What succeeds without doing anything: waiting for the disk. A tree that a crash cuts short is thrown away anyway.
WITHOUT_EFFECT = ("fdatasync", "fsync", "msync", "sync", "sync_file_range", "sync_file_range2", "syncfs")

# <linux/sched.h>: what clone(2) makes new namespaces by.
_CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# <linux/socket.h>: UNIX, INET, INET6, NETLINK.
_ADDRESS_FAMILIES = (1, 2, 10, 16)
_LAST_ADDRESS_FAMILY = 16
# <linux/personality.h>: PER_LINUX, PER_LINUX32, UNAME26, both, and asking for it.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_LOWER_HALF = 0xFFFFFFFF

# <seccomp.h>
_ACT_ALLOW = 0x7FFF0000
_ACT_ERRNO = 0x00050000
_CMP_EQ, _CMP_GT, _CMP_MASKED_EQ = 4, 6, 7
_ATTR_BAD_ARCHITECTURE = 2
# Since 2.5; before, filters are only slower.
_ATTR_OPTIMIZE, _BINARY_TREE = 8, 2

_NO_SUCH_CALL = _ACT_ERRNO | errno.ENOSYS

# The architectures whose programs a machine runs, as libseccomp calls them; its own first.
_ARCHITECTURES: t.Mapping[str, t.Sequence[str]] = {"x86_64": ("x86_64", "x86"), "aarch64": ("aarch64", "arm")}
# Where sockets are made by one system call that is told in memory, which no filter sees, what they are for: such
# programs get none.
_WITH_SOCKETCALL = ("x86",)


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_: t.ClassVar = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


class _Filter:
    """A filter for one architecture that libseccomp builds."""

    def __init__(self, library: ctypes.CDLL, architecture: str) -> None:
        self._library = library
        self.context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_NO_SUCH_CALL)))
        if not self.context:
            raise ChrootError("libseccomp makes no filter.")
        for attribute, value in ((_ATTR_BAD_ARCHITECTURE, _NO_SUCH_CALL), (_ATTR_OPTIMIZE, _BINARY_TREE)):
            library.seccomp_attr_set(self.context, attribute, ctypes.c_uint32(value))
        token = library.seccomp_arch_resolve_name(architecture.encode("ascii"))
        if library.seccomp_arch_native() != token:
            self.check(library.seccomp_arch_add(self.context, ctypes.c_uint32(token)), architecture)
            self.check(library.seccomp_arch_remove(self.context, library.seccomp_arch_native()), architecture)
        self._fill(with_sockets=architecture not in _WITH_SOCKETCALL)

    def _fill(self, *, with_sockets: bool) -> None:
        for name in ALLOWED:
            self._add(name, _ACT_ALLOW)
        for name in REFUSED:
            self._add(name, _ACT_ERRNO | errno.EPERM)
        for name in WITHOUT_EFFECT:
            self._add(name, _ACT_ERRNO)
        # The flags of clone3 lie in memory; without it libraries take clone.
        self._add("clone", _ACT_ALLOW, (0, _CMP_MASKED_EQ, sum(_CLONE_NEW), 0))
        for flag in _CLONE_NEW:
            self._add("clone", _ACT_ERRNO | errno.EPERM, (0, _CMP_MASKED_EQ, flag, flag))
        # Whoever traces process 1 can take from it that it dies with the module. Of the number the kernel looks at the
        # lower half.
        self._add("ptrace", _ACT_ERRNO | errno.EPERM, (1, _CMP_MASKED_EQ, _LOWER_HALF, 1))
        self._add("ptrace", _ACT_ALLOW, (1, _CMP_MASKED_EQ, _LOWER_HALF, 0))
        for bit in (1 << number for number in range(1, 32)):
            self._add("ptrace", _ACT_ALLOW, (1, _CMP_MASKED_EQ, bit, bit))
        for value in _PERSONALITIES:
            self._add("personality", _ACT_ALLOW, (0, _CMP_EQ, value, 0))
        if with_sockets:
            for family in range(_LAST_ADDRESS_FAMILY + 1):
                action = _ACT_ALLOW if family in _ADDRESS_FAMILIES else _ACT_ERRNO | errno.EAFNOSUPPORT
                self._add("socket", action, (0, _CMP_EQ, family, 0))
            self._add("socket", _ACT_ERRNO | errno.EAFNOSUPPORT, (0, _CMP_GT, _LAST_ADDRESS_FAMILY, 0))

    def _add(self, name: str, action: int, *comparisons: t.Tuple[int, int, int, int]) -> None:
        """Add a rule for a system call.

        :param comparisons: (number of the argument, operator, value or mask, masked value), all of which must hold.
        """
        number = self._library.seccomp_syscall_resolve_name(name.encode("ascii"))
        # Unknown to this libseccomp, and so to the filter: it fails with ENOSYS.
        if number == -1:
            return
        array = (_Comparison * len(comparisons))(*(_Comparison(*comparison) for comparison in comparisons))
        count = ctypes.c_uint(len(comparisons))
        done = self._library.seccomp_rule_add_array(self.context, ctypes.c_uint32(action), number, count, array)
        self.check(done, name)

    @staticmethod
    def check(result: int, what: str) -> None:
        """Turn what libseccomp returns into an error."""
        if result < 0:
            raise ChrootError(f"libseccomp cannot make the filter of system calls ({what}): {os.strerror(-result)}.")


@functools.cache
def system_call_filter() -> bytes:
    """Return the filter for programs in a sandbox on this machine: struct sock_filter, 8 bytes each.

    :raises ToolMissingError: The build host has no libseccomp.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as exc:
        raise ToolMissingError(
            "libseccomp, which filters the system calls of programs in a root tree, is not on the build host.",
            remedy=install_remedy(LIBSECCOMP),
        ) from exc
    library.seccomp_init.restype = ctypes.c_void_p
    for function in (library.seccomp_arch_native, library.seccomp_arch_resolve_name):
        function.restype = ctypes.c_uint32
    machine = os.uname().machine
    first, *others = (_Filter(library, name) for name in _ARCHITECTURES.get(machine, (machine,)))
    for other in others:
        # Frees the other one.
        _Filter.check(library.seccomp_merge(first.context, other.context), "merging architectures")
    with tempfile.TemporaryFile() as stream:
        _Filter.check(library.seccomp_export_bpf(first.context, stream.fileno()), "exporting it")
        library.seccomp_release(first.context)
        stream.seek(0)
        return stream.read()


__all__ = ("ALLOWED", "REFUSED", "WITHOUT_EFFECT", "system_call_filter")
