// measure SECONDS COMMAND...: run it with /dev/null for 0, 1 and 2, print "wall_us cpu_us peak_kib status".
// wall: from posix_spawn to wait4. cpu: user + system time of the command, of all it waited for, and of orphans that have
// ended by then (this process is a subreaper). Living orphans go to the nearest subreaper above.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static pid_t child;

static void expired(int signal_number)
{
    (void)signal_number;
    kill(child, SIGKILL);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double cpu(const struct rusage *u)
{
    return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e6 + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    struct sigaction alarmed = {.sa_handler = expired, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &alarmed, NULL);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    double begin = now();
    if (posix_spawnp(&child, argv[2], &files, NULL, argv + 2, environ)) {
        perror(argv[2]);
        return 1;
    }
    alarm((unsigned)atoi(argv[1]));
    int status, orphan_status;
    struct rusage used, orphan;
    while (wait4(child, &status, 0, &used) != child)
        ;
    double wall = now() - begin, total = cpu(&used);
    long peak = used.ru_maxrss;
    while (wait4(-1, &orphan_status, WNOHANG, &orphan) > 0) {
        total += cpu(&orphan);
        peak = orphan.ru_maxrss > peak ? orphan.ru_maxrss : peak;
    }
    printf("%.0f %.0f %ld %d\n", wall, total, peak, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
