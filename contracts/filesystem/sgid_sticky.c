/*
 * filesystem/sgid_sticky: what a new file inherits, and who may remove it: umask, set-group-id folders, sticky folders.
 *
 * Catches: groups that are not inherited, set-group-id bits kept by strangers, files of others removed from a sticky folder, umask not applied.
 */
#include "contract.h"
#include <grp.h>
#include <sys/sysmacros.h>

static const char *of(const char *path)
{
	static char b[4][64];
	static int next;
	char *p = b[next++ & 3];
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno_name(errno);
	snprintf(p, 64, "%06o %d:%d", st.st_mode, st.st_uid, st.st_gid);
	return p;
}

int main(void)
{
	gid_t groups[] = { 500 };
	must(chmod(".", 0777));
	umask(027);
	close(must(open("plain", O_CREAT | O_WRONLY, 0777)));
	must(mkdir("dir", 0777));
	must(mknod("fifo", S_IFIFO | 0666, 0));
	must(mknod("node", S_IFCHR | 0666, makedev(1, 3)));
	must(symlink("x", "link"));
	observe("umask 027: file %s, dir %s, fifo %s, node %s", of("plain"), of("dir"), of("fifo"), of("node"));
	observe("a link has none: %s", of("link"));
	observe("umask answers the old: %o, and keeps nine bits: %o", umask(07777), umask(0));
	must(mkdir("shared", 0777));
	must(chown("shared", 0, 500));
	must(chmod("shared", 02777));
	must(mkdir("sticky", 0777));
	must(chmod("sticky", 01777));
	close(must(open("sticky/roots", O_CREAT | O_WRONLY, 0666)));
	pid_t p = must(fork());
	if (p == 0) {
		must(setgroups(0, NULL));
		must(setgid(1000));
		must(setuid(1000));
		close(must(open("shared/file", O_CREAT | O_WRONLY, 02775)));
		must(mkdir("shared/dir", 0755));
		must(symlink("x", "shared/link"));
		observe("in a set-group-id folder: file %s, dir %s, link %s", of("shared/file"), of("shared/dir"), of("shared/link"));
		must(chmod("shared/file", 02755));
		observe("chmod by a stranger to the group: %s", of("shared/file"));
		fails(chown("shared/file", -1, 0), EPERM);
		fails(chown("shared/file", 0, -1), EPERM);
		fails(unlink("sticky/roots"), EPERM);
		fails(rename("sticky/roots", "sticky/mine"), EPERM);
		close(must(open("sticky/own", O_CREAT | O_WRONLY, 0666)));
		observe("one's own: rename %s", ok(rename("sticky/own", "sticky/own2")));
		fails(rename("sticky/own2", "sticky/roots"), EPERM);
		_exit(0);
	}
	observe("%s", reap(p));
	p = must(fork());
	if (p == 0) {
		must(setgroups(1, groups));
		must(setgid(1000));
		must(setuid(1001));
		fails(unlink("sticky/own2"), EPERM);
		observe("in the folder of all: %s", ok(unlink("shared/link")));
		fails(chmod("shared/file", 0777), EPERM);
		close(must(open("shared/member", O_CREAT | O_WRONLY, 02775)));
		observe("set-group-id by a member: %s", of("shared/member"));
		_exit(0);
	}
	observe("%s", reap(p));
	/* Chown takes set-id bits away. */
	must(chmod("plain", 06755));
	must(chown("plain", 7, 7));
	observe("chown by root: %s", of("plain"));
	must(chmod("plain", 06745));
	must(chown("plain", 8, 8));
	observe("without group execution: %s", of("plain"));
	must(chmod("dir", 06755));
	must(chown("dir", 7, 7));
	observe("a folder keeps them: %s", of("dir"));
	return contract_end();
}
