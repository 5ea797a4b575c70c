package tty

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Line is what lies below a terminal: the wire, or a pty's other side.
type Line interface {
	// TryWrite takes what it can of b at once and answers how much.
	TryWrite(b []byte) int
}

// Processes is what a terminal needs of the task layer.
type Processes interface {
	// SignalProcessGroup sends a signal to all members of a process group.
	SignalProcessGroup(pgid, sig int)
	// SessionOf is the session of a process group; 0 when there is no such group.
	SessionOf(pgid int) int
}

// Buffer limits, in bytes.
const (
	maxLine    = 4095     // a line in canonical mode without its end (N_TTY_BUF_SIZE)
	maxInput   = 4096     // input not yet read
	maxOutput  = 16 << 10 // output not yet taken by the line
	outputRoom = 2 << 10  // POLLOUT when so much is free
)

// Terminal is a tty.
type Terminal struct {
	line      Line
	processes Processes
	sessions  *Sessions
	dev       uint64 // device number
	more      func() // called without locks when there is room for input again
	queue     wait.Queue

	mu      sync.Mutex
	termios Termios
	winsize winsize
	gone    bool // hung up
	// exclusive keeps others from opening it (TIOCEXCL).
	exclusive bool
	packet    func(what byte) // told of changes that packet mode reports, with mu held; may be nil

	// Input.
	lines   []inputLine // complete lines
	edit    []byte      // line being edited; in raw mode, what can be read
	literal bool        // the next character is taken as it is (VLNEXT)
	column  int         // of the cursor
	start   int         // column where the line being edited starts
	timer   *time.Timer // VTIME
	timing  bool        // a read waits with a timer
	expired bool        // and it has run out

	// Output.
	out     []byte // not yet taken by the line
	stopped bool   // by VSTOP or TCOOFF

	// Job control.
	session    int // whose controlling terminal this is; 0: nobody's
	foreground int // process group

	due []signal // to be sent once mu is released
}

// inputLine is a line in canonical mode; eof says that VEOF ended it.
type inputLine struct {
	data []byte
	eof  bool
}

type signal struct {
	pgid int
	sig  unix.Signal
}

// winsize is struct winsize.
type winsize struct{ rows, cols, xpixel, ypixel uint16 }

// New answers a terminal with default settings over line. more, which may be nil, is called when input that did not fit can be offered again.
func New(line Line, processes Processes, sessions *Sessions, more func()) *Terminal {
	return &Terminal{line: line, processes: processes, sessions: sessions, more: more, termios: Default, dev: consoleDev}
}

// unlock releases mu and sends the signals that came up.
func (t *Terminal) unlock() {
	due := t.due
	t.due = nil
	t.mu.Unlock()
	for _, s := range due {
		if s.pgid > 0 {
			t.processes.SignalProcessGroup(s.pgid, int(s.sig))
		}
	}
}

// Hangup ends the terminal: reads answer the end of the file, writes EIO, and the process group of the session's leader gets SIGHUP.
func (t *Terminal) Hangup() {
	t.mu.Lock()
	t.gone = true
	t.out = nil
	// The leader of the session is told; the foreground process group is when it ends (__tty_hangup).
	t.due = append(t.due, signal{t.session, unix.SIGHUP}, signal{t.session, unix.SIGCONT})
	t.queue.Notify(wait.In | wait.RdNorm | wait.Out | wait.WrNorm | wait.Hup)
	t.unlock()
}

func (t *Terminal) hungUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

// SetWindowSize changes the size in characters; the foreground process group gets SIGWINCH when it differs.
func (t *Terminal) SetWindowSize(rows, cols uint16) {
	t.mu.Lock()
	t.resizeLocked(winsize{rows: rows, cols: cols})
	t.unlock()
}

func (t *Terminal) resizeLocked(w winsize) {
	if w != t.winsize {
		t.winsize = w
		t.due = append(t.due, signal{t.foreground, unix.SIGWINCH})
	}
}

// file is an open terminal.
type file struct {
	vfs.StreamFile
	t *Terminal
}

// Open answers the operations of the terminal for a new description; it becomes the caller's controlling terminal as open(2) says.
func (t *Terminal) Open(c vfs.Caller, d *vfs.Description, mayControl bool) (vfs.File, error) {
	t.mu.Lock()
	defer t.unlock()
	switch {
	case t.gone:
		return nil, unix.EIO
	case t.exclusive && !c.Creds().Has(unix.CAP_SYS_ADMIN):
		return nil, unix.EBUSY
	}
	if mayControl && d.Flags()&unix.O_NOCTTY == 0 && c.PID() == c.SID() && t.session == 0 && t.sessions.of(c.SID()) == nil {
		t.controlLocked(c.SID(), c.PGID())
	}
	return file{t: t}, nil
}

// Register implements wait.Source.
func (f file) Register(e *wait.Entry, m wait.Mask) { f.t.queue.Register(e, m) }

// AsyncEvents implements vfs.Asynchronous.
func (file) AsyncEvents() (wait.Mask, bool) { return wait.In, false }

