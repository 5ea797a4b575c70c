// Memory: mmap in its forms, protection, growth, sharing over fork, moving, big heaps, many mappings.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#define P 4096
static sigjmp_buf jb;
static void on(int s) { siglongjmp(jb, s); }
static int faults(volatile char *p, int w) { int s = sigsetjmp(jb, 1); if (!s) { if (w) *p = 1; else (void)*p; } return s; }
static int deep(int n) { volatile char b[1000]; b[0] = n; return n ? deep(n - 1) + b[0] * 0 : 0; }
int main(void) {
	signal(SIGSEGV, on); signal(SIGBUS, on);
	char *a = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	a[0] = 1; a[5 * P] = 2; printf("zero %d\n", a[P] == 0);
	mprotect(a + P, P, PROT_READ); printf("protect %d %d\n", faults(a + P, 1) == SIGSEGV, faults(a + P, 0));
	mprotect(a + 2 * P, P, PROT_NONE); printf("none %d\n", faults(a + 2 * P, 0) == SIGSEGV);
	mprotect(a, 8 * P, PROT_READ | PROT_WRITE); printf("again %d %d\n", faults(a + 2 * P, 1), a[5 * P]);
	munmap(a + 3 * P, P); printf("hole %d %d\n", faults(a + 3 * P, 0) == SIGSEGV, faults(a + 4 * P, 1));
	{ errno = 0; long r_ = (long)(mprotect(a, 8 * P, PROT_READ)); printf("mprotect over hole %d %d\n", (int)r_, errno == ENOMEM); }
	madvise(a + 5 * P, P, MADV_DONTNEED); printf("dontneed %d\n", a[5 * P]);
	printf("errors %d %d %d %d\n", mmap(0, 0, 1, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL, munmap(a + 1, P) && errno == EINVAL, mmap((void *)P, P, 1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, 99, 0) == MAP_FAILED, mmap(0, P, 1, MAP_PRIVATE, 99, 0) == MAP_FAILED && errno == EBADF);
	char *sh = mmap(0, P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *pr = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sh[0] = pr[0] = 1; if (!fork()) { sh[0] = pr[0] = 2; _exit(0); } wait(0); printf("shared %d private %d\n", sh[0], pr[0]);
	char path[] = "/tmp/mXXXXXX"; int fd = mkstemp(path); unlink(path); for (int i = 0; i < 3; i++) { char b[P]; memset(b, 'a' + i, P); write(fd, b, P); }
	char *f1 = mmap(0, 3 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *f2 = mmap(0, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, P);
	printf("file %c %c\n", f1[0], f2[P]); f1[P] = 'X'; printf("private sees shared %c\n", f2[0]); f2[0] = 'Y'; f1[P] = 'Z'; printf("after copy %c\n", f2[0]);
	char c; pread(fd, &c, 1, P); printf("read sees %c\n", c); pwrite(fd, "W", 1, 2); printf("map sees %c\n", f1[2]);
	ftruncate(fd, P); printf("truncated %d\n", faults(f1 + 2 * P, 0) == SIGBUS); ftruncate(fd, 3 * P); printf("extended %d\n", f1[2 * P]);
	int rfd = open("/dev/zero", O_RDONLY); { errno = 0; long r_ = (long)(mmap(0, P, PROT_WRITE, MAP_SHARED, rfd, 0) == MAP_FAILED); printf("shared write of read-only %d %d\n", (int)r_, errno == EACCES); }
	char *z = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, rfd, 0); z[0] = 1; printf("dev zero %d\n", z[1]);
	char *m = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); strcpy(m + 2 * P, "moved");
	char *g = mmap(0, 16 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); m = mremap(m, 4 * P, 8 * P, MREMAP_MAYMOVE | MREMAP_FIXED, g); printf("mremap %d %s\n", m == g, m + 2 * P);
	m = mremap(m, 8 * P, 4 * P, 0); printf("shrink %d %d\n", m == g, faults(m + 5 * P, 0) == SIGSEGV);
	char *big = malloc(64 << 20); for (size_t i = 0; i < 64 << 20; i += 64 * P) big[i] = i >> 20; long sum = 0; for (size_t i = 0; i < 64 << 20; i += 64 * P) sum += big[i]; printf("heap %ld\n", sum); free(big);
#ifdef __GLIBC__ // musl refuses sbrk
	char *brk0 = sbrk(0); sbrk(10 * P); brk0[9 * P] = 5; sbrk(-10 * P); printf("brk %d %d\n", (char *)sbrk(0) == brk0, faults(brk0 + 9 * P, 0) == SIGSEGV);
#endif
	printf("stack %d\n", deep(5000));
	void *res = mmap(0, 1L << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); printf("reserve %d\n", res != MAP_FAILED); munmap(res, 1L << 40);
	for (int i = 0; i < 500; i++) { char *q = mmap(0, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); q[0] = 1; munmap(q + P, P); } printf("many\n");
	unsigned char vec[8]; char *n = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); n[P] = 1; mincore(n, 4 * P, vec); printf("mincore %d %d\n", vec[0] & 1, vec[1] & 1);
	char *x = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined __x86_64__
	memcpy(x, "\xb8\x2a\0\0\0\xc3", 6);
#else
	memcpy(x, "\x40\x05\x80\x52\xc0\x03\x5f\xd6", 8); __builtin___clear_cache(x, x + 8);
#endif
	mprotect(x, P, PROT_READ | PROT_EXEC); printf("code %d\n", ((int (*)(void))x)());
	for (int i = 0; i < 3; i++) { char *t = malloc(1 << 20); memset(t, i, 1 << 20); pid_t p = fork(); if (!p) { for (int j = 0; j < 1 << 20; j += P) if (t[j] != i) _exit(1); memset(t, 9, 1 << 20); pid_t k = fork(); if (!k) { _exit(t[77] != 9); } int st; waitpid(k, &st, 0); _exit(WEXITSTATUS(st)); } int st; waitpid(p, &st, 0); printf("fork tree %d %d\n", WEXITSTATUS(st), t[5000]); free(t); }
	return 0;
}
