/*
 * filesystem/permissions: owner, group and others; the sticky bit; set-user-id bits that go away.
 *
 * Catches: group checks skipped for the owner, deletion in sticky folders, set-id bits kept after a write or a change of owner.
 */
#include "contract.h"
#include <grp.h>

static void as(uid_t u, gid_t g, void (*f)(void))
{
	pid_t p = must(fork());
	if (p == 0) {
		must(setgroups(0, NULL));
		must(setgid(g));
		must(setuid(u));
		f();
		_exit(0);
	}
	const char *end = reap(p);
	require(!strcmp(end, "exit 0"), "child: %s", end);
}

static void try(void)
{
	static const char *const files[] = { "f600", "f060", "f006", "f444", "f222", "f755" };
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		observe("uid %d gid %d, %s: read %s, write %s, run %s", getuid(), getgid(), files[i], ok(access(files[i], R_OK)), ok(access(files[i], W_OK)), ok(access(files[i], X_OK)));
	observe("  folder without x: %s; without r: list %s, reach %s", ok(access("dir_r/f", F_OK)), ok(open("dir_x", O_RDONLY)), ok(access("dir_x/f", F_OK)));
	observe("  new file in a foreign folder: %s", ok(open("dir_x/new", O_CREAT | O_WRONLY, 0600)));
	observe("  chmod of somebody's: %s, chown: %s, utimes: %s", ok(chmod("f600", 0666)), ok(chown("f600", getuid(), -1)), ok(utimensat(AT_FDCWD, "f444", NULL, 0)));
	observe("  sticky: unlink of somebody's %s, rename %s", ok(unlink("sticky/f")), ok(rename("sticky/f", "sticky/g")));
}

static void owner(void)
{
	struct stat st;
	close(must(open("sticky/mine", O_CREAT | O_WRONLY, 0644)));
	stat("sticky/mine", &st);
	observe("created by %d:%d", st.st_uid, st.st_gid);
	must(chmod("sticky/mine", 06755));
	stat("sticky/mine", &st);
	observe("set-id bits: %04o", st.st_mode & 07777);
	int fd = must(open("sticky/mine", O_WRONLY));
	write(fd, "x", 1);
	fstat(fd, &st);
	observe("after a write: %04o", st.st_mode & 07777);
	fails(chown("sticky/mine", 0, -1), EPERM);
	must(unlink("sticky/mine"));
	stat("setgid", &st);
	must(mkdir("setgid/sub", 0755));
	stat("setgid/sub", &st);
	observe("below a set-group-id folder: gid %d, set-gid %d", st.st_gid, !!(st.st_mode & S_ISGID));
}

int main(void)
{
	struct stat st;
	static const struct { const char *name; mode_t mode; } files[] = { { "f600", 0600 }, { "f060", 0060 }, { "f006", 0006 }, { "f444", 0444 }, { "f222", 0222 }, { "f755", 0755 } };
	umask(0);
	must(chmod(".", 0755));
	for (unsigned i = 0; i < 6; i++) {
		close(must(open(files[i].name, O_CREAT | O_WRONLY, files[i].mode)));
		must(chown(files[i].name, 1000, 100));
	}
	must(mkdir("dir_r", 0744));
	must(mkdir("dir_x", 0711));
	close(must(open("dir_r/f", O_CREAT | O_WRONLY, 0644)));
	close(must(open("dir_x/f", O_CREAT | O_WRONLY, 0644)));
	must(mkdir("sticky", 01777));
	close(must(open("sticky/f", O_CREAT | O_WRONLY, 0666)));
	must(mkdir("setgid", 02777));
	must(chown("setgid", 0, 555));
	must(chmod("setgid", 02777));
	as(1000, 500, try);
	as(2000, 100, try);
	as(3000, 300, try);
	as(1000, 100, owner);
	observe("root: read f006 %s, run f600 %s, run f755 %s", ok(access("f006", R_OK)), ok(access("f600", X_OK)), ok(access("f755", X_OK)));
	must(chmod("f755", 06755));
	must(chown("f755", 1, 1));
	stat("f755", &st);
	observe("set-id bits after chown by root: %04o", st.st_mode & 07777);
	umask(027);
	close(must(open("masked", O_CREAT | O_WRONLY, 0666)));
	stat("masked", &st);
	observe("umask 027: %03o", st.st_mode & 0777);
	fails(chmod("no", 0), ENOENT);
	return contract_end();
}
