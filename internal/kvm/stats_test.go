package kvm

import (
	"errors"
	"io"
	"maps"
	"testing"
)

// statsFile is a statistics file with one descriptor for each counter, data behind them.
func statsFile(names []string, sizes []uint16, values []uint64) []byte {
	const nameSize = 16
	f := make([]byte, 24)
	order.PutUint32(f[4:], nameSize)
	order.PutUint32(f[8:], uint32(len(names)))
	order.PutUint32(f[16:], 24)
	order.PutUint32(f[20:], uint32(24+len(names)*(16+nameSize)))
	for i, n := range names {
		d := make([]byte, 16+nameSize)
		order.PutUint16(d[6:], sizes[i])
		order.PutUint32(d[8:], uint32(8*i))
		copy(d[16:], n)
		f = append(f, d...)
	}
	for _, v := range values {
		f = order.AppendUint64(f, v)
	}
	return f
}

func reader(file []byte) func([]byte, int64) error {
	return func(p []byte, off int64) error {
		if off < 0 || off+int64(len(p)) > int64(len(file)) {
			return io.ErrUnexpectedEOF
		}
		copy(p, file[off:])
		return nil
	}
}

func TestParseStats(t *testing.T) {
	file := statsFile([]string{"exits", "histogram", "halt_exits"}, []uint16{1, 32, 1}, []uint64{7, 1, 9})
	got, err := parseStats(reader(file))
	if want := map[string]uint64{"exits": 7, "halt_exits": 9}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestParseStatsRefusesDamage(t *testing.T) {
	good := statsFile([]string{"exits"}, []uint16{1}, []uint64{7})
	for _, c := range []struct {
		name   string
		damage func([]byte)
	}{
		{"many counters", func(f []byte) { order.PutUint32(f[8:], 1<<30) }},
		{"long names", func(f []byte) { order.PutUint32(f[4:], 1<<30) }},
		{"no names", func(f []byte) { order.PutUint32(f[4:], 0) }},
		{"name without end", func(f []byte) {
			for i := range 16 {
				f[24+16+i] = 'x'
			}
		}},
		{"odd offset", func(f []byte) { order.PutUint32(f[24+8:], 3) }},
		{"far offset", func(f []byte) { order.PutUint32(f[24+8:], 1<<31) }},
		{"data beyond the end", func(f []byte) { order.PutUint32(f[20:], 4096) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := append([]byte(nil), good...)
			c.damage(f)
			if got, err := parseStats(reader(f)); err == nil {
				t.Errorf("accepted: %v", got)
			}
		})
	}
	if _, err := parseStats(func([]byte, int64) error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("unreadable file: %v", err)
	}
}
