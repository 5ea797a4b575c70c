package inject

import (
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
)

// The story: connect(2) builds the two halves of a stream on the kernel stack before it moves them to their home. They are
// twice the size of the stack.

// streamHalf is one direction of a stream.
type streamHalf struct {
	head, tail uint32
	buffer     [8184]byte
}

// streamInner is both: 16 KiB.
type streamInner struct{ send, receive streamHalf }

// homeOrder is the block of frames that holds a streamInner.
const homeOrder = 2

func init() {
	builders["stack-overflow"] = func(i *Injector) (hooks, error) {
		home, err := nucleus.AllocFrames(homeOrder, nucleus.OwnerNucleus)
		if err != nil {
			return hooks{}, err
		}
		connect := connectStream
		if i.control {
			connect = connectStreamInPlace
		}
		return hooks{
			before: map[string]func(*task.Task, [6]uint64){
				"listen": i.own, "accept": i.own, "accept4": i.own,
				"connect": func(t *task.Task, _ [6]uint64) { i.run(t, connect, address(home)) },
			},
			asleep: map[string]func(uint64){"accept": acceptStream, "accept4": acceptStream},
		}, nil
	}
}

// connectStream is the connecting side, on the caller's fixed stack.
//
//go:noinline
func connectStream(home uint64) { newStream(at[streamInner](home)) }

// newStream is the bug: the temporary is larger than the stack.
//
//go:noinline
func newStream(home *streamInner) {
	var inner streamInner
	inner.open(1)
	*home = inner
}

// connectStreamInPlace is the control: the same without the temporary.
//
//go:noinline
func connectStreamInPlace(home uint64) {
	inner := at[streamInner](home)
	*inner = streamInner{}
	inner.open(1)
}

//go:noinline
func (s *streamInner) open(generation uint32) {
	s.send.head, s.send.tail = generation, generation
	s.receive.head, s.receive.tail = generation, generation
}

// acceptStream is the accepting side: it waits for a connection on its fixed stack.
//
//go:noinline
func acceptStream(tid uint64) {
	if waitForConnection(tid) != tid {
		panic("inject: the waiting task woke as another one")
	}
}

// waitForConnection sleeps: its frame and that of the context switch are what the overflow hits.
//
//go:noinline
func waitForConnection(tid uint64) uint64 {
	yield()
	return tid
}
