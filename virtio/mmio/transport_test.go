package mmio_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"ringo/virtio/mmio"
	"ringo/virtio/queue"
	"ringo/virtio/virtiotest"
)

// model is a device that records what the transport does to it.
type model struct {
	mu       sync.Mutex
	act      *mmio.Activation
	starts   int
	notified []int
	written  int
	refuse   error
}

func (m *model) Name() string         { return "test" }
func (m *model) ID() uint32           { return 42 }
func (m *model) Features() uint64     { return 1 << 5 }
func (m *model) QueueSizes() []uint16 { return []uint16{8, 16} }

func (m *model) ReadConfig(off uint32, p []byte) {
	for i := range p {
		if off+uint32(i) < 6 {
			p[i] = byte(off) + byte(i) + 1
		}
	}
}

func (m *model) WriteConfig(uint32, []byte) { m.written++ }

func (m *model) Activate(a mmio.Activation) error {
	m.act = &a
	m.starts++
	return m.refuse
}

func (m *model) Notify(q int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notified = append(m.notified, q)
}

func (m *model) Reset() { m.act = nil }

type machine struct {
	*testing.T
	mem *virtiotest.Memory
	dev *model
	tr  *mmio.Transport
	w   *virtiotest.Window
	irq *virtiotest.Line
}

func newMachine(t *testing.T) *machine {
	m := &machine{T: t, mem: virtiotest.NewMemory(), dev: new(model), irq: virtiotest.NewLine()}
	m.tr = mmio.NewTransport(m.dev, m.mem, m.irq)
	m.w = &virtiotest.Window{T: m.tr}
	return m
}

func (m *machine) status(want uint32) {
	m.Helper()
	if got := m.w.Read32(mmio.RegStatus); got != want {
		m.Fatalf("status %#x, want %#x", got, want)
	}
}

const (
	ack, drv, ok, live = mmio.StatusAcknowledge, mmio.StatusDriver, mmio.StatusFeaturesOK, mmio.StatusDriverOK
	broken, failed     = mmio.StatusNeedsReset, mmio.StatusFailed
	all                = ack | drv | ok | live
)

// negotiate goes to FEATURES_OK.
func (m *machine) negotiate(features uint64) {
	m.w.Write32(mmio.RegStatus, ack)
	m.w.Write32(mmio.RegStatus, ack|drv)
	for sel := range uint32(2) {
		m.w.Write32(mmio.RegDriverFeaturesSel, sel)
		m.w.Write32(mmio.RegDriverFeatures, uint32(features>>(32*sel)))
	}
	m.w.Write32(mmio.RegStatus, ack|drv|ok)
}

func (m *machine) setQueue(i int, r *virtiotest.Ring) {
	m.w.Write32(mmio.RegQueueSel, uint32(i))
	m.w.Write32(mmio.RegQueueNum, uint32(r.Size))
	for reg, v := range map[uint32]uint64{mmio.RegQueueDescLow: r.Desc, mmio.RegQueueDriverLow: r.Avail, mmio.RegQueueDeviceLow: r.Used} {
		m.w.Write32(reg, uint32(v))
		m.w.Write32(reg+4, uint32(v>>32))
	}
	m.w.Write32(mmio.RegQueueReady, 1)
}

// start brings the device up with queue 0.
func (m *machine) start() *virtiotest.Ring {
	m.negotiate(queue.FeatureVersion1)
	r := virtiotest.NewRing(m, m.mem, 8)
	m.setQueue(0, r)
	m.w.Write32(mmio.RegStatus, all)
	m.status(all)
	return r
}

