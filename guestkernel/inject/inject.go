package inject

import (
	"fmt"
	"slices"
	"strings"

	"ringo/guestkernel/task"
	"ringo/internal/plants"
)

// Injector is what the task layer calls; it implements task.Injector.
type Injector struct {
	name    string
	control bool
	pool    *pool
	hooks   hooks
	spoil   memory // frames that a plant uses up
}

// hooks are what a plant wants to be called for.
type hooks struct {
	// before and after are called around the system calls of these names, on the task's goroutine.
	before, after map[string]func(t *task.Task, args [6]uint64)
	// asleep runs on the fixed stack of a task that goes to sleep in the system call of this name, and yields.
	asleep map[string]func(arg uint64)
	// saved is called when such a task has switched away from its fixed stack.
	saved func(s *Stack)
}

// builders make the hooks of each plant.
var builders = map[string]func(*Injector) (hooks, error){}

// Parse looks for inject=NAME on the kernel command line. It answers nil when there is none.
func Parse(line string) (*Injector, error) {
	for _, w := range strings.Fields(line) {
		name, ok := strings.CutPrefix(w, "inject=")
		if !ok {
			continue
		}
		base, control := strings.CutSuffix(name, plants.ControlSuffix)
		build := builders[base]
		if build == nil {
			return nil, fmt.Errorf("inject=%s: no such plant; there are %s", name, strings.Join(names(), ", "))
		}
		p, err := newPool()
		if err != nil {
			return nil, err
		}
		i := &Injector{name: base, control: control, pool: p}
		if i.hooks, err = build(i); err != nil {
			return nil, fmt.Errorf("inject=%s: %w", name, err)
		}
		return i, nil
	}
	return nil, nil
}

func names() (out []string) {
	for n := range builders {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Call implements task.Injector.
func (i *Injector) Call(t *task.Task, nr uint64, args [6]uint64, next task.Syscalls) (uint64, error) {
	name := next.Name(uint64(uint32(nr)))
	if u := i.pool.find(t); u != nil {
		u.call = name
	}
	if f := i.hooks.before[name]; f != nil {
		f(t, args)
	}
	ret, err := next.Call(t, nr, args)
	if f := i.hooks.after[name]; f != nil {
		f(t, args)
	}
	return ret, err
}

// SwitchOut implements task.Injector.
func (i *Injector) SwitchOut(t *task.Task) {
	u := i.pool.find(t)
	if u == nil || i.hooks.asleep[u.call] == nil {
		return
	}
	start(u.Stack, i.hooks.asleep[u.call], uint64(t.TID()))
	u.yielded = u.SP != 0
	if u.yielded && i.hooks.saved != nil {
		i.hooks.saved(u.Stack)
	}
	t.Slot().SetFixedSP(u.SP)
}

// SwitchIn implements task.Injector.
func (i *Injector) SwitchIn(t *task.Task) {
	if u := i.pool.find(t); u != nil && u.yielded {
		u.yielded = false
		t.Slot().SetFixedSP(0)
		resume(u.Stack)
	}
}

// Ended implements task.Injector.
func (i *Injector) Ended(t *task.Task) { i.pool.put(t) }

// run calls fn(arg) on the task's fixed stack.
func (i *Injector) run(t *task.Task, fn func(uint64), arg uint64) {
	if u := i.pool.get(t); u != nil {
		start(u.Stack, fn, arg)
	}
}

// own gives the task a fixed stack, so that a plant fixes in which order stacks lie.
func (i *Injector) own(t *task.Task, _ [6]uint64) { i.pool.get(t) }
