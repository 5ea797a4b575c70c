package afunix

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
)

// flight knows the descriptors that are in messages. A socket all of whose references are such descriptors, in the queues of sockets of
// which the same is true, can never be received by anybody: collect empties its queue.
var flight = struct {
	mu      sync.Mutex
	sockets map[*vfs.Description]*passenger // AF_UNIX sockets in flight
	users   map[uint32]int                  // descriptors in flight by user
	count   atomic.Int64                    // of sockets
	closed  int64                           // sockets closed since the last collection
}{sockets: make(map[*vfs.Description]*passenger), users: make(map[uint32]int)}

// passenger is an AF_UNIX socket in flight.
type passenger struct {
	s     *Socket
	times int // how often it is in flight

	// During a collection.
	candidate bool // nothing but messages refers to it
	inner     int  // flights in queues of candidates
	reachable bool
}

// baggage is the descriptors of a message, with a reference each.
type baggage struct {
	files []*vfs.Description
	uid   uint32 // whose RLIMIT_NOFILE counts them
}

func unixSocket(d *vfs.Description) *Socket {
	if f, err := socket.Of(d); err == nil {
		if s, ok := f.Socket.(*Socket); ok {
			return s
		}
	}
	return nil
}

// pack takes references of files for a message; nil for none. ETOOMANYREFS when the user has more in flight than RLIMIT_NOFILE (unless
// privileged).
func pack(c vfs.Caller, files []*vfs.Description) (*baggage, error) {
	if len(files) == 0 {
		return nil, nil
	}
	cr := c.Creds()
	b := &baggage{files: files, uid: cr.UID}
	flight.mu.Lock()
	defer flight.mu.Unlock()
	if uint64(flight.users[b.uid]) > c.Rlimit(unix.RLIMIT_NOFILE) && !cr.Has(unix.CAP_SYS_RESOURCE) && !cr.Has(unix.CAP_SYS_ADMIN) {
		return nil, unix.ETOOMANYREFS
	}
	flight.users[b.uid] += len(files)
	for _, d := range files {
		d.Ref()
		if s := unixSocket(d); s != nil {
			p := flight.sockets[d]
			if p == nil {
				p = &passenger{s: s}
				flight.sockets[d] = p
			}
			p.times++
			flight.count.Add(1)
		}
	}
	return b, nil
}

// unpack answers the files, whose references are the caller's from now on.
func (b *baggage) unpack() []*vfs.Description {
	if b == nil {
		return nil
	}
	flight.mu.Lock()
	defer flight.mu.Unlock()
	if flight.users[b.uid] -= len(b.files); flight.users[b.uid] <= 0 {
		delete(flight.users, b.uid)
	}
	for _, d := range b.files {
		if p := flight.sockets[d]; p != nil {
			if p.times--; p.times == 0 {
				delete(flight.sockets, d)
			}
			flight.count.Add(-1)
		}
	}
	return b.files
}

// copies answers the files with further references, for MSG_PEEK. The message is still queued, its socket locked.
func (b *baggage) copies() []*vfs.Description {
	if b == nil {
		return nil
	}
	for _, d := range b.files {
		d.Ref()
	}
	return append([]*vfs.Description(nil), b.files...)
}

// deepest is how many sockets may close each other, one out of the queue of the other, before the rest is closed by a goroutine of its own:
// the chain is as long as a program likes.
const deepest = 64

var dropping atomic.Int32

// drop closes the files.
func (b *baggage) drop() {
	files := b.unpack()
	if files == nil {
		return
	}
	closeAll := func() {
		for _, d := range files {
			d.Unref()
		}
	}
	if dropping.Add(1) > deepest {
		go func() { // ends when the files are closed
			closeAll()
			dropping.Add(-1)
		}()
		return
	}
	closeAll()
	dropping.Add(-1)
}

// collectEvery bounds what collections cost: with n sockets in flight, one in n/collectEvery closes pays for one. So garbage may wait for that many.
const collectEvery = 16

// collect closes the sockets that are out of everybody's reach.
//
// It is enough to look at sockets whose only references are flights. Each flight that is in the queue of such a socket is an inner one; a
// socket with more flights than inner ones is in the queue of a socket that somebody has, or just being received, so it can be reached, and with it all
// that its queue holds. The rest is garbage. flight.mu keeps messages from being unpacked meanwhile, and a socket that only garbage holds has no
// descriptor through which its queue could change.
func collect() {
	if flight.count.Load() == 0 {
		return
	}
	var garbage *message
	flight.mu.Lock()
	if flight.closed++; flight.closed < flight.count.Load()/collectEvery {
		flight.mu.Unlock()
		return
	}
	flight.closed = 0
	for d, p := range flight.sockets {
		p.candidate, p.inner, p.reachable = d.Refs() == int64(p.times), 0, false
	}
	for _, p := range flight.sockets {
		if p.candidate {
			p.s.cargo(func(q *passenger) { q.inner++ })
		}
	}
	var reached []*passenger
	for _, p := range flight.sockets {
		if p.candidate && p.times > p.inner {
			p.reachable = true
			reached = append(reached, p)
		}
	}
	for len(reached) > 0 {
		p := reached[len(reached)-1]
		reached = reached[:len(reached)-1]
		p.s.cargo(func(q *passenger) {
			if q.candidate && !q.reachable {
				q.reachable = true
				reached = append(reached, q)
			}
		})
	}
	for _, p := range flight.sockets {
		if p.candidate && !p.reachable {
			garbage = p.s.unload(garbage)
		}
	}
	flight.mu.Unlock()
	garbage.drop()
}

// queues calls fn for the queue of s and those of the connections in its backlog, each with its lock held. flight.mu is held.
func (s *Socket) queues(fn func(*queue)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.queue)
	for _, n := range s.pending {
		n.mu.Lock()
		fn(&n.queue)
		n.mu.Unlock()
	}
}

// cargo calls fn for every socket in flight to s.
func (s *Socket) cargo(fn func(*passenger)) {
	s.queues(func(q *queue) {
		for m := q.head; m != nil; m = m.next {
			if m.bag == nil {
				continue
			}
			for _, d := range m.bag.files {
				if p := flight.sockets[d]; p != nil {
					fn(p)
				}
			}
		}
	})
}

// unload puts the messages with descriptors that are queued at s before list.
func (s *Socket) unload(list *message) *message {
	s.queues(func(q *queue) {
		all := q.takeAll()
		for all != nil {
			m := all
			all, m.next = m.next, nil
			if m.bag == nil {
				q.put(m)
			} else {
				m.next = list
				list = m
			}
		}
	})
	return list
}
