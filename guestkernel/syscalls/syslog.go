package syscalls

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{"syslog": sysSyslog})
}

// KernelLog is what syslog(2) reads: a line about the kernel, and what programs write to /dev/kmsg.
var KernelLog = &kernelLog{started: time.Now()}

// kernelLog keeps the last logSize bytes.
type kernelLog struct {
	mu      sync.Mutex
	started time.Time
	buf     []byte
	unread  int // bytes at the end that SYSLOG_ACTION_READ has not given yet
	cleared int // bytes at the end that came after SYSLOG_ACTION_CLEAR
	begun   bool
}

const logSize = 64 << 10

// Write adds a line at the default level, user.notice or what its own <N> says.
func (l *kernelLog) Write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	l.add(line)
}

func (l *kernelLog) begin() {
	if !l.begun {
		l.begun = true
		l.add(fmt.Appendf(nil, "<5>Linux version %s (Ringo)", Release))
	}
}

func (l *kernelLog) add(line []byte) {
	level := []byte("<12>")
	if len(line) > 2 && line[0] == '<' {
		for i := 1; i < min(len(line), 6); i++ {
			if line[i] == '>' {
				level, line = line[:i+1], line[i+1:]
				break
			}
		}
	}
	since := time.Since(l.started)
	text := fmt.Appendf(nil, "%s[%5d.%06d] %s", level, since/time.Second, since%time.Second/time.Microsecond, line)
	if text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	l.buf = append(l.buf, text...)
	l.unread += len(text)
	l.cleared += len(text)
	if over := len(l.buf) - logSize; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	l.unread, l.cleared = min(l.unread, len(l.buf)), min(l.cleared, len(l.buf))
}

// Actions of syslog(2).
const (
	syslogRead        = 2
	syslogReadAll     = 3
	syslogReadClear   = 4
	syslogClear       = 5
	syslogConsoleLast = 8
	syslogSizeUnread  = 9
	syslogSizeBuffer  = 10
)

// sysSyslog is syslog(2). The console's level is not kept: those actions only look at their arguments. Reading more than there is does not wait for
// new lines.
func sysSyslog(t *task.Task, a Args) (uint64, error) {
	action, n := a.Int(0), a.Int(2)
	if action < 0 || action > syslogSizeBuffer {
		return 0, unix.EINVAL
	}
	if action != syslogReadAll && action != syslogSizeBuffer && !t.Creds().Has(unix.CAP_SYSLOG) && !t.Creds().Has(unix.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	l := KernelLog
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	var text []byte
	switch action {
	case syslogRead, syslogReadAll, syslogReadClear:
		if a[1] == 0 || n < 0 {
			return 0, unix.EINVAL
		}
		if action == syslogRead {
			text = l.buf[len(l.buf)-l.unread:]
			text = text[:min(len(text), n)]
			l.unread -= len(text)
		} else {
			text = l.buf[len(l.buf)-l.cleared:]
			text = text[max(0, len(text)-n):]
		}
	case syslogConsoleLast:
		if n < 1 || n > 8 {
			return 0, unix.EINVAL
		}
	case syslogSizeUnread:
		return uint64(l.unread), nil
	case syslogSizeBuffer:
		return logSize, nil
	}
	if action == syslogClear || action == syslogReadClear {
		l.cleared = 0
	}
	if len(text) == 0 {
		return 0, nil
	}
	return uint64(len(text)), t.CopyOutUser(a[1], text)
}
