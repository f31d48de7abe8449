/* libseccomp as the oracle of tests/seccomp_oracle.rs. Never part of the product.
 *
 *   oracle names               names on stdin; prints those that libseccomp knows
 *   oracle build LEVEL OUT     a profile on stdin; writes its BPF to OUT, prints the microseconds
 *   oracle install FILE N      loads a filter in N children; prints the microseconds
 *
 * A profile is lines of `default ACTION`, `arch TOKEN`, `rule ACTION NAME COUNT [INDEX OP A B]...` with
 * decimal numbers; tokens and operators are those of seccomp.h. Exit 3: libseccomp refuses a rule. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int die(const char *what, int code)
{
	fprintf(stderr, "oracle: %s: %s\n", what, strerror(code));
	return 1;
}

static int names(void)
{
	char name[128];
	while (scanf("%127s", name) == 1)
		if (seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR)
			puts(name);
	return 0;
}

static int build(int level, const char *out)
{
	char word[16], name[128];
	unsigned long long number, index, op, a, b;
	scmp_filter_ctx filter = NULL;
	int native = 0, count, rc, fd;
	double start = now();

	while (scanf("%15s", word) == 1) {
		if (!strcmp(word, "default")) {
			if (scanf("%llu", &number) != 1 || !(filter = seccomp_init(number)))
				return die("seccomp_init", EINVAL);
			if ((rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, level)))
				return die("optimize", -rc);
		} else if (!strcmp(word, "arch")) {
			if (scanf("%llu", &number) != 1)
				return die("arch", EINVAL);
			if (number == seccomp_arch_native())
				native = 1;
			else if ((rc = seccomp_arch_add(filter, number)))
				return die("seccomp_arch_add", -rc);
		} else {
			struct scmp_arg_cmp args[6];
			if (!native) {
				/* Rules come after the architectures: none of the native one then. */
				if ((rc = seccomp_arch_remove(filter, SCMP_ARCH_NATIVE)))
					return die("seccomp_arch_remove", -rc);
				native = 1;
			}
			if (scanf("%llu %127s %d", &number, name, &count) != 3 || count > 6)
				return die("rule", EINVAL);
			for (int i = 0; i < count; i++) {
				if (scanf("%llu %llu %llu %llu", &index, &op, &a, &b) != 4)
					return die("argument", EINVAL);
				args[i] = (struct scmp_arg_cmp){ index, op, a, b };
			}
			rc = seccomp_rule_add_array(filter, number, seccomp_syscall_resolve_name(name), count, args);
			if (rc == -EEXIST)
				return 3;
			if (rc)
				return die(name, -rc);
		}
	}
	if ((fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0)
		return die(out, errno);
	if ((rc = seccomp_export_bpf(filter, fd)))
		return die("seccomp_export_bpf", -rc);
	printf("%.1f\n", now() - start);
	return 0;
}

static int smaller(const void *a, const void *b)
{
	return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b);
}

static int install(const char *file, int runs)
{
	struct stat st;
	int fd = open(file, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		return die(file, errno);
	struct sock_filter *code = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	double *times = mmap(NULL, runs * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sock_fprog program = { st.st_size / sizeof(*code), code };
	if (code == MAP_FAILED || times == MAP_FAILED)
		return die("mmap", errno);
	for (int i = 0; i < runs; i++) {
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			double start = now();
			long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
			/* vDSO and memory only: the filter may refuse anything. */
			times[i] = rc ? -1 : now() - start;
			_exit(0);
		}
		waitpid(child, NULL, 0);
		if (times[i] <= 0)
			return die("seccomp(2)", EINVAL);
	}
	qsort(times, runs, sizeof(double), smaller);
	printf("%.1f %.1f\n", times[0], times[runs / 2]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "names"))
		return names();
	if (argc == 4 && !strcmp(argv[1], "build"))
		return build(atoi(argv[2]), argv[3]);
	if (argc == 4 && !strcmp(argv[1], "install"))
		return install(argv[2], atoi(argv[3]));
	fputs("usage: oracle names | build LEVEL OUT | install FILE N\n", stderr);
	return 2;
}
