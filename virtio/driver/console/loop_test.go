package console_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	spec "ringo/virtio/console"
	device "ringo/virtio/device/console"
	driver "ringo/virtio/driver/console"
	"ringo/virtio/mmio"
	"ringo/virtio/virtiotest"
)

type loop struct {
	dev *device.Console
	drv *driver.Console
	t   *mmio.Transport
	win *virtiotest.Window
	irq *virtiotest.Line
}

// newLoop is the device and the driver of Ringo's console, joined by plain memory.
func newLoop(t testing.TB) *loop {
	t.Helper()
	mem, irq := virtiotest.NewMemory(), virtiotest.NewLine()
	dev, err := device.New(spec.PortNames[:]...)
	if err != nil {
		t.Fatal(err)
	}
	tr := mmio.NewTransport(dev, mem, irq)
	win := &virtiotest.Window{T: tr}
	drv, err := driver.New(win, driver.Env{Alloc: mem.Alloc, Wait: irq.Wait})
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{dev, drv, tr, win, irq}
	t.Cleanup(func() {
		irq.Stop()
		dev.Close()
		tr.Close()
		if err := tr.Err(); err != nil {
			t.Errorf("device failed: %v", err)
		}
	})
	return l
}

func deadline(t testing.TB) {
	timer := time.AfterFunc(30*time.Second, func() { panic("test hangs: " + t.Name()) })
	t.Cleanup(func() { timer.Stop() })
}

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func TestEveryPortCarriesBytesBothWays(t *testing.T) {
	deadline(t)
	l := newLoop(t)
	const size = 1 << 20 // far more than any buffer: flow control must work
	var wg sync.WaitGroup
	pass := func(what string, w io.Writer, r io.Reader, seed uint64) {
		want := noise(size, seed)
		wg.Go(func() {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+int(rest[0])*40)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Errorf("%s: write: %v", what, err)
					return
				}
				rest = rest[n:]
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(r, got); err != nil {
				t.Errorf("%s: read: %v", what, err)
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: bytes differ", what)
			}
		})
	}
	for i, name := range spec.PortNames {
		p := l.drv.Port(name)
		if p == nil {
			t.Fatalf("no port %q", name)
		}
		if !spec.OutputOnly(i) {
			pass("to guest "+name, l.dev.Port(i), p, uint64(i))
		}
		pass("to host "+name, p, l.dev.Port(i), uint64(i+100))
	}
	wg.Wait()
}

