package queue_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"ringo/virtio/queue"
	"ringo/virtio/virtiotest"
)

const (
	next     = queue.FlagNext
	write    = queue.FlagWrite
	indirect = queue.FlagIndirect
	ram      = 0x1000 // GPA that tests use for data: 60 KiB of it
	hole     = virtiotest.HoleBase
	end      = virtiotest.End
)

func newDevice(t testing.TB, m *virtiotest.Memory, r *virtiotest.Ring, edit func(*queue.Config)) *queue.Device {
	t.Helper()
	cfg := r.Config()
	if edit != nil {
		edit(&cfg)
	}
	d, err := queue.NewDevice(m, cfg, 256)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNewDeviceChecksTheRingsOnce(t *testing.T) {
	type cfg = queue.Config
	const size = 16
	table, avail, used := queue.TableBytes(size), queue.AvailBytes(size), queue.UsedBytes(size)
	for name, row := range map[string]struct {
		edit func(*cfg)
		ok   bool
	}{
		"as laid out":                        {func(*cfg) {}, true},
		"size 0":                             {func(c *cfg) { c.Size = 0 }, false},
		"size 1":                             {func(c *cfg) { c.Size = 1 }, true},
		"size 3":                             {func(c *cfg) { c.Size = 3 }, false},
		"size above the maximum":             {func(c *cfg) { c.Size = 512 }, false},
		"size 65535":                         {func(c *cfg) { c.Size = 65535 }, false},
		"table not aligned to 16":            {func(c *cfg) { c.Desc += 8 }, false},
		"avail not aligned to 2":             {func(c *cfg) { c.Avail++ }, false},
		"used not aligned to 4":              {func(c *cfg) { c.Used += 2 }, false},
		"table at 0":                         {func(c *cfg) { c.Desc = 0 }, true},
		"table ends at the end of a slot":    {func(c *cfg) { c.Desc = hole - table }, true},
		"table one past the end":             {func(c *cfg) { c.Desc = hole - table + 16 }, false},
		"avail ends at the end of RAM":       {func(c *cfg) { c.Avail = end - avail }, true},
		"avail one past the end":             {func(c *cfg) { c.Avail = end - avail + 2 }, false},
		"used ends at the end of RAM":        {func(c *cfg) { c.Used = (end - used) &^ 3 }, true},
		"used one past the end":              {func(c *cfg) { c.Used = (end-used)&^3 + 4 }, false},
		"table in the hole":                  {func(c *cfg) { c.Desc = hole + 0x1000 }, false},
		"avail in the hole":                  {func(c *cfg) { c.Avail = hole }, false},
		"used across the end of a slot":      {func(c *cfg) { c.Used = hole - 8 }, false},
		"table at the last byte of RAM":      {func(c *cfg) { c.Desc = (end - 1) &^ 15 }, false},
		"table wraps around":                 {func(c *cfg) { c.Desc = ^uint64(0) &^ 15 }, false},
		"used wraps around":                  {func(c *cfg) { c.Used = ^uint64(0) &^ 3 }, false},
		"rings on top of each other survive": {func(c *cfg) { c.Avail, c.Used = c.Desc, c.Desc }, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := virtiotest.NewMemory()
			c := virtiotest.NewRing(t, m, size).Config()
			row.edit(&c)
			d, err := queue.NewDevice(m, c, 256)
			if row.ok != (err == nil) {
				t.Fatalf("error %v, want success: %v", err, row.ok)
			}
			if err != nil && !errors.Is(err, queue.ErrBroken) {
				t.Fatalf("%v does not wrap ErrBroken", err)
			}
			if err == nil {
				var chain queue.Chain
				_, _ = d.Next(&chain) // whatever lies there must not crash
			}
		})
	}
}

