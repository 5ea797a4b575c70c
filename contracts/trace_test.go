package contracts

import (
	"strings"
	"testing"
)

func TestTracesOfBothSidesMeet(t *testing.T) {
	var linux []Call
	for _, s := range []string{"7 12 0 0 0 0 0 0 94000000000000", "7 1 1 7fff0000 5 0 0 0 5", "8 39 0 0 0 0 0 0 8", "7 3 63 0 0 0 0 0 -9", "7 231 0 0 0 0 0 0 0"} {
		c, err := parseCall(s)
		if err != nil {
			t.Fatal(err)
		}
		linux = append(linux, c)
	}
	if _, err := parseCall("7 nonsense"); err == nil {
		t.Error("nonsense was taken for a call")
	}
	log := strings.Join([]string{
		"Ringo 6.12.0-ringo",
		"[2 .driver] clone(0x11, 0x0, 0x0, 0x0, 0x0, 0x0) = 0x3",
		"[3 a/b] execve(0x1000, 0x2000, 0x3000, 0x0, 0x0, 0x0) = gone",
		"[3 a/b] brk(0x0, 0x0, 0x0, 0x0, 0x0, 0x0) = 0x5f0000000000",
		"[3 a/b] write(0x1, 0x7ffe1000, 0x5, 0x0, 0x0, 0x0) = 0x5",
		"[4 a name] getpid(0x0, 0x0, 0x0, 0x0, 0x0, 0x0) = 0x4",
		"[3 a/b] close(0x63, 0x0, 0x0, 0x0, 0x0, 0x0) = bad file descriptor",
	}, "\n")
	numbers := map[string]int{"brk": 12, "write": 1, "getpid": 39, "close": 3, "exit_group": 231, "dup": 32}
	show := func(more string) string {
		var b strings.Builder
		WriteTraces(&b, append([]Call(nil), linux...), kernelCalls(strings.NewReader(log+more)), numbers)
		return b.String()
	}
	if got := show("\n[3 a/b] exit_group(0x0, 0x0, 0x0, 0x0, 0x0, 0x0) = 0x0"); !strings.Contains(got, "all 2 tasks agree") {
		t.Errorf("equal traces:\n%s", got)
	}
	got := show("\n[3 a/b] dup(0x1, 0x0, 0x0, 0x0, 0x0, 0x0) = 0x3")
	if !strings.Contains(got, "task 1") || !strings.Contains(got, "close(0x63) = EBADF") {
		t.Errorf("no context before the difference:\n%s", got)
	}
	for line := range strings.Lines(got) {
		if strings.Contains(line, "dup(0x1) = 3") != strings.HasPrefix(line, "!") {
			t.Errorf("marked wrongly: %s", line)
		}
	}
}
