package ipc

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Flags of msgrcv(2), and commands of msgctl(2).
const (
	MsgNoError = 0o10000
	MsgExcept  = 0o20000
	MsgCopy    = 0o40000

	CmdMsgStat    = 11
	CmdMsgInfo    = 12
	CmdMsgStatAny = 13
)

// message is one message of a queue.
type message struct {
	kind int64
	text []byte
}

// msgQueue is a System V message queue.
type msgQueue struct {
	Perm
	sent, received, changed int64
	bytes, most             uint64
	lastSender, lastReader  int
	messages                []*message
	gone                    bool
	news                    wait.Queue // In: a message came; Out: there is room; both: removed
}

// MsgStat is a struct msqid64_ds.
type MsgStat struct {
	Perm
	Sent, Received, Changed int64
	Bytes, Messages, Most   uint64
	Sender, Receiver        int
}

// MsgGet is msgget(2). Errors: EACCES, EEXIST, ENOENT, ENOSPC.
func (n *Namespace) MsgGet(c Caller, key int32, flags int) (id int, err error) {
	l := n.Limits()
	n.msg.Lock()
	defer n.msg.Unlock()
	return n.msg.find(c.Creds(), key, flags, l.MsgMni, func(*msgQueue) error { return nil }, func() (*msgQueue, error) {
		return &msgQueue{Perm: newPerm(c.Creds(), key, uint32(flags)), changed: now(), most: l.MsgMnb}, nil
	})
}

// MsgSend is msgsnd(2). Errors: EINVAL, EACCES, EAGAIN, EIDRM, wait.ErrRestartNoHandler.
func (n *Namespace) MsgSend(c Caller, id int, kind int64, text []byte, flags int) error {
	if kind < 1 || uint64(len(text)) > n.Limits().MsgMax {
		return unix.EINVAL
	}
	n.msg.Lock()
	q, err := n.msg.get(id)
	n.msg.Unlock()
	if err != nil {
		return err
	}
	return n.block(c, q, wait.Out, flags, func() error {
		if err := q.allows(c.Creds(), 0o222); err != nil {
			return err
		}
		if q.bytes+uint64(len(text)) > q.most || uint64(len(q.messages))+1 > q.most {
			return wait.ErrWouldBlock
		}
		q.messages = append(q.messages, &message{kind, text})
		q.bytes += uint64(len(text))
		q.lastSender, q.sent = c.PID(), now()
		q.news.Notify(wait.In)
		return nil
	})
}

// block calls try with the lock held until it answers anything but ErrWouldBlock, or the queue is removed.
func (n *Namespace) block(c Caller, q *msgQueue, mask wait.Mask, flags int, try func() error) error {
	locked := func() error {
		n.msg.Lock()
		defer n.msg.Unlock()
		if q.gone {
			return unix.EIDRM
		}
		return try()
	}
	if flags&NoWait != 0 {
		if err := locked(); err != wait.ErrWouldBlock {
			return err
		}
		return unix.EAGAIN
	}
	err := wait.Block(c, &q.news, mask, time.Time{}, locked)
	if err == wait.ErrRestart {
		err = wait.ErrRestartNoHandler
	}
	return err
}

// pick answers the index of the message that msgrcv(2) means, -1 when there is none.
func (q *msgQueue) pick(kind int64, flags int) int {
	best := -1
	for i, m := range q.messages {
		switch {
		case flags&MsgCopy != 0:
			if int64(i) == kind {
				return i
			}
		case kind == 0:
			return i
		case kind > 0 && flags&MsgExcept != 0:
			if m.kind != kind {
				return i
			}
		case kind > 0:
			if m.kind == kind {
				return i
			}
		case kind < 0:
			most := -kind
			if kind == -1<<63 {
				most = 1<<63 - 1
			}
			if m.kind <= most && (best < 0 || m.kind < q.messages[best].kind) {
				best = i
			}
		}
	}
	return best
}