func TestTheGuestSideBringsTheDeviceUp(t *testing.T) {
	m := newMachine(t)
	g, err := mmio.Probe(m.w)
	if err != nil || g.DeviceID() != 42 {
		t.Fatal(g, err)
	}
	features, err := g.Negotiate(1<<5|1<<6|queue.FeatureEventIdx, queue.FeatureVersion1)
	if err != nil || features != 1<<5|queue.FeatureEventIdx|queue.FeatureVersion1 {
		t.Fatalf("%#x, %v", features, err)
	}
	if g.QueueMax(0) != 8 || g.QueueMax(1) != 16 || g.QueueMax(2) != 0 || g.QueueMax(-1) != 0 {
		t.Errorf("queue sizes %d, %d, %d", g.QueueMax(0), g.QueueMax(1), g.QueueMax(2))
	}
	r := virtiotest.NewRing(t, m.mem, 8)
	g.SetQueue(0, 8, r.Desc, r.Avail, r.Used)
	if err := g.DriverOK(); err != nil {
		t.Fatal(err)
	}
	if m.dev.act == nil || m.dev.act.Queues[0] == nil || m.dev.act.Queues[1] != nil || m.dev.act.Features != features {
		t.Fatalf("activation %+v", m.dev.act)
	}
	g.Notify(0)
	g.Notify(1) // not set up
	if !slices.Equal(m.dev.notified, []int{0}) {
		t.Errorf("notified %v", m.dev.notified)
	}
	m.dev.act.Interrupt()
	m.dev.act.ConfigChanged()
	if m.irq.Count() != 2 {
		t.Errorf("%d interrupts, want 2: an unacknowledged one must not hide the next", m.irq.Count())
	}
	if got := g.Interrupts(); got != mmio.InterruptQueue|mmio.InterruptConfig {
		t.Errorf("causes %#x", got)
	}
	if got := g.Interrupts(); got != 0 {
		t.Errorf("causes after acknowledging: %#x", got)
	}
	var config [8]byte
	if err := g.ReadConfig(0, config[:]); err != nil || config != [8]byte{1, 2, 3, 4, 5, 6} {
		t.Errorf("config %v, %v", config, err)
	}
	m.dev.act.Fail(errors.New("first"))
	m.dev.act.Fail(errors.New("second"))
	if !g.NeedsReset() || m.tr.Err() == nil || m.tr.Err().Error() != "first" {
		t.Errorf("needs reset %v, %v", g.NeedsReset(), m.tr.Err())
	}
	g.Reset()
	if m.dev.act != nil || m.tr.Err() != nil {
		t.Error("reset leaves the device running or failed")
	}
	m.status(0)
}

func TestStatusTakesOnlyLegalSteps(t *testing.T) {
	const v1 = queue.FeatureVersion1
	for name, row := range map[string]struct {
		features uint64
		writes   []uint32
		want     uint32
	}{
		"in order":                        {v1, []uint32{ack, ack | drv, ack | drv | ok, all}, all},
		"acknowledge and driver at once":  {v1, []uint32{ack | drv, ack | drv | ok}, ack | drv | ok},
		"driver without acknowledge":      {v1, []uint32{drv}, 0},
		"everything at once":              {v1, []uint32{all}, 0},
		"driver ok without features":      {v1, []uint32{ack, ack | drv, ack | drv | live}, ack | drv},
		"a bit cleared":                   {v1, []uint32{ack, ack | drv, ack | drv | ok, ack}, ack | drv | ok},
		"a bit cleared while running":     {v1, []uint32{ack, ack | drv, ack | drv | ok, all, ack | drv}, all},
		"reset":                           {v1, []uint32{ack, ack | drv, ack | drv | ok, all, 0}, 0},
		"no VERSION_1":                    {0, []uint32{ack, ack | drv, ack | drv | ok}, ack | drv},
		"feature not offered":             {v1 | 1<<6, []uint32{ack, ack | drv, ack | drv | ok}, ack | drv},
		"feature bit 63":                  {v1 | 1<<63, []uint32{ack, ack | drv, ack | drv | ok}, ack | drv},
		"failed ends it":                  {v1, []uint32{ack, ack | drv, ack | drv | failed, ack | drv | ok}, ack | drv | failed},
		"needs reset is not the driver's": {v1, []uint32{ack, ack | broken}, ack},
		"unknown bits":                    {v1, []uint32{ack, ack | drv | 16}, ack},
		"all ones":                        {v1, []uint32{0xffffffff}, failed},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			for _, v := range row.writes {
				m.w.Write32(mmio.RegStatus, v)
				for sel := range uint32(2) {
					m.w.Write32(mmio.RegDriverFeaturesSel, sel)
					m.w.Write32(mmio.RegDriverFeatures, uint32(row.features>>(32*sel)))
				}
			}
			m.status(row.want)
			if running := m.dev.act != nil; running != (row.want&live != 0) {
				t.Errorf("device running: %v", running)
			}
		})
	}
}

