package ipc

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// QueueAttr is what a struct mq_attr says of a queue.
type QueueAttr struct {
	MaxMessages, MessageSize int64
	Messages                 int64 // mq_curmsgs
}

// Bounds of a queue that even privilege does not go beyond, and the number of priorities (ipc/mqueue.c).
const (
	queueHardMessages = 65536
	queueHardSize     = 16 << 20
	queuePriorities   = 32768 // MQ_PRIO_MAX
	queueNodeSize     = 48    // struct msg_msg, and struct posix_msg_tree_node: both count against RLIMIT_MSGQUEUE
)

type queueMessage struct {
	priority uint32
	text     []byte
}

// queueInode is a POSIX message queue.
type queueInode struct {
	vfs.Attrs
	vfs.NotDirectory
	fs    *queueFS
	attr  QueueAttr // limits; never change
	owner uint32    // whose RLIMIT_MSGQUEUE it counts against
	cost  uint64    // bytes it counts
	news  wait.Queue

	mu        sync.Mutex
	messages  []queueMessage // in the order in which they are received
	bytes     int
	receivers int // that sleep
	notify    *notification
}

// notification is what mq_notify(3) asked for.
type notification struct {
	table *vfs.FDTable // of the process that asked: it ends when it closes the queue
	pid   int
	show  [2]int // sigev_notify and sigev_signo, for the file's text
	fire  func(sender Caller)
}

// cost is what a queue counts against RLIMIT_MSGQUEUE.
func (a QueueAttr) cost() uint64 {
	return uint64(a.MaxMessages)*queueNodeSize + uint64(min(a.MaxMessages, queuePriorities))*queueNodeSize + uint64(a.MaxMessages)*uint64(a.MessageSize)
}

// Size implements vfs.Inode.
func (q *queueInode) Size() (int64, int64) { return queueTextSize, 0 }

// Open implements vfs.Inode.
func (q *queueInode) Open(vfs.Caller, *vfs.Description) (vfs.File, error) {
	return &openQueue{q: q}, nil
}

// Truncate implements vfs.Inode.
func (q *queueInode) Truncate(vfs.Caller, int64) error { return nil }

// Destroy implements vfs.Inode.
func (q *queueInode) Destroy() { q.fs.gone(q) }

// openQueue is a message queue descriptor.
type openQueue struct {
	vfs.SeekableFile
	q *queueInode
}

// Register implements wait.Source.
func (o *openQueue) Register(e *wait.Entry, m wait.Mask) { o.q.news.Register(e, m) }

// Unregister implements wait.Source.
func (o *openQueue) Unregister(e *wait.Entry) { o.q.news.Unregister(e) }

// Readiness implements vfs.File.
func (o *openQueue) Readiness(*vfs.Description) (m wait.Mask) {
	q := o.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) > 0 {
		m |= wait.In | wait.RdNorm
	}
	if int64(len(q.messages)) < q.attr.MaxMessages {
		m |= wait.Out | wait.WrNorm
	}
	return m
}

// queueTextSize is st_size of a queue (FILENT_SIZE).
const queueTextSize = 80

// Read implements vfs.File: the queue as text.
func (o *openQueue) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, pos *int64) (int, error) {
	q := o.q
	q.mu.Lock()
	n := notification{}
	if q.notify != nil {
		n = *q.notify
	}
	text := fmt.Appendf(nil, "QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", q.bytes, n.show[0], n.show[1], n.pid)
	q.mu.Unlock()
	if *pos >= int64(len(text)) {
		return 0, nil
	}
	text = text[*pos:]
	done, err := dst.CopyOut(0, text[:min(len(text), dst.Len())])
	*pos += int64(done)
	return done, err
}

// Leave is told that a process closes a descriptor of the queue.
func (o *openQueue) Leave(t *vfs.FDTable) {
	o.q.mu.Lock()
	defer o.q.mu.Unlock()
	if n := o.q.notify; n != nil && n.table == t {
		o.q.notify = nil
	}
}

// Queue is an open message queue.
type Queue struct {
	d *vfs.Description
	q *queueInode
}

// QueueOf is the queue behind a description: EBADF when it is none.
func QueueOf(d *vfs.Description) (Queue, error) {
	if o, ok := d.File().(*openQueue); ok {
		return Queue{d, o.q}, nil
	}
	return Queue{}, unix.EBADF
}

