/*
 * time/cpu_clocks: processor time of the process, of threads and of other processes, by all the calls that tell it.
 *
 * Catches: time that passes while a task sleeps, threads that are not counted, user and system time that are not told apart or run backwards, children counted
 * before they are waited for.
 */
#include "contract.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/times.h>

static int done[2];
static volatile int go;
static clockid_t of_thread;

static void compute(long long ns)
{
	for (long long b = clock_ns(CLOCK_THREAD_CPUTIME_ID); clock_ns(CLOCK_THREAD_CPUTIME_ID) - b < ns;)
		for (volatile int i = 0; i < 100000; i++)
			;
}

static void *worker(void *arg)
{
	pthread_getcpuclockid(pthread_self(), &of_thread);
	compute(150000000);
	must(write(done[1], "x", 1));
	while (!go)
		usleep(1000);
	return arg;
}

static long long us(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

int main(void)
{
	struct timespec t;
	struct rusage self, thread, before, after;
	long long b = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(100000);
	observe("asleep: less than 50 ms used: %d", clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b < 50000000);
	pthread_t other;
	must(pipe(done));
	b = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	long long mine = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	pthread_create(&other, NULL, worker, NULL);
	char c;
	must(read(done[0], &c, 1)); /* asleep, not polling */
	mine = clock_ns(CLOCK_THREAD_CPUTIME_ID) - mine;
	b = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - b;
	observe("a thread's work: the process at least 150 ms: %d, this thread less than half of it: %d", b >= 150000000, mine < b / 2);
	observe("that thread's clock: at least 150 ms: %d", clock_ns(of_thread) >= 150000000);
	go = 1;
	pthread_join(other, NULL);

	getrusage(RUSAGE_SELF, &before);
	compute(150000000);
	getrusage(RUSAGE_SELF, &after);
	long long user = us(after.ru_utime) - us(before.ru_utime), sys = us(after.ru_stime) - us(before.ru_stime);
	observe("computing is user time: %d", user > sys && user + sys >= 100000);
	getrusage(RUSAGE_THREAD, &thread);
	getrusage(RUSAGE_SELF, &self);
	observe("the thread has no more than the process: %d", us(thread.ru_utime) + us(thread.ru_stime) <= us(self.ru_utime) + us(self.ru_stime) + 10000);
	int zero = must(open("/dev/zero", O_RDONLY));
	char *block = must(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	getrusage(RUSAGE_SELF, &before);
	for (b = clock_ns(CLOCK_THREAD_CPUTIME_ID); clock_ns(CLOCK_THREAD_CPUTIME_ID) - b < 200000000;)
		for (int i = 0; i < 20; i++)
			must(read(zero, block, 1 << 20));
	getrusage(RUSAGE_SELF, &after);
	user = us(after.ru_utime) - us(before.ru_utime), sys = us(after.ru_stime) - us(before.ru_stime);
	observe("reading is system time: %d", sys > user);
	observe("never backwards: %d", us(after.ru_utime) >= us(before.ru_utime) && us(after.ru_stime) >= us(before.ru_stime));

	/* Another process. */
	clockid_t of_child;
	pid_t p = must(fork());
	if (p == 0) {
		compute(50000000);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(p, NULL, WUNTRACED);
	observe("another's clock: %d, at least 50 ms: %d", clock_getcpuclockid(p, &of_child), clock_ns(of_child) >= 50000000);
	long long stopped = clock_ns(of_child);
	usleep(20000);
	observe("stands while it is stopped: %d", clock_ns(of_child) == stopped);
	getrusage(RUSAGE_CHILDREN, &before);
	kill(p, SIGCONT);
	struct rusage waited;
	must(wait4(p, NULL, 0, &waited));
	getrusage(RUSAGE_CHILDREN, &after);
	observe("of children, when they were waited for: %d, of this one: %d", us(after.ru_utime) + us(after.ru_stime) - us(before.ru_utime) - us(before.ru_stime) >= 45000,
		us(waited.ru_utime) + us(waited.ru_stime) >= 45000);
	observe("its clock is gone: %s", result(clock_gettime(of_child, &t)));
	struct tms tms;
	must(times(&tms));
	observe("times: user at least 0.1 s %d, children %d", tms.tms_utime >= 10, tms.tms_cutime + tms.tms_cstime >= 4);
	fails(clock_gettime((clockid_t)(~999999u << 3 | 2), &t), EINVAL);
	fails(clock_gettime((clockid_t)(~1u << 3 | 3), &t), EINVAL);
	fails(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP);
	return contract_end();
}
