package afunix

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

var le = binary.LittleEndian

// Linux's arithmetic of buffers, in bytes: a struct sk_buff, the shared info behind linear data, and how much of a stream one buffer takes.
const (
	skbSize     = 256
	skbShared   = 320
	skbSmall    = 512               // the smallest linear part
	maxLinear   = 4096 - skbShared  // of a stream's buffer: SKB_MAX_HEAD(0)
	maxFragment = 32768             // UNIX_SKB_FRAGS_SZ
	maxPacket   = 16384 - skbShared // linear part of a datagram: SKB_MAX_ALLOC
)

// charge is the truesize of a buffer with n bytes, of which about maxLinear are in one piece and the rest in pages: what it counts against SO_SNDBUF.
func charge(n, maxLinear int) int64 {
	pages := func(n int) int { return (n + vfs.PageSize - 1) &^ (vfs.PageSize - 1) }
	paged := 0
	if n > maxLinear {
		paged = min(n, pages(n-maxLinear))
	}
	linear := (n-paged+63)&^63 + skbShared
	size := skbSmall
	for size < linear {
		size *= 2
	}
	return int64(skbSize + size + pages(paged))
}

// Memory bounds what all messages of the machine take of the kernel's heap, in bytes.
var Memory = struct {
	Limit atomic.Int64
	used  atomic.Int64
}{}

func init() { Memory.Limit.Store(64 << 20) }

// message is a buffer in a receive queue.
type message struct {
	next   *message
	data   []byte
	at     int     // stream: bytes that were read
	sender *Socket // who is charged
	cost   int64
	name   *name // of the sender when it sent
	creds  *socket.Credentials
	bag    *baggage
}

func (m *message) left() int { return len(m.data) - m.at }

// queue is a list of messages.
type queue struct {
	head, tail *message
	n, bytes   int
}

func (q *queue) put(m *message) {
	if q.tail == nil {
		q.head = m
	} else {
		q.tail.next = m
	}
	q.tail = m
	q.n++
	q.bytes += m.left()
}

// take removes the first message.
func (q *queue) take() *message {
	m := q.head
	if q.head = m.next; q.head == nil {
		q.tail = nil
	}
	m.next = nil
	q.n--
	q.bytes -= m.left()
	return m
}

// takeAll empties the queue and answers its first message.
func (q *queue) takeAll() *message {
	m := q.head
	*q = queue{}
	return m
}

// drop ends a list of messages that nobody will read.
func (m *message) drop() {
	for ; m != nil; m = m.next {
		m.uncharge()
		m.bag.drop()
		m.bag = nil
	}
}

// reserve makes the message that will hold n bytes of s: ErrWouldBlock when SO_SNDBUF is used up, ENOBUFS when the machine's memory is.
func (s *Socket) reserve(n, maxLinear int) (*message, error) {
	if s.wmem.Load() >= int64(s.SendBuffer()) {
		return nil, wait.ErrWouldBlock
	}
	cost := charge(n, maxLinear)
	if Memory.used.Add(cost) > Memory.Limit.Load() {
		Memory.used.Add(-cost)
		return nil, unix.ENOBUFS
	}
	s.wmem.Add(cost)
	return &message{data: make([]byte, n), sender: s, cost: cost}, nil
}

// uncharge gives the sender its space back and tells it when it counts as writable.
func (m *message) uncharge() {
	if m.cost == 0 {
		return
	}
	s := m.sender
	Memory.used.Add(-m.cost)
	s.wmem.Add(-m.cost)
	m.cost = 0
	if s.roomy() {
		s.Queue.Notify(writable)
	}
}
