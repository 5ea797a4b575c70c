/*
 * subsystems/uts_names: host and domain names, each namespace's own, by call and by /proc.
 *
 * Catches: names cut or padded wrongly, a name that is the machine's instead of the namespace's, setns into the wrong one.
 */
#include "contract.h"
#include <sched.h>
#include <sys/utsname.h>

static const char *node(void)
{
	static struct utsname u;
	must(uname(&u));
	return u.nodename;
}

static const char *from_proc(const char *path)
{
	static char b[128];
	int fd = must(open(path, O_RDONLY));
	ssize_t n = must(read(fd, b, sizeof b - 1));
	b[n > 0 ? n - 1 : 0] = 0;
	close(fd);
	return b;
}

int main(void)
{
	char longest[65];
	struct stat before, after;
	int outer = must(open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
	memset(longest, 'x', sizeof longest);
	must(fstat(outer, &before));
	must(unshare(CLONE_NEWUTS));
	must(stat("/proc/self/ns/uts", &after));
	observe("another namespace: %d, same device %d", before.st_ino != after.st_ino, before.st_dev == after.st_dev);
	must(sethostname("first", 5));
	observe("nodename %s, /proc %s", node(), from_proc("/proc/sys/kernel/hostname"));
	must(sethostname("cut here", 3));
	observe("three bytes of it: %s", node());
	must(sethostname("", 0));
	observe("none: '%s'", node());
	fails(sethostname(longest, 65), EINVAL);
	must(sethostname(longest, 64));
	observe("64 bytes: %zu", strlen(node()));
	fails(sethostname(longest, -1), EINVAL);
	fails(sethostname((void *)8, 4), EFAULT);
	must(setdomainname("dom.example", 11));
	observe("domain: %s", from_proc("/proc/sys/kernel/domainname"));
	int fd = must(open("/proc/sys/kernel/hostname", O_WRONLY));
	must(write(fd, "by-proc\n", 8));
	close(fd);
	observe("written: %s", node());
	pid_t p = must(fork());
	if (p == 0) {
		must(setns(outer, CLONE_NEWUTS));
		must(stat("/proc/self/ns/uts", &after));
		_exit(after.st_ino == before.st_ino && strcmp(node(), "by-proc") ? 3 : 4);
	}
	observe("child back in the first: %s", reap(p));
	observe("here still: %s", node());
	fails(setns(outer, CLONE_NEWIPC), EINVAL);
	fails(setns(0, 0), EINVAL);
	fails(setns(77, 0), EBADF);
	p = must(fork());
	if (p == 0) {
		must(setuid(1000));
		fails(sethostname("no", 2), EPERM);
		fails(setdomainname("no", 2), EPERM);
		fails(unshare(CLONE_NEWUTS), EPERM);
		fails(setns(outer, 0), EPERM);
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	return contract_end();
}
