package kvm

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const nrGetStatsFD = 0xce

// Limits on what the statistics file may ask for.
const (
	maxStats     = 1024
	maxStatsName = 256
)

// Stats are KVM's own counters of this vCPU by name (exits, halt_exits, irq_injections...;
// the names are KVM's and differ between architectures). KVM since Linux 5.14; older ones
// answer an error. While Run is under way the values are a moment's.
func (v *VCPU) Stats() (map[string]uint64, error) { return readStats(v.fd) }

// Stats are KVM's own counters of the machine by name (pages_4k, remote_tlb_flush...).
func (vm *VM) Stats() (map[string]uint64, error) { return readStats(vm.fd) }

func readStats(fd int) (map[string]uint64, error) {
	stats, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), None(nrGetStatsFD), 0)
	if errno != 0 {
		return nil, fmt.Errorf("KVM_GET_STATS_FD: %w", errno)
	}
	defer unix.Close(int(stats))
	return parseStats(func(p []byte, off int64) error {
		n, err := unix.Pread(int(stats), p, off)
		if err == nil && n < len(p) {
			err = fmt.Errorf("%d of %d bytes", n, len(p))
		}
		if err != nil {
			return fmt.Errorf("read KVM's statistics at %d: %w", off, err)
		}
		return nil
	})
}

// parseStats reads the file's header, its descriptors and its data block
// (Documentation/virt/kvm/api.rst, 4.133). Histograms are left out.
func parseStats(read func(p []byte, off int64) error) (map[string]uint64, error) {
	var header [24]byte // flags, name_size, num_desc, id_offset, desc_offset, data_offset
	if err := read(header[:], 0); err != nil {
		return nil, err
	}
	name, count := order.Uint32(header[4:]), order.Uint32(header[8:])
	descriptors, data := int64(order.Uint32(header[16:])), int64(order.Uint32(header[20:]))
	if name == 0 || name > maxStatsName || count > maxStats {
		return nil, fmt.Errorf("KVM's statistics claim %d counters with names of %d bytes", count, name)
	}
	size := 16 + int(name) // flags, exponent, size, offset, bucket_size, name
	table := make([]byte, size*int(count))
	if err := read(table, descriptors); err != nil {
		return nil, err
	}
	type counter struct {
		name   string
		offset int
	}
	var counters []counter
	end := 0
	for ; len(table) > 0; table = table[size:] {
		if order.Uint16(table[6:]) != 1 {
			continue // a histogram
		}
		c := counter{offset: int(order.Uint32(table[8:]))}
		text, _, ok := bytes.Cut(table[16:size], []byte{0})
		if !ok || c.offset%8 != 0 || c.offset > 8*64*maxStats {
			return nil, errors.New("KVM's statistics have a damaged descriptor")
		}
		c.name, end = string(text), max(end, c.offset+8)
		counters = append(counters, c)
	}
	values := make([]byte, end)
	if err := read(values, data); err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(counters))
	for _, c := range counters {
		out[c.name] = order.Uint64(values[c.offset:])
	}
	return out, nil
}
