/*
 * threading/attributes: stack size and place, guard pages, detached threads, and what the kernel shows of threads.
 *
 * Catches: stacks that are smaller than asked for, guard pages that can be written, names and states of threads in /proc that are not theirs.
 */
#include "contract.h"
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>

static sigjmp_buf back;
static volatile int go, tid;
static volatile char *touched;

static void segv(int s)
{
	(void)s;
	siglongjmp(back, 1);
}

static void *large(void *arg)
{
	volatile char b[900 << 10];
	for (unsigned i = 0; i < sizeof b; i += 4096)
		b[i] = 1;
	return (void *)(b[4096] + (long)arg);
}

static void *own_stack(void *arg)
{
	char here;
	return (void *)(long)(&here >= (char *)arg && &here < (char *)arg + (128 << 10));
}

static void *guarded(void *arg)
{
	pthread_attr_t a;
	void *addr;
	size_t size;
	(void)arg;
	pthread_getattr_np(pthread_self(), &a);
	pthread_attr_getstack(&a, &addr, &size);
	touched = (char *)addr - 1;
	if (sigsetjmp(back, 1) == 0) {
		*touched = 1;
		return "written";
	}
	return "SIGSEGV";
}

static void *named(void *arg)
{
	(void)arg;
	tid = gettid();
	while (!go)
		usleep(1000);
	return NULL;
}

int main(void)
{
	pthread_attr_t a;
	pthread_t t;
	void *r;
	size_t size;
	int state;
	pthread_attr_init(&a);
	observe("1 MiB: %d, 100 bytes: %s", pthread_attr_setstacksize(&a, 1 << 20), errno_name(pthread_attr_setstacksize(&a, 100)));
	pthread_attr_getstacksize(&a, &size);
	observe("read back: %zu", size);
	must(-pthread_create(&t, &a, large, (void *)1L));
	pthread_join(t, &r);
	observe("900 KiB of it used: %ld", (long)r);
	char *mine = must(mmap(NULL, 128 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	pthread_attr_init(&a);
	observe("own stack: %d", pthread_attr_setstack(&a, mine, 128 << 10));
	must(-pthread_create(&t, &a, own_stack, mine));
	pthread_join(t, &r);
	observe("used: %ld", (long)r);
	signal(SIGSEGV, segv);
	pthread_attr_init(&a);
	pthread_attr_setguardsize(&a, 16384);
	must(-pthread_create(&t, &a, guarded, NULL));
	pthread_join(t, &r);
	observe("below the stack: %s", (char *)r);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	pthread_attr_getdetachstate(&a, &state);
	observe("detached: %d", state == PTHREAD_CREATE_DETACHED);

	pthread_create(&t, NULL, named, NULL);
	wait_until(tid);
	observe("named: %d, too long: %s", pthread_setname_np(t, "fifteen letters"), errno_name(pthread_setname_np(t, "sixteen letters!")));
	char path[64], name[32] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid);
	int fd = must(open(path, O_RDONLY)), n = read(fd, name, sizeof name - 1);
	name[n > 0 ? n - 1 : 0] = 0;
	close(fd);
	observe("in /proc: %s", name);
	DIR *d = opendir("/proc/self/task");
	int threads = 0, found = 0;
	for (struct dirent *e; (e = readdir(d));) {
		threads += e->d_name[0] != '.';
		found += atoi(e->d_name) == tid;
	}
	closedir(d);
	observe("listed: %d, at least two: %d", found, threads >= 2);
	observe("its signal mask is its own: %s", result(syscall(SYS_tgkill, getpid(), tid, 0)));
	fails(syscall(SYS_tgkill, getpid() + 1000000, tid, 0), ESRCH);
	go = 1;
	pthread_join(t, NULL);
	return contract_end();
}
