// Package control is how a running guest is reached from outside its monitor: a name, a
// unix socket beside a lock in a folder that only the user can enter, and HTTP with JSON on it.
//
// The monitor claims a name (Claim), serves a Guest under it (Name.Serve) and gives it up at its end.
// Anybody else of the same user finds guests (Dir.List) and talks to one (Dial, Client). Who owns a name holds
// a lock (F_OFD_SETLK, fcntl(2)) on its lock file: the kernel drops that however the monitor ends, so what a dead
// one left behind is recognised by its free lock, and removed.
//
// A guest in a hosted machine has two monitors: the one outside has claimed the name outside and
// carries every connection to the socket of the one inside. docs/control.md has the requests.
package control
