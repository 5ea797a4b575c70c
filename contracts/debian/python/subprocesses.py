#!/usr/bin/python3
# python/subprocesses: subprocess, os.fork, multiprocessing and process groups.
#
# Catches: descriptors that leak into children or close too early, statuses that get lost, pipes that never end, vfork that shares too much.
#
# Root: debian
import multiprocessing
import os
import signal
import subprocess
import sys

run = subprocess.run
print("output:", run(["echo", "hello"], capture_output=True, text=True).stdout.strip())
print("status:", run(["sh", "-c", "exit 7"]).returncode, run(["sh", "-c", "kill -9 $$"]).returncode)
print("input:", run(["tr", "a-z", "A-Z"], input="through a pipe", capture_output=True, text=True).stdout)
print("both streams:", run("echo out; echo err >&2", shell=True, capture_output=True, text=True))
big = "x" * 1_000_000
print("a megabyte there and back:", run(["cat"], input=big, capture_output=True, text=True).stdout == big)
try:
    run(["/no/such/program"])
except FileNotFoundError as e:
    print("missing:", e.errno, e.filename)
try:
    run(["/etc/passwd"])
except PermissionError as e:
    print("not executable:", e.errno)
try:
    run(["sleep", "60"], timeout=0.1)
except subprocess.TimeoutExpired as e:
    print("timeout:", e.timeout)
print("environment and folder:", run(["sh", "-c", "echo $A $PWD"], env={"A": "1"}, cwd="/usr", capture_output=True, text=True).stdout.strip())

chain = subprocess.Popen(["seq", "1", "1000"], stdout=subprocess.PIPE)
end = subprocess.Popen(["grep", "-c", "7"], stdin=chain.stdout, stdout=subprocess.PIPE, text=True)
chain.stdout.close()
print("pipeline:", end.communicate()[0].strip(), chain.wait())

r, w = os.pipe()
os.set_inheritable(w, True)
p = subprocess.Popen(["sh", "-c", f"echo passed >&{w}"], pass_fds=[w])
os.close(w)
print("descriptor passed:", os.read(r, 100), p.wait())
os.close(r)
print("descriptors in a child:", run(["sh", "-c", "ls /proc/self/fd | wc -l"], capture_output=True, text=True).stdout.strip())

p = subprocess.Popen(["sleep", "60"], start_new_session=True)
print("own session:", os.getsid(p.pid) == p.pid, os.getpgid(p.pid) == p.pid)
os.killpg(p.pid, signal.SIGTERM)
print("group killed:", p.wait())
p = subprocess.Popen(["sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done"], stdout=subprocess.PIPE, text=True)
p.stdout.readline()
p.send_signal(signal.SIGINT)
print("trapped:", p.wait())
many = [subprocess.Popen(["sh", "-c", f"exit {i}"]) for i in range(20)]
print("many:", [p.wait() for p in many] == list(range(20)))

pid = os.fork()
if pid == 0:
    os._exit(9)
print("fork:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 4"], {}, setsigmask=[signal.SIGUSR1])
print("posix_spawn:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def square(x):
    return x * x


def child(connection):
    connection.send([os.getppid(), connection.recv() + 1])
    connection.close()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    here, there = multiprocessing.Pipe()
    p = multiprocessing.Process(target=child, args=(there,))
    p.start()
    here.send(41)
    parent, answer = here.recv()
    p.join()
    print("multiprocessing:", parent == os.getpid(), answer, p.exitcode)
    with multiprocessing.Pool(3) as pool:
        print("pool:", sum(pool.map(square, range(100))))
    counter = multiprocessing.Value("i", 0)

    def count():
        for _ in range(200):
            with counter.get_lock():
                counter.value += 1

    crowd = [multiprocessing.Process(target=count) for _ in range(4)]
    for p in crowd:
        p.start()
    for p in crowd:
        p.join()
    print("shared counter:", counter.value)
    q = multiprocessing.Queue()
    p = multiprocessing.Process(target=lambda: [q.put(i) for i in range(50)])
    p.start()
    print("queue:", sum(q.get(timeout=20) for _ in range(50)))
    p.join()
    try:
        os.waitpid(-1, os.WNOHANG)
        print("children are left")
    except ChildProcessError:
        print("no child is left")
    sys.stdout.flush()
    print("CONTRACT_PASS")
