package watch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ringo/debug/hit"
)

func TestParseSpec(t *testing.T) {
	for _, c := range []struct {
		text string
		want Spec
	}{
		{"0xffff888000001000", Spec{Address: 0xffff888000001000}},
		{"4096,len=16", Spec{Address: 4096, Len: 16}},
		{"phys:0x1f000,len=0x1000,access=rw,stop", Spec{Address: 0x1f000, Physical: true, Len: 0x1000, Reads: true, Stop: true}},
		{"task.initTask+0x40", Spec{Symbol: "task.initTask", Offset: 0x40}},
		{"task.initTask.state,log", Spec{Symbol: "task.initTask.state"}},
		{"fs.table[3].name,access=w", Spec{Symbol: "fs.table[3].name"}},
	} {
		s, err := ParseSpec(c.text)
		c.want.Text = c.text
		if err != nil || *s != c.want {
			t.Errorf("%s: %+v, %v", c.text, s, err)
		}
	}
	for _, bad := range []string{"", "phys:", "phys:x", "a b", "x,len=0", "x,len=-1", "x,len=99999999999", "x,access=r", "x,if=", "x,if=(1", "x,nonsense", "x+y", "+8", "x,if=value ==", "a=b"} {
		if s, err := ParseSpec(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
	if s, err := ParseSpec("x,if=value==3 && cpu!=1,stop"); err != nil || s.If.String() != "value==3 && cpu!=1" || !s.Stop {
		t.Errorf("%+v, %v", s, err)
	}
}

type resolver map[string][2]uint64

func (r resolver) Resolve(name string) (gva, size uint64, err error) {
	v, ok := r[name]
	if !ok {
		return 0, 0, fmt.Errorf("no %s", name)
	}
	return v[0], v[1], nil
}

func TestSpecRequest(t *testing.T) {
	r := resolver{"a.b": {0x1000, 24}}
	for text, want := range map[string]Request{
		"a.b":           {GVA: 0x1000, Len: 24},
		"a.b+8":         {GVA: 0x1008, Len: 16},
		"a.b+24":        {GVA: 0x1018, Len: 8},
		"a.b,len=4":     {GVA: 0x1000, Len: 4},
		"0x5000":        {GVA: 0x5000, Len: 8},
		"phys:0x5000":   {GPA: 0x5000, Physical: true, Len: 8},
		"a.b,access=rw": {GVA: 0x1000, Len: 24, Reads: true},
	} {
		s, err := ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Request(r, nil)
		if err != nil || got.GVA != want.GVA || got.GPA != want.GPA || got.Len != want.Len || got.Physical != want.Physical || got.Reads != want.Reads {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	s, _ := ParseSpec("no.such")
	if _, err := s.Request(r, nil); err == nil {
		t.Error("an unknown symbol was found")
	}
}

func TestExpr(t *testing.T) {
	w := &hit.Write{Old: []byte{1, 0, 0, 0}, New: []byte{0x34, 0x12}, Len: 2, PC: 0x400, VCPU: 1, GVA: 0x1000}
	task := func(*hit.Write) int { return 7 }
	for text, want := range map[string]uint64{
		"1": 1, "0": 0, "value == 0x1234": 1, "old==1": 1, "value!=old&&cpu==1": 1, "task==7": 1, "task == 8 || pc == 0x400": 1,
		"2+3*4": 14, "(2+3)*4": 20, "1<<4|1": 17, "!0": 1, "!value": 0, "-1 == ^0": 1, "10-3-2": 5, "7/0": 0, "7%0": 0, "7%4": 3, "100/5/2": 10,
		"value&0xff": 0x34, "value>>8": 0x12, "addr+len": 0x1002, "write": 1, "user": 0, "changed": 1, "1 < 2 == 1": 1, "5 >= 5": 1,
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.eval(&scope{w, task}); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for _, bad := range []string{"", "1 +", "(", ")", "1 2", "nope", "1=2", "a b", "=", "1)", strings.Repeat("(", 600)} {
		if e, err := ParseExpr(bad); err == nil {
			t.Errorf("%q was accepted: %v", bad, e)
		}
	}
	if !(*Expr)(nil).Holds(w, nil) {
		t.Error("no condition does not hold")
	}
	if e, _ := ParseExpr("task"); e.Holds(w, nil) {
		t.Error("an unknown task is not 0")
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("task.initTask+0x40,len=8,if=(value&1)==0,stop")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err == nil {
			s.If.Holds(&hit.Write{}, nil)
		} else if !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
