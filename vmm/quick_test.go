package main

import (
	"reflect"
	"testing"
)

func TestQuickRunAgreesWithKong(t *testing.T) {
	for _, args := range [][]string{
		{"run"},
		{"run", "/bin/sh", "-c", "echo --cpus 3"},
		{"run", "--", "/bin/ls", "-l"},
		{"run", "ls", "--", "-v"},
		{"run", "-v", "--arch", "arm64", "--cpus", "2", "--mem", "1G", "--host", "hosted", "--", "true"},
		{"run", "--kernel", "k", "--initrd", "i", "--add", "a:/b", "--add", "c,d:/e", "--append", "x y=z", "--phases", "-", "--guard", "stacks=detect", "--report", "dir", "--trace", "t.trace", "--timeout", "3m10s"},
		{"run", "--initrd", "", "--append", ""},
		{"run", "--verbose", "--phases", "file", "program", "--cpus", "7"},
		{"run", "--mem", "16777216", "--host", "kvm", "--host", "auto"},
	} {
		quick, ok := quickRun(args)
		if !ok {
			t.Errorf("%q was left to kong", args)
			continue
		}
		var c commands
		p, err := newParser(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Parse(args); err != nil {
			t.Errorf("%q: kong refuses: %v", args, err)
			continue
		}
		if !reflect.DeepEqual(quick, c.Run) {
			t.Errorf("%q:\nquick %+v\nkong  %+v", args, quick, c.Run)
		}
	}
}

func TestQuickRunLeavesTheRestToKong(t *testing.T) {
	for _, args := range [][]string{
		{}, {"doctor"}, {"--help"}, {"run", "--help"}, {"run", "-h"}, {"run", "--cpus"}, {"run", "--cpus", "x"}, {"run", "--cpus=2"},
		{"run", "--arch", "mips"}, {"run", "--host", "nowhere"}, {"run", "--mem", "1X"}, {"run", "--timeout", "5"}, {"run", "--add", "x"},
		{"run", "--append", "--verbose"}, {"run", "--nothing", "x"}, {"run", "-x"}, {"run", "-"}, {"run", "--"},
	} {
		if c, ok := quickRun(args); ok {
			t.Errorf("%q: %+v", args, c)
		}
	}
}

// BenchmarkCommandLine is what the monitor's start pays for its flags, with and without kong.
func BenchmarkCommandLine(b *testing.B) {
	args := []string{"run", "--host", "kvm", "--arch", "amd64", "--cpus", "1", "--mem", "268435456", "--phases", "-", "--", "/bin/sh"}
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			if _, ok := quickRun(args); !ok {
				b.Fatal("left to kong")
			}
		}
	})
	b.Run("kong", func(b *testing.B) {
		for b.Loop() {
			var c commands
			p, err := newParser(&c)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Parse(args); err != nil {
				b.Fatal(err)
			}
		}
	})
}
