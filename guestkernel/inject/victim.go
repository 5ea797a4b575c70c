package inject

import (
	"ringo/guestkernel/task"
)

// Most plants damage the stack of a task that sleeps in accept(2) ("server"), while another connects ("client"): the guest program
// is the same, the bug is another one each time.

// victim is the sleeping task's stack as a plant gets it.
type victim struct {
	*Injector
	client *task.Task
	stack  *Stack // of the server, away from it: SP is where the saved frame begins
}

// onConnect makes the hooks of a plant that does something to the server's stack when the client connects.
func onConnect(bug func(v *victim)) func(*Injector) (hooks, error) {
	return func(i *Injector) (hooks, error) {
		var server *use
		return hooks{
			before: map[string]func(*task.Task, [6]uint64){
				"listen": func(t *task.Task, _ [6]uint64) { server = i.pool.get(t) },
				"connect": func(t *task.Task, _ [6]uint64) {
					if server != nil && server.SP != 0 {
						bug(&victim{i, t, server.Stack})
					}
				},
			},
			asleep: map[string]func(uint64){"accept": acceptStream, "accept4": acceptStream},
		}, nil
	}
}

// Offsets from the end of a fixed stack: its last 64 bytes hold nothing of the code on it, so a plant may write there without
// bringing the machine down.
const (
	spare     = 64 // bytes
	spareWord = 32 // an aligned word in them
)

// free is an address in the part of the server's stack that nobody uses: far below its saved frame.
func (v *victim) free() uint64 { return v.stack.Lo + 256 }

// spareOr is where a plant writes: in the sleeping stack, or, for the control, in its unused part.
func (v *victim) spareOr() uint64 {
	if v.control {
		return v.free()
	}
	return v.stack.Hi - spareWord
}