// chains offered by a driver that lies, and what must come of them.
func TestNextJudgesEveryChain(t *testing.T) {
	const size = 8
	table := func(m *virtiotest.Memory, n int) []virtiotest.DescHandle { return virtiotest.Table(m, ram+0x2000, n) }
	const at = ram + 0x2000
	for name, row := range map[string]struct {
		set        func(r *virtiotest.Ring, m *virtiotest.Memory)
		noIndirect bool
		ok         bool
		read, wrte uint32
	}{
		"one readable":                 {set: func(r *virtiotest.Ring, m *virtiotest.Memory) { r.Table[0].Set(ram, 5, 0, 99); r.Offer(0) }, ok: true, read: 5},
		"readable then writable":       {set: chain([]d{{ram, 5, next, 3}, {}, {}, {ram, 7, write, 0}}), ok: true, read: 5, wrte: 7},
		"as long as the queue":         {set: chain([]d{{ram, 1, next, 1}, {ram, 1, next, 2}, {ram, 1, next, 3}, {ram, 1, next, 4}, {ram, 1, next, 5}, {ram, 1, next, 6}, {ram, 1, next, 7}, {ram, 1, 0, 0}}), ok: true, read: 8},
		"buffer ends at the slot's":    {set: chain([]d{{hole - 4, 4, 0, 0}}), ok: true, read: 4},
		"buffer ends at RAM's":         {set: chain([]d{{end - 4, 4, 0, 0}}), ok: true, read: 4},
		"address 0":                    {set: chain([]d{{0, 4, 0, 0}}), ok: true, read: 4},
		"head of descriptors past end": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) { r.Offer(size) }},
		"head 65535":                   {set: func(r *virtiotest.Ring, m *virtiotest.Memory) { r.Offer(65535) }},
		"next past the table":          {set: chain([]d{{ram, 5, next, size}})},
		"next 65535":                   {set: chain([]d{{ram, 5, next, 65535}})},
		"loop of one":                  {set: chain([]d{{ram, 5, next, 0}})},
		"loop of two":                  {set: chain([]d{{ram, 5, next, 1}, {ram, 5, next, 0}})},
		"writable before readable":     {set: chain([]d{{ram, 5, write | next, 1}, {ram, 5, 0, 0}})},
		"length 0":                     {set: chain([]d{{ram, 0, 0, 0}})},
		"all zero":                     {set: chain([]d{{}})},
		"length 4 GiB - 1":             {set: chain([]d{{ram, 0xffffffff, 0, 0}})},
		"address wraps":                {set: chain([]d{{^uint64(0) - 1, 4, 0, 0}})},
		"address in the hole":          {set: chain([]d{{hole, 4, 0, 0}})},
		"buffer into the hole":         {set: chain([]d{{hole - 2, 4, 0, 0}})},
		"buffer across the hole":       {set: chain([]d{{hole - 2, virtiotest.HighBase - hole + 4, 0, 0}})},
		"buffer past the end":          {set: chain([]d{{end - 2, 4, 0, 0}})},
		"unknown flags":                {set: chain([]d{{ram, 4, 8, 0}})},
		"all flags":                    {set: chain([]d{{ram, 4, 0xffff, 0}})},

		"indirect": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			tb := table(m, 3)
			tb[0].Set(ram, 5, next, 2)
			tb[2].Set(ram, 6, write, 0)
			r.Table[4].Set(at, 48, indirect, 0)
			r.Offer(4)
		}, ok: true, read: 5, wrte: 6},
		"indirect behind a direct one": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, write, 0)
			r.Table[0].Set(ram, 3, next, 1)
			r.Table[1].Set(at, 16, indirect, 0)
			r.Offer(0)
		}, ok: true, read: 3, wrte: 6},
		"indirect table marked writable is a table": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, 0, 0)
			r.Table[0].Set(at, 16, indirect|write, 0)
			r.Offer(0)
		}, ok: true, read: 6},
		"indirect, not negotiated": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, 0, 0)
			r.Table[0].Set(at, 16, indirect, 0)
			r.Offer(0)
		}, noIndirect: true},
		"indirect in indirect": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(at, 16, indirect, 0)
			r.Table[0].Set(at, 16, indirect, 0)
			r.Offer(0)
		}},
		"indirect and next": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, 0, 0)
			r.Table[0].Set(at, 16, indirect|next, 1)
			r.Table[1].Set(ram, 1, 0, 0)
			r.Offer(0)
		}},
		"indirect table of 0 bytes":         {set: chain([]d{{at, 0, indirect, 0}})},
		"indirect table of 17 bytes":        {set: chain([]d{{at, 17, indirect, 0}})},
		"indirect table too large":          {set: chain([]d{{0, 16 * 32769, indirect, 0}})},
		"indirect table in the hole":        {set: chain([]d{{hole, 16, indirect, 0}})},
		"indirect table past RAM":           {set: chain([]d{{end - 16, 32, indirect, 0}})},
		"indirect table is the queue's own": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) { chain([]d{{r.Desc, 16 * size, indirect, 0}})(r, m) }},
		"loop inside the table": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, next, 0)
			r.Table[0].Set(at, 16, indirect, 0)
			r.Offer(0)
		}},
		"next past the indirect table": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			table(m, 1)[0].Set(ram, 6, next, 1)
			r.Table[0].Set(at, 16, indirect, 0)
			r.Offer(0)
		}},
		"huge table pointing everywhere": {set: func(r *virtiotest.Ring, m *virtiotest.Memory) {
			for i, h := range table(m, 1000) {
				h.Set(0, 1<<19, next, uint16(i+1))
			}
			r.Table[0].Set(at, 16000, indirect, 0)
			r.Offer(0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := virtiotest.NewMemory()
			r := virtiotest.NewRing(t, m, size)
			row.set(r, m)
			dev := newDevice(t, m, r, func(c *queue.Config) { c.Indirect = !row.noIndirect })
			reads := map[uint64]int{}
			m.OnRead(func(gpa uint64, n int) { reads[gpa]++ })
			var c queue.Chain
			ok, err := dev.Next(&c)
			for gpa, n := range reads {
				if n > 1 && row.ok {
					t.Errorf("%#x was read %d times: it may have changed in between", gpa, n)
				}
			}
			if !row.ok {
				if !errors.Is(err, queue.ErrBroken) {
					t.Fatalf("ok %v, err %v; want ErrBroken", ok, err)
				}
				if _, again := dev.Next(&c); !errors.Is(again, queue.ErrBroken) {
					t.Errorf("the failure is not final: %v", again)
				}
				if _, e := dev.EnableNotify(); e == nil {
					t.Error("a broken queue asks for notifications")
				}
				return
			}
			if err != nil || !ok {
				t.Fatalf("ok %v, err %v", ok, err)
			}
			if c.ReadableLen() != row.read || c.WritableLen() != row.wrte {
				t.Errorf("%d readable, %d writable bytes; want %d, %d", c.ReadableLen(), c.WritableLen(), row.read, row.wrte)
			}
			if err := dev.Complete(&c, row.wrte); err != nil {
				t.Fatal(err)
			}
			if r.UsedIdx.Get() != 1 || r.UsedRing[0].ID.Get() != uint32(c.Head()) || r.UsedRing[0].Len.Get() != row.wrte {
				t.Errorf("used: idx %d, id %d, len %d", r.UsedIdx.Get(), r.UsedRing[0].ID.Get(), r.UsedRing[0].Len.Get())
			}
		})
	}
}