// MsgReceive is msgrcv(2): text has at most size bytes. Errors: EINVAL, EACCES, E2BIG, ENOMSG, EIDRM, wait.ErrRestartNoHandler.
func (n *Namespace) MsgReceive(c Caller, id int, size uint64, kind int64, flags int) (got int64, text []byte, err error) {
	if flags&MsgCopy != 0 && (flags&MsgExcept != 0 || flags&NoWait == 0) {
		return 0, nil, unix.EINVAL
	}
	n.msg.Lock()
	q, err := n.msg.get(id)
	n.msg.Unlock()
	if err != nil {
		return 0, nil, err
	}
	err = n.block(c, q, wait.In, flags, func() error {
		if err := q.allows(c.Creds(), 0o444); err != nil {
			return err
		}
		at := q.pick(kind, flags)
		if at < 0 {
			return wait.ErrWouldBlock
		}
		m := q.messages[at]
		if uint64(len(m.text)) > size && flags&MsgNoError == 0 {
			return unix.E2BIG
		}
		got, text = m.kind, m.text[:min(uint64(len(m.text)), size)]
		if flags&MsgCopy != 0 {
			return nil
		}
		q.messages = append(q.messages[:at:at], q.messages[at+1:]...)
		q.bytes -= uint64(len(m.text))
		q.lastReader, q.received = c.PID(), now()
		q.news.Notify(wait.Out)
		return nil
	})
	if err == unix.EAGAIN {
		err = unix.ENOMSG
	}
	return got, text, err
}

func (n *Namespace) removeQueueLocked(q *msgQueue) {
	n.msg.remove(q)
	q.gone, q.messages = true, nil
	q.news.Notify(wait.In | wait.Out)
}

// MsgRemove is msgctl(IPC_RMID). Errors: EINVAL, EPERM.
func (n *Namespace) MsgRemove(c Caller, id int) error {
	n.msg.Lock()
	defer n.msg.Unlock()
	q, err := n.msg.get(id)
	if err == nil {
		err = q.owned(c.Creds())
	}
	if err == nil {
		n.removeQueueLocked(q)
	}
	return err
}

// MsgSet is msgctl(IPC_SET). Errors: EINVAL, EPERM.
func (n *Namespace) MsgSet(c Caller, id int, ch Change, most uint64) error {
	mnb := n.Limits().MsgMnb
	n.msg.Lock()
	defer n.msg.Unlock()
	q, err := n.msg.get(id)
	if err == nil {
		err = q.owned(c.Creds())
	}
	if err == nil && most > mnb && !c.Creds().Has(unix.CAP_SYS_RESOURCE) {
		err = unix.EPERM
	}
	if err != nil {
		return err
	}
	q.set(ch)
	q.most, q.changed = most, now()
	q.news.Notify(wait.In | wait.Out) // whoever waits may have lost the right to, or have room
	return nil
}

func (q *msgQueue) stat() MsgStat {
	return MsgStat{q.Perm, q.sent, q.received, q.changed, q.bytes, uint64(len(q.messages)), q.most, q.lastSender, q.lastReader}
}

// MsgStat is msgctl(IPC_STAT), and MSG_STAT and MSG_STAT_ANY with byPlace; anyone says that no permission is asked for. Errors: EINVAL, EACCES.
func (n *Namespace) MsgStat(c Caller, id int, byPlace, anyone bool) (MsgStat, error) {
	n.msg.Lock()
	defer n.msg.Unlock()
	q, err := n.msg.get(id)
	if byPlace {
		q, err = n.msg.byPlace(id)
	}
	if err == nil && !anyone {
		err = q.allows(c.Creds(), 0o444)
	}
	if err != nil {
		return MsgStat{}, err
	}
	return q.stat(), nil
}

// MsgUsage is how much there is: what MSG_INFO reports, and the highest used place.
func (n *Namespace) MsgUsage() (queues, messages, bytes, highest int) {
	n.msg.Lock()
	defer n.msg.Unlock()
	for _, q := range n.msg.objects {
		messages += len(q.messages)
		bytes += int(q.bytes)
	}
	return len(n.msg.objects), messages, bytes, n.msg.highest()
}

// MsgAll lists all queues by place.
func (n *Namespace) MsgAll() (all []MsgStat) {
	n.msg.Lock()
	defer n.msg.Unlock()
	for _, at := range n.msg.places() {
		all = append(all, n.msg.objects[at].stat())
	}
	return all
}
