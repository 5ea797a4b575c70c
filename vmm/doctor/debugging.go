package doctor

import (
	"context"
	"errors"
	"time"
)

// debugLimit is the time for a probe of the debugger's means. Guests run on this host already, so only one that is very busy takes long, and
// a means that does not work is seen at once.
const debugLimit = time.Minute

// Debugging says what of a debugger's means works on this host, by trying: pages is why page tracing does not, watchpoints why
// hardware watchpoints do not; nil where they do. It takes some 10 ms on a good host.
func Debugging(ctx context.Context) (pages, watchpoints error) {
	try := func(name string, f func(context.Context) (string, error)) error {
		row := Row{Name: name}
		row.attemptWithin(ctx, check{name: name, try: f}, debugLimit)
		if row.OK {
			return nil
		}
		return errors.New(name + ": " + row.Detail)
	}
	pages = try("write to a protected page", tryProtect)
	if pages == nil {
		pages = try("single step", tryStep)
	}
	return pages, try("hardware watchpoint", tryWatch)
}
