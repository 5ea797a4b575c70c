package contracts

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// frames parses what the driver writes. The programs under it cannot forge frames: their output is only ever a
// frame's content.
type frames struct {
	begun  func(name string)
	report func(Result)

	buf      bytes.Buffer // what is not parsed yet
	name     string       // of the running program, "" between programs
	since    time.Time
	out, err bytes.Buffer
	calls    []Call
	broken   error
}

// maxFrame bounds one frame; the driver's largest is a pipe's capacity.
const maxFrame = 1 << 20

// Write takes the driver's output in any pieces.
func (f *frames) Write(b []byte) (int, error) {
	if f.broken != nil {
		return 0, f.broken
	}
	f.buf.Write(b)
	for f.broken == nil && f.next() {
	}
	return len(b), f.broken
}

// next takes one frame and says whether there may be another.
func (f *frames) next() bool {
	b := f.buf.Bytes()
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > 64 {
			f.broken = fmt.Errorf("no frame of the driver: %q", b[:64])
		}
		return false
	}
	kind, length, _ := strings.Cut(string(b[:end]), " ")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > maxFrame {
		f.broken = fmt.Errorf("no frame of the driver: %.80q", b[:end])
		return false
	}
	if len(b) < end+1+n {
		return false
	}
	f.buf.Next(end + 1)
	f.frame(kind, f.buf.Next(n))
	return true
}

func (f *frames) frame(kind string, content []byte) {
	switch {
	case kind == "begin" && f.name == "":
		f.name, f.since = string(content), time.Now()
		f.out.Reset()
		f.err.Reset()
		f.calls = nil
		if f.begun != nil {
			f.begun(f.name)
		}
	case kind == "out" && f.name != "":
		f.out.Write(content)
	case kind == "err" && f.name != "":
		f.err.Write(content)
	case kind == "sys" && f.name != "":
		c, err := parseCall(string(content))
		if err != nil {
			f.broken = err
			return
		}
		f.calls = append(f.calls, c)
	case kind == "end" && f.name != "":
		r := Result{Name: f.name, Stdout: bytes.Clone(f.out.Bytes()), Stderr: bytes.Clone(f.err.Bytes()), Calls: f.calls}
		var ns int64
		if _, err := fmt.Sscanf(string(content), "%s %d %d", &r.How, &r.Code, &ns); err != nil {
			f.broken = fmt.Errorf("the driver's word for how %s ended: %q", f.name, content)
			return
		}
		r.Took = time.Duration(ns)
		f.name = ""
		f.report(r)
	default:
		f.broken = fmt.Errorf("the driver sent %q at the wrong time (program %q)", kind, f.name)
	}
}

// check says what is wrong when the driver has ended.
func (f *frames) check() error {
	switch {
	case f.broken != nil:
		return f.broken
	case f.name != "":
		return fmt.Errorf("the driver ended while %s was running", f.name)
	case f.buf.Len() > 0:
		return errors.New("the driver's last frame is not whole")
	}
	return nil
}
