package task

import "golang.org/x/sys/unix"

// Nice values and policies are kept, told and inherited; goroutines have no priorities, so they change nothing about who runs.

// Nice is the task's nice value, -20 to 19; Policy its scheduling policy (SCHED_OTHER, SCHED_BATCH or SCHED_IDLE).
func (t *Task) Nice() int { return int(t.nice.Load()) }

// Policy is the scheduling policy.
func (t *Task) Policy() int { return int(t.policy.Load()) }

// SetPolicy changes the scheduling policy of a task of the same user. The error is EPERM.
func (t *Task) SetPolicy(target *Task, policy int) error {
	if !t.maySchedule(target) {
		return unix.EPERM
	}
	target.policy.Store(int32(policy))
	return nil
}

// maySchedule mirrors set_one_prio_perm.
func (t *Task) maySchedule(target *Task) bool {
	me, they := t.Creds(), target.Creds()
	return me.EUID == they.UID || me.EUID == they.EUID || me.Has(unix.CAP_SYS_NICE)
}

// scheduled lists the tasks that getpriority(2) and setpriority(2) mean. The error is ESRCH or EINVAL.
func (t *Task) scheduled(which, who int) (out []*Task, err error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch which {
	case unix.PRIO_PROCESS:
		if who == 0 {
			return []*Task{t}, nil
		}
		if o := k.tasks[t.group.pidns.global(who)]; o != nil {
			out = append(out, o)
		}
	case unix.PRIO_PGRP:
		if who == 0 {
			who = t.group.pgroup.id
		} else {
			who = t.group.pidns.global(who)
		}
		if pg := k.pgroups[who]; pg != nil {
			for g := range pg.members {
				out = append(out, g.tasks...)
			}
		}
	case unix.PRIO_USER:
		uid := uint32(who)
		if who == 0 {
			uid = t.Creds().UID
		}
		for _, o := range k.tasks {
			if o.Creds().UID == uid {
				out = append(out, o)
			}
		}
	default:
		return nil, unix.EINVAL
	}
	if len(out) == 0 {
		err = unix.ESRCH
	}
	return out, err
}

// Priority is getpriority(2): the lowest nice value of those meant. Errors: EINVAL, ESRCH.
func (t *Task) Priority(which, who int) (nice int, err error) {
	tasks, err := t.scheduled(which, who)
	nice = 19
	for _, o := range tasks {
		nice = min(nice, o.Nice())
	}
	return nice, err
}

// SetPriority is setpriority(2). Errors: EINVAL, ESRCH, EPERM, EACCES (a lower value without the privilege).
func (t *Task) SetPriority(which, who, nice int) error {
	nice = min(max(nice, -20), 19)
	tasks, err := t.scheduled(which, who)
	if err != nil {
		return err
	}
	lowest := 20 - int(min(t.Rlimit(unix.RLIMIT_NICE), 40))
	for _, o := range tasks {
		switch {
		case !t.maySchedule(o):
			err = unix.EPERM
		case nice < o.Nice() && nice < lowest && !t.Creds().Has(unix.CAP_SYS_NICE):
			err = unix.EACCES
		default:
			o.nice.Store(int32(nice))
		}
	}
	return err
}
