/*
 * process/spaces_in_turns: processes with different memory at the same addresses take turns, hundreds of times, while they map, unmap, protect and
 * move pages; one of them has a second thread that changes its memory from another processor.
 *
 * Catches: translations of one address space that are used in the next one, pages that an address space got or lost while no processor ran
 * it, page-table roots whose upper entries another processor has changed.
 */
#include "contract.h"
#include <pthread.h>

enum { PROCESSES = 5, PAGES = 40, TURNS = 50, PAGE = 4096 };

static char *const base = (char *)0x10000000000;        /* each needs upper page tables of its own */
static char *const far_away = (char *)0x300000000000;
static int token[PROCESSES][2];
static volatile int stop;

static void fill(char *p, long value)
{
	for (int i = 0; i < PAGE; i += 512)
		*(volatile long *)(p + i) = value;
}

static int holds(const char *p, long value)
{
	for (int i = 0; i < PAGE; i += 512)
		if (*(volatile const long *)(p + i) != value)
			return 0;
	return 1;
}

static void *map(char *at, size_t size)
{
	void *p = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (p != at)
		_exit(20);
	return p;
}

/* changes maps and unmaps in its process's space while the others run, and leaves the pages that are checked alone. */
static void *changes(void *x)
{
	char *own = base + 200 * PAGE;
	for (long n = 1; !stop; n++) {
		map(own, 8 * PAGE);
		for (int i = 0; i < 8; i++)
			fill(own + i * PAGE, n + i);
		for (int i = 0; i < 8; i++)
			if (!holds(own + i * PAGE, n + i))
				_exit(21);
		munmap(own, 8 * PAGE);
		usleep(2000); /* every change interrupts the other processor */
	}
	return x;
}

static void process(int id)
{
	char *pages = map(base, PAGES * PAGE);
	long value[PAGES];
	pthread_t t;
	if (id == 0 && pthread_create(&t, NULL, changes, NULL))
		_exit(22);
	for (int i = 0; i < PAGES; i++)
		fill(pages + i * PAGE, value[i] = id * 1000000L + i);
	for (int turn = 0; turn < TURNS; turn++) {
		char c;
		if (read(token[id][0], &c, 1) != 1)
			_exit(23);
		for (int i = 0; i < PAGES; i++)
			if (!holds(pages + i * PAGE, value[i]))
				_exit(24);
		int i = (turn * 7 + id) % PAGES;
		switch (turn % 5) {
		case 0: /* other memory at the same address */
			munmap(pages + i * PAGE, PAGE);
			map(pages + i * PAGE, PAGE);
			if (!holds(pages + i * PAGE, 0))
				_exit(25);
			value[i] = 0;
			break;
		case 1:
			madvise(pages + i * PAGE, PAGE, MADV_DONTNEED);
			value[i] = 0;
			break;
		case 2:
			mprotect(pages + i * PAGE, PAGE, PROT_READ);
			mprotect(pages + i * PAGE, PAGE, PROT_READ | PROT_WRITE);
			break;
		case 3: /* a region whose tables come and go */
			map(far_away, 2 * PAGE);
			if (!holds(far_away, 0))
				_exit(26);
			fill(far_away, id + 1);
			if (turn % 2)
				munmap(far_away, 2 * PAGE);
			break;
		default: /* a child that shares the pages until one of them writes */
			if (turn % 20 == 4) {
				pid_t p = fork();
				if (p == 0) {
					int bad = !holds(pages + i * PAGE, value[i]);
					fill(pages + i * PAGE, -1);
					_exit(bad || !holds(pages + i * PAGE, -1));
				}
				int status;
				if (waitpid(p, &status, 0) != p || status)
					_exit(27);
			}
		}
		fill(pages + i * PAGE, value[i] += 10000);
		if (write(token[(id + 1) % PROCESSES][1], &c, 1) != 1)
			_exit(28);
	}
	stop = 1;
	if (id == 0)
		pthread_join(t, NULL);
	_exit(0);
}

int main(void)
{
	pid_t p[PROCESSES];
	int status;
	for (int i = 0; i < PROCESSES; i++)
		must(pipe(token[i]));
	for (int i = 0; i < PROCESSES; i++)
		if ((p[i] = must(fork())) == 0)
			process(i);
	must(write(token[0][1], "x", 1));
	for (int i = 0; i < PROCESSES; i++) {
		must(waitpid(p[i], &status, 0));
		observe("process %d: %s %d", i, WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		require(status == 0, "a process must find its own memory, always");
	}
	return contract_end();
}
