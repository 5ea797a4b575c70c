/*
 * vm/memfd: memory with a descriptor: size, mappings, seals.
 *
 * Catches: seals that are stored and not kept, a memfd without its name, a shared page that is not shared.
 */
#include "contract.h"

int main(void)
{
	int fd = must(memfd_create("hello", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	char link[128] = { 0 }, path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	readlink(path, link, sizeof link - 1);
	observe("name: %s, close-on-exec %d, seals %s", link, fcntl(fd, F_GETFD), result(fcntl(fd, F_GET_SEALS)));
	must(ftruncate(fd, 8192));
	char *m = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	strcpy(m, "one page for all");
	pid_t p = must(fork());
	if (p == 0) {
		char b[20] = { 0 };
		pread(fd, b, 16, 0);
		observe("child reads: %s", b);
		strcpy(m, "changed");
		_exit(0);
	}
	reap(p);
	observe("parent reads: %s", m);
	fails(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	must(munmap(m, 8192));
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	fails(ftruncate(fd, 4096), EPERM);
	observe("growing: %s", result(ftruncate(fd, 16384)));
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE));
	fails(ftruncate(fd, 32768), EPERM);
	fails(write(fd, "x", 1), EPERM);
	fails(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
	m = must(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
	observe("still readable: %s", m);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	fails(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
	observe("seals: %#x", fcntl(fd, F_GET_SEALS));
	fd = must(memfd_create("", 0));
	fails(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
	fails(memfd_create("x", 0x8000), EINVAL);
	return contract_end();
}
