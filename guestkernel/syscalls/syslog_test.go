package syscalls

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestKernelLogKeepsTheEnd(t *testing.T) {
	l := &kernelLog{started: time.Now()}
	l.Write([]byte("<3>disk on fire\n"))
	l.Write([]byte("no level"))
	want := regexp.MustCompile(`^<5>\[ +0\.\d{6}\] Linux version .*\n<3>\[ +0\.\d{6}\] disk on fire\n<12>\[ +0\.\d{6}\] no level\n$`)
	if !want.Match(l.buf) || l.unread != len(l.buf) || l.cleared != len(l.buf) {
		t.Errorf("%q, %d unread, %d since the last clear", l.buf, l.unread, l.cleared)
	}
	long := strings.Repeat("x", 1000)
	for range 200 {
		l.Write([]byte(long))
	}
	if len(l.buf) != logSize || l.unread != logSize || !strings.HasSuffix(string(l.buf), long+"\n") {
		t.Errorf("%d bytes kept, %d unread", len(l.buf), l.unread)
	}
}
