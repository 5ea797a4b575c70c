/*
 * vm/user_pointers: system calls given bad addresses answer EFAULT and do nothing.
 *
 * Catches: a kernel that dereferences user addresses itself, data lost from a pipe whose read could not store it, wrap-around of address plus length.
 */
#include "contract.h"
#include <sys/uio.h>
#include <sys/utsname.h>

enum { PAGE = 4096 };

int main(void)
{
	char *m = must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(munmap(m + PAGE, PAGE));
	char *ro = must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	void *bad[] = { NULL, (void *)1, m + PAGE, (void *)0x7ffffffff000, (void *)0xffff800000000000, (void *)-1, (void *)-4096 };
	int p[2];
	must(pipe(p));
	write(p[1], "data", 4);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		observe("%u: read %s", i, result(syscall(SYS_read, p[0], bad[i], 4)));
		observe("%u: write %s", i, result(syscall(SYS_write, p[1], bad[i], 4)));
		observe("%u: pipe2 %s", i, result(syscall(SYS_pipe2, bad[i], 0)));
		observe("%u: uname %s", i, result(syscall(SYS_uname, bad[i])));
		observe("%u: openat %s", i, result(syscall(SYS_openat, AT_FDCWD, bad[i], O_RDONLY)));
		observe("%u: clock_gettime %s", i, result(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad[i])));
		observe("%u: rt_sigprocmask %s", i, bad[i] ? result(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad[i], NULL, 8)) : "-");
		observe("%u: getcwd %s", i, result(syscall(SYS_getcwd, bad[i], 100)));
	}
	char b[8] = { 0 };
	observe("the pipe still has: %s %s", result(read(p[0], b, 8)), b);
	require(!strcmp(b, "data"), "nothing was lost");
	write(p[1], "abc", 3);
	fails(read(p[0], ro, 3), EFAULT);

	/* Half in, half out. */
	int zero = must(open("/dev/zero", O_RDONLY));
	ssize_t part = read(zero, m + PAGE - 10, 100); /* how many depends on the processor */
	observe("read across the end of memory: part of it %d", part > 0 && part <= 10);
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	observe("write across the end of memory: %s", result(write(fd, m + PAGE - 10, 100)));
	fails(read(zero, (char *)-100L, 200), EFAULT);
	struct iovec v[2] = { { m, 10 }, { (void *)16, 10 } };
	observe("readv with a bad second part: %s", result(readv(zero, v, 2)));
	fails(readv(zero, (void *)16, 2), EFAULT);
	v[0].iov_len = (size_t)-1;
	fails(readv(zero, v, 2), EINVAL);
	fails(readv(zero, v, -1), EINVAL);
	fails(readv(zero, v, 5000), EINVAL);
	return contract_end();
}
