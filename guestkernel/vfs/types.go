package vfs

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Type is a kind of filesystem that mount(2) can make.
type Type struct {
	Name  string
	NoDev bool // needs no block device
	User  bool // may be mounted in a user namespace of one's own
	// New answers a superblock for a mount of source with the options in data ("size=1m,mode=755").
	New func(c Caller, source, data string) (*Superblock, error)
}

var types struct {
	sync.RWMutex
	byName map[string]Type
}

// RegisterType makes a kind of filesystem known to mount(2). A later one of the same name replaces it.
func RegisterType(t Type) {
	types.Lock()
	defer types.Unlock()
	if types.byName == nil {
		types.byName = make(map[string]Type)
	}
	types.byName[t.Name] = t
}

// FindType answers the kind of filesystem of that name: ENODEV when there is none.
func FindType(name string) (Type, error) {
	types.RLock()
	defer types.RUnlock()
	t, ok := types.byName[name]
	if !ok {
		return Type{}, unix.ENODEV
	}
	return t, nil
}

// Types answers all kinds, by name: /proc/filesystems.
func Types() []Type {
	types.RLock()
	defer types.RUnlock()
	all := make([]Type, 0, len(types.byName))
	for _, t := range types.byName {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Type) int { return strings.Compare(a.Name, b.Name) })
	return all
}
