package kvm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// runPage is a kvm_run of three pages with an exit.
func runPage(reason Reason, union func(u []byte)) []byte {
	run := make([]byte, 3*pageSize)
	binary.LittleEndian.PutUint32(run[offReason:], uint32(reason))
	union(run[offUnion:])
	return run
}

func TestDecode(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name  string
		run   []byte
		check func(x *Exit) bool
		text  string
	}{
		{"port write", runPage(ReasonIO, func(u []byte) {
			u[0], u[1] = 1, 2
			le.PutUint16(u[2:], 0x3f8)
			le.PutUint32(u[4:], 3)
			le.PutUint64(u[8:], pageSize)
		}), func(x *Exit) bool {
			return x.Write && x.Port == 0x3f8 && x.Size == 2 && x.Count == 3 && len(x.Data) == 6
		}, "IO write port 0x3f8, 3 x 2 bytes"},
		{"port data outside the mapping", runPage(ReasonIO, func(u []byte) {
			u[1] = 4
			le.PutUint32(u[4:], 0xffffffff)
			le.PutUint64(u[8:], pageSize)
		}), func(x *Exit) bool { return !x.Write && x.Data == nil }, "IO read"},
		{"port data offset outside the mapping", runPage(ReasonIO, func(u []byte) {
			u[1] = 1
			le.PutUint32(u[4:], 1)
			le.PutUint64(u[8:], ^uint64(0))
		}), func(x *Exit) bool { return x.Data == nil }, "IO read"},
		{"MMIO write", runPage(ReasonMMIO, func(u []byte) {
			le.PutUint64(u, 0xd0000050)
			copy(u[8:], []byte{1, 2, 3, 4})
			le.PutUint32(u[16:], 4)
			u[20] = 1
		}), func(x *Exit) bool {
			return x.Write && x.Addr == 0xd0000050 && bytes.Equal(x.Data, []byte{1, 2, 3, 4})
		}, "MMIO write GPA 0xd0000050 [01 02 03 04]"},
		{"MMIO of impossible length", runPage(ReasonMMIO, func(u []byte) {
			le.PutUint32(u[16:], 4000)
		}), func(x *Exit) bool { return len(x.Data) == 8 }, "MMIO read"},
		{"emulation failure", runPage(ReasonInternalError, func(u []byte) {
			le.PutUint32(u, InternalEmulation)
			le.PutUint32(u[4:], 4)
			le.PutUint64(u[8:], 1)
			u[16] = 3
			copy(u[17:], []byte{0x66, 0x0f, 0xfe})
		}), func(x *Exit) bool {
			return x.Code == InternalEmulation && bytes.Equal(x.Instructions, []byte{0x66, 0x0f, 0xfe})
		}, "cannot emulate"},
		{"emulation failure with an impossible size", runPage(ReasonInternalError, func(u []byte) {
			le.PutUint32(u, InternalEmulation)
			le.PutUint32(u[4:], 0xffffffff)
			le.PutUint64(u[8:], 1)
			u[16] = 200
		}), func(x *Exit) bool { return len(x.Instructions) == 15 }, "INTERNAL_ERROR"},
		{"system event", runPage(ReasonSystemEvent, func(u []byte) {
			le.PutUint32(u, SystemReset)
		}), func(x *Exit) bool { return x.Code == SystemReset }, "reset"},
		{"fail entry", runPage(ReasonFailEntry, func(u []byte) {
			le.PutUint64(u, 0x80000021)
		}), func(x *Exit) bool { return x.Code == 0x80000021 }, "0x80000021"},
		{"no syndrome", runPage(ReasonARMNISV, func(u []byte) {
			le.PutUint64(u, 0x46)
			le.PutUint64(u[8:], 0xa000000)
		}), func(x *Exit) bool { return x.Addr == 0xa000000 && x.Code == 0x46 }, "GPA 0xa000000"},
		{"unheard of", runPage(4711, func([]byte) {}), func(x *Exit) bool { return x.Reason == 4711 }, "exit reason 4711"},
	} {
		var x Exit
		x.decode(c.run)
		if !c.check(&x) {
			t.Errorf("%s: decoded %+v", c.name, x)
		}
		if s := x.String(); !strings.Contains(s, c.text) {
			t.Errorf("%s: %q does not say %q", c.name, s, c.text)
		}
		if x.Reason.Meaning() == "" {
			t.Errorf("%s: no meaning", c.name)
		}
	}
}

// What KVM's numbers are does not depend on what Go's structures happen to be.
func TestRequestNumbers(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"KVM_RUN", None(nrRun), 0xae80},
		{"KVM_SET_USER_MEMORY_REGION", W[[32]byte](nrSetUserMemoryRegion), 0x4020ae46},
		{"KVM_IRQFD", W[irqFD](nrIRQFD), 0x4020ae76},
		{"KVM_IOEVENTFD", W[ioEventFD](nrIOEventFD), 0x4040ae79},
		{"KVM_ENABLE_CAP", W[enableCap](nrEnableCap), 0x4068aea3},
		{"KVM_CREATE_DEVICE", RW[[12]byte](nrCreateDevice), 0xc00caee0},
		{"KVM_SET_DEVICE_ATTR", W[deviceAttr](nrSetDeviceAttr), 0x4018aee1},
	} {
		if c.got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, c.got, c.want)
		}
	}
}
