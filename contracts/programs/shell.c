/*
 * programs/shell: what a shell does all day: pipelines, redirections, substitution, traps, background jobs, here documents.
 *
 * Catches: whatever of fork, exec, pipes, signals and descriptors only goes wrong in combination.
 */
#include "contract.h"

static void sh(const char *script)
{
	int out[2];
	char b[4096];
	size_t have = 0;
	must(pipe(out));
	pid_t p = must(fork());
	if (p == 0) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	close(out[1]);
	for (ssize_t n; have < sizeof b - 1 && (n = read(out[0], b + have, sizeof b - 1 - have)) > 0;)
		have += n;
	b[have] = 0;
	close(out[0]);
	observe("$ %s", script);
	if (have)
		observe("%s%s", b, b[have - 1] == '\n' ? "" : "(no newline)");
	observe("  %s", reap(p));
}

int main(void)
{
	sh("echo hello; exit 3");
	sh("seq 1 1000 | grep 7 | wc -l");
	sh("echo b > f; echo a >> f; sort f; cat < f | tr a-z A-Z");
	sh("x=$(echo inner; exit 4); echo $x $?");
	sh("cat <<EOF\nhere $((6*7))\nEOF");
	sh("trap 'echo trapped' USR1; kill -USR1 $$; echo after");
	sh("sleep 0.1 & wait $!; echo waited $?");
	sh("(exit 5) | (exit 6); echo $?; false || echo or; true && echo and");
	sh("for i in 1 2 3; do echo $i; done | while read x; do echo got $x; done");
	sh("kill -9 $$");
	sh("mkdir -p a/b && cd a/b && cd ../.. && ls -d a/b && rm -r a && ls a 2>/dev/null; echo $?");
	sh("yes | head -n 3; echo ${PIPESTATUS:-none}");
	sh("exec 3>out; echo three >&3; exec 3>&-; cat out; ls /proc/self/fd | wc -l");
	return contract_end();
}
