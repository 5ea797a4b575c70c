package pipefs_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
	"ringo/guestkernel/wait"
)

func newCaller() *vfstest.Caller {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(100)}), "none", 0)
	return vfstest.NewCaller(ns.Root())
}

func newPipe(t *testing.T, c vfs.Caller, flags uint32) (r, w *vfs.Description) {
	t.Helper()
	r, w, err := pipefs.NewFS().Pipe(c, flags)
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// TestBlockingTransfer moves more than fits through a pipe with readers and writers that block.
func TestBlockingTransfer(t *testing.T) {
	c := newCaller()
	r, w := newPipe(t, c, 0)
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	go func() {
		c := newCaller()
		for b := want; len(b) > 0; {
			n, err := w.Write(c, vfs.Bytes(b[:min(len(b), 100000)]))
			if err != nil {
				t.Error(err)
				break
			}
			b = b[n:]
		}
		w.Unref()
	}()
	var got []byte
	for {
		b := make(vfs.Bytes, 7777)
		n, err := r.Read(c, b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, b[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d, or others", len(got), len(want))
	}
}

// TestAtomicWrites: writes of up to PIPE_BUF bytes by several writers are never mixed.
func TestAtomicWrites(t *testing.T) {
	const writers, each, size = 4, 300, 3000
	c := newCaller()
	r, w := newPipe(t, c, 0)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			c := newCaller()
			for range each {
				if n, err := w.Write(c, vfs.Bytes(bytes.Repeat([]byte{byte('a' + i)}, size))); n != size || err != nil {
					t.Errorf("write: %d, %v", n, err)
				}
			}
		})
	}
	go func() { wg.Wait(); w.Unref() }()
	var got []byte
	for {
		b := make(vfs.Bytes, 10000)
		n, err := r.Read(c, b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, b[:n]...)
	}
	if len(got) != writers*each*size {
		t.Fatalf("%d bytes, want %d", len(got), writers*each*size)
	}
	for i := 0; i < len(got); i += size {
		if part := got[i : i+size]; bytes.Count(part, part[:1]) != size {
			t.Fatalf("writes are mixed at byte %d", i)
		}
	}
}

func TestEnds(t *testing.T) {
	c := newCaller()
	r, w := newPipe(t, c, unix.O_NONBLOCK)
	if _, err := r.Read(c, make(vfs.Bytes, 1)); err != unix.EAGAIN {
		t.Errorf("read of an empty pipe: %v, want EAGAIN", err)
	}
	if _, err := r.Write(c, vfs.Bytes("x")); err != unix.EBADF {
		t.Errorf("write to the reading end: %v, want EBADF", err)
	}
	if _, err := r.ReadAt(c, make(vfs.Bytes, 1), 0); err != unix.ESPIPE {
		t.Errorf("pread: %v, want ESPIPE", err)
	}
	r.Unref()
	if n, err := w.Write(c, vfs.Bytes("x")); err != unix.EPIPE {
		t.Errorf("write without reader: %d, %v, want EPIPE", n, err)
	}
	if s := c.Signals(); len(s) != 1 || s[0] != unix.SIGPIPE {
		t.Errorf("signals %v, want SIGPIPE", s)
	}
	w.Unref()
}

func TestInterrupted(t *testing.T) {
	c := newCaller()
	r, w := newPipe(t, c, 0)
	c.Interrupt <- struct{}{}
	if _, err := r.Read(c, make(vfs.Bytes, 1)); err != wait.ErrRestart {
		t.Errorf("interrupted read: %v, want ErrRestart", err)
	}
	// A write that was interrupted after it moved something is short, not failed.
	done := make(chan struct{})
	go func() {
		defer close(done)
		if n, err := w.Write(c, make(vfs.Bytes, 100000)); n != pipefs.DefaultSize || err != nil {
			t.Errorf("interrupted write: %d, %v, want %d", n, err, pipefs.DefaultSize)
		}
	}()
	for r.Readiness(wait.In) == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Interrupt <- struct{}{}
	<-done
}

