// Package afunix is AF_UNIX (unix(7)): streams, datagrams and sequenced packets between the processes of the machine.
//
// A message lies in the receiver's queue and is charged to the sender's SO_SNDBUF by Linux's own arithmetic (charge), because programs can
// see it: how much fits before a write blocks, SIOCOUTQ, when a socket counts as writable.
//
// Descriptors in messages (SCM_RIGHTS) hold their file open. Sockets that are nowhere but in each other's queues are found by the collector
// in flight.go, which runs when a socket is closed.
//
// Locks: Socket.mu guards a socket's state and receive queue. Two are taken only by lockBoth, in the order of their numbers. names.mu is
// inside Socket.mu; flight.mu is outside it. Nothing is closed under any of them.
package afunix