func TestFeaturesAreFrozenOnceAgreed(t *testing.T) {
	m := newMachine(t)
	m.negotiate(queue.FeatureVersion1)
	m.w.Write32(mmio.RegDriverFeaturesSel, 0)
	m.w.Write32(mmio.RegDriverFeatures, 1<<5)
	m.w.Write32(mmio.RegStatus, all)
	if m.dev.act.Features != queue.FeatureVersion1 {
		t.Fatalf("features %#x", m.dev.act.Features)
	}
}

func TestQueueRegisters(t *testing.T) {
	for name, row := range map[string]struct {
		do    func(m *machine, r *virtiotest.Ring)
		ready uint32 // of queue 0
		needs bool   // device needs reset
	}{
		"as it should be":    {func(m *machine, r *virtiotest.Ring) { m.setQueue(0, r) }, 1, false},
		"ready before ring":  {func(m *machine, r *virtiotest.Ring) { m.w.Write32(mmio.RegQueueReady, 1) }, 0, true},
		"ready is 2":         {func(m *machine, r *virtiotest.Ring) { m.w.Write32(mmio.RegQueueReady, 2) }, 0, false},
		"size 3":             {func(m *machine, r *virtiotest.Ring) { r.Size = 3; m.setQueue(0, r) }, 0, true},
		"size above maximum": {func(m *machine, r *virtiotest.Ring) { r.Size = 16; m.setQueue(0, r) }, 0, true},
		"ring in the hole":   {func(m *machine, r *virtiotest.Ring) { r.Desc = virtiotest.HoleBase; m.setQueue(0, r) }, 0, true},
		"ring above 4 GiB":   {func(m *machine, r *virtiotest.Ring) { r.Used |= 1 << 40; m.setQueue(0, r) }, 0, true},
		"a queue not there":  {func(m *machine, r *virtiotest.Ring) { m.setQueue(2, r); m.w.Write32(mmio.RegQueueSel, 0) }, 0, false},
		"queue 4294967295":   {func(m *machine, r *virtiotest.Ring) { m.setQueue(-1, r); m.w.Write32(mmio.RegQueueSel, 0) }, 0, false},
		"65536 + 8 is not 8": {func(m *machine, r *virtiotest.Ring) {
			m.setQueue(0, r)
			m.w.Write32(mmio.RegQueueReady, 0)
			m.w.Write32(mmio.RegQueueNum, 65536+8)
			m.w.Write32(mmio.RegQueueReady, 1)
		}, 0, true},
		"taken back in time": {func(m *machine, r *virtiotest.Ring) { m.setQueue(0, r); m.w.Write32(mmio.RegQueueReady, 0) }, 0, false},
		"changed while ready": {func(m *machine, r *virtiotest.Ring) {
			m.setQueue(0, r)
			m.w.Write32(mmio.RegQueueNum, 2)
			m.w.Write32(mmio.RegQueueDescLow, 0x123)
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.negotiate(queue.FeatureVersion1)
			row.do(m, virtiotest.NewRing(t, m.mem, 8))
			if got := m.w.Read32(mmio.RegQueueReady); got != row.ready {
				t.Errorf("ready %d, want %d", got, row.ready)
			}
			if got := m.w.Read32(mmio.RegStatus)&broken != 0; got != row.needs {
				t.Errorf("needs reset: %v, want %v (%v)", got, row.needs, m.tr.Err())
			}
			m.w.Write32(mmio.RegStatus, all)
			if started := m.dev.act != nil; started == row.needs {
				t.Errorf("started: %v", started)
			}
			if row.ready == 1 && m.dev.act.Queues[0].Size() != 8 {
				t.Errorf("size is not frozen: %d", m.dev.act.Queues[0].Size())
			}
		})
	}
}

