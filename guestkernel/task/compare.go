package task

import "hash/maphash"

var orderSeed = maphash.MakeSeed()

// Order compares the identities of two kernel objects as kcmp(2) answers: 0 for the same, else 1 or 2 in an order that holds until the next boot and tells
// nothing about addresses.
func Order(a, b any) uint64 {
	x, y := maphash.Comparable(orderSeed, a), maphash.Comparable(orderSeed, b)
	switch {
	case a == b:
		return 0
	case x < y:
		return 1
	}
	return 2
}

// SignalActions is what processes share that were cloned with CLONE_SIGHAND, for kcmp(2).
func (g *Group) SignalActions() any {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.actions
}

// Personality is personality(2)'s value.
func (t *Task) Personality() uint32 { return t.personality.Load() }

// SetPersonality replaces it.
func (t *Task) SetPersonality(p uint32) { t.personality.Store(p) }

// noRandomize is ADDR_NO_RANDOMIZE.
const noRandomize = 0x0040000

// layoutRandom is the randomness of the address-space layout at execve.
func (t *Task) layoutRandom() func() uint64 {
	if t.Personality()&noRandomize != 0 {
		return func() uint64 { return 0 }
	}
	return t.k.Random
}
