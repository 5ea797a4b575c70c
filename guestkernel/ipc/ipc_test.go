package ipc

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

func newCaller(t *testing.T, uid uint32) *vfstest.Caller {
	t.Helper()
	c := vfstest.NewCaller(vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(64), Mode: 0o755}), "test", 0).Root())
	if uid != 0 {
		c.Credentials = &vfs.Creds{UID: uid, EUID: uid, SUID: uid, FSUID: uid, GID: uid, EGID: uid, SGID: uid, FSGID: uid}
	}
	return c
}

func TestIDsAreNotUsedAgainSoon(t *testing.T) {
	n := NewNamespace(nil)
	c := newCaller(t, 0)
	seen := make(map[int]bool)
	for i := range 5000 {
		id, err := n.MsgGet(c, Private, Create|0o600)
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("id %d was given out twice, the second time as number %d", id, i)
		}
		seen[id] = true
		if i%3 != 0 {
			if err := n.MsgRemove(c, id); err != nil {
				t.Fatal(err)
			}
			if err := n.MsgRemove(c, id); err != unix.EINVAL {
				t.Fatalf("removing twice: %v", err)
			}
		}
	}
	n.Release()
	if len(n.msg.objects) != 0 {
		t.Errorf("%d queues outlived their namespace", len(n.msg.objects))
	}
}

func TestPermissions(t *testing.T) {
	n := NewNamespace(nil)
	root, user := newCaller(t, 0), newCaller(t, 1000)
	id, err := n.SemGet(root, 77, 2, Create|0o640)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		got  error
		want error
	}{
		{"get without asking for anything", second(n.SemGet(user, 77, 0, 0)), nil},
		{"get to read", second(n.SemGet(user, 77, 0, 0o400)), unix.EACCES},
		{"read", second(n.SemGetOne(user, id, 0, CmdGetVal)), unix.EACCES},
		{"write", n.SemSetValues(user, id, 0, []int{1}), unix.EACCES},
		{"remove", n.SemRemove(user, id), unix.EPERM},
		{"give away", n.SemSet(user, id, Change{1000, 1000, 0o666}), unix.EPERM},
		{"given", n.SemSet(root, id, Change{1000, 1000, 0o600}), nil},
		{"read now", second(n.SemGetOne(user, id, 0, CmdGetVal)), nil},
		{"more semaphores than there are", second(n.SemGet(user, 77, 3, 0)), unix.EINVAL},
		{"exclusively", second(n.SemGet(root, 77, 2, Create|Exclusive)), unix.EEXIST},
		{"removed by its owner", n.SemRemove(user, id), nil},
		{"gone", second(n.SemGet(root, 77, 2, 0)), unix.ENOENT},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}

func second(_ int, err error) error { return err }

