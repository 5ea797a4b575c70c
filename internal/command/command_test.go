package command

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

var samples = []Message{
	&Start{Path: "/bin/sh", Args: []string{"sh", "-c", "echo \x01 \u2028"}, Env: []string{"A=b"}, Dir: "/tmp", TTY: true, Rows: 24, Cols: 80},
	&Signal{Number: 15}, &WindowSize{Rows: 1, Cols: 2}, &StdinEnd{Bytes: 1 << 40}, &Done{},
	&Ready{Kernel: "Ringo"}, &Exit{Code: 3, StdoutBytes: 1, StderrBytes: 2, ConsoleBytes: 3}, &Exit{Signal: 9},
	&Failed{Reason: ReasonNotFound, Errno: 2, Message: "no"}, &Missing{Calls: map[string]uint64{"io_uring_setup": 2}},
}

func TestMessagesArriveAsSent(t *testing.T) {
	var stream bytes.Buffer
	for _, m := range samples {
		if err := Write(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(iotest.OneByteReader(&stream), MaxStart)
	for _, want := range samples {
		got, err := r.Read()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, %v; want %#v", got, err, want)
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Fatalf("at the end: %v, want EOF", err)
	}
}

func frame(body string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body
}

func TestReaderRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"half a length":       "\x01\x00",
		"truncated body":      frame(`{"ready":{}}`)[:9],
		"too long":            "\xff\xff\xff\xff{}",
		"just too long":       string(binary.LittleEndian.AppendUint32(nil, MaxFrame+1)) + strings.Repeat(" ", MaxFrame+1),
		"empty frame":         frame(""),
		"no message":          frame("{}"),
		"two messages":        frame(`{"ready":{},"done":{}}`),
		"unknown message":     frame(`{"launch":{}}`),
		"null":                frame(`{"exit":null}`),
		"array":               frame(`["exit"]`),
		"string for number":   frame(`{"exit":{"Code":"0"}}`),
		"negative byte count": frame(`{"exit":{"StdoutBytes":-1}}`),
		"rows out of range":   frame(`{"window-size":{"Rows":65536}}`),
		"number out of range": frame(`{"signal":{"Number":1e300}}`),
		"trailing garbage":    frame(`{"done":{}} x`),
		"not UTF-8, not JSON": frame("\xff\xfe"),
		"nested too deep":     frame(`{"missing":{"Calls":` + strings.Repeat("[", 20000) + `}}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(in), MaxFrame)
			if m, err := r.Read(); !errors.Is(err, ErrProtocol) {
				t.Fatalf("got %#v, %v; want ErrProtocol", m, err)
			}
			if _, err := r.Read(); !errors.Is(err, ErrProtocol) {
				t.Fatalf("second read: %v: errors must be final", err)
			}
		})
	}
}

func TestWriteRefusesOversizedMessages(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, &Failed{Message: strings.Repeat("x", MaxFrame)}); err == nil || out.Len() != 0 {
		t.Fatalf("err %v, %d bytes sent", err, out.Len())
	}
	if err := Write(&out, &Start{Args: []string{strings.Repeat("x", MaxFrame)}}); err != nil {
		t.Fatalf("Start may be larger: %v", err)
	}
	if err := Write(&out, &Start{Args: []string{strings.Repeat("x", MaxStart)}}); err == nil {
		t.Fatal("Start is bounded too")
	}
}

func TestALengthAloneCostsNoMemory(t *testing.T) {
	in := string(binary.LittleEndian.AppendUint32(nil, MaxStart)) + "{"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := NewReader(strings.NewReader(in), MaxStart).Read(); err == nil {
		t.Fatal("want an error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
		t.Fatalf("%d bytes allocated for 5 received", n)
	}
}

func FuzzReader(f *testing.F) {
	for _, m := range samples {
		var b bytes.Buffer
		_ = Write(&b, m)
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), MaxFrame)
		for {
			m, err := r.Read()
			if err != nil {
				if err != io.EOF && !errors.Is(err, ErrProtocol) {
					t.Fatalf("error of another kind: %v", err)
				}
				return
			}
			// What was understood can be said again and means the same.
			var b bytes.Buffer
			if err := Write(&b, m); err != nil {
				t.Skip() // escaping can make a frame outgrow the limit
			}
			again, err := NewReader(&b, MaxStart).Read()
			if err != nil || !reflect.DeepEqual(m, again) {
				t.Fatalf("%#v became %#v, %v", m, again, err)
			}
		}
	})
}
