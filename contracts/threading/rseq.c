/*
 * threading/rseq: restartable sequences: registration, the processor's number, and sequences that are aborted.
 *
 * Catches: a number that is not that of the processor, sequences that go on after preemption or a signal, registrations of the wrong size or kept over execve.
 */
#include "contract.h"
#include <pthread.h>
#include <sched.h>

struct area {
	uint32_t start, cpu;
	uint64_t section;
	uint32_t flags, node, mm_cid, pad;
} __attribute__((aligned(32)));

struct section {
	uint32_t version, flags;
	uint64_t start, length, abort;
} __attribute__((aligned(32)));

enum { SIGNATURE = 0x53053053 };

static struct area a = { .cpu = -1 }, other;
static struct section s;
static volatile int signals;
static volatile uint64_t left_in_section;

static long rseq(struct area *r, unsigned size, int flags, unsigned sig) { return syscall(SYS_rseq, r, size, flags, sig); }

static void handler(int n)
{
	(void)n;
	signals++;
	left_in_section = a.section;
}

/*
 * spin runs a loop as a sequence until it is aborted; it answers 1 then. The signature stands in front of the abort handler.
 */
static int spin(void)
{
	int aborted = 0;
#if defined(__x86_64__)
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
			 "movq %%rax, 8+%[s]\n\t"
			 "leaq 2f(%%rip), %%rcx\n\t"
			 "subq %%rax, %%rcx\n\t"
			 "movq %%rcx, 16+%[s]\n\t"
			 "leaq 3f(%%rip), %%rax\n\t"
			 "movq %%rax, 24+%[s]\n\t"
			 "leaq %[s], %%rax\n\t"
			 "movq %%rax, 8+%[a]\n\t"
			 "1: jmp 1b\n\t"
			 "2: jmp 4f\n\t"
			 ".byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n\t"
			 "3: movl $1, %[aborted]\n\t"
			 "4:\n\t"
			 : [aborted] "+m"(aborted), [s] "+m"(s), [a] "+m"(a)
			 :
			 : "rax", "rcx", "memory", "cc");
#else
	__asm__ volatile("adr x9, 1f\n\t"
			 "str x9, [%[s], #8]\n\t"
			 "adr x10, 2f\n\t"
			 "sub x10, x10, x9\n\t"
			 "str x10, [%[s], #16]\n\t"
			 "adr x9, 3f\n\t"
			 "str x9, [%[s], #24]\n\t"
			 "str %[s], [%[a], #8]\n\t"
			 "1: b 1b\n\t"
			 "2: b 4f\n\t"
			 ".inst 0x53053053\n\t"
			 "3: mov w9, #1\n\t"
			 "str w9, [%[aborted]]\n\t"
			 "4:\n\t"
			 :
			 : [aborted] "r"(&aborted), [s] "r"(&s), [a] "r"(&a)
			 : "x9", "x10", "memory", "cc");
#endif
	return aborted;
}

static void *interrupter(void *arg)
{
	usleep(20000); /* the sequence may be aborted by a preemption before: it is begun again */
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

static void *unregistered(void *arg)
{
	(void)arg;
	return (void *)(long)(rseq(&other, 32, 1, SIGNATURE) == -1 ? errno : 0);
}

int main(int argc, char **argv)
{
	if (argc == 2) /* after execve */
		_exit(rseq(&a, 32, 0, SIGNATURE) == 0 ? 0 : errno);
	if (rseq(&a, 32, 0, SIGNATURE) == -1 && !getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1); /* the C library has registered its own */
		execv("/proc/self/exe", argv);
	}
	fails(rseq(&a, 32, 0, SIGNATURE), EBUSY);
	fails(rseq(&a, 32, 0, 1), EPERM);
	fails(rseq(&other, 32, 0, SIGNATURE), EINVAL);
	fails(rseq(&a, 32, 2, SIGNATURE), EINVAL);
	fails(rseq(&a, 32, 1, 1), EPERM);
	unsigned cpu;
	int wrong = 0;
	cpu_set_t all, one;
	sched_getaffinity(0, sizeof all, &all);
	for (int i = 0, n = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		n++;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		must(sched_setaffinity(0, sizeof one, &one));
		for (int k = 0; k < 100; k++) {
			syscall(SYS_getcpu, &cpu, NULL, NULL);
			wrong += a.cpu != cpu || a.start != cpu || a.cpu != (unsigned)i;
			if (k % 25 == 0)
				usleep(100);
		}
	}
	sched_setaffinity(0, sizeof all, &all);
	observe("wrong numbers: %d", wrong);

	pthread_t self = pthread_self(), t;
	void *r;
	struct sigaction sa = { .sa_handler = handler };
	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, interrupter, &self);
	int aborted = 1;
	do
		aborted &= spin();
	while (!signals);
	observe("aborted, not ended: %d", aborted);
	pthread_join(t, NULL);
	observe("signal handled: %d, section left behind: %d %d", signals, left_in_section != 0, a.section != 0);
	pid_t p = must(fork());
	if (p == 0) {
		/* inherited; without a signal the tick aborts it, or another process that wants the processor */
		must(sched_setaffinity(0, sizeof one, &one));
		pid_t rival = must(fork());
		if (rival == 0)
			for (;;)
				;
		aborted = spin();
		kill(rival, SIGKILL);
		reap(rival);
		syscall(SYS_getcpu, &cpu, NULL, NULL);
		_exit(aborted && a.cpu == cpu ? 0 : 1);
	}
	observe("preempted, in a child: %s", reap(p));
	pthread_create(&t, NULL, unregistered, NULL);
	pthread_join(t, &r);
	observe("threads begin without: %s", errno_name((long)r));
	p = must(fork());
	if (p == 0) {
		execl("/proc/self/exe", argv[0], "after", NULL);
		_exit(99);
	}
	observe("a new program begins without: %s", reap(p));
	p = must(fork());
	if (p == 0) {
		memset(&s, 0, sizeof s);
		s.version = 1;
		a.section = (uintptr_t)&s;
		kill(getpid(), SIGUSR1); /* looked at before the handler runs */
		_exit(0);
	}
	observe("an unknown version: %s", reap(p));
	must(rseq(&a, 32, 1, SIGNATURE));
	observe("unregistered: %d", (int)a.cpu);
	fails(rseq(&a, 32, 1, SIGNATURE), EINVAL);
	fails(rseq(&a, 16, 0, SIGNATURE), EINVAL);
	fails(rseq((struct area *)((char *)&a + 8), 32, 0, SIGNATURE), EINVAL);
	return contract_end();
}
