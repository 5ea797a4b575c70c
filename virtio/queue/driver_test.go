package queue_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"ringo/virtio/queue"
	"ringo/virtio/virtiotest"
)

// pair is a driver and a device on the same rings.
func pair(t *testing.T, size uint16, eventIdx bool) (*queue.Driver, *queue.Device, *virtiotest.Ring) {
	t.Helper()
	m := virtiotest.NewMemory()
	mem, gpa, err := m.Alloc(queue.RegionBytes(size))
	if err != nil {
		t.Fatal(err)
	}
	drv, err := queue.NewDriver(mem, gpa, size, eventIdx)
	if err != nil {
		t.Fatal(err)
	}
	ring := virtiotest.RingAt(m, size, drv.DescAddr(), drv.AvailAddr(), drv.UsedAddr())
	cfg := ring.Config()
	cfg.EventIdx = eventIdx
	dev, err := queue.NewDevice(m, cfg, 256)
	if err != nil {
		t.Fatal(err)
	}
	return drv, dev, ring
}

func TestNewDriverRefuses(t *testing.T) {
	mem, gpa, _ := virtiotest.NewMemory().Alloc(1 << 16)
	for name, row := range map[string]struct {
		mem  []byte
		gpa  uint64
		size uint16
	}{
		"size 0":               {mem, gpa, 0},
		"size 1":               {mem, gpa, 1},
		"size 12":              {mem, gpa, 12},
		"region too small":     {mem[:queue.RegionBytes(64)-1], gpa, 64},
		"GPA not aligned":      {mem, gpa + 8, 64},
		"region not aligned":   {mem[8:], gpa, 64},
		"largest size, 64 KiB": {mem, gpa, 32768},
	} {
		if _, err := queue.NewDriver(row.mem, row.gpa, row.size, true); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDriverAndDeviceAgreeThroughManyWraps(t *testing.T) {
	for _, eventIdx := range []bool{false, true} {
		drv, dev, _ := pair(t, 8, eventIdx)
		seq, got := uint32(0), uint32(0)
		lengths := map[uint16]uint32{} // by head
		for turn := range 100_000 {
			for range turn%3 + 1 {
				n := int(seq%3) + 1
				bufs := make([]queue.Buffer, n)
				for i := range bufs {
					bufs[i] = queue.Buffer{Addr: ram, Len: seq%1000 + 1, Writable: i > 0}
				}
				head, err := drv.Add(bufs...)
				if errors.Is(err, queue.ErrFull) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				lengths[head] = seq%1000 + 1
				seq++
			}
			drv.Publish()
			var c queue.Chain
			for {
				ok, err := dev.Next(&c)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if c.ReadableLen() != lengths[c.Head()] {
					t.Fatalf("turn %d: chain %d has %d bytes, want %d", turn, c.Head(), c.ReadableLen(), lengths[c.Head()])
				}
				if err := dev.Complete(&c, c.WritableLen()); err != nil {
					t.Fatal(err)
				}
			}
			for {
				_, _, ok, err := drv.Used()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				got++
			}
		}
		if got != seq || drv.Free() != 8 {
			t.Fatalf("%d chains offered, %d came back, %d descriptors free of 8", seq, got, drv.Free())
		}
	}
}

func TestAddRefuses(t *testing.T) {
	drv, _, _ := pair(t, 4, true)
	for name, bufs := range map[string][]queue.Buffer{
		"nothing":                  {},
		"no bytes":                 {{Addr: ram}},
		"readable behind writable": {{Addr: ram, Len: 1, Writable: true}, {Addr: ram, Len: 1}},
		"more than there is":       make([]queue.Buffer, 5),
	} {
		if _, err := drv.Add(bufs...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if drv.Free() != 4 {
		t.Errorf("%d descriptors free after refusals, want 4", drv.Free())
	}
}

// A device that lies is found out.
func TestUsedRefuses(t *testing.T) {
	for name, row := range map[string]struct{ id, length, idx uint32 }{
		"index too far":             {0, 0, 5},
		"index back":                {0, 0, 65535},
		"chain out of range":        {4, 0, 1},
		"chain 4294967295":          {0xffffffff, 0, 1},
		"chain not in flight":       {2, 0, 1},
		"second descriptor":         {1, 0, 1},
		"more written than offered": {0, 11, 1},
	} {
		t.Run(name, func(t *testing.T) {
			drv, _, ring := pair(t, 4, true)
			if _, err := drv.Add(queue.Buffer{Addr: ram, Len: 5}, queue.Buffer{Addr: ram, Len: 10, Writable: true}); err != nil {
				t.Fatal(err)
			}
			drv.Publish()
			ring.UsedRing[0].Set(row.id, row.length)
			ring.UsedIdx.Set(uint16(row.idx))
			if _, _, ok, err := drv.Used(); ok || !errors.Is(err, queue.ErrDevice) {
				t.Fatalf("ok %v, %v; want ErrDevice", ok, err)
			}
		})
	}
}

func TestNotificationsAndInterruptsAreSuppressed(t *testing.T) {
	for _, eventIdx := range []bool{false, true} {
		drv, dev, _ := pair(t, 8, eventIdx)
		add := func() bool {
			if _, err := drv.Add(queue.Buffer{Addr: ram, Len: 1}); err != nil {
				t.Fatal(err)
			}
			return drv.Publish()
		}
		serve := func() (interrupt bool) {
			var c queue.Chain
			for {
				if ok, err := dev.Next(&c); err != nil {
					t.Fatal(err)
				} else if !ok {
					break
				}
				if err := dev.Complete(&c, 0); err != nil {
					t.Fatal(err)
				}
			}
			need, err := dev.NeedInterrupt()
			if err != nil {
				t.Fatal(err)
			}
			return need
		}
		collect := func() {
			for {
				if _, _, ok, err := drv.Used(); err != nil {
					t.Fatal(err)
				} else if !ok {
					return
				}
			}
		}
		if _, err := dev.EnableNotify(); err != nil {
			t.Fatal(err)
		}
		if !add() {
			t.Errorf("eventIdx %v: the device sleeps and is not notified", eventIdx)
		}
		if err := dev.DisableNotify(); err != nil {
			t.Fatal(err)
		}
		if add() {
			t.Errorf("eventIdx %v: notified though it is looking", eventIdx)
		}
		drv.DisableInterrupts()
		if serve() {
			t.Errorf("eventIdx %v: interrupt though the driver is looking", eventIdx)
		}
		if !drv.EnableInterrupts() {
			t.Errorf("eventIdx %v: used chains are waiting, and the driver is not told", eventIdx)
		}
		collect()
		if drv.EnableInterrupts() {
			t.Errorf("eventIdx %v: nothing waits", eventIdx)
		}
		add()
		if !serve() {
			t.Errorf("eventIdx %v: the driver sleeps and gets no interrupt", eventIdx)
		}
	}
}

func TestNeedEvent(t *testing.T) {
	for _, row := range []struct {
		event, new, old uint16
		want            bool
	}{
		{0, 1, 0, true}, {1, 1, 0, false}, {0, 0, 0, false}, {5, 6, 5, true}, {5, 9, 2, true}, {9, 9, 2, false},
		{65535, 0, 65535, true}, {65535, 1, 65534, true}, {0, 1, 65535, true}, {40000, 3, 1, false},
	} {
		if got := queue.NeedEvent(row.event, row.new, row.old); got != row.want {
			t.Errorf("event %d, %d to %d: %v", row.event, row.old, row.new, got)
		}
	}
}

func TestDescriptorsAreLittleEndian(t *testing.T) {
	var b [queue.DescSize]byte
	d := queue.Desc{Addr: 0x1122334455667788, Len: 0x99aabbcc, Flags: 0x0102, Next: 0x0304}
	d.Put(b[:])
	if binary.LittleEndian.Uint64(b[:]) != d.Addr || b[8] != 0xcc || b[12] != 0x02 || b[15] != 0x03 || queue.ParseDesc(b[:]) != d {
		t.Errorf("% x", b)
	}
}
