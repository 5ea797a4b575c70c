package control

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Profile says where vCPUs were at irregular moments, about a thousand a second.
type Profile struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	Samples uint64        `json:"samples"` // of all vCPUs asked for
	User    uint64        `json:"user"`    // of these, in user mode
	// Functions are the kernel's, the one with the most samples first.
	Functions []ProfileFunction `json:"functions"`
	// NoNames says why functions are addresses.
	NoNames string `json:"no_names,omitempty"`
}

// ProfileFunction is a function with the samples in it, and the samples in it and what it called.
type ProfileFunction struct {
	Function   string        `json:"function"`
	Flat       uint64        `json:"flat"`
	Cumulative uint64        `json:"cumulative"`
	Lines      []ProfileLine `json:"lines,omitempty"` // the one with the most samples first
}

// ProfileLine is a line with the samples in it.
type ProfileLine struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Flat uint64 `json:"flat"`
}

// Bounds of the duration of /v1/profile.
const (
	minProfile = 10 * time.Millisecond
	maxProfile = 10 * time.Minute
)

func profile(g Guest, r *http.Request) (*Profile, error) {
	duration, vcpu := 5*time.Second, -1
	var err error
	if text := r.FormValue("duration"); text != "" {
		if duration, err = time.ParseDuration(text); err != nil || duration < minProfile || duration > maxProfile {
			return nil, fmt.Errorf("%w: duration=%q: want a time from %v to %v", ErrRequest, text, minProfile, maxProfile)
		}
	}
	if text := r.FormValue("vcpu"); text != "" {
		cpus := g.Info().CPUs
		if vcpu, err = strconv.Atoi(text); err != nil || vcpu < 0 || vcpu >= cpus {
			return nil, fmt.Errorf("%w: vcpu=%q: the guest has %d, counted from 0", ErrRequest, text, cpus)
		}
	}
	return g.Profile(r.Context(), vcpu, duration)
}
