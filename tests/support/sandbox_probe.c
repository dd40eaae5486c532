/* Copyright (c) 2026 The os_image.composer authors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Everything that a program could try to get out of a sandbox, one line each: "refused NAME: reason" or "DONE NAME".
 * Its exit status is the number of things that could be done. Arguments: paths of the host that must not be there;
 * before them --harmless, to try nothing that would harm a machine on which it is not refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <sys/io.h>
#endif

static int done_count;

static void judge(const char *name, long result)
{
    if (result < 0) {
        printf("refused %s: %s\n", name, strerror(errno));
    } else {
        printf("DONE %s\n", name);
        done_count++;
    }
    errno = 0;
}

/* What must be so, and not only fail. */
static void demand(const char *name, int holds)
{
    errno = holds ? EPERM : 0;
    judge(name, holds ? -1 : 0);
}

static int child_of_clone(void *unused)
{
    (void)unused;
    return 0;
}

static long try_clone(int flags)
{
    static char stack[65536];
    int pid = clone(child_of_clone, stack + sizeof stack, flags | SIGCHLD, NULL);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid;
}

/* In a child, as success would spoil what is tried afterwards. */
static long in_child(long (*attempt)(void))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        long result = attempt();
        _exit(result < 0 ? (errno ? errno : EPERM) : 0);
    }
    waitpid(pid, &status, 0);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return errno ? -1 : 0;
}

static long unshare_mount(void) { return unshare(CLONE_NEWNS); }
static long unshare_user(void) { return unshare(CLONE_NEWUSER); }
static long unshare_pid(void) { return unshare(CLONE_NEWPID); }
static long unshare_net(void) { return unshare(CLONE_NEWNET); }
static long unshare_cgroup(void) { return unshare(CLONE_NEWCGROUP); }
static long use_io_ports(void)
{
#if defined(__x86_64__)
    return iopl(3);
#else
    errno = ENOSYS;
    return -1;
#endif
}
static long use_one_io_port(void)
{
#if defined(__x86_64__)
    return ioperm(0x80, 1, 1);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static void open_node(const char *name, int kind, int major_number, int minor_number)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/probe-%d-%d", major_number, minor_number);
    judge(name, mknod(path, kind | 0600, makedev(major_number, minor_number)));

}

static void write_to(const char *path)
{
    int descriptor;
    if (access(path, F_OK) != 0)
        return;
    descriptor = open(path, O_WRONLY | O_CLOEXEC);
    char name[160];
    snprintf(name, sizeof name, "open %s to write", path);
    /* Writing what is there already, as a success must do no harm. */
    judge(name, descriptor);
    if (descriptor >= 0)
        close(descriptor);
}

static void read_from(const char *path)
{
    char byte, name[160];
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t size = descriptor < 0 ? -1 : read(descriptor, &byte, 1);
    if (size == 0)
        errno = ENODATA;
    snprintf(name, sizeof name, "read %s", path);
    judge(name, size > 0 ? 0 : -1);
    if (descriptor >= 0)
        close(descriptor);
}

static void list(const char *path)
{
    char name[160];
    struct stat status;
    if (stat(path, &status) != 0)
        return;
    snprintf(name, sizeof name, "look into %s", path);
    /* An empty directory has two links and no space. */
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char entries[4096];
    long size = descriptor < 0 ? -1 : syscall(SYS_getdents64, descriptor, entries, sizeof entries);
    demand(name, size <= 48);
    if (descriptor >= 0)
        close(descriptor);
}

static void open_by_handle(void)
{
    struct {
        struct file_handle head;
        unsigned char bytes[128];
    } handle;
    int mount_id, root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(&handle, 0, sizeof handle);
    handle.head.handle_bytes = sizeof handle.bytes;
    if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount_id, 0) != 0) {
        /* The root directory of ext4. */
        handle.head.handle_bytes = 8;
        handle.head.handle_type = 1;
        handle.bytes[0] = 2;
    }
    judge("open_by_handle_at", open_by_handle_at(root, &handle.head, O_RDONLY));
    close(root);
}

