package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"ringo/debug/classify"
)

// ErrFormat is wrapped by every error of Read about the file's content.
var ErrFormat = errors.New("not a file of debug events")

// File is a file of events, read back.
type File struct {
	Header Header
	Events []Event
	Footer Footer
	// Complete: the last line is there; else the monitor died before it.
	Complete bool
}

// maxLine bounds a line: a 64 KiB write twice in hexadecimal, and stacks.
const maxLine = 1 << 20

// Read reads a file of events and checks all that the schema promises: docs/debugging.md.
func Read(r io.Reader) (*File, error) {
	f := new(File)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		if f.Complete {
			return nil, fmt.Errorf("%w: line %d is behind the counters", ErrFormat, n)
		}
		if err := f.line(n, lines.Bytes()); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrFormat, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if f.Header.Schema == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	return f, nil
}

func (f *File) line(n int, b []byte) error {
	var kind struct {
		V    int  `json:"v"`
		Kind Kind `json:"kind"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return err
	}
	if kind.V < 1 || kind.V > Version {
		return fmt.Errorf("version %d, this reader knows up to %d", kind.V, Version)
	}
	strict := func(v any) error {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		return d.Decode(v)
	}
	switch {
	case n == 1:
		if err := strict(&f.Header); err != nil {
			return err
		}
		return f.Header.check()
	case kind.Kind == kindFooter:
		f.Complete = true
		if err := strict(&f.Footer); err != nil {
			return err
		}
		if f.Footer.Events != uint64(len(f.Events)) {
			return fmt.Errorf("%d events are counted, and %d are here", f.Footer.Events, len(f.Events))
		}
		return nil
	}
	var e Event
	if err := strict(&e); err != nil {
		return err
	}
	if e.Seq != uint64(len(f.Events))+1 {
		return fmt.Errorf("event %d is number %d", len(f.Events)+1, e.Seq)
	}
	f.Events = append(f.Events, e)
	return e.check()
}

func (h *Header) check() error {
	switch {
	case h.Kind != kindHeader || h.Schema != schemaName:
		return fmt.Errorf("kind %q, schema %q, want %q, %q", h.Kind, h.Schema, kindHeader, schemaName)
	case h.Kernel == "" || h.Monitor == "" || h.Arch == "" || h.CPUs < 1:
		return errors.New("kernel, monitor, arch and cpus must be known")
	}
	return nil
}

// check is what an event of each kind must have.
func (e *Event) check() error {
	if e.ID == "" || e.Verdict == "" {
		return errors.New("an event needs an id and a verdict")
	}
	rule := e.Rule == "" || slices.Contains(classify.Rules(), classify.Rule(e.Rule))
	switch {
	case !rule:
		return fmt.Errorf("there is no rule %q", e.Rule)
	case len(e.Old) != len(e.New):
		return fmt.Errorf("%d bytes old, %d new", len(e.Old), len(e.New))
	case e.Victim != nil && (e.Victim.Hi <= e.Victim.Lo || e.Victim.What == ""):
		return errors.New("the victim is nothing")
	}
	for _, n := range e.Notes {
		if n.Offset < 0 || n.Len < 1 || n.Offset+n.Len > len(e.Old) {
			return fmt.Errorf("a note about bytes %d to %d of %d", n.Offset, n.Offset+n.Len, len(e.Old))
		}
	}
	switch e.Kind {
	case KindWrite, KindWatch:
		switch {
		case e.Kind == KindWatch && e.Rule != "":
			return errors.New("a watch judges nothing")
		case e.Kind == KindWatch:
		case e.Rule == "" || len(e.Because) == 0:
			return errors.New("a write needs a rule with its evidence")
		}
		switch {
		case len(e.New) == 0 || e.Engine == "" || e.How == "":
			return errors.New("a write needs bytes, what kind it is and the engine that saw it")
		case e.Source == "" && e.VCPU < 0:
			return errors.New("a write needs a vCPU or a source")
		}
	case KindChange:
		if e.Victim == nil || e.Rule == "" {
			return errors.New("a change needs a victim and a rule")
		}
	case KindCrash:
	default:
		return fmt.Errorf("there is no kind %q", e.Kind)
	}
	return nil
}
