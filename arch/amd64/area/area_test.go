package area

import (
	"errors"
	"strings"
	"testing"
)

// kernel is a fake guest: where its variables are, and words of its memory.
type kernel struct {
	variables map[string]uint64
	words     map[uint64]uint64
}

func (k *kernel) resolve(name string) (uint64, error) {
	at, ok := k.variables[strings.TrimPrefix(name, variables)]
	if !ok {
		return 0, errors.New("no such variable: " + name)
	}
	return at, nil
}

func (k *kernel) word(gva uint64) (uint64, bool) {
	v, ok := k.words[gva]
	return v, ok
}

// example has CPU 1's area at 0x5000, stacks that end at 0x7000, 0x8000 and 0x9000, and an exception on the second.
func example() *kernel {
	k := &kernel{
		variables: map[string]uint64{
			"areas[0]": 0x100, "areas[1]": 0x108, "areas[2]": 0x110,
			"bootCPU": 0x200, "bootCPU.state": 0x208, "bootCPU.root": 0x210, "bootCPU.thread": 0x218, "bootCPU.user": 0x220,
			"bootCPU.owner": 0x228, "bootCPU.scratch": 0x230, "bootCPU.tss": 0x240,
		},
		words: map[uint64]uint64{
			0x100: 0x4000, 0x108: 0x5000, 0x110: 0,
			0x5008: 2, 0x5010: 0x1a2000, 0x5018: 3, 0x5020: 4, 0x5028: 5,
			// The TSS at 0x5040, in 32-bit words: IST1 is 9 and 10, IST2 11 and 12, IST3 13 and 14.
			0x5060: 0x7000 << 32, 0x5068: 0x8000 << 32, 0x5070: 0x9000 << 32, 0x5078: 0,
		},
	}
	for top := range uint64(3) {
		for i := range uint64(7) {
			k.words[0x7000+top*0x1000-8*(i+1)] = 0
		}
	}
	for i, v := range []uint64{0x10, 0xfee8, 0x246, 0x08, 0x1234, 2, 14} {
		k.words[0x8000-8*uint64(i+1)] = v
	}
	return k
}

func TestDescribe(t *testing.T) {
	name := func(gva uint64) string { return map[uint64]string{0x1234: "main.store"}[gva] }
	for _, row := range []struct {
		name   string
		cpu    int
		change func(k *kernel)
		want   []string
	}{
		{"all there", 1, func(*kernel) {}, []string{
			"area of this CPU, 0x5000: it was idle", "root 0x1a2000", "owner 0x5", "scratch cannot be read",
			"interrupt stack: none", "exception stack: vector 14, error code 0x2, IP 0x1234 (main.store), SP 0xfee8", "double fault stack: none",
		}},
		{"from user mode", 1, func(k *kernel) { k.words[0x8000-32] = 0x2b }, []string{"IP 0x1234 (user mode)"}},
		{"a state that does not exist", 1, func(k *kernel) { k.words[0x5008] = 77 }, []string{"it was state 0x4d"}},
		{"a stack that is not mapped", 1, func(k *kernel) { delete(k.words, 0x7000-16) }, []string{"interrupt stack: 0x6ff0 cannot be read"}},
		{"no TSS", 1, func(k *kernel) { delete(k.words, 0x5068) }, []string{"the TSS cannot be read"}},
		{"not started", 2, func(*kernel) {}, []string{"none yet"}},
		{"another kernel", 9, func(*kernel) {}, []string{"no such variable"}},
	} {
		k := example()
		row.change(k)
		got := strings.Join(Describe(row.cpu, k.resolve, k.word, name), "\n")
		for _, want := range row.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in\n%s", row.name, want, got)
			}
		}
	}
}