func TestFaults(t *testing.T) {
	c := newCaller()
	r, w := newPipe(t, c, unix.O_NONBLOCK)
	if n, err := w.Write(c, vfstest.Faulty{Bytes: make(vfs.Bytes, 10), Good: 0}); n != 0 || err != unix.EFAULT {
		t.Errorf("write from bad memory: %d, %v", n, err)
	}
	if _, err := r.Read(c, make(vfs.Bytes, 1)); err != unix.EAGAIN {
		t.Errorf("something was written: %v", err)
	}
	if _, err := w.Write(c, vfs.Bytes("0123456789")); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(c, vfstest.Faulty{Bytes: make(vfs.Bytes, 10), Good: 0}); n != 0 || err != unix.EFAULT {
		t.Errorf("read to bad memory: %d, %v", n, err)
	}
	b := make(vfs.Bytes, 20)
	if n, err := r.Read(c, b); string(b[:n]) != "0123456789" || err != nil {
		t.Errorf("after the fault: %q, %v", b[:n], err)
	}
}

func TestCapacity(t *testing.T) {
	c := newCaller()
	r, w := newPipe(t, c, unix.O_NONBLOCK)
	p := w.File().(interface{ Pipe() *pipefs.Pipe }).Pipe()
	for _, s := range []struct {
		ask  uint32
		want int
		err  error
	}{{1, 4096, nil}, {4097, 8192, nil}, {1 << 20, 1 << 20, nil}, {65536, 65536, nil}, {1<<31 + 1, 0, unix.EINVAL}} {
		if n, err := p.SetCapacity(c, s.ask); n != s.want || err != s.err {
			t.Errorf("F_SETPIPE_SZ %d: %d, %v, want %d, %v", s.ask, n, err, s.want, s.err)
		}
	}
	if n, err := w.Write(c, make(vfs.Bytes, 100000)); n != 65536 || err != nil {
		t.Errorf("filling: %d, %v", n, err)
	}
	if _, err := p.SetCapacity(c, 4096); err != unix.EBUSY {
		t.Errorf("shrinking a full pipe: %v, want EBUSY", err)
	}
	c.Credentials = &vfs.Creds{}
	if _, err := p.SetCapacity(c, 2<<20); err != unix.EPERM {
		t.Errorf("growing without privilege: %v, want EPERM", err)
	}
	if n, err := p.SetCapacity(c, 128<<10); n != 128<<10 || err != nil {
		t.Errorf("growing: %d, %v", n, err)
	}
	if n, err := r.Read(c, make(vfs.Bytes, 100000)); n != 65536 || err != nil {
		t.Errorf("contents after resizing: %d bytes, %v", n, err)
	}
}

// TestFifo opens a named pipe from both sides: each waits for the other.
func TestFifo(t *testing.T) {
	c := newCaller()
	if err := vfs.Mknod(c, vfs.AtCwd(c), "p", unix.S_IFIFO|0o644, 0); err != nil {
		t.Fatal(err)
	}
	open := func(c vfs.Caller, flags uint32) (*vfs.Description, error) {
		return vfs.Open(c, vfs.AtCwd(c), "p", flags, 0)
	}
	if _, err := open(c, unix.O_WRONLY|unix.O_NONBLOCK); err != unix.ENXIO {
		t.Errorf("open for writing without reader: %v, want ENXIO", err)
	}
	c.Interrupt <- struct{}{}
	if _, err := open(c, unix.O_RDONLY); err != wait.ErrRestart {
		t.Errorf("interrupted open: %v, want ErrRestart", err)
	}
	got := make(chan string)
	go func() {
		c := vfstest.NewCaller(c.FS().Root())
		d, err := open(c, unix.O_RDONLY)
		if err != nil {
			got <- err.Error()
			return
		}
		defer d.Unref()
		b := make(vfs.Bytes, 10)
		n, err := d.Read(c, b)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(b[:n])
	}()
	d, err := open(c, unix.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(c, vfs.Bytes("hello")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("the reader got %q", s)
	}
	d.Unref()
}