// Unregister implements wait.Source.
func (f file) Unregister(e *wait.Entry) { f.t.queue.Unregister(e) }

// Readiness implements vfs.File.
func (f file) Readiness(*vfs.Description) wait.Mask {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var m wait.Mask
	if t.gone {
		return wait.In | wait.RdNorm | wait.Out | wait.WrNorm | wait.Err | wait.Hup
	}
	least := 1
	if n := int(t.termios.Cc[unix.VMIN]); n > 0 && t.termios.Cc[unix.VTIME] == 0 {
		least = n
	}
	if t.readableLocked(least) {
		m |= wait.In | wait.RdNorm
	}
	if len(t.out) <= maxOutput-outputRoom && !t.stopped {
		m |= wait.Out | wait.WrNorm
	}
	return m
}

// available is the number of bytes that a read can get.
func (t *Terminal) available() int {
	n := 0
	for _, l := range t.lines {
		n += len(l.data)
	}
	if !t.termios.local(unix.ICANON) {
		n += len(t.edit)
	}
	return n
}

func (t *Terminal) readableLocked(least int) bool {
	if t.termios.local(unix.ICANON) {
		return len(t.lines) > 0
	}
	return t.available() >= least
}

// Read implements vfs.File.
func (f file) Read(c vfs.Caller, d *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	t := f.t
	t.mu.Lock()
	if err := t.backgroundLocked(c, unix.SIGTTIN); err != nil {
		t.unlock()
		return 0, err
	}
	data, err := t.takeLocked(dst.Len(), d.NonBlocking())
	t.unlock()
	if err != nil || len(data) == 0 {
		return 0, err
	}
	if t.more != nil {
		t.more()
	}
	return dst.CopyOut(0, data)
}

// takeLocked takes at most n bytes of input.
func (t *Terminal) takeLocked(n int, nonBlocking bool) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if t.termios.local(unix.ICANON) {
		if len(t.lines) == 0 {
			if t.gone {
				return nil, nil
			}
			return nil, wait.ErrWouldBlock
		}
		return t.takeLineLocked(n), nil
	}
	have := t.available()
	least, tenths := int(t.termios.Cc[unix.VMIN]), t.termios.Cc[unix.VTIME]
	least = min(least, n)
	enough := have >= least && (least > 0 || tenths == 0 || have > 0)
	if !enough && !t.gone && !t.expired {
		if tenths > 0 && (least == 0 || have > 0) && !nonBlocking {
			t.armLocked(time.Duration(tenths) * time.Second / 10)
		}
		if have > 0 && nonBlocking {
			enough = true
		} else {
			return nil, wait.ErrWouldBlock
		}
	}
	t.disarmLocked()
	var data []byte
	for len(t.lines) > 0 && len(data) < n {
		data = append(data, t.takeLineLocked(n-len(data))...)
	}
	k := min(n-len(data), len(t.edit))
	data = append(data, t.edit[:k]...)
	t.edit = t.edit[:copy(t.edit, t.edit[k:])]
	return data, nil
}

// takeLineLocked takes from the first line only.
func (t *Terminal) takeLineLocked(n int) []byte {
	l := &t.lines[0]
	n = min(n, len(l.data))
	data := append([]byte(nil), l.data[:n]...)
	if l.data = l.data[n:]; len(l.data) == 0 {
		t.lines = t.lines[1:]
	}
	return data
}

// armLocked starts the VTIME timer of a waiting read; bytes that arrive start it anew.
func (t *Terminal) armLocked(after time.Duration) {
	if t.timing {
		return
	}
	t.timing = true
	t.timer = time.AfterFunc(after, func() {
		t.mu.Lock()
		if t.timing {
			t.expired = true
			t.queue.Notify(wait.In | wait.RdNorm)
		}
		t.mu.Unlock()
	})
}

func (t *Terminal) disarmLocked() {
	if t.timing {
		t.timer.Stop()
	}
	t.timing, t.expired = false, false
}

// Write implements vfs.File.
func (f file) Write(c vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	t := f.t
	t.mu.Lock()
	defer t.unlock()
	if t.termios.local(unix.TOSTOP) {
		if err := t.backgroundLocked(c, unix.SIGTTOU); err != nil {
			return 0, err
		}
	}
	var chunk [1024]byte
	for done := 0; done < src.Len(); {
		if t.gone {
			return done, unix.EIO
		}
		room := (maxOutput - len(t.out)) / tabWidth
		if room <= 0 {
			t.flushLocked()
			if room = (maxOutput - len(t.out)) / tabWidth; room <= 0 {
				return done, wait.ErrWouldBlock
			}
		}
		n, err := src.CopyIn(done, chunk[:min(room, len(chunk), src.Len()-done)])
		for _, b := range chunk[:n] {
			t.putLocked(b)
		}
		if done += n; err != nil {
			t.flushLocked()
			return done, err
		}
	}
	t.flushLocked()
	return src.Len(), nil
}
