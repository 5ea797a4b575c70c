package inject

import "ringo/arch/amd64/fixedstack"

// Stack is a kernel stack of fixed size.
type Stack = fixedstack.Stack

func start(s *Stack, fn func(uint64), arg uint64) { fixedstack.Start(s, fn, arg) }
func resume(s *Stack)                             { fixedstack.Resume(s) }
func yield()                                      { fixedstack.Yield() }
