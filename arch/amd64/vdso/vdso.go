//go:build amd64

// Package vdso is the code of the user's vDSO: functions that user programs call in place of system calls
// (vdso(7)). It knows the instructions; guestkernel/vdso makes the ELF image around them.
package vdso

import "unsafe"

// Machine is the image's e_machine.
const Machine = 62 // EM_X86_64

// Version is the symbol version that C libraries and Go look for.
const Version = "LINUX_2.6"

// Symbols are the functions' names by entry: entry i is at byte 16*i of Code.
var Symbols = [][]string{
	{"__vdso_clock_gettime", "clock_gettime"},
	{"__vdso_gettimeofday", "gettimeofday"},
	{"__vdso_time", "time"},
	{"__vdso_getcpu", "getcpu"},
	{"__vdso_clock_getres", "clock_getres"},
}

// Sigreturn is the name of the entry that signal handlers return to when an action names none; "": there is none,
// the C library must bring its own.
const Sigreturn = ""

func code()
func codeAddress() unsafe.Pointer
