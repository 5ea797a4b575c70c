package tracing

import (
	"strings"

	"ringo/debug/hit"
)

const value = "\x88\x77\x66\x55\x44\x33\x22\x11"

// storesExpected are the hits of entryStores.
var storesExpected = []expected{
	{hit.Store, 0, 8, value, false},
	{hit.Store, 0x10, 1, "\x01", false},
	{hit.Store, 0xffc, 4, value[:4], false},
	{hit.Store, 0x1000, 4, value[4:], false},
	{hit.Push, 0x7f8, 8, value, false},
	{hit.Push, 0x7f0, 8, "", false},
	{hit.Push, 0x7e8, 8, "", false},
	{hit.Atomic, 0x20, 16, "\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00", false},
	{hit.Atomic, 0x30, 4, "\x01\x00\x00\x00", false},
	{hit.Atomic, 0x38, 8, "\x07\x00\x00\x00\x00\x00\x00\x00", false},
	{hit.Vector, 0x40, 16, strings.Repeat("A", 16), false},
	{hit.Vector, 0x60, 32, strings.Repeat("A", 32), false},
	{hit.Vector, 0xff0, 16, strings.Repeat("A", 16), false},
	{hit.Vector, 0x1000, 16, strings.Repeat("A", 16), false},
	{hit.RepString, 0xf80, 0x80, strings.Repeat("B", 0x80), false},
	{hit.RepString, 0x1000, 0x80, strings.Repeat("B", 0x80), false},
	{hit.RepString, 0x1e0, 32, strings.Repeat("C\x00\x00\x00\x00\x00\x00\x00", 4), false},
	{hit.XSave, 0x400, 832, "", false},
	{hit.RepString, 0x300, 16, "moved by string!", false},
	{hit.Store, 0x320, 8, "", false},
	{hit.Store, 0x200, 8, "\x00\x00\x00\x00\x00\x00\x00\x00", true},
	{hit.Store, 0x208, 8, "\x08\x00\x00\x00\x00\x00\x00\x00", false},
}
