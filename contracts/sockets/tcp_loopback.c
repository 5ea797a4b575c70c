/*
 * sockets/tcp_loopback: TCP over the loopback: ports, data, half close, refusal, options.
 *
 * Catches: connections that hang, data cut or reordered, options whose values are not Linux's.
 */
#include "contract.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int option(int s, int level, int name)
{
	int v = -1;
	socklen_t n = sizeof v;
	return getsockopt(s, level, name, &v, &n) < 0 ? -errno : v;
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, b;
	socklen_t n = sizeof a;
	int on = 1, s = must(socket(AF_INET, SOCK_STREAM, 0));
	must(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	must(bind(s, (void *)&a, sizeof a));
	must(getsockname(s, (void *)&a, &n));
	observe("port chosen: %d", ntohs(a.sin_port) >= 1024);
	must(listen(s, 8));
	observe("SO_ACCEPTCONN %d, SO_TYPE %d, SO_REUSEADDR %d", option(s, SOL_SOCKET, SO_ACCEPTCONN), option(s, SOL_SOCKET, SO_TYPE), option(s, SOL_SOCKET, SO_REUSEADDR));
	pid_t p = must(fork());
	if (p == 0) {
		int c = must(socket(AF_INET, SOCK_STREAM, 0));
		must(connect(c, (void *)&a, sizeof a));
		unsigned sum = 0, byte = 0;
		static unsigned char block[10000];
		for (int i = 0; i < 50; i++) {
			for (unsigned k = 0; k < sizeof block; k++)
				sum += block[k] = (byte++ * 7) & 255;
			for (unsigned done = 0; done < sizeof block;)
				done += must(write(c, block + done, sizeof block - done));
		}
		must(shutdown(c, SHUT_WR));
		unsigned answer = 0;
		require(read(c, &answer, 4) == 4 && answer == sum, "the sum comes back");
		_exit(0);
	}
	int d = must(accept(s, (void *)&b, &n));
	observe("from the loopback: %d", b.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	static unsigned char block[7777];
	unsigned sum = 0, total = 0;
	for (ssize_t r; (r = must(read(d, block, sizeof block))) > 0; total += r)
		for (int i = 0; i < r; i++)
			sum += block[i];
	observe("received: %u bytes", total);
	write(d, &sum, 4);
	observe("client: %s", reap(p));
	must(setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	observe("TCP_NODELAY %d, SO_KEEPALIVE %d, SO_ERROR %d", option(d, IPPROTO_TCP, TCP_NODELAY), option(d, SOL_SOCKET, SO_KEEPALIVE), option(d, SOL_SOCKET, SO_ERROR));
	close(d);
	close(s);
	int c = must(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(c, (void *)&a, sizeof a), ECONNREFUSED);

	return contract_end();
}