func TestARunningQueueCannotBeChanged(t *testing.T) {
	m := newMachine(t)
	r := m.start()
	for _, reg := range []uint32{mmio.RegQueueReady, mmio.RegQueueNum, mmio.RegQueueDescLow, mmio.RegQueueDeviceHigh} {
		m.w.Write32(reg, 0)
	}
	m.setQueue(1, r)
	m.w.Write32(mmio.RegQueueSel, 1)
	if m.w.Read32(mmio.RegQueueReady) != 0 {
		t.Error("a queue was added to a running device")
	}
	m.w.Write32(mmio.RegQueueSel, 0)
	if m.w.Read32(mmio.RegQueueReady) != 1 {
		t.Error("a running queue was taken away")
	}
	if m.dev.starts != 1 {
		t.Errorf("started %d times", m.dev.starts)
	}
}

func TestQueuesAreUntouchableBeforeFeaturesAreAgreed(t *testing.T) {
	m := newMachine(t)
	r := virtiotest.NewRing(t, m.mem, 8)
	m.setQueue(0, r)
	if m.w.Read32(mmio.RegQueueReady) != 0 {
		t.Error("ready without negotiation")
	}
	m.status(0)
}

func TestNotifications(t *testing.T) {
	m := newMachine(t)
	m.w.Write32(mmio.RegQueueNotify, 0) // before DRIVER_OK
	m.start()
	for _, q := range []uint32{1, 2, 0x7fffffff, 0x80000000, 0xffffffff} {
		m.w.Write32(mmio.RegQueueNotify, q)
	}
	if len(m.dev.notified) != 0 {
		t.Fatalf("notified %v", m.dev.notified)
	}
	m.w.Write32(mmio.RegQueueNotify, 0)
	m.w.Write32(mmio.RegStatus, 0)
	m.w.Write32(mmio.RegQueueNotify, 0)
	if !slices.Equal(m.dev.notified, []int{0}) {
		t.Fatalf("notified %v", m.dev.notified)
	}
}

func TestADeviceThatDoesNotStartNeedsReset(t *testing.T) {
	m := newMachine(t)
	m.dev.refuse = errors.New("no")
	m.negotiate(queue.FeatureVersion1)
	m.w.Write32(mmio.RegStatus, all)
	m.status(all | broken)
	m.w.Write32(mmio.RegQueueNotify, 0)
	if len(m.dev.notified) != 0 {
		t.Error("notified a device that did not start")
	}
	m.dev.refuse = nil
	m.w.Write32(mmio.RegStatus, 0)
	m.start()
}

func TestAcknowledgingWhatWasNotRaised(t *testing.T) {
	m := newMachine(t)
	m.start()
	m.dev.act.Interrupt()
	m.w.Write32(mmio.RegInterruptACK, 0xfffffffe)
	if got := m.w.Read32(mmio.RegInterruptStatus); got != mmio.InterruptQueue {
		t.Errorf("causes %#x", got)
	}
	m.w.Write32(mmio.RegInterruptACK, mmio.InterruptQueue)
	if got := m.w.Read32(mmio.RegInterruptStatus); got != 0 {
		t.Errorf("causes %#x", got)
	}
}

func TestOddAccessesAreHarmless(t *testing.T) {
	m := newMachine(t)
	m.start()
	for name, row := range map[string]struct {
		off  uint64
		size int
		want uint64
	}{
		"magic, 4 bytes":               {0, 4, mmio.Magic},
		"magic, 1 byte":                {0, 1, 0},
		"magic, 2 bytes":               {0, 2, 0},
		"magic, 8 bytes":               {0, 8, 0},
		"unaligned":                    {2, 4, 0},
		"no such register":             {0x0a8, 4, 0},
		"write-only register":          {mmio.RegQueueNotify, 4, 0},
		"across into configuration":    {0xfc + 2, 4, 0},
		"no shared memory":             {mmio.RegSHMLenLow, 4, 0xffffffff},
		"configuration, 1 byte":        {mmio.Config + 3, 1, 4},
		"configuration, 2, unaligned":  {mmio.Config + 3, 2, 0x0504},
		"configuration, 8 bytes":       {mmio.Config, 8, 0x060504030201},
		"behind configuration":         {mmio.Config + 64, 4, 0},
		"last bytes of the window":     {mmio.WindowSize - 4, 4, 0},
		"across the end of the window": {mmio.WindowSize - 2, 4, 0},
		"past the window":              {mmio.WindowSize, 4, 0},
		"far past the window":          {^uint64(0) - 3, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			buf := []byte{0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa}
			m.tr.Read(row.off, buf[:row.size])
			var got [8]byte
			copy(got[:], buf[:row.size])
			if v := binary.LittleEndian.Uint64(got[:]); v != row.want {
				t.Errorf("read %#x, want %#x", v, row.want)
			}
			m.tr.Write(row.off, make([]byte, row.size)) // zeroes: a reset, if it were one
		})
	}
	for _, size := range []int{0, 1, 2, 3, 8} {
		m.tr.Write(mmio.RegStatus, make([]byte, size))
		m.tr.Read(mmio.RegStatus, make([]byte, size))
	}
	m.status(all)
}

