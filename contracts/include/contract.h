/*
 * contract.h: what every contract prints with.
 *
 *   int main(void)
 *   {
 *           int r = close(99);
 *           observe("close of a closed descriptor: %s", result(r));   // printed and compared with Linux
 *           require(r == -1 && errno == EBADF, "close(99) must answer EBADF");
 *           return contract_end();
 *   }
 *
 * An observation must be the same on every Linux machine: no addresses, ids, times or sizes
 * that belong to one of them. The first requirement that does not hold ends the contract.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 1, 2), unused)) static void observe_line(const char *format, ...)
{
	char line[1024];
	va_list ap;
	int saved = errno;
	va_start(ap, format);
	int n = vsnprintf(line, sizeof line - 1, format, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t w = write(1, line + done, n - done);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			_exit(99);
		done += w;
	}
	errno = saved;
}

/*
 * observe prints one line at once, so that nothing is lost or doubled by fork, exec or death. Unlike a
 * function it evaluates its arguments from left to right: they are often calls whose order matters.
 */
#define observe(...) OBSERVE_PICK(__VA_ARGS__, OBSERVE_12, OBSERVE_11, OBSERVE_10, OBSERVE_9, OBSERVE_8, OBSERVE_7, OBSERVE_6, OBSERVE_5, OBSERVE_4, OBSERVE_3, OBSERVE_2, OBSERVE_1, observe_line)(__VA_ARGS__)
#define OBSERVE_PICK(f, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, name, ...) name
#define OBSERVE_1(f, a1) do { __auto_type o1_ = (a1); observe_line(f, o1_); } while (0)
#define OBSERVE_2(f, a1, a2) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); observe_line(f, o1_, o2_); } while (0)
#define OBSERVE_3(f, a1, a2, a3) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); observe_line(f, o1_, o2_, o3_); } while (0)
#define OBSERVE_4(f, a1, a2, a3, a4) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); observe_line(f, o1_, o2_, o3_, o4_); } while (0)
#define OBSERVE_5(f, a1, a2, a3, a4, a5) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); observe_line(f, o1_, o2_, o3_, o4_, o5_); } while (0)
#define OBSERVE_6(f, a1, a2, a3, a4, a5, a6) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_); } while (0)
#define OBSERVE_7(f, a1, a2, a3, a4, a5, a6, a7) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_); } while (0)
#define OBSERVE_8(f, a1, a2, a3, a4, a5, a6, a7, a8) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); __auto_type o8_ = (a8); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_, o8_); } while (0)
#define OBSERVE_9(f, a1, a2, a3, a4, a5, a6, a7, a8, a9) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); __auto_type o8_ = (a8); __auto_type o9_ = (a9); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_, o8_, o9_); } while (0)
#define OBSERVE_10(f, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); __auto_type o8_ = (a8); __auto_type o9_ = (a9); __auto_type o10_ = (a10); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_, o8_, o9_, o10_); } while (0)
#define OBSERVE_11(f, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); __auto_type o8_ = (a8); __auto_type o9_ = (a9); __auto_type o10_ = (a10); __auto_type o11_ = (a11); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_, o8_, o9_, o10_, o11_); } while (0)
#define OBSERVE_12(f, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) do { __auto_type o1_ = (a1); __auto_type o2_ = (a2); __auto_type o3_ = (a3); __auto_type o4_ = (a4); __auto_type o5_ = (a5); __auto_type o6_ = (a6); __auto_type o7_ = (a7); __auto_type o8_ = (a8); __auto_type o9_ = (a9); __auto_type o10_ = (a10); __auto_type o11_ = (a11); __auto_type o12_ = (a12); observe_line(f, o1_, o2_, o3_, o4_, o5_, o6_, o7_, o8_, o9_, o10_, o11_, o12_); } while (0)

/* contract_fail ends the contract, in whatever process it is called. */
__attribute__((format(printf, 1, 2), noreturn, unused)) static void contract_fail(const char *format, ...)
{
	char why[900];
	va_list ap;
	va_start(ap, format);
	vsnprintf(why, sizeof why, format, ap);
	va_end(ap);
	observe("CONTRACT_FAIL: %s", why);
	_exit(1);
}

__attribute__((unused)) static int contract_end(void)
{
	observe("CONTRACT_PASS");
	return 0;
}

