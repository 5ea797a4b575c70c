/*
 * process/limits: resource limits, read, set and enforced.
 *
 * Catches: limits that are stored and not kept, soft above hard accepted, a hard limit raised without privilege, SIGXFSZ missing.
 */
#include "contract.h"
#include <sys/resource.h>

int main(void)
{
	struct rlimit r, old;
	must(getrlimit(RLIMIT_NOFILE, &r));
	observe("NOFILE %ld %ld", (long)r.rlim_cur, (long)r.rlim_max);
	must(getrlimit(RLIMIT_STACK, &r));
	observe("STACK %ld", (long)r.rlim_cur);
	fails(getrlimit(99, &r), EINVAL);
	r = (struct rlimit){ 200, 100 };
	fails(setrlimit(RLIMIT_NOFILE, &r), EINVAL);

	r = (struct rlimit){ 5, 4096 };
	must(setrlimit(RLIMIT_NOFILE, &r));
	int n = 0;
	while (dup(1) >= 0)
		n++;
	observe("descriptors with NOFILE 5: %d more, then %s", n, errno_name(errno));
	fails(open("/dev/null", O_RDONLY), EMFILE);
	fails(dup2(1, 5), EBADF);
	fails(fcntl(1, F_DUPFD, 5), EINVAL);
	r.rlim_cur = 1024;
	must(setrlimit(RLIMIT_NOFILE, &r));
	for (int fd = 3; fd < 5; fd++)
		close(fd);

	pid_t p = must(fork());
	if (p == 0) {
		getrlimit(RLIMIT_NOFILE, &r);
		_exit(r.rlim_cur == 1024 ? 0 : 1);
	}
	observe("a child inherits: %s", reap(p));

	signal(SIGXFSZ, SIG_IGN);
	r = (struct rlimit){ 1000, RLIM_INFINITY };
	must(setrlimit(RLIMIT_FSIZE, &r));
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	char block[600];
	memset(block, 'x', sizeof block);
	observe("FSIZE 1000: write 600: %s", result(write(fd, block, 600)));
	observe("write 600 more: %s", result(write(fd, block, 600)));
	fails(write(fd, block, 1), EFBIG);
	fails(ftruncate(fd, 2000), EFBIG);
	p = must(fork());
	if (p == 0) {
		signal(SIGXFSZ, SIG_DFL);
		write(fd, block, 1);
		_exit(0);
	}
	observe("without ignoring: %s", reap(p));

	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		r = (struct rlimit){ 50, 60 };
		must(setrlimit(RLIMIT_NOFILE, &r));
		r.rlim_max = 61;
		fails(setrlimit(RLIMIT_NOFILE, &r), EPERM);
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	must(prlimit(getpid(), RLIMIT_CORE, NULL, &old));
	r = (struct rlimit){ 0, 0 };
	must(prlimit(0, RLIMIT_CORE, &r, &old));
	must(getrlimit(RLIMIT_CORE, &r));
	observe("CORE %ld %ld", (long)r.rlim_cur, (long)r.rlim_max);
	fails(prlimit(999999, RLIMIT_CORE, NULL, &old), ESRCH);
	return contract_end();
}
