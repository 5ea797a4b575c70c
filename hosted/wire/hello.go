package wire

// Hello is what a client of the agent's multiplexed port sends on the first line of a stream, as one JSON line.
type Hello struct {
	Op string // OpInfo or OpRun
}

// Operations of a stream to the agent.
const (
	OpInfo = "info" // the agent answers with one JSON line, Info, and closes
	OpRun  = "run"  // frames of this package follow
)

// Info describes the machine inside.
type Info struct {
	Kernel string // uname -r
	KVM    string // "" when /dev/kvm works, else why not
	UptimeMS,
	BootMS int64 // milliseconds since the kernel started: now, and when the agent was ready
}