/* The classic way out of chroot(2): the root directory is what pivot_root has left, and nothing is above it. */
static void climb_out(int count, char **paths)
{
    int step, number;
    fflush(stdout);
    mkdir("/tmp/probe-cage", 0755);
    int here = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("/tmp/probe-cage") == 0) {
        if (fchdir(here) != 0)
            return;
        for (step = 0; step < 64; step++)
            if (chdir("..") != 0)
                break;
        if (chroot(".") != 0)
            return;
    }
    close(here);
    for (number = 0; number < count; number++) {
        char name[256];
        snprintf(name, sizeof name, "see the host's %s", paths[number]);
        demand(name, access(paths[number], F_OK) != 0);
    }
    rmdir("/tmp/probe-cage");
}

static void status_of_this_process(void)
{
    /* CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, AUDIT_WRITE,
     * SETFCAP: what container runtimes give, less MKNOD and NET_RAW. */
    const uint64_t allowed = 0xa00405fbULL;
    char line[256];
    FILE *stream = fopen("/proc/self/status", "re");
    int filtered = 0, locked = 0, bounded = 0;
    while (stream && fgets(line, sizeof line, stream)) {
        uint64_t value;
        if (sscanf(line, "CapBnd: %lx", &value) == 1)
            bounded = (value & ~allowed) == 0;
        else if (sscanf(line, "CapEff: %lx", &value) == 1 || sscanf(line, "CapPrm: %lx", &value) == 1 ||
                 sscanf(line, "CapInh: %lx", &value) == 1 || sscanf(line, "CapAmb: %lx", &value) == 1)
            demand("more capabilities than a container", (value & ~allowed) == 0);
        else if (strncmp(line, "Seccomp:\t2", 10) == 0)
            filtered = 1;
        else if (strncmp(line, "NoNewPrivs:\t1", 13) == 0)
            locked = 1;
    }
    if (stream)
        fclose(stream);
    demand("a bounding set beyond a container's", bounded);
    demand("system calls without a filter", filtered);
    demand("new privileges by setuid programs", locked);
    for (int descriptor = 3; descriptor < 256; descriptor++)
        if (fcntl(descriptor, F_GETFD) >= 0)
            demand("an open descriptor of the host", 0);
}

/* 1 stands for nothing at all; with 0 the host's handler still gets what crashes, but not everybody can take 0 back. */
static void crashes(void)
{
    struct rlimit most;
    demand("a core for the host's handler", getrlimit(RLIMIT_CORE, &most) == 0 && most.rlim_max <= 1);
    most.rlim_cur = most.rlim_max = RLIM_INFINITY;
    judge("setrlimit RLIMIT_CORE", setrlimit(RLIMIT_CORE, &most));
}

