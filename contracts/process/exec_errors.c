/*
 * process/exec_errors: why execve refuses.
 *
 * Catches: wrong errno for missing, forbidden and malformed programs, and an execve that has torn the caller down
 * before it found out.
 */
#include "contract.h"

static void file(const char *name, const char *text, size_t n, mode_t mode)
{
	int fd = must(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	write(fd, text, n);
	fchmod(fd, mode);
	close(fd);
}

int main(void)
{
	char *argv[] = { "x", NULL }, *env[] = { NULL };
	char long_name[5000];
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = 0;

	file("text", "just text\n", 10, 0755);
	file("empty", "", 0, 0755);
	file("forbidden", "#!/bin/sh\n", 10, 0644);
	file("no_interpreter", "#!/not/there\n", 13, 0755);
	file("interpreter_is_folder", "#!/tmp\n", 7, 0755);
	file("short_elf", "\177ELF", 4, 0755);
	file("bad_elf", "\177ELF\2\1\1\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 80, 0755);
	file("loops_itself", "#!./loops_itself\n", 17, 0755);
	mkdir("folder", 0755);
	symlink("ring", "ring");

	fails(execve("missing", argv, env), ENOENT);
	fails(execve("", argv, env), ENOENT);
	fails(execve("folder", argv, env), EACCES);
	fails(execve("text/below", argv, env), ENOTDIR);
	fails(execve("ring", argv, env), ELOOP);
	fails(execve("forbidden", argv, env), EACCES);
	fails(execve("text", argv, env), ENOEXEC);
	fails(execve("empty", argv, env), ENOEXEC);
	fails(execve("short_elf", argv, env), ENOEXEC);
	fails(execve("bad_elf", argv, env), ENOEXEC);
	fails(execve("no_interpreter", argv, env), ENOENT);
	fails(execve("interpreter_is_folder", argv, env), EACCES);
	fails(execve("loops_itself", argv, env), ELOOP);
	fails(syscall(SYS_execve, long_name, argv, env), ENAMETOOLONG);
	fails(syscall(SYS_execve, (char *)8, argv, env), EFAULT);
	fails(syscall(SYS_execve, "/proc/self/exe", (char **)8, env), EFAULT);
	fails(syscall(SYS_execveat, 99, "x", argv, env, 0), EBADF);
	fails(syscall(SYS_execveat, AT_FDCWD, "ring", argv, env, AT_SYMLINK_NOFOLLOW), ELOOP);
	fails(syscall(SYS_execveat, AT_FDCWD, "x", argv, env, 0x8000), EINVAL);

	/* One argument may have 128 KiB. */
	char *huge = malloc(200000);
	memset(huge, 'x', 199999);
	huge[199999] = 0;
	char *too_big[] = { "x", huge, NULL };
	fails(execve("/proc/self/exe", too_big, env), E2BIG);

	int fd = must(open("busy", O_WRONLY | O_CREAT, 0755));
	fails(execve("busy", argv, env), ETXTBSY);
	close(fd);
	observe("still the same program");
	return contract_end();
}
