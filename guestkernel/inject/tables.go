package inject

import (
	"fmt"

	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
	"ringo/internal/pagetable"
)

// Plants in page tables. The client's program connects to a name that nobody has, touches the page at plantedAt while the server
// still sleeps, and then connects to the server. Without a plant nothing is mapped there and the kernel answers with
// SIGSEGV, which the program expects.

// plantedAt is an address of user space that nothing else uses; guestkernel/inject/testdata/touch.c has it too.
const plantedAt = 0x5a5a_0000_0000

// memory is guest memory as page tables see it. Tables that become empty wait for the next flush.
type memory struct{ empty []uint64 }

// Table implements pagetable.Memory.
func (*memory) Table(gpa uint64) *[pagetable.Entries]uint64 {
	return at[[pagetable.Entries]uint64](address(gpa))
}

// AllocTable implements pagetable.Memory.
func (*memory) AllocTable() (uint64, bool) {
	gpa, err := nucleus.AllocFrames(0, nucleus.OwnerPageTable)
	return gpa, err == nil
}

// FreeTable implements pagetable.Memory.
func (m *memory) FreeTable(gpa uint64) { m.empty = append(m.empty, gpa) }

// planted is one page at plantedAt + index*4096 in the client's tables.
type planted struct {
	mem  memory
	tree table
	va   uint64
	// undo is called before the page is taken out again.
	undo func()
}

// plantPage maps a frame for the client.
func plantPage(t *task.Task, va, gpa uint64) (*planted, error) {
	p := &planted{va: va}
	p.tree = table{Root: t.Space().Root(), Mem: &p.mem}
	if err := p.tree.Map(va, gpa, 4096, pagetable.Read|pagetable.Write|pagetable.User); err != nil {
		return nil, fmt.Errorf("plant a page at %#x: %w", va, err)
	}
	p.flush()
	return p, nil
}

func (p *planted) flush() { nucleus.ShootdownUser(p.tree.Root, p.va, 4096) }

// remove leaves the tables as they were. When the client exits.
func (p *planted) remove() {
	if p.undo != nil {
		p.undo()
		p.flush()
	}
	if err := p.tree.Unmap(p.va, 4096, nil); err != nil {
		nucleus.LogWrite([]byte("inject: " + err.Error() + "\n"))
	}
	p.flush()
	for _, gpa := range p.mem.empty {
		nucleus.FreeFrames(gpa, 0)
	}
}

// onTouch makes the hooks of a plant in the client's tables: plant runs when it connects for the first time, and what it planted is
// removed when it connects for the second time, or exits.
func onTouch(plant func(v *victim) (*planted, error)) func(*Injector) (hooks, error) {
	return func(i *Injector) (hooks, error) {
		var page *planted
		var owner *task.Task
		h, err := onConnect(func(v *victim) {
			if owner != nil {
				return
			}
			p, err := plant(v)
			if err != nil {
				nucleus.LogWrite([]byte("inject: " + err.Error() + "\n"))
				return
			}
			page, owner = p, v.client
		})(i)
		if err != nil {
			return h, err
		}
		remove := func(t *task.Task, _ [6]uint64) {
			if page != nil && t == owner {
				page.remove()
				page = nil
			}
		}
		plantOnce := h.before["connect"]
		h.before["connect"] = func(t *task.Task, args [6]uint64) {
			remove(t, args)
			plantOnce(t, args)
		}
		h.before["exit_group"] = remove
		return h, nil
	}
}

// staleMapping: a page was unmapped and its frame became the server's stack, but its page-table entry stayed.
var staleMapping = onTouch(func(v *victim) (*planted, error) {
	gpa := v.physical(v.stack.Hi-1) &^ 4095
	if v.control {
		fresh, ok := v.spoil.AllocTable()
		if !ok {
			return nil, nucleus.ErrNoMemory
		}
		gpa = fresh
	}
	return plantPage(v.client, plantedAt, gpa)
})

// Bits of a page-table entry (AMD64 APM volume 2, 5.4).
const (
	entryPresent  = 1 << 0
	entryWritable = 1 << 1
	entryUser     = 1 << 2
	entryFlags    = 0xfff
)

// pageTable: a table of the client's was freed and became the server's stack, but the table above still leads to it. A
// word on the server's stack looks like an entry: the CPU marks it as accessed.
func pageTable(i *Injector) (hooks, error) {
	target, ok := i.spoil.AllocTable() // what the entry leads to
	if !ok {
		return hooks{}, nucleus.ErrNoMemory
	}
	h, err := onTouch(func(v *victim) (*planted, error) {
		word := v.stack.Hi - spareWord
		p, err := plantPage(v.client, plantedAt+word&4095/8*4096, target)
		if err != nil || v.control {
			return p, err
		}
		w := p.tree.Walk(p.va)
		if w.N != pagetable.Levels {
			return p, fmt.Errorf("page walk of %#x has %d steps", p.va, w.N)
		}
		entry := at[uint64](address(w.Steps[w.N-2].EntryAt))
		right := *entry
		*entry = v.physical(word)&^4095 | right&entryFlags
		p.undo = func() { *entry = right }
		p.flush()
		return p, nil
	})(i)
	h.saved = func(s *Stack) {
		*at[uint64](s.Hi - spareWord) = target | entryPresent | entryWritable | entryUser
	}
	return h, err
}