func TestAChainOf4GiBIsRefused(t *testing.T) {
	const n, each = 2049, 2 << 20 // 4 GiB and 2 MiB
	for _, segments := range []int{2047, n} {
		m := virtiotest.NewMemory()
		r := virtiotest.NewRing(t, m, 4096)
		for i := range segments {
			r.Table[i].Set(0, each, next, uint16(i+1))
		}
		r.Table[segments-1].Set(0, each, 0, 0)
		r.Offer(0)
		dev, err := queue.NewDevice(m, r.Config(), 4096)
		if err != nil {
			t.Fatal(err)
		}
		var c queue.Chain
		if _, err := dev.Next(&c); (err == nil) != (segments < 2048) {
			t.Errorf("%d segments of 2 MiB: %v", segments, err)
		}
	}
}

type d struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

func chain(descs []d) func(*virtiotest.Ring, *virtiotest.Memory) {
	return func(r *virtiotest.Ring, _ *virtiotest.Memory) {
		for i, d := range descs {
			r.Table[i].Set(d.addr, d.len, d.flags, d.next)
		}
		r.Offer(0)
	}
}

func TestTheAvailableIndex(t *testing.T) {
	const size = 8
	for name, row := range map[string]struct {
		idx   uint16
		taken int
		ok    bool
	}{
		"nothing new":        {0, 0, true},
		"a full queue":       {size, size, true},
		"one too many":       {size + 1, 0, false},
		"goes backwards":     {65535, 0, false},
		"jumps to the other": {32768, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := virtiotest.NewMemory()
			r := virtiotest.NewRing(t, m, size)
			for i := range uint16(size) {
				r.Table[i].Set(ram, 1, 0, 0)
				r.AvailRing[i].Set(i)
			}
			r.AvailIdx.Set(row.idx)
			dev := newDevice(t, m, r, nil)
			n := 0
			var err error
			for ok := true; ok && err == nil; {
				var c queue.Chain
				if ok, err = dev.Next(&c); ok {
					n++
				}
			}
			if n != row.taken || row.ok != (err == nil) {
				t.Fatalf("took %d chains, %v", n, err)
			}
		})
	}
}