/* errno_name is the symbol of an error number. */
__attribute__((unused)) static const char *errno_name(int e)
{
	static char other[32];
	switch (e) {
	case 0: return "0";
#define NAME(x) case x: return #x
	NAME(E2BIG); NAME(EACCES); NAME(EADDRINUSE); NAME(EADDRNOTAVAIL); NAME(EAFNOSUPPORT); NAME(EAGAIN); NAME(EALREADY);
	NAME(EBADF); NAME(EBUSY); NAME(ECANCELED); NAME(ECHILD); NAME(ECONNABORTED); NAME(ECONNREFUSED); NAME(ECONNRESET);
	NAME(EDEADLK); NAME(EDESTADDRREQ); NAME(EDOM); NAME(EEXIST); NAME(EFAULT); NAME(EFBIG); NAME(EIDRM); NAME(EINPROGRESS);
	NAME(EINTR); NAME(EINVAL); NAME(EIO); NAME(EISCONN); NAME(EISDIR); NAME(ELOOP); NAME(EMFILE); NAME(EMLINK); NAME(EMSGSIZE);
	NAME(ENAMETOOLONG); NAME(ENFILE); NAME(ENODATA); NAME(ENODEV); NAME(ENOENT); NAME(ENOEXEC); NAME(ENOLCK); NAME(ENOMEM);
	NAME(ENOMSG); NAME(ENOPROTOOPT); NAME(ENOSPC); NAME(ENOSYS); NAME(ENOTCONN); NAME(ENOTDIR); NAME(ENOTEMPTY); NAME(ENOTSOCK);
	NAME(ENOTTY); NAME(ENXIO); NAME(EOPNOTSUPP); NAME(EOVERFLOW); NAME(EPERM); NAME(EPIPE); NAME(EPROTO); NAME(EPROTONOSUPPORT);
	NAME(EPROTOTYPE); NAME(ERANGE); NAME(EROFS); NAME(ESPIPE); NAME(ESRCH); NAME(ETIMEDOUT); NAME(ETXTBSY); NAME(EXDEV);
	NAME(EOWNERDEAD); NAME(ENOTRECOVERABLE); NAME(ESTALE); NAME(ETIME);
#undef NAME
	}
	snprintf(other, sizeof other, "errno %d", e);
	return other;
}

/* result renders what a system call answered: the number, or the error's name. Four at a time may be used in one line. */
__attribute__((unused)) static const char *result(long r)
{
	static char text[4][32];
	static int next;
	char *b = text[next++ & 3];
	if (r == -1)
		snprintf(b, 32, "%s", errno_name(errno));
	else
		snprintf(b, 32, "%ld", r);
	return b;
}

/* ok hides a number that is not the same everywhere: "ok" or the error's name. */
__attribute__((unused)) static const char *ok(long r) { return r == -1 ? errno_name(errno) : "ok"; }

/* require ends the contract unless the condition holds. */
#define require(condition, ...) \
	do { \
		if (!(condition)) { \
			int e_ = errno; \
			observe("line %d: %s (errno %s)", __LINE__, #condition, errno_name(e_)); \
			contract_fail(__VA_ARGS__); \
		} \
	} while (0)

/* must is for what the contract needs and does not test: r, or the end when r is -1. */
#define must(call) \
	({ \
		__typeof__(call) r_ = (call); \
		if (r_ == (__typeof__(call))-1) { \
			int e_ = errno; \
			contract_fail("line %d: %s: %s", __LINE__, #call, errno_name(e_)); \
		} \
		r_; \
	})

/* fails is for calls that must answer an error: prints which, and ends the contract if it is another one. */
#define fails(call, error) \
	do { \
		errno = 0; \
		long r_ = (long)(call); \
		int e_ = errno; \
		observe("%s: %s", #call, r_ == -1 ? errno_name(e_) : "no error"); \
		if (r_ != -1 || e_ != (error)) \
			contract_fail("line %d: %s must answer %s", __LINE__, #call, #error); \
	} while (0)

/* reap waits for a child and renders its end: "exit 3", "signal 9". */
__attribute__((unused)) static const char *reap(pid_t pid)
{
	static char text[4][32];
	static int next;
	char *b = text[next++ & 3];
	int st;
	pid_t w;
	do
		w = waitpid(pid, &st, 0);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		snprintf(b, 32, "wait: %s", errno_name(errno));
	else if (WIFEXITED(st))
		snprintf(b, 32, "exit %d", WEXITSTATUS(st));
	else if (WIFSIGNALED(st))
		snprintf(b, 32, "signal %d", WTERMSIG(st));
	else
		snprintf(b, 32, "status %#x", st);
	return b;
}

__attribute__((unused)) static long long clock_ns(clockid_t c)
{
	struct timespec t;
	clock_gettime(c, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* wait_until gives up a condition after ten seconds: a hang becomes a failure that says where. */
#define wait_until(condition) \
	do { \
		for (long long begin_ = clock_ns(CLOCK_MONOTONIC); !(condition);) { \
			if (clock_ns(CLOCK_MONOTONIC) - begin_ > 10000000000LL) \
				contract_fail("line %d: never: %s", __LINE__, #condition); \
			usleep(1000); \
		} \
	} while (0)

/* asleep says whether a task is blocked, from the state that proc(5) names S. */
__attribute__((unused)) static int asleep(pid_t pid, pid_t tid)
{
	char path[64], text[512], *p;
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	p = strrchr(text, ')');
	return p && p[1] == ' ' && p[2] == 'S';
}

#endif
