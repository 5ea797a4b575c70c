#!/usr/bin/python3
# python/signals: handlers, timers, signal descriptors, masks, faults and asyncio's loop.
#
# Catches: handlers that run twice or never, calls that are not restarted, timers that do not stop, wake-up descriptors without a byte.
#
# Root: debian
import asyncio
import os
import select
import signal
import time

got = []
for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD):
    signal.signal(s, lambda n, f: got.append(signal.Signals(n).name))
os.kill(os.getpid(), signal.SIGUSR1)
print("to itself:", got)

signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while got.count("SIGALRM") < 3:
    signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print("interval timer:", got.count("SIGALRM") >= 3, signal.getitimer(signal.ITIMER_REAL))

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
for _ in range(3):
    os.kill(os.getpid(), signal.SIGUSR2)
print("blocked:", "SIGUSR2" in got, signal.sigpending())
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
print("once:", got.count("SIGUSR2"))

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
for i in range(3):
    os.kill(os.getpid(), signal.SIGRTMIN)
infos = [signal.sigwaitinfo([signal.SIGRTMIN]) for _ in range(3)]
print("queued:", [i.si_signo == signal.SIGRTMIN for i in infos], infos[0].si_pid == os.getpid(), signal.sigtimedwait([signal.SIGRTMIN], 0.01))

r, w = os.pipe()
if (pid := os.fork()) == 0:
    time.sleep(0.05)
    os.kill(os.getppid(), signal.SIGUSR1)
    time.sleep(0.05)
    os.write(w, b"late")
    os._exit(0)
print("read goes on after a handler:", os.read(r, 10))
os.waitpid(pid, 0)
print("the child was noticed:", "SIGCHLD" in got)

ur, uw = os.pipe()
os.set_blocking(uw, False)
old = signal.set_wakeup_fd(uw)
os.kill(os.getpid(), signal.SIGUSR1)
print("wake-up descriptor:", select.select([ur], [], [], 20)[0] == [ur], os.read(ur, 10) == bytes([signal.SIGUSR1]))
signal.set_wakeup_fd(old)

for crash in ("import ctypes; ctypes.string_at(0)", "import os; os.abort()", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"):
    if (pid := os.fork()) == 0:
        os.close(2)
        os.execv("/usr/bin/python3", ["python3", "-c", crash])
    print("crash:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


async def main():
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    loop.call_later(0.02, os.kill, os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(seen.wait(), 20)
    print("asyncio signal: yes")
    p = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo got $x; exit 3", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate(b"line\n")
    print("asyncio process:", out, p.returncode)
    results = await asyncio.gather(*(asyncio.sleep(0.01 * (5 - i), i) for i in range(5)))
    print("asyncio order:", results)
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except TimeoutError:
        print("asyncio timeout: yes")


asyncio.run(main())
print("CONTRACT_PASS")
