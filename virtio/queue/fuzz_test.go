package queue_test

import (
	"encoding/binary"
	"reflect"
	"testing"

	"ringo/virtio/queue"
	"ringo/virtio/virtiotest"
)

// reference is a device queue without caches, cursors or frozen state: it recomputes
// everything from memory at every step, in the words of the specification.
type reference struct {
	m          *virtiotest.Memory
	cfg        queue.Config
	next, used uint16
	flying     map[uint16]bool
}

type refChain struct {
	head        uint16
	read, write []queue.Segment
}

func (r *reference) u16(gpa uint64) uint16 {
	b, err := r.m.Bytes(gpa, 2)
	if err != nil {
		panic(err)
	}
	return binary.LittleEndian.Uint16(b)
}

// take answers the next chain; ok false with nil for none, broken for a driver that lies.
func (r *reference) take() (c *refChain, broken bool) {
	n := r.u16(r.cfg.Avail+2) - r.next
	if n == 0 {
		return nil, false
	}
	if n > r.cfg.Size {
		return nil, true
	}
	head := r.u16(r.cfg.Avail + 4 + 2*uint64(r.next%r.cfg.Size))
	if head >= r.cfg.Size || r.flying[head] {
		return nil, true
	}
	c = &refChain{head: head}
	var total uint64
	var follow func(table, entries, i uint64, depth int, inTable bool) bool
	follow = func(table, entries, i uint64, depth int, inTable bool) bool {
		if i >= entries || depth > int(r.cfg.Size) {
			return false
		}
		b, err := r.m.Bytes(table+16*i, 16)
		if err != nil {
			return false
		}
		d := queue.ParseDesc(b)
		if d.Flags > 7 {
			return false
		}
		if d.Flags&queue.FlagIndirect != 0 {
			if !r.cfg.Indirect || inTable || d.Flags&queue.FlagNext != 0 || d.Len == 0 || d.Len%16 != 0 || d.Len/16 > 32768 {
				return false
			}
			if _, err := r.m.Bytes(d.Addr, uint64(d.Len)); err != nil {
				return false
			}
			return follow(d.Addr, uint64(d.Len/16), 0, depth, true)
		}
		if _, err := r.m.Bytes(d.Addr, uint64(d.Len)); err != nil || d.Len == 0 {
			return false
		}
		if total += uint64(d.Len); total > 1<<32-1 {
			return false
		}
		s := queue.Segment{Addr: d.Addr, Len: d.Len}
		switch {
		case d.Flags&queue.FlagWrite != 0:
			c.write = append(c.write, s)
		case len(c.write) > 0:
			return false
		default:
			c.read = append(c.read, s)
		}
		if d.Flags&queue.FlagNext == 0 {
			return true
		}
		return follow(table, entries, uint64(d.Next), depth+1, inTable)
	}
	if !follow(r.cfg.Desc, uint64(r.cfg.Size), uint64(head), 1, false) {
		return nil, true
	}
	r.next++
	r.flying[head] = true
	return c, false
}

// input deals bytes to the generator; when it runs out, zeroes.
type input []byte

func (in *input) byte() byte {
	if len(*in) == 0 {
		return 0
	}
	b := (*in)[0]
	*in = (*in)[1:]
	return b
}

// rarely is true for one byte value in 32.
func (in *input) rarely() bool { return in.byte() >= 0xf8 }

func (in *input) u64() (v uint64) {
	for range 8 {
		v = v<<8 | uint64(in.byte())
	}
	return v
}

// desc is mostly valid: each field is wild only rarely.
func (in *input) desc(h virtiotest.DescHandle, i, n int, tables uint64) {
	addr, length := uint64(ram)+uint64(in.byte())<<4, uint32(in.byte())+1
	flags, nxt := uint16(in.byte()&3), uint16(i+1)
	if in.byte() < 0x40 {
		flags, addr, length = queue.FlagIndirect, tables, 16*uint32(in.byte()%8)
	}
	if in.rarely() {
		addr = in.u64()
	}
	if in.rarely() {
		addr = hole - uint64(in.byte())
	}
	if in.rarely() {
		length = uint32(in.u64())
	}
	if in.rarely() {
		flags = uint16(in.u64())
	}
	if in.byte() < 0x60 {
		nxt = uint16(in.byte()) % uint16(n+1)
	}
	h.Set(addr, length, flags, nxt)
}

func FuzzDeviceAgainstReference(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x03\x01\x00\x10\x20\x30\x40\x50\x60\x70"))
	for seed := range byte(8) {
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(i*i*7) ^ byte(i>>3)*seed
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := input(data)
		size := uint16(1) << (in.byte() % 5)
		m := virtiotest.NewMemory()
		r := virtiotest.NewRing(t, m, size)
		cfg := r.Config()
		cfg.Indirect, cfg.EventIdx = in.byte()&1 != 0, in.byte()&1 != 0
		dev, err := queue.NewDevice(m, cfg, 256)
		if err != nil {
			t.Fatal(err)
		}
		ref := &reference{m: m, cfg: cfg, flying: map[uint16]bool{}}
		tables := virtiotest.Table(m, ram+0x8000, 16)
		var flying []*queue.Chain
		for step := 0; len(in) > 0 && step < 400; step++ {
			switch op := in.byte(); op % 8 {
			case 0, 1:
				i := int(in.byte()) % int(size)
				in.desc(r.Table[i], i, int(size), ram+0x8000)
			case 2:
				i := int(in.byte()) % len(tables)
				in.desc(tables[i], i, len(tables), ram+0x8000)
			case 3:
				head := uint16(in.byte()) % size
				if in.rarely() {
					head = uint16(in.u64())
				}
				r.Offer(head)
			case 4:
				if in.rarely() {
					r.AvailIdx.Set(uint16(in.u64()))
				}
			case 5, 6:
				want, broken := ref.take()
				c := new(queue.Chain)
				ok, err := dev.Next(c)
				if broken != (err != nil) || ok != (want != nil) {
					t.Fatalf("step %d: Next says %v, %v; reference says %+v, broken %v", step, ok, err, want, broken)
				}
				if err != nil {
					return // final
				}
				if !ok {
					break
				}
				if c.Head() != want.head || !same(c.Readable(), want.read) || !same(c.Writable(), want.write) {
					t.Fatalf("step %d: chain %d %v %v, want %+v", step, c.Head(), c.Readable(), c.Writable(), want)
				}
				flying = append(flying, c)
			case 7:
				if len(flying) == 0 {
					break
				}
				i := int(in.byte()) % len(flying)
				c := flying[i]
				flying = append(flying[:i], flying[i+1:]...)
				if err := dev.Complete(c, uint32(in.byte())); err != nil {
					t.Fatal(err)
				}
				delete(ref.flying, c.Head())
				ref.used++
				if got := r.UsedIdx.Get(); got != ref.used {
					t.Fatalf("used.idx %d, want %d", got, ref.used)
				}
				if _, err := dev.NeedInterrupt(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func same(a, b []queue.Segment) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
