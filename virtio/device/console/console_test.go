package console_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	spec "ringo/virtio/console"
	device "ringo/virtio/device/console"
	"ringo/virtio/mmio"
	"ringo/virtio/queue"
	"ringo/virtio/virtiotest"
)

// machine is a console whose queues the test plays by hand.
type machine struct {
	testing.TB
	mem   *virtiotest.Memory
	dev   *device.Console
	tr    *mmio.Transport
	guest *mmio.Guest
	irq   *virtiotest.Line
	rings []*virtiotest.Ring
	seen  []uint16 // by queue: used.idx that wait has returned
}

const data = 0x1000 // GPA of scratch memory

func newMachine(t testing.TB) *machine {
	t.Helper()
	hang := time.AfterFunc(20*time.Second, func() { panic("test hangs: " + t.Name()) })
	m := &machine{TB: t, mem: virtiotest.NewMemory(), irq: virtiotest.NewLine()}
	var err error
	if m.dev, err = device.New("first", "second"); err != nil {
		t.Fatal(err)
	}
	m.tr = mmio.NewTransport(m.dev, m.mem, m.irq)
	if m.guest, err = mmio.Probe(&virtiotest.Window{T: m.tr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.tr.Close()
		m.dev.Close()
		hang.Stop()
		buf := make([]byte, 1<<20)
		if s := string(buf[:runtime.Stack(buf, true)]); strings.Contains(s, "console.(*worker)") {
			t.Errorf("a worker outlives the device:\n%s", s)
		}
	})
	return m
}

// up starts the device with every queue.
func (m *machine) up(features uint64) {
	m.Helper()
	if _, err := m.guest.Negotiate(0, queue.FeatureVersion1|features); err != nil {
		m.Fatal(err)
	}
	m.rings = nil
	for i := range spec.NumQueues(2) {
		r := virtiotest.NewRing(m, m.mem, 8)
		m.rings = append(m.rings, r)
		m.guest.SetQueue(i, r.Size, r.Desc, r.Avail, r.Used)
	}
	m.seen = make([]uint16, len(m.rings))
	if err := m.guest.DriverOK(); err != nil {
		m.Fatal(err)
	}
}

// offer puts one descriptor into queue q and notifies.
func (m *machine) offer(q int, head uint16, addr uint64, n uint32, flags uint16) {
	m.rings[q].Table[head].Set(addr, n, flags, 0)
	m.rings[q].Offer(head)
	m.guest.Notify(q)
}

// wait waits for the next used entry of queue q and answers its length.
func (m *machine) wait(q int) uint32 {
	m.Helper()
	for m.rings[q].UsedIdx.Get() == m.seen[q] {
		<-m.irq.C()
	}
	e := m.rings[q].UsedRing[m.seen[q]%m.rings[q].Size]
	m.seen[q]++
	return e.Len.Get()
}

func (m *machine) send(q int, b []byte) {
	mem, err := m.mem.Bytes(data, uint64(len(b)))
	if err != nil {
		m.Fatal(err)
	}
	copy(mem, b)
	m.offer(q, 0, data, uint32(len(b)), 0)
	m.wait(q)
}

func (m *machine) control(c spec.Control) { m.send(spec.QueueControlTx, c.Append(nil)) }

// broken waits until the device has given up.
func (m *machine) broken() {
	m.Helper()
	for !m.guest.NeedsReset() {
		<-m.irq.C()
	}
	if !errors.Is(m.tr.Err(), queue.ErrBroken) {
		m.Errorf("gave up with %v, want ErrBroken", m.tr.Err())
	}
}

func TestPortsAnnounceThemselves(t *testing.T) {
	m := newMachine(t)
	m.up(spec.FeatureMultiport)
	m.control(spec.Control{Event: spec.EventDeviceReady, Value: 1})
	m.control(spec.Control{Port: 0, Event: spec.EventPortReady, Value: 1})
	m.control(spec.Control{Port: 1, Event: spec.EventPortReady, Value: 1})
	want := []spec.Control{
		{Port: 0, Event: spec.EventPortAdd}, {Port: 1, Event: spec.EventPortAdd},
		{Port: 0, Event: spec.EventConsolePort, Value: 1},
		{Port: 0, Event: spec.EventPortName, Name: "first"}, {Port: 0, Event: spec.EventPortOpen, Value: 1},
		{Port: 1, Event: spec.EventPortName, Name: "second"}, {Port: 1, Event: spec.EventPortOpen, Value: 1},
	}
	for i, w := range want {
		m.offer(spec.QueueControlRx, uint16(i%8), data+0x800, 100, queue.FlagWrite)
		n := m.wait(spec.QueueControlRx)
		b, _ := m.mem.Bytes(data+0x800, uint64(n))
		if got, err := spec.ParseControl(b); err != nil || got != w {
			t.Errorf("message %d is %+v, %v; want %+v", i, got, err, w)
		}
	}
}

