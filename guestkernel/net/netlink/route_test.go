package netlink

import (
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

func newCaller() *vfstest.Caller {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(100)}), "none", 0)
	return vfstest.NewCaller(ns.Root())
}

func newSocket(t testing.TB, c vfs.Caller) (*vfs.Description, *socket.File) {
	t.Helper()
	d, err := socket.New(c, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, unix.O_NONBLOCK)
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

// request makes a message: a header and what follows it.
func request(typ, flags uint16, body []byte) []byte {
	m := &builder{seq: 5}
	m.begin(typ, flags, 0)
	m.b = append(m.b, body...)
	m.end()
	return m.b
}

// answers splits everything that is queued into messages.
func answers(t *testing.T, c vfs.Caller, d *vfs.Description) (out [][]byte) {
	t.Helper()
	b := make(vfs.Bytes, 64<<10)
	for {
		n, err := d.Read(c, b)
		if err == unix.EAGAIN {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for m := append([]byte(nil), b[:n]...); len(m) > 0; {
			size := int(le.Uint32(m))
			if size < headerSize || size > len(m) {
				t.Fatalf("an answer of %d bytes in %d", size, len(m))
			}
			out = append(out, m[:size])
			m = m[min(align(size), len(m)):]
		}
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	c := newCaller()
	d, _ := newSocket(t, c)
	count := func() int {
		if _, err := d.Write(c, vfs.Bytes(request(unix.RTM_GETADDR, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, make([]byte, addrSize)))); err != nil {
			t.Fatal(err)
		}
		list := answers(t, c, d)
		if last := list[len(list)-1]; le.Uint16(last[4:]) != unix.NLMSG_DONE {
			t.Fatalf("a dump that ends with type %d", le.Uint16(last[4:]))
		}
		return len(list) - 1
	}
	change := func(typ uint16) unix.Errno {
		body := &builder{}
		body.b = append(body.b, unix.AF_INET, 24, 0, 0, 1, 0, 0, 0)
		body.attr(unix.IFA_LOCAL, []byte{10, 1, 2, 3})
		if _, err := d.Write(c, vfs.Bytes(request(typ, unix.NLM_F_REQUEST|unix.NLM_F_ACK, body.b))); err != nil {
			t.Fatal(err)
		}
		list := answers(t, c, d)
		if len(list) != 1 || le.Uint16(list[0][4:]) != unix.NLMSG_ERROR {
			t.Fatalf("answers to a change: %x", list)
		}
		return unix.Errno(-int32(le.Uint32(list[0][headerSize:])))
	}
	before := count()
	if e := change(unix.RTM_NEWADDR); e != 0 || count() != before+1 {
		t.Errorf("adding: %v, %d addresses, were %d", e, count(), before)
	}
	if e := change(unix.RTM_NEWADDR); e != unix.EEXIST {
		t.Errorf("adding it twice: %v, want EEXIST", e)
	}
	if e := change(unix.RTM_DELADDR); e != 0 || count() != before {
		t.Errorf("removing: %v, %d addresses, were %d", e, count(), before)
	}
	if e := change(unix.RTM_DELADDR); e != unix.EADDRNOTAVAIL {
		t.Errorf("removing it twice: %v, want EADDRNOTAVAIL", e)
	}
	c.Credentials = &vfs.Creds{}
	if e := change(unix.RTM_NEWADDR); e != unix.EPERM {
		t.Errorf("without privilege: %v, want EPERM", e)
	}
}

// FuzzRequests: whatever a program sends, the answers are well-formed and bounded.
func FuzzRequests(f *testing.F) {
	f.Add(request(unix.RTM_GETLINK, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, make([]byte, linkSize)))
	f.Add(request(unix.RTM_GETROUTE, unix.NLM_F_REQUEST, append(make([]byte, routeSize), 8, 0, unix.RTA_DST, 0, 127, 0, 0, 1)))
	f.Add(request(unix.RTM_NEWADDR, unix.NLM_F_REQUEST|unix.NLM_F_ACK, []byte{unix.AF_INET6, 129, 0, 0, 1, 0, 0, 0, 3, 0, 1, 0}))
	f.Add(request(unix.RTM_NEWLINK, unix.NLM_F_REQUEST, []byte{0, 0, 0, 0, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCaller()
		d, err := socket.New(c, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, unix.O_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Unref()
		if n, err := d.Write(c, vfs.Bytes(b)); err != nil || n != len(b) {
			if len(b) < maxRequest {
				t.Fatalf("%d bytes of %d, %v", n, len(b), err)
			}
			return
		}
		f, _ := socket.Of(d)
		if s := f.Socket.(*Socket); s.bytes > s.ReceiveBuffer() {
			t.Fatalf("%d bytes of answers", s.bytes)
		}
	})
}
