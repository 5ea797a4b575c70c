package stackguard

import "strings"

// A Rule excuses writes to live frames of a sleeper by one of the first allowDepth functions of the writer's stack.
type Rule struct {
	Name string // as it is counted and shown
	// Functions are names in full, or up to a final '*'.
	Functions []string
	Why       string
}

// DefaultRules are the writers that the Go runtime and this kernel have by right.
var DefaultRules = []Rule{
	{"channel", []string{"runtime.sendDirect", "runtime.recvDirect", "runtime.send", "runtime.recv", "runtime.closechan", "runtime.typedmemmove"},
		"a channel operation stores the value straight into the frame of the goroutine that waits for it"},
	{"stack move", []string{"runtime.copystack", "runtime.shrinkstack", "runtime.adjust*", "runtime.stackfree", "runtime.stackalloc", "runtime.newstack"},
		"the runtime moves a parked goroutine's stack when it collects garbage"},
	{"goroutine start", []string{"runtime.newproc1", "runtime.gostartcall", "runtime.malg"},
		"a goroutine's first frame is built by its creator"},
	{"wake-up", []string{"ringo/guestkernel/wait.(*Waiter).Wake", "ringo/guestkernel/wait.(*Entry).*", "ringo/guestkernel/inject.(*waitNode).wake"},
		"whoever wakes a sleeper may mark its wait-queue entry"},
}

// allowDepth is how far from the store a function may be for a rule to know it.
const allowDepth = 3

func (r *Rule) matches(callers []string) bool {
	for i, c := range callers {
		if i == allowDepth {
			return false
		}
		for _, f := range r.Functions {
			if prefix, ok := strings.CutSuffix(f, "*"); c == f || ok && strings.HasPrefix(c, prefix) {
				return true
			}
		}
	}
	return false
}

// allowed is the first rule that knows one of the callers, -1 for none.
func allowed(rules []Rule, callers []string) int {
	for i := range rules {
		if rules[i].matches(callers) {
			return i
		}
	}
	return -1
}
