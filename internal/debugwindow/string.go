package debugwindow

import "fmt"

// String is the state as reports say it.
func (s TaskState) String() string {
	return nameOf(uint32(s), "free", "running", "asleep", "dead")
}

// String is the kind as reports say it.
func (k StackKind) String() string {
	return nameOf(uint32(k), "no stack", "goroutine stack", "fixed kernel stack", "nucleus stack", "interrupt entry stack", "exception entry stack",
		"stack for fatal exceptions", "runtime thread's stack")
}

// String is the wait as reports say it.
func (w Wait) String() string {
	return nameOf(uint32(w), "not waiting", "waits for an event", "waits for an event or a time", "waits for an event or its death")
}

func nameOf(i uint32, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown (%d)", i)
}
