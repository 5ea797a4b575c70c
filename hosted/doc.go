// Package hosted is a KVM host in QEMU, for machines whose own /dev/kvm cannot run ring 0 code or that have none.
//
// A machine is one QEMU process emulating a whole computer (amd64 with SVM and nested paging, or arm64 with EL2) that runs Debian's cloud
// kernel and one program of ours, hosted/agent. Commands run inside it as they would run here: [Machine.Run] carries
// their standard streams, terminal, signals and exit status, and they see the project folder read-only at its own path
// and whatever else the command names.
//
//	Run ── unix socket ── supervisor ── virtio-serial (yamux) ── agent (PID 1) ── the command
//	                          └ owns QEMU and virtiofsd          (virtiofs) ┘
//
// [Prepare] downloads and builds what is needed, once. A detached supervisor process keeps each machine warm between commands and
// ends it after a time without any. It is the calling program executed again, so every program that uses this package calls
// [MaybeServe] first thing in main.
package hosted
