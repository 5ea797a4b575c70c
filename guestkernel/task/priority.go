package task

import "golang.org/x/sys/unix"

// Nice values, policies and priorities are kept, told, inherited and checked for permission. Goroutines have no priorities, so of what they promise
// the run loop keeps two things: a SCHED_FIFO task does not give way at ticks, and while a task with a real-time policy is ready, others
// give way at each entry to user mode.

// Nice is the task's nice value, -20 to 19.
func (t *Task) Nice() int { return int(t.nice.Load()) }

// Policy is the scheduling policy (SCHED_OTHER, SCHED_FIFO...).
func (t *Task) Policy() int { return int(t.policy.Load()) }

// RealtimePriority is the priority of SCHED_FIFO and SCHED_RR, 1 to 99, and 0 with other policies.
func (t *Task) RealtimePriority() int { return int(t.rtprio.Load()) }

// ResetsOnFork is SCHED_RESET_ON_FORK: children begin with the default policy.
func (t *Task) ResetsOnFork() bool { return t.resets.Load() }

// Schedule is what sched_setattr(2) sets.
type Schedule struct {
	Policy, Priority, Nice int
	ResetOnFork            bool
}

// Schedule answers how a task is scheduled.
func (t *Task) Schedule() Schedule {
	return Schedule{t.Policy(), t.RealtimePriority(), t.Nice(), t.ResetsOnFork()}
}

func realtime(policy int) bool { return policy == unix.SCHED_FIFO || policy == unix.SCHED_RR }

// SetSchedule changes the schedule of a task. Mirrors __sched_setscheduler. Errors: EINVAL (policy, priority), EPERM, EBUSY (SCHED_DEADLINE: nothing here could
// keep its promise).
func (t *Task) SetSchedule(target *Task, s Schedule) error {
	switch s.Policy {
	case unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE, unix.SCHED_DEADLINE:
		if s.Priority != 0 {
			return unix.EINVAL
		}
	case unix.SCHED_FIFO, unix.SCHED_RR:
		if s.Priority < 1 || s.Priority > 99 {
			return unix.EINVAL
		}
	default:
		return unix.EINVAL
	}
	old := target.Schedule()
	if !t.Creds().Effective.Has(unix.CAP_SYS_NICE) {
		limit, _ := target.group.Limit(unix.RLIMIT_RTPRIO)
		switch {
		case realtime(s.Policy) && (s.Policy != old.Policy && limit == 0 || s.Priority > old.Priority && uint64(s.Priority) > limit),
			!realtime(s.Policy) && s.Policy != unix.SCHED_DEADLINE && s.Nice < old.Nice && !target.mayNice(s.Nice),
			s.Policy == unix.SCHED_DEADLINE,
			old.Policy == unix.SCHED_IDLE && s.Policy != unix.SCHED_IDLE && !target.mayNice(old.Nice),
			!t.maySchedule(target),
			old.ResetOnFork && !s.ResetOnFork:
			return unix.EPERM
		}
	}
	if s.Policy == unix.SCHED_DEADLINE {
		return unix.EBUSY
	}
	target.policy.Store(int32(s.Policy))
	target.rtprio.Store(int32(s.Priority))
	target.resets.Store(s.ResetOnFork)
	if !realtime(s.Policy) {
		target.nice.Store(int32(s.Nice))
	}
	return nil
}

// mayNice says whether RLIMIT_NICE of the task allows a nice value.
func (t *Task) mayNice(nice int) bool {
	limit, _ := t.group.Limit(unix.RLIMIT_NICE)
	return uint64(20-nice) <= limit
}

// inheritSchedule gives a new task its parent's schedule (sched_fork).
func (t *Task) inheritSchedule(parent *Task) {
	s := parent.Schedule()
	if s.ResetOnFork {
		s.Nice = max(s.Nice, 0)
		if realtime(s.Policy) {
			s.Policy, s.Priority, s.Nice = unix.SCHED_NORMAL, 0, 0
		}
	}
	t.policy.Store(int32(s.Policy))
	t.rtprio.Store(int32(s.Priority))
	t.nice.Store(int32(s.Nice))
	t.ioprio.Store(parent.ioprio.Load())
}

// Classes of ioprio_set(2).
const (
	ioClassShift    = 13
	ioClassRealtime = 1
	ioClassBest     = 2
	ioClassIdle     = 3
)

// IOPriority is what ioprio_get(2) answers: what was set, or what follows from policy and nice value.
func (t *Task) IOPriority() int {
	if p := int(t.ioprio.Load()); p>>ioClassShift != 0 {
		return p
	}
	class := ioClassBest
	switch {
	case t.Policy() == unix.SCHED_IDLE:
		class = ioClassIdle
	case realtime(t.Policy()):
		class = ioClassRealtime
	}
	return class<<ioClassShift | (t.Nice()+20)/5
}

// SetIOPriority sets it for all tasks that which and who mean, as in setpriority(2). Errors: EINVAL, EPERM, ESRCH.
func (t *Task) SetIOPriority(which, who, priority int) error {
	class, level := priority>>ioClassShift, priority&(1<<ioClassShift-1)
	switch class {
	case 0:
		if level != 0 {
			return unix.EINVAL
		}
	case ioClassRealtime:
		if c := t.Creds(); !c.Effective.Has(unix.CAP_SYS_NICE) && !c.Effective.Has(unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
	case ioClassBest, ioClassIdle:
	default:
		return unix.EINVAL
	}
	tasks, err := t.scheduled(which, who)
	if err != nil {
		return err
	}
	for _, o := range tasks {
		if !t.maySchedule(o) {
			return unix.EPERM
		}
		o.ioprio.Store(int32(priority))
	}
	return nil
}

// IOPriorityOf is ioprio_get(2): the highest of those meant. Errors: EINVAL, ESRCH.
func (t *Task) IOPriorityOf(which, who int) (int, error) {
	tasks, err := t.scheduled(which, who)
	best := 0
	for i, o := range tasks {
		if p := o.IOPriority(); i == 0 || p < best {
			best = p
		}
	}
	return best, err
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
