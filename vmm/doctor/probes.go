package doctor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
)

func tryOpen(context.Context) (string, error) {
	g, err := newGuest(progStore, 0)
	if err != nil {
		return "", err
	}
	g.close()
	return "API version 12", nil
}

// Fewest instructions a second with which a kernel is worth running. Emulators of single
// instructions reach about 2 million, software translation hundreds, on a busy computer a tenth of that.
const minSpeed = 8e6

// tryCount takes the difference of a short and a longer run, because a first entry can cost
// as much as a million instructions. Too slow is what is too slow three times: the computer may have had other work.
func tryCount(ctx context.Context) (string, error) {
	const short, longer, sure = 50_000, 550_000, 10_000_000
	rate := func(from, to uint64) (float64, error) {
		t0, err := countFor(ctx, from)
		if err != nil {
			return 0, err
		}
		t1, err := countFor(ctx, to)
		return float64((to-from)*countInstructions) / max(t1-t0, time.Microsecond).Seconds(), err
	}
	var speed float64
	for range 3 {
		s, err := rate(short, longer) // 0.6 s on the slowest hosts
		if err != nil {
			return "", err
		}
		if s >= minSpeed {
			if s, err = rate(longer, sure); err != nil {
				return "", err
			}
		}
		if speed = max(speed, s); speed >= minSpeed {
			break
		}
	}
	text := fmt.Sprintf("%.3g million instructions/s", speed/1e6)
	if speed < minSpeed {
		return "", fmt.Errorf("%s, less than the %g million that a kernel needs: this KVM emulates %s one instruction at a time", text, minSpeed/1e6, ringZero)
	}
	return text, nil
}

func countFor(ctx context.Context, n uint64) (time.Duration, error) {
	g, err := newGuest(progCount, n)
	if err != nil {
		return 0, err
	}
	defer g.close()
	began := time.Now()
	if err := g.finish(ctx); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func tryVector(ctx context.Context) (string, error) {
	g, err := newGuest(progVector, 0)
	if err != nil {
		return "", err
	}
	defer g.close()
	words := [8]uint32{1, 20, 300, 4000}
	if _, err := binary.Encode(g.page(), binary.LittleEndian, words[:4]); err != nil {
		return "", err
	}
	if err := g.finish(ctx); err != nil {
		return "", err
	}
	if _, err := binary.Decode(g.page(), binary.LittleEndian, &words); err != nil {
		return "", err
	}
	if want := [8]uint32{1, 20, 300, 4000, 2, 40, 600, 8000}; words != want {
		return "", fmt.Errorf("wrong result %v, want %v", words[4:], want[4:])
	}
	return "load, add, store", nil
}

func tryTrip(ctx context.Context) (string, error) {
	const trips = 10_000
	g, err := newGuest(progTrip, trips)
	if err != nil {
		return "", err
	}
	defer g.close()
	copy(g.page(), bytes.Repeat([]byte{0xfc}, 8)) // neither mode's mark
	began := time.Now()
	if err := g.finish(ctx); err != nil {
		return "", err
	}
	took := time.Since(began)
	if !userMode(g.page()) {
		return "", fmt.Errorf("the guest ran, but not in %s (mode register %#x)", ringThree, g.page()[0])
	}
	each := took / trips
	if each > 20*time.Microsecond {
		return "", fmt.Errorf("%v a round trip: this KVM leaves the guest for each", each)
	}
	return fmt.Sprintf("%v a round trip", each), nil
}

func tryTimer(ctx context.Context) (string, error) {
	g, err := newGuest(progTimer, timerTicks)
	if err != nil {
		return "", err
	}
	defer g.close()
	began := time.Now()
	if err := g.finish(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("arrived after %v", time.Since(began).Round(time.Microsecond)), nil
}

func tryMemfd(context.Context) (string, error) {
	m, err := newMemory(4096)
	if err != nil {
		return "", err
	}
	defer m.unmap()
	m.view[17] = 42
	if m.own[17] != 42 {
		return "", errors.New("the two mappings of one memfd differ")
	}
	return "both mappings agree", nil
}

const storeValue = 0x1122334455667788

func storedIn(page []byte) uint64 { return binary.LittleEndian.Uint64(page) }

// tryProtect: what page tracing does. The slot's mapping of the page loses its write
// permission; the guest's store must end KVM_RUN with EFAULT at that store, nothing written;
// with the permission back, it must go on there.
func tryProtect(ctx context.Context) (string, error) {
	g, err := newGuest(progStore, storeValue)
	if err != nil {
		return "", err
	}
	defer g.close()
	before := storedIn(g.page())
	page := g.view[data-ramBase:][:4096]
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
		return "", fmt.Errorf("mprotect: %w", err)
	}
	var x kvm.Exit
	switch err := g.run(ctx, &x); {
	case err == nil:
		return "", fmt.Errorf("the store did not fault: %s", &x)
	case !errors.Is(err, unix.EFAULT):
		return "", err
	}
	pc, err := g.pc()
	if err != nil {
		return "", err
	}
	if pc != storePC {
		return "", fmt.Errorf("stopped at %#x, the store is at %#x", pc, uint64(storePC))
	}
	if storedIn(g.page()) != before {
		return "", errors.New("stopped, but the store had been done")
	}
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return "", fmt.Errorf("mprotect: %w", err)
	}
	if err := g.finish(ctx); err != nil {
		return "", fmt.Errorf("after the page was opened again: %w", err)
	}
	if storedIn(g.page()) != storeValue {
		return "", fmt.Errorf("the guest went on without its store: %#x", storedIn(g.page()))
	}
	return "EFAULT at the store, nothing written; goes on when the page is open", nil
}

func tryStep(ctx context.Context) (string, error) {
	g, err := newGuest(progStore, storeValue)
	if err != nil {
		return "", err
	}
	defer g.close()
	for _, want := range []uint64{storePC, afterStorePC} {
		if err := step(g.v); err != nil {
			return "", err
		}
		var x kvm.Exit
		if err := g.run(ctx, &x); err != nil {
			return "", err
		}
		if !stepped(&x) {
			return "", fmt.Errorf("the step did not end in a debug exit: %s", exitText(g, &x))
		}
		pc, err := g.pc()
		if err != nil {
			return "", err
		}
		if pc != want {
			return "", fmt.Errorf("stopped at %#x, want %#x", pc, want)
		}
	}
	return "one instruction at a time", nil
}

func tryWatch(ctx context.Context) (string, error) {
	g, err := newGuest(progStore, storeValue)
	if err != nil {
		return "", err
	}
	defer g.close()
	if err := watch(g.v, dataGVA); err != nil {
		return "", err
	}
	var x kvm.Exit
	if err := g.run(ctx, &x); err != nil {
		return "", err
	}
	if !watched(&x) {
		if storedIn(g.page()) == storeValue {
			return "", errors.New("accepted, but the watched store went by without a debug exit")
		}
		return "", fmt.Errorf("no debug exit: %s", exitText(g, &x))
	}
	pc, err := g.pc()
	if err != nil {
		return "", err
	}
	switch pc {
	case storePC:
		return "fires before the store", nil
	case afterStorePC:
		return "fires behind the store", nil
	}
	return "", fmt.Errorf("fired at %#x, the store is at %#x", pc, uint64(storePC))
}

// exitText describes an exit that was not hoped for, with the exception behind it.
func exitText(g *guest, x *kvm.Exit) string {
	if err := g.end(x); err != nil {
		return err.Error()
	}
	return "the guest ran to its end"
}