func TestConfigurationIsReadOnlyUntilThereIsADriver(t *testing.T) {
	m := newMachine(t)
	m.w.Write32(mmio.Config, 1)
	if m.dev.written != 0 {
		t.Error("written before there was a driver")
	}
	m.start()
	m.w.Write32(mmio.Config, 1)
	m.w.Write32(mmio.WindowSize-2, 1)
	if m.dev.written != 1 {
		t.Errorf("written %d times, want once", m.dev.written)
	}
}

// Registers hammered from several vCPUs, with resets: nothing may crash, hang or race.
func TestConcurrentNoise(t *testing.T) {
	m := newMachine(t)
	stop := time.Now().Add(200 * time.Millisecond)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for time.Now().Before(stop) {
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], r.Uint64()>>(r.Uint64()%64))
				off, n := r.Uint64N(0x120), []int{1, 2, 4, 4, 4, 4, 8}[r.IntN(7)]
				switch r.IntN(6) {
				case 0:
					m.tr.Read(off, b[:n])
				case 1:
					m.tr.Write(off, b[:n])
				case 2:
					m.tr.Write(off&^3, b[:4])
				case 3:
					m.w.Write32(mmio.RegStatus, []uint32{0, ack, ack | drv, ack | drv | ok, all}[r.IntN(5)])
				case 4:
					m.w.Write32(mmio.RegDriverFeaturesSel, 1)
					m.w.Write32(mmio.RegDriverFeatures, 1)
				case 5:
					m.tr.Notify(r.Uint32N(3))
				}
			}
		})
	}
	wg.Wait()
	m.w.Write32(mmio.RegStatus, 0)
	m.status(0)
	m.start()
}

func TestARefusedQueueShowsInDriverOK(t *testing.T) {
	m := newMachine(t)
	g, err := mmio.Probe(m.w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Negotiate(0, queue.FeatureVersion1); err != nil {
		t.Fatal(err)
	}
	g.SetQueue(0, 8, 1<<40, 1<<40, 1<<40)
	if err := g.DriverOK(); err == nil || m.dev.act != nil {
		t.Fatalf("%v, device %v", err, m.dev.act)
	}
	// The high halves are zero again afterwards.
	if _, err := g.Negotiate(0, queue.FeatureVersion1); err != nil {
		t.Fatal(err)
	}
	r := virtiotest.NewRing(t, m.mem, 8)
	g.SetQueue(0, 8, r.Desc, r.Avail, r.Used)
	if err := g.DriverOK(); err != nil {
		t.Fatal(err)
	}
}

func TestProbeRefuses(t *testing.T) {
	for name, regs := range map[string]registers{
		"nothing there":  {},
		"all ones":       {0: 0xffffffff, 4: 0xffffffff, 8: 0xffffffff},
		"legacy version": {0: mmio.Magic, 4: 1, 8: 3},
		"no device":      {0: mmio.Magic, 4: 2, 8: 0},
	} {
		if _, err := mmio.Probe(regs); !errors.Is(err, mmio.ErrNoDevice) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type registers map[uint32]uint32

func (r registers) Read32(off uint32) uint32 { return r[off] }
func (r registers) Write32(off, v uint32)    {}
