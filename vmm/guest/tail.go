package guest

import "sync"

// tail is an io.Writer that keeps the end of what was written.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// tailSize is how much of the kernel's log is kept for a failure.
const tailSize = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > tailSize {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf[max(len(t.buf)-tailSize, 0):]
}