func TestTheSameHeadTwiceIsRefusedWhileInFlight(t *testing.T) {
	m := virtiotest.NewMemory()
	r := virtiotest.NewRing(t, m, 8)
	r.Table[3].Set(ram, 1, 0, 0)
	r.Offer(3)
	dev := newDevice(t, m, r, nil)
	var a, b queue.Chain
	if ok, err := dev.Next(&a); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := dev.Complete(&a, 0); err != nil {
		t.Fatal(err)
	}
	r.Offer(3, 3) // once is fine: it was used
	if ok, err := dev.Next(&a); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := dev.Next(&b); !errors.Is(err, queue.ErrBroken) {
		t.Fatalf("got %v, want ErrBroken", err)
	}
}

func TestIndicesWrapAround(t *testing.T) {
	m := virtiotest.NewMemory()
	r := virtiotest.NewRing(t, m, 4)
	dev := newDevice(t, m, r, func(c *queue.Config) { c.EventIdx = true })
	for i := range 3 * 65536 / 3 {
		for h := range uint16(3) {
			r.Table[h].Set(ram, 1, 0, 0)
		}
		r.Offer(0, 1, 2)
		for range 3 {
			var c queue.Chain
			if ok, err := dev.Next(&c); !ok || err != nil {
				t.Fatalf("turn %d: %v, %v", i, ok, err)
			}
			if err := dev.Complete(&c, 0); err != nil {
				t.Fatal(err)
			}
		}
		if waiting, err := dev.EnableNotify(); waiting || err != nil {
			t.Fatal(waiting, err)
		}
		if r.AvailEvent.Get() != r.AvailIdx.Get() {
			t.Fatalf("avail_event %d, avail.idx %d", r.AvailEvent.Get(), r.AvailIdx.Get())
		}
	}
}

