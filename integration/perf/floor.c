// floor: the bare system calls of a container's life and nothing else (no JSON, no record but a pid): the limit that a
// runtime can come near to. It is hard-wired to the benchmark's two bundles, see bench.py, and takes a runtime's words:
//   floor --root DIR run|create -b BUNDLE ID     start|state|kill|delete|exec ID
// The base name of BUNDLE says what to add: docker* limits, a cgroup namespace and BUNDLE/filter.bpf; *-sleep the program.
// $FLOOR_CGROUPS: the cgroup hierarchies, colon-separated mount points; one that is cgroup2 is entered by clone3.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

// <sys/mount.h> and <linux/mount.h> exclude each other in older C libraries.
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
enum { RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, REMOUNT = 32, BIND = 4096, REC = 16384, SLAVE = 1 << 19, STRICTATIME = 1 << 24, DETACH = 2 };
enum { TIGHT = NOSUID | NODEV | NOEXEC };

#define MUST(call) \
    do { \
        if ((long)(call) < 0) { \
            fprintf(stderr, "floor:%d: %s: %s\n", __LINE__, #call, strerror(errno)); \
            _exit(1); \
        } \
    } while (0)
#define LENGTH(array) (sizeof(array) / sizeof(*array))

static const char *bundle, *id;
static int docker, gate = -1, ready[2] = {-1, -1};
static char *hierarchy[16];
static int hierarchies, unified = -1; // unified: index of the cgroup2, or -1
static char group[16][256];
static struct sock_filter filter[4096];
static struct sock_fprog program = {0, filter};

static void put(const char *dir, const char *file, const char *text)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

static void copy(const char *from, const char *to, const char *file)
{
    char path[320], text[256];
    snprintf(path, sizeof path, "%s/%s", from, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd);
    ssize_t length = read(fd, text, sizeof text - 1);
    MUST(length);
    close(fd);
    text[length] = 0;
    put(to, file, text);
}

static int is(int index, const char *controller)
{
    return strcmp(strrchr(hierarchy[index], '/') + 1, controller) == 0;
}

static void name_cgroups(void)
{
    for (char *dir = strtok(getenv("FLOOR_CGROUPS"), ":"); dir; dir = strtok(NULL, ":")) {
        hierarchy[hierarchies] = dir;
        snprintf(group[hierarchies], sizeof *group, "%s/floor-%s", dir, id);
        char probe[300];
        snprintf(probe, sizeof probe, "%s/cgroup.controllers", dir);
        if (!access(probe, F_OK))
            unified = hierarchies;
        hierarchies++;
    }
}

static void make_cgroups(void)
{
    static const char *allowed[] = {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm",
                                    "c 1:5 rwm", "c 1:9 rwm", "c 136:* rwm", "c 5:2 rwm"};
    for (int i = 0; i < hierarchies; i++) {
        MUST(mkdir(group[i], 0755));
        if (is(i, "cpuset")) {
            copy(hierarchy[i], group[i], "cpuset.cpus");
            copy(hierarchy[i], group[i], "cpuset.mems");
        } else if (is(i, "devices")) {
            put(group[i], "devices.deny", "a");
            for (size_t k = 0; k < LENGTH(allowed); k++)
                put(group[i], "devices.allow", allowed[k]);
        } else if (docker && is(i, "memory")) {
            put(group[i], "memory.limit_in_bytes", "536870912");
        } else if (docker && is(i, "cpu")) {
            put(group[i], "cpu.shares", "512");
            put(group[i], "cpu.cfs_period_us", "100000");
            put(group[i], "cpu.cfs_quota_us", "100000");
        } else if (docker && is(i, "pids")) {
            put(group[i], "pids.max", "64");
        }
    }
}

static void remove_cgroups(void)
{
    for (int i = 0; i < hierarchies; i++)
        while (rmdir(group[i]) < 0 && errno == EBUSY)
            sched_yield();
}

static void mount_cgroups(void)
{
    if (hierarchies == 1 && unified == 0) {
        MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", TIGHT | RDONLY, NULL));
        return;
    }
    MUST(mount("cgroup", "sys/fs/cgroup", "tmpfs", TIGHT, "mode=755"));
    for (int i = 0; i < hierarchies; i++) {
        char path[64];
        snprintf(path, sizeof path, "sys/fs/cgroup/%s", strrchr(hierarchy[i], '/') + 1);
        MUST(mkdir(path, 0755));
        MUST(mount(group[i], path, NULL, BIND, NULL));
        MUST(mount(NULL, path, NULL, BIND | REMOUNT | RDONLY | TIGHT, NULL));
    }
    MUST(mount(NULL, "sys/fs/cgroup", NULL, BIND | REMOUNT | RDONLY | TIGHT, NULL));
}

static void make_devices(void)
{
    static const struct { const char *path; int major, minor; } nodes[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/tty", 5, 0}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}};
    static const char *links[][2] = {{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
                                     {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"}};
    umask(0);
    for (size_t i = 0; i < LENGTH(nodes); i++)
        MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    for (size_t i = 0; i < LENGTH(links); i++)
        MUST(symlink(links[i][0], links[i][1]));
}

static void mask(void)
{
    static const char *masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
                                   "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
    static const char *readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for (size_t i = 0; i < LENGTH(masked); i++) {
        int target = open(masked[i], O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat status;
        if (target < 0 || fstat(target, &status))
            continue;
        if (S_ISDIR(status.st_mode)) {
            MUST(mount("tmpfs", masked[i], "tmpfs", RDONLY, "nr_blocks=1,nr_inodes=1"));
        } else {
            int tree = syscall(SYS_open_tree, AT_FDCWD, "dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
            MUST(tree);
            MUST(syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
            close(tree);
        }
        close(target);
    }
    for (size_t i = 0; i < LENGTH(readonly); i++)
        if (!mount(readonly[i], readonly[i], NULL, BIND | REC, NULL))
            MUST(mount(NULL, readonly[i], NULL, BIND | REMOUNT | RDONLY, NULL));
}

static void make_root(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/rootfs", bundle);
    MUST(mount(NULL, "/", NULL, SLAVE | REC, NULL));
    MUST(mount(path, path, NULL, BIND | REC, NULL));
    MUST(chdir(path));
    MUST(mount("proc", "proc", "proc", 0, NULL));
    MUST(mount("tmpfs", "dev", "tmpfs", NOSUID | STRICTATIME, "mode=755,size=65536k"));
    MUST(mkdir("dev/pts", 0755));
    MUST(mkdir("dev/shm", 0755));
    MUST(mkdir("dev/mqueue", 0755));
    MUST(mount("devpts", "dev/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    MUST(mount("shm", "dev/shm", "tmpfs", TIGHT, "mode=1777,size=65536k"));
    MUST(mount("mqueue", "dev/mqueue", "mqueue", TIGHT, NULL));
    MUST(mount("sysfs", "sys", "sysfs", TIGHT | RDONLY, NULL));
    mount_cgroups();
    make_devices();
    if (docker) {
        static const char *files[][2] = {{"files/hosts", "etc/hosts"}, {"files/hostname", "etc/hostname"}, {"files/resolv.conf", "etc/resolv.conf"}};
        for (size_t i = 0; i < LENGTH(files); i++) {
            snprintf(path, sizeof path, "%s/%s", bundle, files[i][0]);
            MUST(mount(path, files[i][1], NULL, BIND | REC, NULL));
        }
        put("proc/sys/net/ipv4", "ip_unprivileged_port_start", "0");
        put("proc/sys/net/ipv4", "ping_group_range", "0 2147483647");
    }
    mask();
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", DETACH));
    MUST(chdir("/"));
    if (!docker)
        MUST(mount(NULL, "/", NULL, BIND | REMOUNT | RDONLY, NULL));
}

static void limit_rights(void)
{
    uint64_t keep = docker ? 0xa80425fb : 1ull << 29 | 1ull << 5 | 1ull << 10;
    for (int bit = 0; bit <= 40; bit++)
        if (!(keep >> bit & 1))
            prctl(PR_CAPBSET_DROP, bit, 0, 0, 0);
    MUST(setresgid(0, 0, 0));
    MUST(setresuid(0, 0, 0));
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } sets[2] = {{keep, keep, 0}, {0, 0, 0}};
    // Without no_new_privs the filter needs CAP_SYS_ADMIN, which capset takes away.
    if (docker && program.len)
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    MUST(syscall(SYS_capset, &header, sets));
    if (!docker)
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void container(void)
{
    for (int i = 0; i < hierarchies; i++)
        if (i != unified) // cgroup.procs would wait for all threads' groups, an RCU grace period on a busy machine
            put(group[i], "tasks", "0");
    if (docker)
        MUST(unshare(CLONE_NEWCGROUP));
    make_root();
    MUST(sethostname("floor", 5));
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    MUST(ioctl(sock, SIOCSIFFLAGS, &lo));
    close(sock);
    struct rlimit files = {1024, 1024};
    setrlimit(RLIMIT_NOFILE, &files);
    setsid();
    limit_rights();
    char byte = 0;
    if (gate >= 0) {
        MUST(write(ready[1], &byte, 1));
        MUST(read(gate, &byte, 1));
    }
    static char *truth[] = {"/bin/true", NULL}, *sleeper[] = {"/bin/sleep", "100000", NULL}, *environment[] = {"PATH=/bin", NULL};
    char **words = strstr(bundle, "-sleep") ? sleeper : truth;
    execve(*words, words, environment);
    _exit(127);
}

static pid_t start_container(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/filter.bpf", bundle);
    int fd = docker ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        program.len = read(fd, filter, sizeof filter) / sizeof *filter;
        close(fd);
    }
    struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS, .exit_signal = SIGCHLD};
    if (unified >= 0) {
        int dir = open(group[unified], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        MUST(dir);
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir;
    }
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    MUST(pid);
    if (!pid)
        container();
    return pid;
}

static int recorded_pid(const char *dir)
{
    char path[300], text[16] = "";
    snprintf(path, sizeof path, "%s/pid", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd);
    MUST(read(fd, text, sizeof text - 1));
    close(fd);
    return atoi(text);
}

static int create(const char *dir)
{
    char path[300], text[16];
    MUST(mkdir(dir, 0700));
    snprintf(path, sizeof path, "%s/gate", dir);
    MUST(mkfifo(path, 0600));
    MUST(gate = open(path, O_RDWR | O_CLOEXEC));
    MUST(pipe2(ready, O_CLOEXEC));
    make_cgroups();
    snprintf(text, sizeof text, "%d", start_container());
    close(ready[1]);
    MUST(read(ready[0], path, 1) - 1);
    snprintf(path, sizeof path, "%s/pid", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    MUST(fd);
    MUST(write(fd, text, strlen(text)));
    return 0;
}

static int start(const char *dir)
{
    char path[300];
    snprintf(path, sizeof path, "%s/gate", dir);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "0", 1));
    return unlink(path);
}

// exec of /bin/true in the default container: join, enter its cgroups, give up what it does not have.
static int exec(const char *dir)
{
    char path[300];
    int tasks[16], status, container_init = recorded_pid(dir);
    for (int i = 0; i < hierarchies; i++) {
        snprintf(path, sizeof path, "%.255s/%s", group[i], i == unified ? "" : "tasks");
        MUST(tasks[i] = open(path, i == unified ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : O_WRONLY | O_CLOEXEC));
    }
    int fd = syscall(SYS_pidfd_open, container_init, 0);
    MUST(fd);
    MUST(setns(fd, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS));
    struct clone_args args = {.exit_signal = SIGCHLD};
    if (unified >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = tasks[unified];
    }
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    MUST(pid);
    if (!pid) {
        for (int i = 0; i < hierarchies; i++)
            if (i != unified)
                MUST(write(tasks[i], "0", 1));
        setsid();
        limit_rights();
        execve("/bin/true", (char *[]){"/bin/true", NULL}, (char *[]){"PATH=/bin", NULL});
        _exit(127);
    }
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int delete(const char *dir)
{
    char path[300];
    int fd = syscall(SYS_pidfd_open, recorded_pid(dir), 0);
    if (fd >= 0) {
        struct pollfd gone = {.fd = fd, .events = POLLIN};
        MUST(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
        poll(&gone, 1, -1);
    }
    remove_cgroups();
    snprintf(path, sizeof path, "%s/pid", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/gate", dir);
    unlink(path);
    return rmdir(dir);
}

int main(int argc, char **argv)
{
    const char *root = "/run/floor", *verb = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--root"))
            root = argv[++i];
        else if (!strcmp(argv[i], "-b"))
            bundle = argv[++i];
        else if (!verb)
            verb = argv[i];
        else if (!id && argv[i][0] != '-')
            id = argv[i];
    }
    if (!verb || !id)
        return 2;
    docker = bundle && strstr(bundle, "/docker");
    char dir[256];
    snprintf(dir, sizeof dir, "%s/%s", root, id);
    name_cgroups();
    if (!strcmp(verb, "run")) {
        int status;
        make_cgroups();
        MUST(waitpid(start_container(), &status, 0));
        remove_cgroups();
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    if (!strcmp(verb, "create"))
        return create(dir);
    if (!strcmp(verb, "start"))
        return start(dir);
    if (!strcmp(verb, "exec"))
        return exec(dir);
    if (!strcmp(verb, "delete"))
        return delete(dir);
    if (!strcmp(verb, "kill"))
        return kill(recorded_pid(dir), SIGWINCH);
    if (!strcmp(verb, "state")) {
        int pid = recorded_pid(dir);
        return printf("{\"id\":\"%s\",\"pid\":%d,\"status\":\"%s\"}\n", id, pid, kill(pid, 0) ? "stopped" : "running") < 0;
    }
    return 2;
}