static void sockets(void)
{
    judge("socket AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0));
    judge("socket AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
    judge("socket AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
    judge("socket raw ICMP", socket(AF_INET, SOCK_RAW, 1));
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    judge("take the loopback device down", ioctl(control, SIOCSIFFLAGS, &request));
    close(control);
}

static void kernel_interfaces(void)
{
    union bpf_attr attributes;
    struct perf_event_attr event;
    struct timespec now;
    struct timeval time_of_day;
    char buffer[64];
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = attributes.value_size = 4;
    attributes.max_entries = 1;
    judge("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.type = PERF_TYPE_SOFTWARE;
    event.config = PERF_COUNT_SW_CPU_CLOCK;
    judge("perf_event_open", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
    judge("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
    judge("add_key", syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_SESSION_KEYRING));
    judge("request_key", syscall(SYS_request_key, "user", "probe", NULL, KEY_SPEC_SESSION_KEYRING));
    judge("io_uring_setup", syscall(SYS_io_uring_setup, 1, memset(malloc(256), 0, 256)));
    judge("userfaultfd", syscall(SYS_userfaultfd, 0));
    judge("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    judge("init_module", syscall(SYS_init_module, "", 0, ""));
    judge("finit_module", syscall(SYS_finit_module, 0, "", 0));
    judge("delete_module", syscall(SYS_delete_module, "probe", O_NONBLOCK));
    judge("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    judge("reboot", syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, NULL));
    clock_gettime(CLOCK_REALTIME, &now);
    judge("clock_settime", clock_settime(CLOCK_REALTIME, &now));
    gettimeofday(&time_of_day, NULL);
    judge("settimeofday", settimeofday(&time_of_day, NULL));
    judge("swapon", swapon("/tmp/no-such-swap", 0));
    judge("syslog", syscall(SYS_syslog, 3, buffer, sizeof buffer));
    judge("acct", acct(NULL));
    judge("quotactl", quotactl(QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL));
    judge("sethostname", sethostname("probe", 5));
    judge("setdomainname", setdomainname("probe", 5));
    judge("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    judge("nice to everybody", setpriority(PRIO_PROCESS, 0, -10));
}

static void mounts(void)
{
    judge("mount tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
    judge("mount debugfs", mount("none", "/tmp", "debugfs", 0, ""));
    judge("mount tracefs", mount("none", "/tmp", "tracefs", 0, ""));
    judge("mount devtmpfs", mount("none", "/tmp", "devtmpfs", 0, ""));
    judge("mount cgroup2", mount("none", "/tmp", "cgroup2", 0, ""));
    judge("mount binfmt_misc", mount("none", "/tmp", "binfmt_misc", 0, ""));
    judge("mount securityfs", mount("none", "/tmp", "securityfs", 0, ""));
    judge("mount proc", mount("none", "/tmp", "proc", 0, ""));
    judge("mount --bind", mount("/", "/tmp", "", MS_BIND, ""));
    judge("mount -o remount,rw /sys", mount("none", "/sys", "", MS_REMOUNT, ""));
    judge("mount -o remount,rw,bind /sys", mount("none", "/sys", "", MS_REMOUNT | MS_BIND, ""));
    judge("mount -o remount,rw,bind /proc/sys", mount("none", "/proc/sys", "", MS_REMOUNT | MS_BIND, ""));
    judge("mount -o remount,rw,bind /usr", mount("none", "/usr", "", MS_REMOUNT | MS_BIND, ""));
    judge("mount -o remount,dev,bind /", mount("none", "/", "", MS_REMOUNT | MS_BIND, ""));
    judge("umount /proc/sys", umount2("/proc/sys", MNT_DETACH));
    judge("umount /sys", umount2("/sys", MNT_DETACH));
    judge("fsopen", syscall(430, "tmpfs", 0));
    judge("open_tree", syscall(428, AT_FDCWD, "/", 1));
    judge("move_mount", syscall(429, AT_FDCWD, "/tmp", AT_FDCWD, "/run", 0));
    judge("mount_setattr", syscall(442, AT_FDCWD, "/", 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32));
}

static void namespaces(void)
{
    int descriptor = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    judge("unshare mount", in_child(unshare_mount));
    judge("unshare user", in_child(unshare_user));
    judge("unshare pid", in_child(unshare_pid));
    judge("unshare net", in_child(unshare_net));
    judge("unshare cgroup", in_child(unshare_cgroup));
    judge("clone mount", try_clone(CLONE_NEWNS));
    judge("clone user", try_clone(CLONE_NEWUSER));
    judge("clone net", try_clone(CLONE_NEWNET));
    judge("clone3", syscall(435, NULL, 0));
    judge("setns", descriptor < 0 ? -1 : setns(descriptor, CLONE_NEWNS));
    if (descriptor >= 0)
        close(descriptor);
}

static void devices(void)
{
    static const char *const shipped[] = {"/probe-node", "/var/probe-node", NULL};
    open_node("mknod of a disk", S_IFBLK, 8, 0);
    open_node("mknod of /dev/mem", S_IFCHR, 1, 1);
    open_node("mknod of /dev/kmsg", S_IFCHR, 1, 11);
    /* Nodes that a package has brought are there, but of no use. */
    for (int number = 0; shipped[number]; number++)
        if (access(shipped[number], F_OK) == 0)
            judge("open a device node of the tree", open(shipped[number], O_RDONLY | O_CLOEXEC));
    read_from("/dev/kmsg");
    read_from("/dev/mem");
    judge("use all I/O ports", in_child(use_io_ports));
    judge("use an I/O port", in_child(use_one_io_port));
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    judge("type on the host's terminal", terminal < 0 ? -1 : ioctl(terminal, TIOCSTI, "x"));
}

/* Inodes that the host has, too: a change of mode, to what it is already, would be seen there. */
static void change_mode(const char *path)
{
    char name[160];
    struct stat status;
    if (stat(path, &status) != 0)
        return;
    snprintf(name, sizeof name, "chmod %s", path);
    judge(name, chmod(path, status.st_mode & 07777));
}

static void shared_inodes(void)
{
    static const char *const shared[] = {"/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom",
                                         "/dev/zero", "/proc/keys", "/proc/timer_list", "/proc/meminfo",
                                         "/proc/sysvipc/shm", "/sys/kernel", NULL};
    struct timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    struct stat status;
    for (int number = 0; shared[number]; number++)
        change_mode(shared[number]);
    judge("touch /dev/zero", utimensat(AT_FDCWD, "/dev/zero", times, 0));
    for (int descriptor = 0; descriptor < 3; descriptor++)
        if (fstat(descriptor, &status) == 0 && S_ISCHR(status.st_mode))
            judge("chmod what a standard stream is", fchmod(descriptor, status.st_mode & 07777));
}

/* Process 1 is a program of the host, and everything ends with it. */
static void first_process(void)
{
    judge("chmod the program of process 1", chmod("/proc/1/exe", 0755));
    judge("chown the program of process 1", chown("/proc/1/exe", 0, -1));
    judge("write over the program of process 1", open("/proc/1/exe", O_WRONLY | O_CLOEXEC));
    judge("write into the memory of process 1", open("/proc/1/mem", O_RDWR | O_CLOEXEC));
    judge("trace process 1", syscall(SYS_ptrace, PTRACE_SEIZE, 1L, 0L, 0L));
    judge("trace process 1 by another spelling", syscall(SYS_ptrace, PTRACE_SEIZE, 0x100000001L, 0L, 0L));
}

#if defined(__x86_64__)
static long call_as_32_bits(long number, long first, long second, long third)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result < 0 && result > -4096) {
        errno = -result;
        return -1;
    }
    return result;
}
static long unshare_as_32_bits(void) { return call_as_32_bits(310, CLONE_NEWNS, 0, 0); }
static long unshare_as_x32(void) { return syscall(0x40000000L | SYS_unshare, CLONE_NEWNS); }
#endif

static void other_architectures(void)
{
#if defined(__x86_64__)
    judge("unshare as a 32-bit program", in_child(unshare_as_32_bits));
    judge("socket AF_PACKET as a 32-bit program", call_as_32_bits(359, AF_PACKET, SOCK_RAW, 0));
    judge("socketcall", call_as_32_bits(102, 1, 0, 0));
    judge("unshare as an x32 program", in_child(unshare_as_x32));
    judge("getpid as an x32 program", syscall(0x40000000L | SYS_getpid));
#endif
}

static void files(void)
{
    write_to("/proc/self/loginuid");
    write_to("/proc/pressure/io");
    write_to("/proc/mtrr");
    write_to("/proc/dynamic_debug/control");
    write_to("/proc/sys/kernel/core_pattern");
    write_to("/proc/sys/kernel/modprobe");
    write_to("/proc/sys/vm/drop_caches");
    write_to("/proc/sys/fs/binfmt_misc/register");
    write_to("/proc/sysrq-trigger");
    write_to("/proc/bus/pci/devices");
    write_to("/sys/kernel/uevent_helper");
    write_to("/sys/power/state");
    write_to("/sys/fs/cgroup/release_agent");
    judge("make a file in /proc/sys", open("/proc/sys/probe", O_CREAT | O_WRONLY, 0600));
    judge("chmod /sys/kernel", chmod("/sys/kernel", 0700));
    judge("chmod /proc/sys", chmod("/proc/sys", 0700));
    read_from("/proc/kcore");
    read_from("/proc/kmsg");
    read_from("/proc/keys");
    read_from("/proc/timer_list");
    list("/sys/firmware");
    list("/proc/acpi");
    list("/proc/scsi");
}

/* What does no harm to the machine when it is not refused, in namespaces of one's own. */
static void harmless(void)
{
    judge("mount tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
    namespaces();
    open_by_handle();
    open_node("mknod of a disk", S_IFBLK, 8, 0);
    judge("sethostname", sethostname("probe", 5));
    judge("socket AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0));
}

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "--harmless") == 0) {
        harmless();
        climb_out(count - 2, arguments + 2);
        return done_count;
    }
    status_of_this_process();
    mounts();
    namespaces();
    open_by_handle();
    devices();
    kernel_interfaces();
    crashes();
    sockets();
    files();
    shared_inodes();
    first_process();
    other_architectures();
    climb_out(count - 1, arguments + 1);
    return done_count;
}
