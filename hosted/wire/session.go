package wire

import (
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// SessionConfig is the yamux configuration of both ends of the machine's port. A fully emulated machine on a busy box may answer late, and the
// supervisor sees a dead machine by its process ending: no timeout here may declare it dead.
func SessionConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 24 * time.Hour
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 0
	c.AcceptBacklog = 1024
	c.LogOutput = io.Discard
	return c
}
