/*
 * process/exec_script: "#!" lines: interpreter, one optional argument, the script's path, the arguments.
 *
 * Catches: arguments split at blanks, argv[0] kept instead of the script's path, blanks around the interpreter
 * not skipped, scripts of scripts refused.
 */
#include "contract.h"

static void script(const char *name, const char *line)
{
	int fd = must(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755));
	write(fd, line, strlen(line));
	close(fd);
}

static void try(const char *name)
{
	pid_t p = must(fork());
	if (p == 0) {
		char *argv[] = { "lost", "first", "second one", NULL }, *env[] = { NULL };
		execve(name, argv, env);
		observe("execve: %s", errno_name(errno));
		_exit(1);
	}
	observe("%s: %s", name, reap(p));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[0], "start")) { /* as interpreter */
		for (int i = 1; i < argc; i++)
			observe("  argument %d \"%s\"", i, argv[i]);
		return 3;
	}
	char self[256], line[600];
	ssize_t n = must(readlink("/proc/self/exe", self, sizeof self - 1));
	self[n] = 0;
	snprintf(line, sizeof line, "#!%s\nbody\n", self);
	script("./plain", line);
	snprintf(line, sizeof line, "#! \t%s  one argument with blanks  \n", self);
	script("./argument", line);
	snprintf(line, sizeof line, "#!%s", self);
	script("./no_newline", line);
	snprintf(line, sizeof line, "#!./plain outer\n");
	script("./nested", line);
	try("./plain");
	try("./argument");
	try("./no_newline");
	try("./nested");
	return contract_end();
}