func TestInterruptsAreAskedFor(t *testing.T) {
	for name, row := range map[string]struct {
		eventIdx  bool
		flags     uint16
		usedEvent uint16
		batches   []int  // completions between questions
		want      []bool // answers
	}{
		"no completion, no interrupt":    {batches: []int{0, 1, 0}, want: []bool{false, true, false}},
		"flag suppresses":                {flags: queue.AvailNoInterrupt, batches: []int{1, 2}, want: []bool{false, false}},
		"event index at the first":       {eventIdx: true, usedEvent: 0, batches: []int{1, 1, 2}, want: []bool{true, false, false}},
		"event index later":              {eventIdx: true, usedEvent: 3, batches: []int{1, 1, 2, 1}, want: []bool{false, false, true, false}},
		"event index passed in a batch":  {eventIdx: true, usedEvent: 2, batches: []int{4, 1}, want: []bool{true, false}},
		"arbitrary event index is quiet": {eventIdx: true, usedEvent: 40000, batches: []int{1, 2, 4}, want: []bool{false, false, false}},
		"flags are ignored with indices": {eventIdx: true, flags: queue.AvailNoInterrupt, batches: []int{1}, want: []bool{true}},
	} {
		t.Run(name, func(t *testing.T) {
			m := virtiotest.NewMemory()
			r := virtiotest.NewRing(t, m, 8)
			r.AvailFlags.Set(row.flags)
			r.UsedEvent.Set(row.usedEvent)
			dev := newDevice(t, m, r, func(c *queue.Config) { c.EventIdx = row.eventIdx })
			for i, n := range row.batches {
				for h := range uint16(n) {
					r.Table[h].Set(ram, 1, 0, 0)
					r.Offer(h)
					var c queue.Chain
					if ok, err := dev.Next(&c); !ok || err != nil {
						t.Fatal(ok, err)
					}
					if err := dev.Complete(&c, 0); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := dev.NeedInterrupt(); got != row.want[i] || err != nil {
					t.Errorf("batch %d: interrupt %v, %v; want %v", i, got, err, row.want[i])
				}
			}
		})
	}
}

func TestChainsReadAndWriteAcrossSegments(t *testing.T) {
	m := virtiotest.NewMemory()
	r := virtiotest.NewRing(t, m, 8)
	in, _ := m.Bytes(ram, 16)
	copy(in, "abcdefghij")
	chain([]d{{ram, 3, next, 1}, {ram + 3, 4, next, 2}, {ram + 0x100, 2, next | write, 3}, {ram + 0x200, 3, write, 0}})(r, m)
	dev := newDevice(t, m, r, nil)
	var c queue.Chain
	if ok, err := dev.Next(&c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	got, err := io.ReadAll(&c)
	if err != nil || string(got) != "abcdefg" {
		t.Fatalf("%q, %v", got, err)
	}
	if n, err := c.Write([]byte("12345678")); n != 5 || err != io.ErrShortWrite {
		t.Fatalf("%d, %v", n, err)
	}
	a, _ := m.Bytes(ram+0x100, 3)
	b, _ := m.Bytes(ram+0x200, 4)
	if !bytes.Equal(a, []byte("12\x00")) || !bytes.Equal(b, []byte("345\x00")) {
		t.Fatalf("wrote %q and %q", a, b)
	}
}

// A descriptor that changes while the device looks must not matter: it was copied once.
func TestTheDriverCannotChangeAChainThatWasJudged(t *testing.T) {
	m := virtiotest.NewMemory()
	r := virtiotest.NewRing(t, m, 8)
	chain([]d{{ram, 4, next, 1}, {ram, 4, write, 0}})(r, m)
	dev := newDevice(t, m, r, nil)
	var c queue.Chain
	if ok, err := dev.Next(&c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r.Table[0].Set(hole, 0xffffffff, write, 0)
	r.Table[1].Set(hole, 0xffffffff, 0, 0)
	buf := make([]byte, 100)
	if n, err := c.Read(buf); n != 4 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	if n, err := c.Write(buf); n != 4 || err != io.ErrShortWrite {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if err := dev.Complete(&c, 4); err != nil {
		t.Fatal(err)
	}
	if err := dev.Complete(&c, 4); err == nil {
		t.Fatal("a chain can be completed twice")
	}
}

func TestSourcesNameDeviceQueueAndHead(t *testing.T) {
	for want, s := range map[string]queue.Source{
		"loader":                           queue.NoQueue("loader"),
		"virtio-blk, queue 0":              {Device: "virtio-blk", Head: -1},
		"virtio-console, queue 3, head 12": {Device: "virtio-console", Queue: 3, Head: 12},
	} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}
