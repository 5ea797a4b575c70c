//go:build amd64

package boot

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/stdio"
	"ringo/internal/command"
)

// TestProgramsThatDoNotStart gives every reason of Failed its cause, and checks that nothing stays behind.
func TestProgramsThatDoNotStart(t *testing.T) {
	dynamic := compileDynamic(t, "int main(void) { return 0; }")
	g := newGuest(t, map[string][]byte{
		"bin/dynamic": dynamic, "bin/text": []byte("no program\n"), "bin/script": []byte("#!/bin/none\n"), "bin/dir/x": nil, "etc/plain": []byte("x"),
		"bin/ok": compile(t, "gcc", "int main(void) { return 0; }"),
	})
	frames := g.m.inUse()
	big := []string{"ok"}
	for range 100 {
		big = append(big, strings.Repeat("x", 100_000))
	}
	for _, c := range []struct {
		name   string
		start  command.Start
		reason command.Reason
		errno  unix.Errno
		text   string
	}{
		{"missing", command.Start{Path: "/bin/nothing"}, command.ReasonNotFound, unix.ENOENT, "/bin/nothing"},
		{"missing in PATH", command.Start{Path: "nothing", Env: []string{"PATH=/bin:/usr/bin"}}, command.ReasonNotFound, unix.ENOENT, "/bin:/usr/bin"},
		{"directory", command.Start{Path: "/bin/dir"}, command.ReasonNotExecutable, unix.EACCES, "/bin/dir"},
		{"no format", command.Start{Path: "/bin/text"}, command.ReasonBadFormat, unix.ENOEXEC, "neither"},
		{"no ELF interpreter", command.Start{Path: "/bin/dynamic"}, command.ReasonNoInterpreter, unix.ENOENT, "/lib64/ld-linux-x86-64.so.2"},
		{"no script interpreter", command.Start{Path: "/bin/script"}, command.ReasonNoInterpreter, unix.ENOENT, "script"},
		{"no directory", command.Start{Path: "/bin/ok", Dir: "/none"}, command.ReasonBadDir, unix.ENOENT, "/none"},
		{"file as directory", command.Start{Path: "/bin/ok", Dir: "/etc/plain"}, command.ReasonBadDir, unix.ENOTDIR, "/etc/plain"},
		{"too many arguments", command.Start{Path: "/bin/ok", Args: big}, command.ReasonTooBig, unix.E2BIG, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := &bufferPort{}
			_, d0, err := stdio.OpenInput(port)
			if err != nil {
				t.Fatal(err)
			}
			d1, err := stdio.OpenOutput(port)
			if err != nil {
				t.Fatal(err)
			}
			d1.Ref()
			grp, failed := Start(g.k, g.ns, &c.start, Streams{d0, d1, d1}, nil)
			if grp != nil || failed == nil || failed.Reason != c.reason || failed.Errno != int(c.errno) || !strings.Contains(failed.Message, c.text) {
				t.Errorf("%+v, want reason %s errno %d and %q", failed, c.reason, int(c.errno), c.text)
			}
			if strings.Contains(failed.Message, "\n") {
				t.Errorf("more than one line: %q", failed.Message)
			}
		})
	}
	if n := g.k.Live(); n != 0 || len(g.k.PIDs()) != 1 {
		t.Errorf("%d tasks, processes %v", n, g.k.PIDs())
	}
	// Reading the files put them into the page cache; nothing else may have grown.
	if n := g.m.inUse(); n > frames+20 {
		t.Errorf("%d frames more than before", n-frames)
	}
}
