/*
 * ipc/mqueue_limits: attributes, access modes, limits, and the mqueue file system.
 *
 * Catches: queues larger than RLIMIT_MSGQUEUE, descriptors that read what was opened for writing, attributes that change, names that cannot be listed.
 */
#include "contract.h"
#include <dirent.h>
#include <mqueue.h>
#include <sys/mount.h>
#include <sys/resource.h>

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 3, .mq_msgsize = 8 }, old;
	char b[8192];
	mqd_t q = must(mq_open("/limits", O_WRONLY | O_CREAT, 0600, &a));
	fails(mq_receive(q, b, 8, NULL), EBADF);
	mqd_t r = must(mq_open("/limits", O_RDONLY | O_NONBLOCK));
	fails(mq_send(r, "x", 1, 0), EBADF);
	must(mq_getattr(r, &old));
	observe("flags %ld, limits %ld %ld, messages %ld", old.mq_flags & O_NONBLOCK ? 1L : 0L, old.mq_maxmsg, old.mq_msgsize, old.mq_curmsgs);
	a = (struct mq_attr){ .mq_maxmsg = 100, .mq_msgsize = 100 };
	must(mq_setattr(r, &a, &old));
	must(mq_getattr(r, &old));
	observe("only the flag changes: %ld, limits %ld %ld", old.mq_flags, old.mq_maxmsg, old.mq_msgsize);
	a.mq_flags = O_NONBLOCK | O_APPEND;
	fails(mq_setattr(r, &a, NULL), EINVAL);
	observe("closed at execve: %d", fcntl(q, F_GETFD) == FD_CLOEXEC);
	static const struct mq_attr wrong[] = { { .mq_maxmsg = 0, .mq_msgsize = 8 }, { .mq_maxmsg = 1, .mq_msgsize = 0 }, { .mq_maxmsg = -1, .mq_msgsize = 1 } };
	for (int i = 0; i < 3; i++)
		fails(mq_open("/other", O_RDWR | O_CREAT, 0600, &wrong[i]), EINVAL);
	fails(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL), EACCES);
	fails(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL), ENOENT);
	fails(mq_open("/nothing", O_RDWR), ENOENT);
	mqd_t d = must(mq_open("/default", O_RDWR | O_CREAT, 0644, NULL));
	must(mq_getattr(d, &old));
	observe("by default: %ld messages of %ld", old.mq_maxmsg, old.mq_msgsize);
	struct stat st;
	must(fstat(d, &st));
	observe("a file: %d, mode %o, links %d", S_ISREG(st.st_mode), st.st_mode & 07777, (int)st.st_nlink);

	/* The name space as a file system. */
	must(mkdir("queues", 0755));
	must(mount("none", "queues", "mqueue", 0, NULL));
	DIR *dir = opendir("queues");
	int seen = 0;
	for (struct dirent *e; (e = readdir(dir));)
		seen += !strcmp(e->d_name, "limits") || !strcmp(e->d_name, "default");
	closedir(dir);
	must(mq_send(q, "12345", 5, 0));
	int fd = must(open("queues/limits", O_RDONLY));
	int n = read(fd, b, sizeof b);
	close(fd);
	int size = -1;
	b[n > 0 ? n : 0] = 0;
	sscanf(b, "QSIZE:%d", &size);
	observe("listed %d, size %d", seen, size);
	must(unlink("queues/default"));
	fails(mq_open("/default", O_RDWR), ENOENT);
	must(umount("queues"));

	pid_t p = must(fork());
	if (p == 0) {
		struct rlimit l = { 20000, 20000 };
		must(setrlimit(RLIMIT_MSGQUEUE, &l));
		a = (struct mq_attr){ .mq_maxmsg = 10, .mq_msgsize = 8192 };
		fails(mq_open("/big", O_RDWR | O_CREAT, 0600, &a), EMFILE);
		must(setuid(1000));
		fails(mq_open("/limits", O_RDWR), EACCES);
		fails(mq_unlink("/limits"), EACCES);
		a = (struct mq_attr){ .mq_maxmsg = 11, .mq_msgsize = 16 };
		fails(mq_open("/mine", O_RDWR | O_CREAT, 0600, &a), EINVAL);
		a.mq_maxmsg = 10;
		mqd_t mine = mq_open("/mine", O_RDWR | O_CREAT, 0600, &a);
		observe("within the limits: %s", mine < 0 ? errno_name(errno) : "ok");
		observe("removed: %s", result(mq_unlink("/mine")));
		_exit(0);
	}
	observe("unprivileged: %s", reap(p));
	must(mq_unlink("/limits"));
	return contract_end();
}
