package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Recorder takes the findings of one run: prints each as it comes, counts those that say the same as an
// earlier one, and keeps the files of a report folder. Safe for concurrent use.
type Recorder struct {
	o Options

	mu      sync.Mutex
	seq     uint64
	byKey   map[string]*Event
	repeats map[string]uint64
	events  []*Event
	files   []*os.File
	text    io.Writer
	lines   *bufio.Writer
	err     error // the first of writing the files
	closed  bool
}

// Options of a Recorder. The header's V, Kind and Schema are filled in.
type Options struct {
	Header Header
	// Text gets every new event, and the summary at the end. Nil: nowhere.
	Text  io.Writer
	Style Style
	// Dir is a folder for report.txt, report.jsonl and index.txt. "": none.
	Dir string
	// Counters answers those of the moment. Called without a lock of the Recorder's.
	Counters func() Counters
	// Quiet leaves out the summary when there is no event.
	Quiet bool
}

// maxEvents bounds the events that are kept: a guest in a bad way makes new ones for ever.
const maxEvents = 1000

// NewRecorder starts a recording. It makes the folder if there is to be one; a folder that already has a report is
// refused.
func NewRecorder(o Options) (*Recorder, error) {
	o.Header.V, o.Header.Kind, o.Header.Schema = Version, kindHeader, schemaName
	if o.Header.Start == "" {
		o.Header.Start = time.Now().UTC().Format(time.RFC3339)
	}
	if o.Counters == nil {
		o.Counters = func() Counters { return Counters{} }
	}
	r := &Recorder{o: o, byKey: make(map[string]*Event), repeats: make(map[string]uint64), text: o.Text}
	if r.text == nil {
		r.text = io.Discard
	}
	if o.Dir == "" {
		return r, nil
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("report folder: %w", err)
	}
	for _, name := range []string{"report.txt", "report.jsonl"} {
		f, err := os.OpenFile(filepath.Join(o.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			r.closeFiles()
			return nil, fmt.Errorf("report folder: %w", err)
		}
		r.files = append(r.files, f)
	}
	r.lines = bufio.NewWriter(r.files[1])
	r.line(&r.o.Header)
	return r, nil
}

// Folder is the name of a report folder of the moment in parent.
func Folder(parent string, now time.Time) string {
	return filepath.Join(parent, "vm-debug-"+now.UTC().Format("20060102-150405"))
}

func (r *Recorder) closeFiles() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	r.files = nil
	return errors.Join(errs...)
}

// line writes one line of JSON; the caller holds mu or is alone.
func (r *Recorder) line(v any) {
	if r.lines == nil {
		return
	}
	b, err := json.Marshal(v)
	if err == nil {
		_, err = r.lines.Write(append(b, '\n'))
	}
	if err == nil {
		err = r.lines.Flush() // what was found must be on disk if the monitor dies
	}
	r.keep(err)
}

func (r *Recorder) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Add takes one finding; it sets V, Seq and ID. False: an earlier one says the same, and this one was counted.
func (r *Recorder) Add(e *Event) bool {
	counters := r.o.Counters()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	key := e.Key()
	if first := r.byKey[key]; first != nil {
		r.repeats[first.ID]++
		e.ID = first.ID
		return false
	}
	if len(r.events) >= maxEvents {
		r.repeats["too many"]++
		return false
	}
	r.seq++
	e.V, e.Seq = Version, r.seq
	prefix := "memory"
	switch {
	case e.Kind == KindCrash:
		prefix = "crash"
	case e.Kind == KindWatch:
		prefix = "watch"
	case e.Victim != nil && e.Victim.What == "kernel stack":
		prefix = "stack"
	}
	e.ID = fmt.Sprintf("%s-%04d", prefix, r.seq)
	r.byKey[key] = e
	r.events = append(r.events, e)
	r.line(e)
	if e.Kind != KindCrash && e.Kind != KindWatch { // which are printed where they always were
		r.keep(WriteText(r.text, e, &counters, r.o.Style))
	}
	if len(r.files) > 0 {
		r.keep(WriteText(r.files[0], e, &counters, Style{}))
	}
	return true
}

// Events are those so far, without repeats.
func (r *Recorder) Events() []*Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Event(nil), r.events...)
}

// Attach writes a further file of the run into the report folder; nothing without one.
func (r *Recorder) Attach(name string, write func(io.Writer) error) error {
	if r.o.Dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(r.o.Dir, filepath.Base(name)))
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Close writes the last line, the summary and the index, and answers the first error of writing the
// files.
func (r *Recorder) Close() (Footer, error) {
	counters := r.o.Counters()
	r.mu.Lock()
	defer r.mu.Unlock()
	f := Footer{V: Version, Kind: kindFooter, Events: uint64(len(r.events)), Repeats: r.repeats, Counters: counters}
	watched := 0
	for _, e := range r.events {
		switch e.Kind {
		case KindCrash:
			f.Crashes++
		case KindWatch:
			watched++
		}
	}
	if r.closed {
		return f, r.err
	}
	r.closed = true
	if len(r.events) > watched || !r.o.Quiet {
		r.keep(WriteSummary(r.text, &f))
	}
	if len(r.files) > 0 {
		r.keep(WriteSummary(r.files[0], &f))
		r.line(&f)
		r.keep(r.closeFiles())
		r.keep(r.index(&f))
	}
	return f, r.err
}

// index lists what is in the folder and what each report says.
func (r *Recorder) index(f *Footer) error {
	return r.Attach("index.txt", func(w io.Writer) error {
		b := bufio.NewWriter(w)
		h := &r.o.Header
		fmt.Fprintf(b, "Ringo debug report of %s\nkernel %s, monitor %s, %s, %d CPUs, guard %s\n\n", h.Start, h.Kernel, h.Monitor, h.Arch, h.CPUs, h.Guard)
		for _, e := range r.events {
			times := ""
			if n := r.repeats[e.ID]; n > 0 {
				times = fmt.Sprintf(" (%d times more)", n)
			}
			fmt.Fprintf(b, "%-12s %-4s %s%s\n", e.ID, e.Rule, clean(e.Verdict), times)
		}
		if len(r.events) == 0 {
			fmt.Fprintln(b, "no report")
		}
		fmt.Fprintf(b, "\n%s\n\n", f.Line(f.Engine))
		entries, err := os.ReadDir(r.o.Dir)
		if err != nil {
			return err
		}
		what := map[string]string{
			"report.txt": "the reports, for people", "report.jsonl": "the same as JSON lines (docs/debugging.md)",
			"trace": "what the guest's kernel recorded: vmm trace FILE, or vmm trace --perfetto OUT FILE for ui.perfetto.dev", "index.txt": "this file",
		}
		for _, e := range entries {
			fmt.Fprintf(b, "%-14s %s\n", e.Name(), what[e.Name()])
		}
		return b.Flush()
	})
}
