//go:build arm64

// Package vdso is the code of the user's vDSO: functions that user programs call in place of system calls
// (vdso(7)). It knows the instructions; guestkernel/vdso makes the ELF image around them.
package vdso

import "unsafe"

// Machine is the image's e_machine.
const Machine = 183 // EM_AARCH64

// Version is the symbol version that C libraries and Go look for.
const Version = "LINUX_2.6.39"

// Symbols are the functions' names by entry: entry i is at byte 16*i of Code.
var Symbols = [][]string{
	{"__kernel_clock_gettime"},
	{"__kernel_gettimeofday"},
	{"__kernel_clock_getres"},
	{Sigreturn},
}

// Sigreturn is the name of the entry that signal handlers return to when an action names none; "": there is none.
const Sigreturn = "__kernel_rt_sigreturn"

func code()
func codeAddress() unsafe.Pointer
