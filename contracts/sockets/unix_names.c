/*
 * sockets/unix_names: pathname, abstract and automatic names, and the lengths that getsockname answers.
 *
 * Catches: lengths that are not Linux's, names found after their socket has gone, abstract names compared as strings, permissions ignored, rename and
 * hard links that break a bound name.
 */
#include "contract.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { OFF = offsetof(struct sockaddr_un, sun_path) };

static int stream(void) { return must(socket(AF_UNIX, SOCK_STREAM, 0)); }

static int reach(const char *p, socklen_t n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, p, n);
	int s = stream(), r = connect(s, (void *)&a, OFF + n), e = errno;
	close(s);
	errno = e;
	return r;
}

static void show(const char *what, int s)
{
	struct sockaddr_un a;
	socklen_t n = sizeof a;
	memset(&a, 'x', sizeof a);
	must(getsockname(s, (void *)&a, &n));
	observe("%s: length %d, family %d, first byte %d", what, (int)n, a.sun_family == AF_UNIX, n > OFF ? (a.sun_path[0] ? 1 : 0) : -1);
}

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "one" };
	int s = stream(), t = stream(), u = stream();
	show("unbound", s);
	fails(getpeername(s, (void *)&a, &(socklen_t){ sizeof a }), ENOTCONN);
	observe("bind with the whole structure: %s", result(bind(s, (void *)&a, sizeof a)));
	show("path of three", s);
	fails(bind(s, (void *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "two" }, sizeof a), EINVAL);
	must(listen(s, 8));

	/* No NUL: 108 bytes of path are one more than fit as a string. */
	struct sockaddr_un full = { .sun_family = AF_UNIX };
	memset(full.sun_path, 'p', sizeof full.sun_path);
	observe("path of 108: %s", result(bind(t, (void *)&full, sizeof full)));
	struct { struct sockaddr_un a; char more[8]; } room;
	socklen_t n = sizeof room;
	must(getsockname(t, (void *)&room, &n));
	observe("  length %d", (int)n);
	n = 4;
	memset(&room, 'x', sizeof room);
	must(getsockname(s, (void *)&room, &n));
	observe("short room: length %d, third byte kept %d", (int)n, room.a.sun_path[2] == 'x');
	n = -1;
	fails(getsockname(s, (void *)&room, &n), EINVAL);

	fails(bind(u, (void *)&a, 1), EINVAL);
	fails(bind(u, (void *)&full, sizeof full + 1), EINVAL);
	fails(bind(u, (void *)&(struct sockaddr_un){ .sun_family = AF_INET, .sun_path = "x" }, sizeof a), EINVAL);
	fails(bind(u, (void *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "no/such" }, sizeof a), ENOENT);

	/* The inode is the name: it can be moved, linked and removed. */
	observe("by path: %s", result(reach("one", 4)));
	must(link("one", "linked"));
	must(rename("one", "moved"));
	observe("moved: %s, linked: %s, old: %s", result(reach("moved", 6)), result(reach("linked", 7)), result(reach("one", 4)));
	must(chmod("moved", 0444));
	pid_t p = must(fork());
	if (p == 0) {
		setresuid(1000, 1000, 1000);
		errno = 0;
		_exit(reach("./moved", 8) == 0 ? 0 : errno);
	}
	observe("without write permission: %s (EACCES is 13)", reap(p));
	must(unlink("moved")), must(unlink("linked"));
	observe("unlinked: %s", result(reach("moved", 6)));
	fails(open("one", O_RDONLY), ENOENT);
	int f = must(open("file", O_CREAT | O_WRONLY, 0777));
	observe("a file that is no socket: %s", result(reach("file", 5)));
	close(f);

	/* Abstract names are bytes: length and NULs count. */
	int ab = stream();
	struct sockaddr_un abs = { .sun_family = AF_UNIX, .sun_path = "\0contract\0x" };
	observe("abstract: %s", result(bind(ab, (void *)&abs, OFF + 11)));
	must(listen(ab, 8));
	show("abstract of eleven", ab);
	observe("same: %s, shorter: %s, longer: %s", result(reach("\0contract\0x", 11)), result(reach("\0contract\0x", 9)), result(reach("\0contract\0x", 12)));
	int again = stream();
	fails(bind(again, (void *)&abs, OFF + 11), EADDRINUSE);
	close(ab);
	observe("free once closed: %s", result(bind(again, (void *)&abs, OFF + 11)));

	/* Automatic: NUL and five hexadecimal digits. */
	int au = stream();
	observe("automatic: %s", result(bind(au, (void *)&abs, OFF)));
	n = sizeof room;
	must(getsockname(au, (void *)&room, &n));
	int hex = room.a.sun_path[0] == 0;
	for (int i = 1; i < 6; i++)
		hex = hex && strchr("0123456789abcdef", room.a.sun_path[i]);
	observe("  length %d, form %d", (int)n, hex);
	observe("  a second time: %s", result(bind(au, (void *)&abs, OFF)));

	/* A path stays when its socket has gone. */
	close(s);
	struct stat st;
	observe("left over: %s", result(stat("pppp", &st)));
	return contract_end();
}
