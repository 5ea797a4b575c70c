package afunix

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
	"ringo/guestkernel/wait"
)

func newCaller() *vfstest.Caller {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(100)}), "none", 0)
	return vfstest.NewCaller(ns.Root())
}

func newPair(t *testing.T, c vfs.Caller, typ int) (a, b *vfs.Description) {
	t.Helper()
	a, b, err := socket.NewPair(c, unix.AF_UNIX, typ, 0, unix.O_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func send(t *testing.T, c vfs.Caller, d *vfs.Description, data string, rights ...*vfs.Description) {
	t.Helper()
	f, err := socket.Of(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Transmit(c, d, &socket.Outgoing{Data: vfs.Bytes(data), Rights: rights}); err != nil {
		t.Fatal(err)
	}
}

// TestStreamIsOneStream moves more than any buffer holds between two goroutines that sleep in turns.
func TestStreamIsOneStream(t *testing.T) {
	c := newCaller()
	a, b, err := socket.NewPair(c, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	go func() {
		c := newCaller()
		if n, err := a.Write(c, vfs.Bytes(want)); n != len(want) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		a.Unref()
	}()
	var got []byte
	buf := make(vfs.Bytes, 70001)
	for {
		n, err := b.Read(c, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("received %d bytes, or others than the %d that were sent", len(got), len(want))
	}
	b.Unref()
	if used := Memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of messages are still accounted for", used)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	old := Memory.Limit.Swap(10000)
	defer Memory.Limit.Store(old)
	c := newCaller()
	a, b := newPair(t, c, unix.SOCK_DGRAM)
	var err error
	sent := 0
	for ; err == nil; sent++ {
		_, err = a.Write(c, make(vfs.Bytes, 1000))
	}
	if err != unix.ENOBUFS || sent < 3 || sent > 10 {
		t.Errorf("after %d datagrams: %v, want ENOBUFS after a few", sent, err)
	}
	if _, err := b.Read(c, make(vfs.Bytes, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write(c, make(vfs.Bytes, 1000)); err != nil {
		t.Errorf("after one was read: %v", err)
	}
	a.Unref()
	b.Unref()
}

// TestSenderToFullReceiverSleeps: a sender that finds no room must not wake itself by giving back what it had reserved.
func TestSenderToFullReceiverSleeps(t *testing.T) {
	c := newCaller()
	a, b := newPair(t, c, unix.SOCK_DGRAM)
	x, err := socket.New(c, unix.AF_UNIX, unix.SOCK_DGRAM, 0, unix.O_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := socket.Of(b)
	to := []byte("\x01\x00\x00name")
	if err := f.Bind(c, to); err != nil {
		t.Fatal(err)
	}
	f.Socket.(*Socket).peer = nil // as if it had never been connected
	xf, _ := socket.Of(x)
	for err == nil {
		_, err = xf.Transmit(c, x, &socket.Outgoing{Data: vfs.Bytes("m"), To: to})
	}
	if err != unix.EAGAIN {
		t.Fatalf("a full queue: %v, want EAGAIN", err)
	}
	woken := 0
	e := wait.Entry{Notify: func(wait.Mask) { woken++ }}
	x.File().Register(&e, wait.Writable)
	if _, err := xf.Transmit(c, x, &socket.Outgoing{Data: vfs.Bytes("m"), To: to}); err != unix.EAGAIN || woken != 0 {
		t.Errorf("a second try: %v, woke itself %d times", err, woken)
	}
	if _, err := b.Read(c, make(vfs.Bytes, 1)); err != nil || woken == 0 {
		t.Errorf("reading: %v, woke the sender %d times", err, woken)
	}
	x.File().Unregister(&e)
	for _, d := range []*vfs.Description{a, b, x} {
		d.Unref()
	}
}

// ended reports whether all writers of a pipe are gone.
func ended(r *vfs.Description) bool { return r.Readiness(wait.In)&wait.Hup != 0 }

// TestCollectorFindsCycles has sockets that only each other's queues hold, in several shapes, each with a pipe's only writer beside them.
func TestCollectorFindsCycles(t *testing.T) {
	c := newCaller()
	pipes := pipefs.NewFS()
	shapes := map[string]func(w *vfs.Description) (open []*vfs.Description, garbage bool){
		"a socket in its own queue": func(w *vfs.Description) ([]*vfs.Description, bool) {
			a, b := newPair(t, c, unix.SOCK_STREAM)
			send(t, c, a, "x", b, w)
			return []*vfs.Description{a, b}, true
		},
		"two in each other's": func(w *vfs.Description) ([]*vfs.Description, bool) {
			a, b := newPair(t, c, unix.SOCK_DGRAM)
			send(t, c, a, "x", a)
			send(t, c, b, "x", b, w)
			return []*vfs.Description{a, b}, true
		},
		"a ring of pairs": func(w *vfs.Description) ([]*vfs.Description, bool) {
			var all []*vfs.Description
			for range 20 {
				a, b := newPair(t, c, unix.SOCK_SEQPACKET)
				all = append(all, a, b)
			}
			for i := 0; i < len(all); i += 2 {
				send(t, c, all[i], "x", all[(i+3)%len(all)], all[(i+2)%len(all)], w)
			}
			return all, true
		},
		"one that somebody has": func(w *vfs.Description) ([]*vfs.Description, bool) {
			a, b := newPair(t, c, unix.SOCK_STREAM)
			outer, inner := newPair(t, c, unix.SOCK_STREAM)
			send(t, c, outer, "x", b)
			send(t, c, a, "x", b, a, w)
			held = append(held, outer, inner)
			return []*vfs.Description{a, b}, false
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			r, w, err := pipes.Pipe(c, unix.O_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			open, garbage := shape(w)
			w.Unref()
			for _, d := range open {
				d.Unref()
			}
			for range 8 { // enough closes for a collection
				a, b := newPair(t, c, unix.SOCK_STREAM)
				a.Unref()
				b.Unref()
			}
			if ended(r) != garbage {
				t.Errorf("the pipe has ended: %v, want %v", ended(r), garbage)
			}
			for _, d := range held {
				d.Unref()
			}
			held = nil
			a, b := newPair(t, c, unix.SOCK_STREAM)
			a.Unref()
			b.Unref()
			for i := 0; !ended(r); i++ {
				if i == 5000 {
					t.Fatal("descriptors are left in flight")
				}
				time.Sleep(time.Millisecond) // a deep chain is closed by a goroutine
			}
			r.Unref()
			if n := flight.count.Load(); n != 0 || len(flight.users) != 0 {
				t.Errorf("%d sockets in flight, users %v", n, flight.users)
			}
		})
	}
}

var held []*vfs.Description

// TestDeepChainCloses: sockets in the queue of sockets in the queue of sockets: closing the first closes all.
func TestDeepChainCloses(t *testing.T) {
	c := newCaller()
	r, w, err := pipefs.NewFS().Pipe(c, unix.O_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	last := w
	for range 2000 {
		a, b := newPair(t, c, unix.SOCK_STREAM)
		send(t, c, a, "x", last)
		last.Unref()
		a.Unref()
		last = b
	}
	last.Unref()
	for i := 0; !ended(r); i++ {
		if i == 20000 {
			t.Fatal("the end of the chain is still open")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPeekOffset(t *testing.T) {
	c := newCaller()
	a, b := newPair(t, c, unix.SOCK_STREAM)
	f, _ := socket.Of(b)
	if err := f.Set(c, unix.SOL_SOCKET, unix.SO_PEEK_OFF, []byte{1, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	send(t, c, a, "abc")
	send(t, c, a, "def")
	for _, want := range []string{"bcd", "ef"} {
		buf := make(vfs.Bytes, 3)
		n, err := f.Recv(c, b, &socket.Incoming{Data: buf, Flags: unix.MSG_PEEK})
		if string(buf[:n]) != want || err != nil {
			t.Errorf("peek: %q, %v, want %q", buf[:n], err, want)
		}
	}
	if _, err := f.Recv(c, b, &socket.Incoming{Data: make(vfs.Bytes, 3), Flags: unix.MSG_PEEK}); err != unix.EAGAIN {
		t.Errorf("peek behind the end: %v, want EAGAIN", err)
	}
	a.Unref()
	b.Unref()
}