// TestSemaphoresServeInOrder has one operation enable the next: all are done by the first caller.
func TestSemaphoresServeInOrder(t *testing.T) {
	n := NewNamespace(nil)
	c := newCaller(t, 0)
	id, _ := n.SemGet(c, Private, 4, Create)
	done := make(chan error, 3)
	for i := range 3 {
		go func() {
			done <- n.SemOp(newCaller(t, 0), nil, id, []SemOp{{Num: uint16(i), Op: -1}, {Num: uint16(i + 1), Op: 1}}, time.Time{})
		}()
	}
	for i := range 3 {
		for v := 0; v != 1; v, _ = n.SemGetOne(c, id, i, CmdGetNCnt) {
			time.Sleep(time.Millisecond)
		}
	}
	if err := n.SemOp(c, nil, id, []SemOp{{Num: 0, Op: 1}}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	values, _ := n.SemGetAll(c, id)
	if values[3] != 1 || values[0]+values[1]+values[2] != 0 {
		t.Errorf("values %v right after the operation that lets all go", values)
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSemaphoreUndo(t *testing.T) {
	n := NewNamespace(nil)
	c := newCaller(t, 0)
	id, _ := n.SemGet(c, Private, 2, Create)
	n.SemSetValues(c, id, 0, []int{5, 5})
	u := n.NewUndo()
	u.Share()
	if err := n.SemOp(c, u, id, []SemOp{{0, -3, SemUndo}, {1, 2, SemUndo}, {0, 1, 0}}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	// All or nothing: the last one cannot go on.
	if err := n.SemOp(c, u, id, []SemOp{{0, -1, SemUndo}, {1, -100, NoWait}}, time.Time{}); err != unix.EAGAIN {
		t.Fatalf("got %v, want EAGAIN", err)
	}
	u.Leave(1)
	if v, _ := n.SemGetAll(c, id); v[0] != 3 || v[1] != 7 {
		t.Fatalf("undone while a user is left: %v", v)
	}
	n.SemSetValues(c, id, 1, []int{1}) // forgets what it did to number 1
	u.Leave(2)
	if v, _ := n.SemGetAll(c, id); v[0] != 6 || v[1] != 1 {
		t.Errorf("after the last user left: %v, want 6 and 1", v)
	}
	if pid, _ := n.SemGetOne(c, id, 0, CmdGetPID); pid != 2 {
		t.Errorf("last operation by %d, want 2", pid)
	}
	if err := n.SemOp(c, nil, id, []SemOp{{0, 32767, 0}}, time.Time{}); err != unix.ERANGE {
		t.Errorf("beyond the largest value: %v", err)
	}
}

func TestMessagesByType(t *testing.T) {
	n := NewNamespace(nil)
	c := newCaller(t, 0)
	id, _ := n.MsgGet(c, Private, Create)
	for _, kind := range []int64{5, 3, 4, 3, 9} {
		if err := n.MsgSend(c, id, kind, []byte{byte(kind)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []struct {
		kind  int64
		flags int
		want  int64
		err   error
	}{
		{2, MsgCopy | NoWait, 4, nil},
		{3, MsgExcept | NoWait, 5, nil},
		{-4, NoWait, 3, nil},
		{-4, NoWait, 3, nil},
		{-4, NoWait, 4, nil},
		{-4, NoWait, 0, unix.ENOMSG},
		{9, MsgExcept | NoWait, 0, unix.ENOMSG},
		{-1 << 63, NoWait, 9, nil},
		{0, NoWait, 0, unix.ENOMSG},
		{0, MsgCopy, 0, unix.EINVAL},
	} {
		kind, _, err := n.MsgReceive(c, id, 10, w.kind, w.flags)
		if kind != w.want || err != w.err {
			t.Errorf("type %d flags %o: %d %v, want %d %v", w.kind, w.flags, kind, err, w.want, w.err)
		}
	}
}

func TestQueueLimits(t *testing.T) {
	n := NewNamespace(nil)
	root, user := newCaller(t, 0), newCaller(t, 1000)
	root.Limits = map[int]uint64{unix.RLIMIT_MSGQUEUE: 819200}
	open := func(c *vfstest.Caller, name string, a QueueAttr) error {
		d, err := n.QueueOpen(c, name, unix.O_RDWR|unix.O_CREAT, 0o600, &a)
		if err == nil {
			d.Unref()
		}
		return err
	}
	for _, c := range []struct {
		what string
		got  error
		want error
	}{
		{"no messages", open(root, "a", QueueAttr{0, 1, 0}), unix.EINVAL},
		{"too many for a user", open(user, "a", QueueAttr{11, 1, 0}), unix.EINVAL},
		{"too long for a user", open(user, "a", QueueAttr{1, 8193, 0}), unix.EINVAL},
		{"within its limits", open(user, "a", QueueAttr{10, 8192, 0}), nil},
		{"beyond RLIMIT_MSGQUEUE", open(root, "b", QueueAttr{100, 8192, 0}), unix.EMFILE},
		{"exactly once", open(root, "b", QueueAttr{97, 8192, 0}), nil},
		{"not twice", open(root, "c", QueueAttr{97, 8192, 0}), unix.EMFILE},
		{"somebody else's", open(user, "b", QueueAttr{1, 1, 0}), unix.EACCES},
		{"a slash", open(root, "x/y", QueueAttr{1, 1, 0}), unix.EACCES},
		{"removed", n.QueueUnlink(root, "b"), nil},
		{"room again", open(root, "c", QueueAttr{97, 8192, 0}), nil},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}
