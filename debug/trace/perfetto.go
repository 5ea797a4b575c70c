package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"ringo/internal/tracewindow"
)

// slice is an event of the Trace Event Format, which Perfetto and chrome://tracing open.
type slice struct {
	Name  string            `json:"name"`
	Phase string            `json:"ph"` // X complete, B begin, i instant, M metadata
	Time  float64           `json:"ts"` // us
	Took  *float64          `json:"dur,omitempty"`
	PID   uint32            `json:"pid"`
	TID   uint32            `json:"tid"`
	Scope string            `json:"s,omitempty"`
	Args  map[string]string `json:"args,omitempty"`
}

// cpuTrack is the pid of the process whose threads are the vCPUs; tasks have their own.
const cpuTrack = 0

// WritePerfetto writes the trace as a timeline: a track for each task with its system calls, sleeps and signals, and one for
// each vCPU with the runtime threads that ran on it.
func (t *Trace) WritePerfetto(w io.Writer, syms Symbols) error {
	p := &timeline{t: t, b: bufio.NewWriter(w), pid: map[uint32]uint32{}, ran: map[uint8]*tracewindow.Event{}, slept: map[uint32]*tracewindow.Event{},
		entered: map[uint32]*tracewindow.Event{}}
	p.b.WriteString(`{"displayTimeUnit":"ns","traceEvents":[` + "\n")
	p.put(slice{Name: "process_name", Phase: "M", PID: cpuTrack, Args: map[string]string{"name": "vCPUs"}})
	for cpu := range t.Header.CPUs {
		p.put(slice{Name: "thread_name", Phase: "M", PID: cpuTrack, TID: cpu, Args: map[string]string{"name": fmt.Sprintf("vCPU %d", cpu)}})
	}
	for i := range t.Events {
		if e := &t.Events[i]; e.Kind == tracewindow.Task && p.pid[e.Task] == 0 {
			p.pid[e.Task] = uint32(e.Args[0])
		}
	}
	for i := range t.Events {
		p.event(&t.Events[i], syms)
	}
	for _, e := range p.entered { // calls that had not ended
		p.put(slice{Name: t.Call(e.Code), Phase: "B", Time: p.at(e), PID: p.process(e.Task), TID: e.Task})
	}
	p.b.WriteString("\n]}\n")
	if p.err != nil {
		return p.err
	}
	return p.b.Flush()
}

type timeline struct {
	t       *Trace
	b       *bufio.Writer
	n       int
	err     error
	pid     map[uint32]uint32 // of tasks
	ran     map[uint8]*tracewindow.Event
	slept   map[uint32]*tracewindow.Event
	entered map[uint32]*tracewindow.Event
}

func (p *timeline) put(s slice) {
	line, err := json.Marshal(s)
	if err != nil {
		p.err = err
		return
	}
	if p.n++; p.n > 1 {
		p.b.WriteString(",\n")
	}
	p.b.Write(line)
}

func (p *timeline) at(e *tracewindow.Event) float64 { return float64(p.t.At(e).Nanoseconds()) / 1e3 }

func (p *timeline) process(task uint32) uint32 {
	if pid := p.pid[task]; pid != 0 {
		return pid
	}
	return task
}

func (p *timeline) span(name string, from, to *tracewindow.Event, pid, tid uint32, args map[string]string) {
	took := max(p.at(to)-p.at(from), 0)
	p.put(slice{Name: name, Phase: "X", Time: p.at(from), Took: &took, PID: pid, TID: tid, Args: args})
}

func (p *timeline) event(e *tracewindow.Event, syms Symbols) {
	pid := p.process(e.Task)
	what := map[string]string{"event": p.t.describe(e, syms)}
	switch e.Kind {
	case tracewindow.Task:
		text := textOf(e.Args[2:4])
		p.put(slice{Name: "thread_name", Phase: "M", PID: pid, TID: e.Task, Args: map[string]string{"name": text}})
		if pid == e.Task {
			p.put(slice{Name: "process_name", Phase: "M", PID: pid, Args: map[string]string{"name": text}})
		}
	case tracewindow.Switch:
		if from := p.ran[e.CPU]; from != nil {
			p.span(fmt.Sprintf("thread %d", from.Args[0]), from, e, cpuTrack, uint32(e.CPU), nil)
		}
		p.ran[e.CPU] = e
	case tracewindow.Enter:
		p.entered[e.Task] = e
	case tracewindow.Exit:
		took := float64(p.t.ticks(e.Args[5]).Nanoseconds()) / 1e3
		p.put(slice{Name: p.t.Call(e.Code), Phase: "X", Time: p.at(e) - took, Took: &took, PID: pid, TID: e.Task,
			Args: map[string]string{"call": p.t.describe(e, syms), "result": result(e.Args[0])}})
		delete(p.entered, e.Task)
	case tracewindow.Block:
		p.slept[e.Task] = e
	case tracewindow.Wake:
		if from := p.slept[e.Task]; from != nil {
			p.span("asleep", from, e, pid, e.Task, map[string]string{"event": p.t.describe(from, syms)})
		}
		delete(p.slept, e.Task)
	case tracewindow.IRQ, tracewindow.Shootdown, tracewindow.KernelFault, tracewindow.FrameAlloc, tracewindow.FrameFree:
		p.put(slice{Name: p.t.kinds[e.Kind].name, Phase: "i", Time: p.at(e), PID: cpuTrack, TID: uint32(e.CPU), Scope: "t", Args: what})
	default:
		name := fmt.Sprintf("kind %d", e.Kind)
		if int(e.Kind) < len(p.t.kinds) && p.t.kinds[e.Kind].name != "" {
			name = p.t.kinds[e.Kind].name
		}
		p.put(slice{Name: name, Phase: "i", Time: p.at(e), PID: pid, TID: e.Task, Scope: "t", Args: what})
	}
}
