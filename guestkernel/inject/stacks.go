package inject

import (
	"fmt"
	"sync"

	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
)

// Geometry of the fixed stacks.
const (
	stackSize  = 8 << 10
	blockOrder = 5 // 128 KiB
	numStacks  = 4096 << blockOrder / stackSize
)

// stacks is static memory, as fixedstack wants it. Stack i lies at [i, i+1) * stackSize of the block; 0 is not used.
var stacks [numStacks]Stack

// pool hands out fixed stacks.
type pool struct {
	mu    sync.Mutex
	block uint64 // GPA
	of    map[*task.Task]*use
	taken [numStacks]bool
}

// use is a task's fixed stack.
type use struct {
	*Stack
	index   int
	call    string // system call in progress
	yielded bool   // something on it waits to be resumed
}

func newPool() (*pool, error) {
	block, err := nucleus.AllocFrames(blockOrder, nucleus.OwnerStack)
	if err != nil {
		return nil, fmt.Errorf("fixed kernel stacks: %w", err)
	}
	p := &pool{block: block, of: make(map[*task.Task]*use)}
	base := address(block)
	for i := range stacks {
		stacks[i] = Stack{Lo: base + uint64(i)*stackSize, Hi: base + uint64(i+1)*stackSize}
	}
	nucleus.SetFixedStacks(base, base+numStacks*stackSize)
	p.taken[0] = true
	return p, nil
}

// get is the task's stack; it takes the lowest free one at the first call, nil when there is none.
func (p *pool) get(t *task.Task) *use {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.of[t]; u != nil {
		return u
	}
	for i := range p.taken {
		if !p.taken[i] {
			p.taken[i] = true
			u := &use{Stack: &stacks[i], index: i}
			p.of[t] = u
			t.Slot().SetFixed(u.Lo, u.Hi, u.G())
			return u
		}
	}
	return nil
}

// find is the task's stack, nil if it has none.
func (p *pool) find(t *task.Task) *use {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[t]
}

// put takes the stack of a task that ends.
func (p *pool) put(t *task.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.of[t]; u != nil {
		delete(p.of, t)
		p.taken[u.index] = false
		t.Slot().SetFixed(0, 0, 0)
	}
}