// Attr answers the queue's limits and how many messages there are.
func (q Queue) Attr() QueueAttr {
	q.q.mu.Lock()
	defer q.q.mu.Unlock()
	a := q.q.attr
	a.Messages = int64(len(q.q.messages))
	return a
}

// block calls try until it answers anything but ErrWouldBlock: EAGAIN instead for O_NONBLOCK, ETIMEDOUT at the deadline.
func (q Queue) block(c Caller, mask wait.Mask, deadline time.Time, try func() error) error {
	err := try()
	if err != wait.ErrWouldBlock {
		return err
	}
	if q.d.NonBlocking() {
		return unix.EAGAIN
	}
	if mask == wait.In {
		q.q.mu.Lock()
		q.q.receivers++
		q.q.mu.Unlock()
		defer func() {
			q.q.mu.Lock()
			q.q.receivers--
			q.q.mu.Unlock()
		}()
	}
	if err = wait.Block(c, &q.q.news, mask, deadline, try); err == wait.ErrTimedOut {
		err = unix.ETIMEDOUT
	}
	return err
}

// Send is mq_timedsend(3); a zero deadline is none. Errors: EBADF, EINVAL, EMSGSIZE, EAGAIN, ETIMEDOUT, wait.ErrRestart, and read's.
func (q Queue) Send(c Caller, size uint64, priority uint32, deadline time.Time, read func([]byte) error) error {
	switch {
	case !q.d.Writable():
		return unix.EBADF
	case size > uint64(q.q.attr.MessageSize):
		return unix.EMSGSIZE
	}
	text := make([]byte, size)
	if err := read(text); err != nil {
		return err
	}
	var fire func(Caller)
	err := q.block(c, wait.Out, deadline, func() error {
		i := q.q
		i.mu.Lock()
		defer i.mu.Unlock()
		if int64(len(i.messages)) >= i.attr.MaxMessages {
			return wait.ErrWouldBlock
		}
		at := len(i.messages)
		for at > 0 && i.messages[at-1].priority < priority {
			at--
		}
		i.messages = slices.Insert(i.messages, at, queueMessage{priority, text})
		i.bytes += len(text)
		if n := i.notify; n != nil && len(i.messages) == 1 && i.receivers == 0 {
			fire, i.notify = n.fire, nil
		}
		i.Modified()
		i.news.Notify(wait.In | wait.RdNorm)
		return nil
	})
	if fire != nil {
		fire(c)
	}
	return err
}

// Receive is mq_timedreceive(3) into a buffer of size bytes. Errors: EBADF, EMSGSIZE, EAGAIN, ETIMEDOUT, wait.ErrRestart.
func (q Queue) Receive(c Caller, size uint64, deadline time.Time) (text []byte, priority uint32, err error) {
	switch {
	case !q.d.Readable():
		return nil, 0, unix.EBADF
	case size < uint64(q.q.attr.MessageSize):
		return nil, 0, unix.EMSGSIZE
	}
	err = q.block(c, wait.In, deadline, func() error {
		i := q.q
		i.mu.Lock()
		defer i.mu.Unlock()
		if len(i.messages) == 0 {
			return wait.ErrWouldBlock
		}
		text, priority = i.messages[0].text, i.messages[0].priority
		i.messages = slices.Delete(i.messages, 0, 1)
		i.bytes -= len(text)
		i.Modified()
		i.news.Notify(wait.Out | wait.WrNorm)
		return nil
	})
	return text, priority, err
}

// ValidPriority says whether a message may have the priority.
func ValidPriority(p uint64) bool { return p < queuePriorities }

// Notify is mq_notify(3): fire is called once, by the sender, when a message comes to the empty queue and nobody waits for it. kind and signal
// are the sigevent's, to be shown. The error is EBUSY.
func (q Queue) Notify(c Caller, kind, signal int, fire func(sender Caller)) error {
	q.q.mu.Lock()
	defer q.q.mu.Unlock()
	if q.q.notify != nil {
		return unix.EBUSY
	}
	q.q.notify = &notification{table: c.FDs(), pid: c.PID(), show: [2]int{kind, signal}, fire: fire}
	return nil
}

// Forget takes back what the calling process asked Notify for, if it did.
func (q Queue) Forget(c Caller) {
	q.q.mu.Lock()
	defer q.q.mu.Unlock()
	if n := q.q.notify; n != nil && n.table == c.FDs() {
		q.q.notify = nil
	}
}
