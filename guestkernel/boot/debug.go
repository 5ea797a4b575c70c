package boot

import (
	"fmt"

	"ringo/guestkernel/fs/sysfs"
	"ringo/guestkernel/inject"
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
	"ringo/guestkernel/trace"
	"ringo/guestkernel/vfs"
	"ringo/internal/tracewindow"
)

// openRegistry makes the registry of kernel stacks in the debug window, nil when the machine has none.
func openRegistry() (*trace.Registry, error) {
	window := nucleus.DebugWindow()
	if window == nil {
		return nil, nil
	}
	r, err := trace.Open(trace.Config{
		Window: window, CPUs: int(nucleus.BootInfo().CPUs), Counter: nucleus.Counter, CPU: nucleus.CPU, Bell: nucleus.Doorbell,
		Describe: nucleus.DescribeDebug, Rings: nucleus.Rings(),
	})
	if err != nil {
		return nil, fmt.Errorf("debug window: %w", err)
	}
	return r, nil
}

// recorder is the flight recorder as /sys shows it.
type recorder struct{ *tracewindow.Rings }

// Mark implements sysfs.Recorder.
func (recorder) Mark(c vfs.Caller, text string) {
	if t, ok := c.(*task.Task); ok {
		t.Slot().Mark(text)
	}
}

// openRecorder answers the flight recorder, nil when there is none.
func openRecorder() sysfs.Recorder {
	if r := nucleus.Rings(); r != nil {
		return recorder{r}
	}
	return nil
}

// openInjector plants the bug that the command line names; nil when it names none.
func openInjector() (task.Injector, error) {
	i, err := inject.Parse(nucleus.CommandLine())
	if i == nil {
		return nil, err
	}
	return i, nil
}
