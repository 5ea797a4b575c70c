/*
 * sockets/sendfile_splice: files and pipes to sockets and back, without a copy through the program.
 *
 * Catches: data lost when a socket takes only a part, offsets that are off, blocking where O_NONBLOCK is set.
 */
#include "contract.h"
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static char data[300000], back[300000];

static void tcp_pair(int s[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int l = must(socket(AF_INET, SOCK_STREAM, 0));
	must(bind(l, (void *)&a, sizeof a)), must(getsockname(l, (void *)&a, &n)), must(listen(l, 1));
	s[0] = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(s[0], (void *)&a, sizeof a));
	s[1] = must(accept(l, NULL, NULL));
	close(l);
}

static void try(int s[2], const char *what)
{
	int f = must(open("file", O_RDWR)), p[2];
	off_t at = 100;
	must(pipe(p)); /* the child's turn to print comes when the parent closes it */
	pid_t child = must(fork());
	if (child == 0) {
		close(s[1]), close(p[1]);
		long total = 0, r, part;
		while ((r = sendfile(s[0], f, NULL, sizeof data)) > 0)
			total += r;
		part = sendfile(s[0], f, &at, 50);
		close(s[0]);
		must(read(p[0], &(char){ 0 }, 1));
		observe("%s: sent the file %d, then %s", what, total == sizeof data, result(r));
		observe("%s: from an offset %s, now %ld, the file's own %ld", what, result(part), (long)at, (long)lseek(f, 0, SEEK_CUR) - (long)sizeof data);
		_exit(0);
	}
	close(s[0]);
	size_t done = 0;
	for (ssize_t r; (r = must(read(s[1], back + done, sizeof back - done))) > 0;)
		done += r;
	observe("%s: received %zu, the same %d", what, done, done == sizeof data && !memcmp(data, back, sizeof data));
	char rest[64];
	size_t more = 0;
	for (ssize_t r; (r = must(read(s[1], rest + more, sizeof rest - more))) > 0;)
		more += r;
	observe("%s: then %zu, the same %d", what, more, !memcmp(rest, data + 100, 50));
	close(p[1]);
	reap(child);
	close(s[1]), close(f), close(p[0]);
}

int main(void)
{
	int s[2], p[2];
	for (unsigned i = 0; i < sizeof data; i++)
		data[i] = (i * 31) ^ (i >> 8);
	int f = must(open("file", O_CREAT | O_RDWR, 0600));
	must(write(f, data, sizeof data));
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	try(s, "unix");
	tcp_pair(s);
	try(s, "tcp");

	/* Through a pipe, both ways. */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	must(pipe(p));
	must(write(s[0], "spliced", 7));
	observe("socket to pipe: %s", result(splice(s[1], NULL, p[1], NULL, 100, 0)));
	observe("pipe to socket: %s", result(splice(p[0], NULL, s[1], NULL, 100, 0)));
	char b[16] = { 0 };
	observe("round: %s %s", result(read(s[0], b, sizeof b)), b);
	fcntl(s[1], F_SETFL, O_NONBLOCK);
	fails(splice(s[1], NULL, p[1], NULL, 100, 0), EAGAIN);
	must(shutdown(s[0], SHUT_WR));
	observe("at the end: %s", result(splice(s[1], NULL, p[1], NULL, 100, 0)));
	off_t off = 0;
	fails(splice(s[1], &off, p[1], NULL, 100, 0), EINVAL);
	fails(splice(s[1], NULL, s[0], NULL, 100, 0), EINVAL);
	fails(lseek(s[0], 0, SEEK_SET), ESPIPE);
	fails(pread(s[0], b, 1, 0), ESPIPE);
	int closed = s[1];
	close(closed);
	signal(SIGPIPE, SIG_IGN);
	must(lseek(f, 0, SEEK_SET));
	fails(sendfile(s[0], f, NULL, 100), EPIPE);
	return contract_end();
}
