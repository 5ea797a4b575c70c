package tracing

import (
	"strings"

	"ringo/debug/hit"
)

const (
	value = "\x88\x77\x66\x55\x44\x33\x22\x11"
	other = "\x99\x00\x00\x00\x00\x00\x00\x00"
)

// storesExpected are the hits of entryStores.
var storesExpected = []expected{
	{hit.Store, 0, 8, value, false},
	{hit.Store, 0x10, 1, "\x99", false},
	{hit.Store, 0xffc, 4, value[:4], false},
	{hit.Store, 0x1000, 4, value[4:], false},
	{hit.Store, 0x20, 16, value + other, false},
	{hit.Vector, 0x40, 32, strings.Repeat(value, 4), false},
	{hit.Atomic, 0x60, 8, "\x05\x00\x00\x00\x00\x00\x00\x00", false},
	{hit.Atomic, 0x70, 8, other, false},
	{hit.Atomic, 0x70, 8, value, false},
	{hit.Atomic, 0x70, 8, other, false},
	{hit.Vector, 0x80, 64, strings.Repeat(value, 8), false},
	{hit.ZeroBlock, 0x100, 64, strings.Repeat("\x00", 64), true},
	{hit.Store, 0x180, 8, value, false},
	{hit.Store, 0x1f0, 8, value, false},
	{hit.Store, 0xff8, 8, value, false},
	{hit.Store, 0x1000, 8, other, false},
	{hit.Store, 0x300, 8, strings.Repeat("\x00", 8), true},
}
