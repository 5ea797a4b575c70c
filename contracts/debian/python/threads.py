#!/usr/bin/python3
# python/threads: threads with locks, conditions, queues, events, thread pools and thread-local values.
#
# Catches: lost futex wake-ups, timeouts that never come, threads that are not joined, a signal that reaches the wrong thread.
#
# Root: debian
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

lock = threading.Lock()
total = 0


def add(n):
    global total
    for _ in range(n):
        with lock:
            total += 1


workers = [threading.Thread(target=add, args=(2000,)) for _ in range(8)]
for w in workers:
    w.start()
for w in workers:
    w.join()
print("locked additions:", total)

work, done = queue.Queue(maxsize=4), queue.Queue()


def consume():
    while (item := work.get()) is not None:
        done.put(item * item)


consumers = [threading.Thread(target=consume) for _ in range(3)]
for c in consumers:
    c.start()
for i in range(200):
    work.put(i)
for _ in consumers:
    work.put(None)
for c in consumers:
    c.join()
print("squares:", sum(done.get() for _ in range(200)))

condition = threading.Condition()
turn = 0
order = []


def take_turns(me, n):
    global turn
    for _ in range(50):
        with condition:
            condition.wait_for(lambda: turn % n == me)
            order.append(me)
            turn += 1
            condition.notify_all()


players = [threading.Thread(target=take_turns, args=(i, 3)) for i in range(3)]
for p in players:
    p.start()
for p in players:
    p.join()
print("turns:", order[:6], len(order), order == [0, 1, 2] * 50)

event = threading.Event()
begin = time.monotonic()
print("event without a setter:", event.wait(0.05), time.monotonic() - begin >= 0.05)
threading.Timer(0.02, event.set).start()
print("event with a timer:", event.wait(20))

local = threading.local()
seen = []


def own(i):
    local.value = i
    time.sleep(0.001)
    seen.append(local.value == i)


for t in (all_own := [threading.Thread(target=own, args=(i,)) for i in range(10)]):
    t.start()
for t in all_own:
    t.join()
print("thread-local values:", seen.count(True), "of", len(seen))

with ThreadPoolExecutor(max_workers=5) as pool:
    futures = {pool.submit(pow, i, 2, 97): i for i in range(40)}
    print("pool:", sum(f.result() for f in as_completed(futures)))

barrier = threading.Barrier(4)
places = []
for t in (crowd := [threading.Thread(target=lambda: places.append(barrier.wait(20))) for _ in range(4)]):
    t.start()
for t in crowd:
    t.join()
print("barrier:", sorted(places))

caught = []
signal.signal(signal.SIGUSR1, lambda s, f: caught.append((s, threading.current_thread() is threading.main_thread())))
t = threading.Thread(target=lambda: signal.raise_signal(signal.SIGUSR1))
t.start()
t.join()
while not caught:
    time.sleep(0.001)
print("a thread's signal is handled by the main thread:", caught == [(signal.SIGUSR1, True)])
print("threads left:", threading.active_count())
sys.stdout.flush()
print("CONTRACT_PASS")
