/*
 * vm/file_mappings: a shared mapping and read/write see one file; a private one keeps its changes.
 *
 * Catches: two caches for one file, private changes that reach the file, truncation that leaves pages readable, the tail of
 * the last page not zero.
 */
#include "contract.h"

enum { PAGE = 4096 };

int main(void)
{
	char b[16] = { 0 };
	int fd = must(open("file", O_RDWR | O_CREAT, 0600));
	must(ftruncate(fd, 3 * PAGE - 100));
	must(pwrite(fd, "from write", 10, 10));
	char *s = must(mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	char *s2 = must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE));
	char *p = must(mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	observe("shared shows: %.10s", s + 10);
	strcpy(s + PAGE + 5, "from shared");
	must(pread(fd, b, 11, PAGE + 5));
	observe("read shows: %s; another mapping: %s; private: %s", b, s2 + 5, p + PAGE + 5);
	strcpy(p + PAGE + 5, "private");
	must(pread(fd, b, 11, PAGE + 5));
	observe("after a private change, read shows: %s; shared: %s", b, s + PAGE + 5);
	strcpy(s + PAGE + 5, "again");
	observe("private keeps: %s", p + PAGE + 5);
	int tail = 0;
	for (int i = 3 * PAGE - 100; i < 3 * PAGE; i++)
		tail += s[i];
	observe("behind the end of the file: %d", tail);

	close(fd);
	fd = must(open("file", O_RDWR));
	strcpy(s, "still mapped");
	must(pread(fd, b, 12, 0));
	observe("after close: %s", b);
	must(unlink("file"));
	s[1] = 'T';
	observe("after unlink: %s", s);

	pid_t c = must(fork());
	if (c == 0) {
		strcpy(s + 100, "child");
		strcpy(p + PAGE + 100, "child");
		_exit(0);
	}
	reap(c);
	observe("a child's writes: shared \"%s\", private \"%s\"", s + 100, p + PAGE + 100);
	require(!strcmp(s + 100, "child") && !p[PAGE + 100], "shared and private across fork");

	must(ftruncate(fd, PAGE));
	c = must(fork());
	if (c == 0) {
		volatile char x = s[2 * PAGE];
		_exit(x);
	}
	observe("beyond a truncation: %s", reap(c));
	c = must(fork());
	if (c == 0) {
		volatile char x = p[PAGE + 5];
		_exit(x);
	}
	observe("the same of a private copy: %s", reap(c));
	must(ftruncate(fd, 3 * PAGE));
	observe("extended again, shared reads: %d", s[2 * PAGE] + s[PAGE + 5]);
	observe("msync: %s, of a hole: %s", result(msync(s, 3 * PAGE, MS_SYNC)), result(msync(s, PAGE, MS_SYNC | MS_ASYNC)));
	fails(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100), EINVAL);
	int d = must(open(".", O_RDONLY));
	fails(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, d, 0), ENODEV);
	return contract_end();
}
