package contracts

import (
	"fmt"
	"strings"
	"testing"
)

func frame(kind, content string) string { return fmt.Sprintf("%s %d\n%s", kind, len(content), content) }

func TestFramesInAnyPieces(t *testing.T) {
	stream := frame("begin", "a/b") + frame("out", "one\nend 3\n") + frame("err", "oops") + frame("out", "two") + frame("end", "exit 3 1500") +
		frame("begin", "c/d") + frame("end", "signal 11 5")
	for size := 1; size <= len(stream); size++ {
		var got []string
		f := &frames{report: func(r Result) {
			got = append(got, fmt.Sprintf("%s %q %q %s %d", r.Name, r.Stdout, r.Stderr, r.End(), r.Took))
		}}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			if _, err := f.Write([]byte(rest[:n])); err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			rest = rest[n:]
		}
		want := `[a/b "one\nend 3\ntwo" "oops" exit 3 1500 c/d "" "" signal 11 5]`
		if fmt.Sprint(got) != want {
			t.Fatalf("pieces of %d: %s, want %s", size, got, want)
		}
		if err := f.check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFramesRefuseNonsense(t *testing.T) {
	for _, c := range []struct{ stream, fails string }{
		{"Segmentation fault somewhere in the driver, without any frame at all around it", "no frame"},
		{"out -1\n", "no frame"},
		{"out 99999999\n", "no frame"},
		{frame("out", "x"), "wrong time"},
		{frame("begin", "a") + frame("begin", "b"), "wrong time"},
		{frame("begin", "a") + frame("end", "well"), "how a ended"},
		{frame("begin", "a") + frame("what", ""), "wrong time"},
		{frame("begin", "a"), "while a was running"},
		{"begin 5\nab", "not whole"},
	} {
		f := &frames{report: func(Result) {}}
		_, err := f.Write([]byte(c.stream))
		if err == nil {
			err = f.check()
		}
		if err == nil || !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q: %v, want %q", c.stream, err, c.fails)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame("begin", "a") + frame("out", "x") + frame("end", "exit 0 1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &frames{report: func(Result) {}}
		p.Write(b)
		p.check()
	})
}
