/*
 * sockets/proc_net: /proc/net/unix, tcp and udp show the sockets that there are, with the inode that fstat answers.
 *
 * Catches: tables that leave sockets out or keep dead ones, addresses in the wrong byte order, wrong states.
 */
#include "contract.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static unsigned long ino(int fd)
{
	struct stat st;
	must(fstat(fd, &st));
	return st.st_ino;
}

/* column prints the words of the line in a table whose word number at is the inode. */
static void look(const char *path, int at, unsigned long inode, const int *show, int n, const char *what)
{
	char line[512];
	int found = 0;
	FILE *f = fopen(path, "r");
	require(f != NULL, "%s can be read", path);
	while (fgets(line, sizeof line, f)) {
		char *word[32] = { 0 };
		int k = 0;
		for (char *w = strtok(line, " \n"); w && k < 32; w = strtok(NULL, " \n"))
			word[k++] = w;
		if (k <= at || strtoul(word[at], NULL, 10) != inode)
			continue;
		found++;
		char out[256] = "";
		for (int i = 0; i < n; i++) {
			strcat(out, show[i] < k ? word[show[i]] : "-");
			strcat(out, " ");
		}
		observe("%s: %s", what, out);
	}
	fclose(f);
	observe("%s: lines %d", what, found);
}

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "name" };
	int l = must(socket(AF_UNIX, SOCK_STREAM, 0)), d = must(socket(AF_UNIX, SOCK_DGRAM, 0)), p[2];
	must(bind(l, (void *)&a, sizeof a)), must(listen(l, 1));
	must(bind(d, (void *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "\0abs" }, 6));
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
	static const int un[] = { 2, 3, 4, 5, 7 };
	look("/proc/net/unix", 6, ino(l), un, 5, "listener");
	look("/proc/net/unix", 6, ino(d), un, 5, "abstract");
	look("/proc/net/unix", 6, ino(p[0]), un, 5, "pair");
	unsigned long gone = ino(p[1]);
	close(p[1]);
	look("/proc/net/unix", 6, gone, un, 5, "closed");

	struct sockaddr_in t = { .sin_family = AF_INET, .sin_port = htons(0x1234), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, s = must(socket(AF_INET, SOCK_STREAM, 0));
	must(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	must(bind(s, (void *)&t, sizeof t)), must(listen(s, 1));
	static const int in[] = { 1, 2, 3, 7 };
	look("/proc/net/tcp", 9, ino(s), in, 4, "tcp listener");
	int c = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(c, (void *)&t, sizeof t));
	static const int remote[] = { 2, 3, 7 };
	look("/proc/net/tcp", 9, ino(c), remote, 3, "tcp client");
	int u = must(socket(AF_INET, SOCK_DGRAM, 0));
	must(bind(u, (void *)&t, sizeof t));
	look("/proc/net/udp", 9, ino(u), in, 4, "udp");
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(0x4321), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int v = must(socket(AF_INET6, SOCK_DGRAM, 0));
	must(bind(v, (void *)&six, sizeof six));
	look("/proc/net/udp6", 9, ino(v), in, 4, "udp6");

	char b[64] = "";
	int f = must(open("/proc/sys/net/core/somaxconn", O_RDONLY));
	must(read(f, b, sizeof b - 1));
	observe("somaxconn %d", atoi(b) >= 128);
	FILE *six6 = fopen("/proc/net/if_inet6", "r");
	require(six6 != NULL, "if_inet6 can be read");
	while (fgets(b, sizeof b, six6))
		if (strstr(b, " lo\n"))
			observe("if_inet6: %.*s", (int)strcspn(b, "\n"), b);
	fclose(six6);
	return contract_end();
}
