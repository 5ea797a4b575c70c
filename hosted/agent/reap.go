package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reaper collects every dead child of PID 1: commands, whose status somebody waits for, and orphans that were given to it.
// Its lock is held around fork as well, so a child cannot be collected before it is known.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]chan syscall.WaitStatus // guarded by mu
}

func newReaper() *reaper {
	r := &reaper{waiting: make(map[int]chan syscall.WaitStatus)}
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, syscall.SIGCHLD)
	go func() {
		for range dead {
			r.collect()
		}
	}()
	return r
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c, ok := r.waiting[pid]; ok {
			delete(r.waiting, pid)
			c <- status
		}
	}
}

// start forks a child whose wait status arrives on the returned channel.
func (r *reaper) start(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	c := make(chan syscall.WaitStatus, 1)
	r.waiting[pid] = c
	return pid, c, nil
}
