package task

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

const numLimits = 16

// limits are a process's resource limits.
type limits struct {
	mu  sync.Mutex
	cur [numLimits]uint64
	max [numLimits]uint64
}

// setDefaults sets those of Linux's init.
func (l *limits) setDefaults() {
	const inf = vfs.RlimInfinity
	for i := range l.cur {
		l.cur[i], l.max[i] = inf, inf
	}
	l.cur[unix.RLIMIT_STACK] = 8 << 20
	l.cur[unix.RLIMIT_CORE] = 0
	l.cur[unix.RLIMIT_NOFILE], l.max[unix.RLIMIT_NOFILE] = 1024, 1<<20
	l.cur[unix.RLIMIT_MEMLOCK], l.max[unix.RLIMIT_MEMLOCK] = 8<<20, 8<<20
	l.cur[unix.RLIMIT_SIGPENDING], l.max[unix.RLIMIT_SIGPENDING] = maxQueued, maxQueued
	l.cur[unix.RLIMIT_MSGQUEUE], l.max[unix.RLIMIT_MSGQUEUE] = 819200, 819200
	l.cur[unix.RLIMIT_NICE], l.max[unix.RLIMIT_NICE] = 0, 0
	l.cur[unix.RLIMIT_RTPRIO], l.max[unix.RLIMIT_RTPRIO] = 0, 0
}

func (l *limits) copyFrom(o *limits) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.cur, l.max = o.cur, o.max
}

// Limit is a soft and hard limit.
func (g *Group) Limit(resource int) (cur, max uint64) {
	if resource < 0 || resource >= numLimits {
		return vfs.RlimInfinity, vfs.RlimInfinity
	}
	g.limits.mu.Lock()
	defer g.limits.mu.Unlock()
	return g.limits.cur[resource], g.limits.max[resource]
}

// SetLimit is the writing half of prlimit(2). Errors: EINVAL, EPERM (privileged says whether the hard limit may be raised).
func (g *Group) SetLimit(resource int, cur, max uint64, privileged bool) error {
	if resource < 0 || resource >= numLimits || cur > max {
		return unix.EINVAL
	}
	l := &g.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if max > l.max[resource] && !privileged {
		return unix.EPERM
	}
	if resource == unix.RLIMIT_NOFILE && max > vfs.MaxDescriptors {
		return unix.EPERM
	}
	l.cur[resource], l.max[resource] = cur, max
	return nil
}
