package inject

import (
	"ringo/arch/arm64/fixedstack"
	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/ring0"
	"ringo/arch/arm64/wrong"
)

// Stack is a kernel stack of fixed size.
type Stack = fixedstack.Stack

type table = pagetable.Table

// What the architecture can do wrong.
const (
	hasBackward   = wrong.HasBackward
	hasAccessed   = wrong.HasAccessed
	hasEventStack = ring0.HasEventStack
	wideSize      = wrong.WideSize
	savedWords    = fixedstack.SavedWords
)

func start(s *Stack, fn func(uint64), arg uint64) { fixedstack.Start(s, fn, arg) }
func resume(s *Stack)                             { fixedstack.Resume(s) }
func yield()                                      { fixedstack.Yield() }
func interruptOn(top uint64)                      { ring0.InterruptOn(top) }
func backward(addr, n uint64)                     { wrong.ClearBackward(addr, n) }
func wide(addr uint64)                            { wrong.StoreWide(addr) }
func crossPages(addr uint64)                      { wrong.CrossPages(addr) }
func spinMasked(word *uint32)                     { wrong.SpinMasked(word) }
