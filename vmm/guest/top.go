package guest

import (
	"context"
	"fmt"
	"os"
	"time"

	"ringo/debug/ebpf"
	"ringo/vmm/control"
)

// topFrames is how many frames of guest memory a Top names.
const topFrames = 20

// Top counts what KVM does for this guest and tells every interval, all since the beginning, until ctx ends or tell fails.
func (l *Live) Top(ctx context.Context, interval time.Duration, tell func(*control.Top) error) error {
	s, err := ebpf.Open(os.Getpid())
	if err != nil {
		return fmt.Errorf("%w: %w", control.ErrUnsupported, err)
	}
	defer s.Close()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.over:
			return nil
		case <-tick.C:
		}
		sample, err := s.Sample()
		if err != nil {
			return err
		}
		if err := tell(l.top(sample)); err != nil {
			return err
		}
	}
}

func (l *Live) top(s *ebpf.Sample) *control.Top {
	t := &control.Top{Elapsed: s.Elapsed, Lost: s.Lost}
	for _, e := range s.Exits {
		t.Exits = append(t.Exits, control.TopExit(e))
	}
	w, _ := l.window() // nil: a kernel without a registry
	for _, f := range s.Frames {
		t.Faults += f.Count
		if len(t.Frames) == topFrames {
			continue
		}
		out := control.TopFrame{GPA: control.Hex(f.GPA), Count: f.Count}
		switch {
		case l.g.m.Memory().Check(f.GPA, 1) != nil:
			out.Owner = "device"
		case w != nil:
			if known, ok := w.Frame(f.GPA); ok {
				out.Owner = known.Owner
			}
		}
		t.Frames = append(t.Frames, out)
	}
	return t
}