func TestSingleBytesAreBatched(t *testing.T) {
	deadline(t)
	l := newLoop(t)
	p := l.drv.Port("ringo.log")
	before := l.win.Notifies.Load()
	const n = 20000
	got := make(chan []byte)
	go func() {
		b := make([]byte, n)
		_, _ = io.ReadFull(l.dev.Port(spec.PortLog), b)
		got <- b
	}()
	want := noise(n, 1)
	for i := range want {
		if _, err := p.Write(want[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Drain(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, want) {
		t.Fatal("bytes differ")
	}
	notifies := l.win.Notifies.Load() - before
	t.Logf("%d bytes written one by one: %d notifications, %d interrupts in all", n, notifies, l.irq.Count())
	if notifies > n/4 {
		t.Errorf("%d notifications for %d single-byte writes", notifies, n)
	}
}

func TestDrainMeansThatTheDeviceHasEverything(t *testing.T) {
	deadline(t)
	l := newLoop(t)
	p := l.drv.Port("ringo.stdio")
	msg := noise(50_000, 7) // fits into the device's buffer without a reader
	if _, err := p.Write(msg); err != nil {
		t.Fatal(err)
	}
	if err := p.Drain(); err != nil {
		t.Fatal(err)
	}
	l.t.Close() // the machine is gone
	l.dev.Close()
	got, err := io.ReadAll(l.dev.Port(spec.PortStdio))
	if err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(msg), err)
	}
}

func TestAPortNobodyReadsStopsTheGuestAndOnlyThatPort(t *testing.T) {
	deadline(t)
	l := newLoop(t)
	full := l.drv.Port("ringo.stdio")
	chunk := make([]byte, 10000)
	writable := make(chan struct{}, 100)
	full.OnWritable(func() {
		select {
		case writable <- struct{}{}:
		default:
		}
	})
	total, idle := 0, 0
	for idle < 3 {
		n := full.TryWrite(chunk)
		total += n
		if n == 0 {
			idle++
			time.Sleep(20 * time.Millisecond) // let the device take all it ever will
		}
	}
	if limit := device.BufferSize + 17*4096; total > limit {
		t.Fatalf("%d bytes accepted without a reader, at most %d can wait", total, limit)
	}
	other := l.drv.Port("ringo.stderr")
	if _, err := other.Write([]byte("alive")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(l.dev.Port(spec.PortStderr), b); err != nil || string(b) != "alive" {
		t.Fatalf("%q, %v", b, err)
	}
	for len(writable) > 0 {
		<-writable
	}
	if _, err := io.ReadFull(l.dev.Port(spec.PortStdio), make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	<-writable // the guest hears of the room
	if n := full.TryWrite(chunk); n == 0 {
		t.Fatal("room was announced but there is none")
	}
}

func TestReadableIsAnnounced(t *testing.T) {
	deadline(t)
	l := newLoop(t)
	p := l.drv.Port("ringo.command")
	readable := make(chan struct{}, 1)
	p.OnReadable(func() {
		select {
		case readable <- struct{}{}:
		default:
		}
	})
	for i := range 200 {
		if _, err := l.dev.Port(spec.PortCommand).Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 8)
		for n := 0; n == 0; {
			<-readable
			if n = p.TryRead(b); n > 0 && b[0] != byte(i) {
				t.Fatalf("read %d, want %d", b[0], i)
			}
		}
	}
}

func TestAGoneDeviceEndsBlockedCallers(t *testing.T) {
	deadline(t)
	mem, irq := virtiotest.NewMemory(), virtiotest.NewLine()
	dev, _ := device.New(spec.PortNames[:]...)
	tr := mmio.NewTransport(dev, mem, irq)
	drv, err := driver.New(&virtiotest.Window{T: tr}, driver.Env{Alloc: mem.Alloc, Wait: irq.Wait})
	if err != nil {
		t.Fatal(err)
	}
	p := drv.Port("ringo.stdio")
	done := make(chan error, 2)
	go func() { _, err := p.Read(make([]byte, 1)); done <- err }()
	go func() { _, err := p.Write(make([]byte, 1<<20)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	irq.Stop()
	for range 2 {
		if err := <-done; err == nil {
			t.Error("a blocked call succeeded on a device that is gone")
		}
	}
	tr.Close()
}

func TestStartingCostsFewRegisterAccesses(t *testing.T) {
	l := newLoop(t)
	// 6 accesses a queue, and some 20 for the device: each is an exit of 40 to 200 us.
	if n := l.win.Writes.Load() + l.win.Reads.Load(); n > 100 {
		t.Errorf("%d register accesses to start", n)
	}
	if n := l.win.Notifies.Load(); n != 1 {
		t.Errorf("%d notifications to start, want 1", n)
	}
}

func TestADeviceThatIsNotOursIsRefused(t *testing.T) {
	for name, ports := range map[string][]string{
		"fewer ports": spec.PortNames[:4],
		"more ports":  append(spec.PortNames[:], "x"),
	} {
		dev, err := device.New(ports...)
		if err != nil {
			t.Fatal(err)
		}
		mem, irq := virtiotest.NewMemory(), virtiotest.NewLine()
		tr := mmio.NewTransport(dev, mem, irq)
		if _, err := driver.New(&virtiotest.Window{T: tr}, driver.Env{Alloc: mem.Alloc, Wait: irq.Wait}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		tr.Close()
		irq.Stop()
	}
}

func TestAPortWithAnotherNameEndsTheConsole(t *testing.T) {
	deadline(t)
	names := spec.PortNames
	names[3] = "ringo.stderr2"
	dev, err := device.New(names[:]...)
	if err != nil {
		t.Fatal(err)
	}
	mem, irq := virtiotest.NewMemory(), virtiotest.NewLine()
	tr := mmio.NewTransport(dev, mem, irq)
	defer tr.Close()
	defer irq.Stop()
	drv, err := driver.New(&virtiotest.Window{T: tr}, driver.Env{Alloc: mem.Alloc, Wait: irq.Wait})
	if err != nil {
		t.Fatal(err)
	}
	// The names arrive by themselves; the driver looks at them at the next interrupt.
	for drv.Err() == nil {
		irq.Trigger()
		time.Sleep(time.Millisecond)
	}
	if err := drv.Err(); !errors.Is(err, driver.ErrGone) {
		t.Fatal(err)
	}
}

func BenchmarkToHost(b *testing.B) {
	l := newLoop(b)
	p := l.drv.Port("ringo.stdio")
	chunk := make([]byte, 32<<10)
	b.SetBytes(int64(len(chunk)))
	go func() { _, _ = io.Copy(io.Discard, l.dev.Port(spec.PortStdio)) }()
	for b.Loop() {
		if _, err := p.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}
