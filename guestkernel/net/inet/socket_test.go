package inet

import (
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

func newCaller() *vfstest.Caller {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(100)}), "none", 0)
	return vfstest.NewCaller(ns.Root())
}

func newSocket(t *testing.T, c vfs.Caller, typ int, flags uint32) (*vfs.Description, *socket.File) {
	t.Helper()
	d, err := socket.New(c, unix.AF_INET, typ, 0, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Unref)
	f, err := socket.Of(d)
	if err != nil {
		t.Fatal(err)
	}
	return d, f
}

// onLoopback is a sockaddr_in of 127.0.0.1.
func onLoopback(port uint16) []byte {
	return sockaddr(unix.AF_INET, tcpip.FullAddress{Addr: loopback4, Port: port})
}

// listener answers a listening socket and its address.
func listener(t *testing.T, c vfs.Caller) (*vfs.Description, *socket.File, []byte) {
	t.Helper()
	d, f := newSocket(t, c, unix.SOCK_STREAM, 0)
	if err := f.Bind(c, onLoopback(0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Listen(c, 8); err != nil {
		t.Fatal(err)
	}
	name, err := f.Name()
	if err != nil {
		t.Fatal(err)
	}
	return d, f, name
}

// TestRefusedSocketConnectsAgain: a refusal costs the endpoint, not the socket, its name or its options.
func TestRefusedSocketConnectsAgain(t *testing.T) {
	c := newCaller()
	_, _, addr := listener(t, c)
	dead, err := socket.New(c, unix.AF_INET, unix.SOCK_STREAM, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	df, _ := socket.Of(dead)
	if err := df.Bind(c, onLoopback(0)); err != nil {
		t.Fatal(err)
	}
	nobody, _ := df.Name()
	dead.Unref()

	d, f := newSocket(t, c, unix.SOCK_STREAM, 0)
	one := []byte{1, 0, 0, 0}
	for _, o := range []option{{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}} {
		if err := f.Set(c, o.level, o.name, one); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := f.ConnectTo(c, d, nobody); err != unix.ECONNREFUSED {
			t.Fatalf("connecting to nobody: %v, want ECONNREFUSED", err)
		}
	}
	if err := f.ConnectTo(c, d, addr); err != nil {
		t.Fatalf("connecting after that: %v", err)
	}
	o := f.Socket.(*Socket).ep().SocketOptions()
	if o.GetDelayOption() || !o.GetKeepAlive() {
		t.Errorf("options of the new endpoint: delay %v, keepalive %v", o.GetDelayOption(), o.GetKeepAlive())
	}
	if err := f.ConnectTo(c, d, addr); err != unix.EISCONN {
		t.Errorf("once more: %v, want EISCONN", err)
	}
}

// TestStreamOverLoopback moves data both ways through short reads and a half close.
func TestStreamOverLoopback(t *testing.T) {
	c := newCaller()
	ld, lf, addr := listener(t, c)
	const size = 1 << 20
	go func() {
		c := newCaller()
		d, err := socket.New(c, unix.AF_INET, unix.SOCK_STREAM, 0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Unref()
		f, _ := socket.Of(d)
		if err := f.ConnectTo(c, d, addr); err != nil {
			t.Error(err)
			return
		}
		b := make(vfs.Bytes, size)
		for i := range b {
			b[i] = byte(i >> 4)
		}
		if n, err := d.Write(c, b); n != size || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		if err := f.Shutdown(unix.SHUT_WR); err != nil {
			t.Error(err)
		}
		if n, err := d.Read(c, b); string(b[:n]) != "done" || err != nil {
			t.Errorf("answer: %q, %v", b[:n], err)
		}
	}()
	d, err := lf.AcceptFile(c, ld, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Unref()
	total, b := 0, make(vfs.Bytes, 7777)
	for {
		n, err := d.Read(c, b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for i := range b[:n] {
			if b[i] != byte((total+i)>>4) {
				t.Fatalf("byte %d is wrong", total+i)
			}
		}
		total += n
	}
	if total != size {
		t.Errorf("received %d bytes, want %d", total, size)
	}
	if _, err := d.Write(c, vfs.Bytes("done")); err != nil {
		t.Error(err)
	}
}

func TestLowMemory(t *testing.T) {
	old := socket.LowMemory
	defer func() { socket.LowMemory = old }()
	c := newCaller()
	d, f := newSocket(t, c, unix.SOCK_DGRAM, 0)
	if err := f.ConnectTo(c, d, onLoopback(9)); err != nil {
		t.Fatal(err)
	}
	socket.LowMemory = func() bool { return true }
	if _, err := d.Write(c, vfs.Bytes("x")); err != unix.ENOBUFS {
		t.Errorf("send: %v, want ENOBUFS", err)
	}
	if _, err := socket.New(c, unix.AF_INET, unix.SOCK_DGRAM, 0, 0); err != unix.ENOBUFS {
		t.Errorf("a new socket: %v, want ENOBUFS", err)
	}
}

func TestParseAddress(t *testing.T) {
	short := make([]byte, 15)
	short[0] = unix.AF_INET
	for _, c := range []struct {
		name   string
		domain int
		in     []byte
		err    error
	}{
		{"empty", unix.AF_INET, nil, unix.EINVAL},
		{"short", unix.AF_INET, short, unix.EINVAL},
		{"of another family", unix.AF_INET, append([]byte{unix.AF_UNIX, 0}, make([]byte, 14)...), unix.EAFNOSUPPORT},
		{"whole", unix.AF_INET, onLoopback(80), nil},
		{"IPv4 for IPv6", unix.AF_INET6, append(onLoopback(80), make([]byte, 12)...), unix.EAFNOSUPPORT},
		{"without scope", unix.AF_INET6, sockaddr(unix.AF_INET6, tcpip.FullAddress{Port: 1})[:24], nil},
		{"cut", unix.AF_INET6, sockaddr(unix.AF_INET6, tcpip.FullAddress{Port: 1})[:23], unix.EINVAL},
	} {
		if _, err := parse(c.domain, c.in); err != c.err {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}
