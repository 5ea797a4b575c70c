/*
 * The story: a parent ("server") sleeps in accept(2), a child ("client") connects and writes. Prints what the server read.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(2);
	}
}

/* Stores to the last words of a page that a plant may have mapped, and to those whose page-table entries may lie on a stack. */
#define PLANTED_AT 0x5a5a00000000
static sigjmp_buf nothing_there;

static void no_page(int sig)
{
	(void)sig;
	siglongjmp(nothing_there, 1);
}

static void __attribute__((unused)) touch(void)
{
	signal(SIGSEGV, no_page);
	/* 508: the entry that maps it would be 32 bytes before the end of a page. */
	for (uintptr_t page = 0; page <= 508; page += 508) {
		volatile uint64_t *word = (uint64_t *)(PLANTED_AT + page * 4096 + 4096 - 32);
		if (!sigsetjmp(nothing_there, 1)) {
			if (page == 0)
				*word = 0x7573657273746f72;
			else
				(void)*word;
		}
	}
}

/* Waits until a process sleeps: the third field of its stat. */
static void wait_until_asleep(pid_t pid)
{
	char name[64], line[512];

	snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	for (;;) {
		FILE *f = fopen(name, "r");
		check(f != NULL, name);
		check(fgets(line, sizeof line, f) != NULL, "stat");
		fclose(f);
		char *end = strrchr(line, ')');
		if (end && end[2] == 'S')
			return;
	}
}

int main(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/stream" };
	char buf[64];
	int status;

	prctl(PR_SET_NAME, "server");
	unlink(addr.sun_path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	check(s >= 0, "socket");
	check(bind(s, (struct sockaddr *)&addr, sizeof addr) == 0, "bind");
	check(listen(s, 1) == 0, "listen");
	pid_t parent = getpid(), child = fork();
	check(child >= 0, "fork");
	if (child == 0) {
		prctl(PR_SET_NAME, "client");
		int c = socket(AF_UNIX, SOCK_STREAM, 0);
		check(c >= 0, "socket");
		wait_until_asleep(parent);
#ifdef TOUCH
		struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "/nobody" };
		check(connect(c, (struct sockaddr *)&nobody, sizeof nobody) < 0, "connect to nobody");
		touch();
#endif
		check(connect(c, (struct sockaddr *)&addr, sizeof addr) == 0, "connect");
		check(write(c, "hello", 5) == 5, "write");
		_exit(0);
	}
	int a = accept(s, NULL, NULL);
	check(a >= 0, "accept");
	ssize_t n = read(a, buf, sizeof buf);
	check(n == 5, "read");
	check(waitpid(child, &status, 0) == child && status == 0, "waitpid");
	printf("the server read \"%.*s\"\n", (int)n, buf);
	return 0;
}
