/*
 * process/orphaned_group: a stopped process whose group becomes orphaned gets SIGHUP and SIGCONT.
 *
 * Catches: background jobs that stay stopped for ever after their shell has gone.
 */
#include "contract.h"

static volatile sig_atomic_t hup, cont;
static int up[2];

static void on_hup(int s) { (void)s; hup = 1; }
static void on_cont(int s) { (void)s; cont = 1; }

int main(void)
{
	char text[8] = { 0 };
	must(pipe(up));
	pid_t shell = must(fork());
	if (shell == 0) {
		pid_t job = must(fork());
		if (job == 0) {
			setpgid(0, 0);
			signal(SIGHUP, on_hup);
			signal(SIGCONT, on_cont);
			raise(SIGSTOP);
			wait_until(hup && cont);
			write(up[1], "both", 4);
			_exit(0);
		}
		setpgid(job, job);
		int st;
		waitpid(job, &st, WUNTRACED);
		_exit(WIFSTOPPED(st) ? 3 : 4);
	}
	observe("shell, after its job has stopped: %s", reap(shell));
	close(up[1]);
	int n = read(up[0], text, sizeof text);
	observe("the job says: %d %s", n, text);
	require(!strcmp(text, "both"), "SIGHUP and SIGCONT");
	return contract_end();
}
