/*
 * process/execveat_forms: programs by descriptor, relative to folders, and what the flags forbid.
 *
 * Catches: O_PATH refused, empty paths without the flag, links followed against AT_SYMLINK_NOFOLLOW.
 */
#include "contract.h"

static char *const env[] = { NULL };

static void run(int dir, const char *path, int flags, const char *what)
{
	pid_t p = must(fork());
	if (p == 0) {
		char *argv[] = { "execveat_forms", (char *)what, NULL };
		syscall(SYS_execveat, dir, path, argv, env, flags);
		observe("%s: %s", what, errno_name(errno));
		_exit(0);
	}
	const char *end = reap(p);
	if (strcmp(end, "exit 0"))
		observe("%s: %s", what, end);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		observe("%s: runs, argc %d", argv[argc - 1], argc);
		return 0;
	}
	char b[65536];
	ssize_t n;
	int in = must(open("/proc/self/exe", O_RDONLY)), out = must(open("prog", O_CREAT | O_WRONLY, 0755));
	while ((n = must(read(in, b, sizeof b))) > 0)
		must(write(out, b, n));
	close(out);
	must(mkdir("d", 0755));
	must(rename("prog", "d/prog"));
	must(symlink("prog", "d/link"));
	out = must(open("d/data", O_CREAT | O_WRONLY, 0755));
	must(write(out, "not a program", 13));
	close(out);
	out = must(open("d/script", O_CREAT | O_WRONLY, 0755));
	must(write(out, "#!d/prog\n", 9));
	close(out);
	int d = must(open("d", O_RDONLY | O_DIRECTORY)), f = must(open("d/prog", O_RDONLY)), p = must(open("d/prog", O_PATH)), c = must(open("d/prog", O_RDONLY | O_CLOEXEC));
	run(d, "prog", 0, "relative");
	run(d, "link", 0, "through a link");
	run(d, "link", AT_SYMLINK_NOFOLLOW, "a link, not followed");
	run(d, "prog", AT_SYMLINK_NOFOLLOW, "no link, not followed");
	run(f, "", AT_EMPTY_PATH, "descriptor");
	run(p, "", AT_EMPTY_PATH, "O_PATH descriptor");
	run(c, "", AT_EMPTY_PATH, "close-on-exec descriptor");
	run(f, "", 0, "empty without the flag");
	run(f, "x", 0, "relative to a file");
	run(d, "", AT_EMPTY_PATH, "a folder");
	run(d, "data", 0, "not a program");
	run(d, "none", 0, "none");
	run(999, "prog", 0, "bad descriptor");
	run(d, "prog", 0x10, "unknown flag");
	run(d, "script", 0, "script");
	int s = must(open("d/script", O_RDONLY));
	run(s, "", AT_EMPTY_PATH, "script by descriptor");
	int w = must(open("d/prog", O_WRONLY));
	run(d, "prog", 0, "open for writing");
	close(w);
	must(chmod("d/prog", 0644));
	run(d, "prog", 0, "not executable");
	return contract_end();
}