func TestBytesWaitUntilTheGuestOpensThePort(t *testing.T) {
	m := newMachine(t)
	m.up(spec.FeatureMultiport)
	rx := spec.RxQueue(1)
	m.offer(rx, 0, data+0x800, 100, queue.FlagWrite)
	if _, err := m.dev.Port(1).Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	m.control(spec.Control{Port: 0, Event: spec.EventPortOpen, Value: 1}) // another one
	if m.rings[rx].UsedIdx.Get() != 0 {
		t.Fatal("delivered to a closed port")
	}
	m.control(spec.Control{Port: 1, Event: spec.EventPortOpen, Value: 1})
	if n := m.wait(rx); n != 5 {
		t.Fatalf("%d bytes, want 5", n)
	}
}

func TestWithoutMultiportOnlyTheFirstPortExists(t *testing.T) {
	m := newMachine(t)
	m.up(0)
	m.send(spec.TxQueue(0), []byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(m.dev.Port(0), b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	m.offer(spec.RxQueue(0), 0, data+0x800, 100, queue.FlagWrite)
	if _, err := m.dev.Port(0).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	m.wait(spec.RxQueue(0))
}

// Whatever the guest says on the control queue, the device goes on.
func TestControlMessagesThatMakeNoSense(t *testing.T) {
	m := newMachine(t)
	m.up(spec.FeatureMultiport)
	for name, msg := range map[string][]byte{
		"1 byte":             {1},
		"7 bytes":            make([]byte, 7),
		"much too long":      bytes.Repeat([]byte{0xff}, 4096),
		"port out of range":  spec.Control{Port: 2, Event: spec.EventPortReady, Value: 1}.Append(nil),
		"port 4294967295":    spec.Control{Port: 0xffffffff, Event: spec.EventPortOpen, Value: 1}.Append(nil),
		"unknown event":      spec.Control{Event: 0xffff}.Append(nil),
		"the device's event": spec.Control{Event: spec.EventPortName, Name: "x"}.Append(nil),
		"driver failed":      spec.Control{Event: spec.EventDeviceReady, Value: 0}.Append(nil),
		"port failed":        spec.Control{Event: spec.EventPortReady, Value: 0}.Append(nil),
	} {
		m.send(spec.QueueControlTx, msg)
		if m.guest.NeedsReset() {
			t.Fatalf("%s: the device gave up: %v", name, m.tr.Err())
		}
	}
	// The control queue that points its own way round: nothing readable in the chain.
	m.offer(spec.QueueControlTx, 0, data, 8, queue.FlagWrite)
	if n := m.wait(spec.QueueControlTx); n != 0 {
		t.Errorf("%d bytes written to a transmit buffer", n)
	}
	m.send(spec.TxQueue(1), []byte("alive"))
}

// A guest that asks and never listens must not make the monitor grow.
func TestAGuestThatNeverTakesMessagesIsNotHeardForEver(t *testing.T) {
	m := newMachine(t)
	m.up(spec.FeatureMultiport)
	b, _ := m.mem.Bytes(data, 8)
	copy(b, spec.Control{Event: spec.EventDeviceReady, Value: 1}.Append(nil))
	answered := 0
	for quiet := 0; quiet < 3; {
		m.offer(spec.QueueControlTx, uint16(answered%8), data, 8, 0)
		select {
		case <-m.irq.C():
			m.wait(spec.QueueControlTx)
			answered++
		case <-time.After(50 * time.Millisecond):
			quiet = 3
		}
		if answered > 1000 {
			t.Fatal("1000 requests taken, none of the 2000 answers was")
		}
	}
	// The rest of the device lives.
	go func() { m.offer(spec.TxQueue(0), 0, data, 5, 0) }()
	if _, err := io.ReadFull(m.dev.Port(0), make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

func TestABrokenChainCostsTheGuestTheDeviceAndNothingElse(t *testing.T) {
	for name, do := range map[string]func(m *machine){
		"transmit from the hole": func(m *machine) { m.offer(spec.TxQueue(0), 0, virtiotest.HoleBase, 16, 0) },
		"receive into the hole": func(m *machine) {
			m.offer(spec.RxQueue(0), 0, virtiotest.HoleBase, 16, queue.FlagWrite)
			m.dev.Port(0).Write([]byte("x"))
		},
		"receive past RAM's end": func(m *machine) {
			m.offer(spec.RxQueue(0), 0, virtiotest.End-1, 2, queue.FlagWrite)
			m.dev.Port(0).Write([]byte("x"))
		},
		"length 0":                func(m *machine) { m.offer(spec.TxQueue(0), 0, data, 0, 0) },
		"4 GiB":                   func(m *machine) { m.offer(spec.TxQueue(0), 0, 0, 0xffffffff, 0) },
		"a loop":                  func(m *machine) { m.offer(spec.TxQueue(0), 0, data, 1, queue.FlagNext) },
		"head out of range":       func(m *machine) { m.rings[spec.TxQueue(0)].Offer(8); m.guest.Notify(spec.TxQueue(0)) },
		"index jumps":             func(m *machine) { m.rings[spec.TxQueue(0)].AvailIdx.Set(1000); m.guest.Notify(spec.TxQueue(0)) },
		"indirect, not agreed on": func(m *machine) { m.offer(spec.QueueControlTx, 0, data, 16, queue.FlagIndirect) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.up(spec.FeatureMultiport)
			m.control(spec.Control{Port: 0, Event: spec.EventPortOpen, Value: 1})
			m.send(spec.TxQueue(1), []byte("before"))
			do(m)
			m.broken()
			b := make([]byte, 6)
			if _, err := io.ReadFull(m.dev.Port(1), b); err != nil || string(b) != "before" {
				t.Fatalf("%q, %v: what had arrived is lost", b, err)
			}
			m.guest.Reset()
			m.up(spec.FeatureMultiport)
			m.send(spec.TxQueue(1), []byte("after!"))
			if _, err := io.ReadFull(m.dev.Port(1), b); err != nil || string(b) != "after!" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
}

func TestReceiveBuffersOfTheWrongKind(t *testing.T) {
	m := newMachine(t)
	m.up(0)
	rx := spec.RxQueue(0)
	if _, err := m.dev.Port(0).Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	m.offer(rx, 0, data, 16, 0) // nothing writable
	if n := m.wait(rx); n != 0 {
		t.Fatalf("%d bytes written to a readable buffer", n)
	}
	m.offer(rx, 1, data+0x800, 2, queue.FlagWrite) // too small for all of it
	m.offer(rx, 2, data+0x900, 2, queue.FlagWrite)
	if a, b := m.wait(rx), m.wait(rx); a != 2 || b != 1 {
		t.Fatalf("%d and %d bytes, want 2 and 1", a, b)
	}
}

func TestResetInTheMiddleOfEverything(t *testing.T) {
	m := newMachine(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // a host that keeps writing
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := m.dev.Port(0).Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}
	}()
	go func() { _, _ = io.Copy(io.Discard, m.dev.Port(0)) }()
	for range 20 {
		m.up(0)
		for i := range uint16(8) {
			m.offer(spec.TxQueue(0), i, data, 4000, 0)
			m.offer(spec.RxQueue(0), i, data+0x4000, 4000, queue.FlagWrite)
		}
		m.guest.Reset()
		before := m.rings[spec.RxQueue(0)].UsedIdx.Get()
		time.Sleep(time.Millisecond) // whoever still ran would write now
		if after := m.rings[spec.RxQueue(0)].UsedIdx.Get(); after != before {
			t.Fatal("the device touched guest memory after a reset")
		}
	}
	close(stop)
	m.dev.Close()
	<-done
}

func TestOutputIsBoundedWhenNobodyReads(t *testing.T) {
	m := newMachine(t)
	m.up(0)
	tx, taken := spec.TxQueue(0), 0
	for {
		m.offer(tx, 0, data, 16<<10, 0)
		select {
		case <-m.irq.C():
			m.wait(tx)
			taken += 16 << 10
		case <-time.After(50 * time.Millisecond):
			if taken != device.BufferSize {
				t.Fatalf("%d bytes taken without a reader, want %d", taken, device.BufferSize)
			}
			return
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, names := range map[string][]string{
		"no port": {}, "32 ports": make([]string, 32), "a long name": {strings.Repeat("x", 65)},
	} {
		if _, err := device.New(names...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
