#!/usr/bin/perl
# perl/threads: interpreter threads with shared variables, queues and semaphores.
#
# Catches: clone with the flags of a thread, large copies of memory at once, futexes under contention.
#
# Root: debian
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Thread::Semaphore;
$| = 1;

my $total : shared = 0;
my @crowd = map { threads->create(sub { for (1 .. 500) { lock $total; $total++ } return $_[0] * 2 }, $_) } 1 .. 6;
my $sum = 0;
$sum += $_->join for @crowd;
print "locked additions: $total, results: $sum\n";

my ($in, $out) = (Thread::Queue->new, Thread::Queue->new);
my @workers = map { threads->create(sub { while (defined(my $x = $in->dequeue)) { $out->enqueue($x * $x) } }) } 1 .. 3;
$in->enqueue($_) for 1 .. 100;
$in->end;
$_->join for @workers;
my $squares = 0;
$squares += $out->dequeue for 1 .. 100;
print "squares: $squares, left: ", $out->pending, "\n";

my $gate = Thread::Semaphore->new(0);
my $through : shared = 0;
my @waiting = map { threads->create(sub { $gate->down; lock $through; $through++ }) } 1 .. 4;
$gate->up(4);
$_->join for @waiting;
print "through the gate: $through\n";

my $flag : shared = 0;
my $signaller = threads->create(sub { lock $flag; $flag = 1; cond_signal $flag });
{ lock $flag; cond_wait $flag until $flag }
$signaller->join;
print "condition: $flag\n";
my $t = threads->create(sub { die "inside\n" });
{ local $SIG{__WARN__} = sub { }; $t->join }
print "error of a thread: ", $t->error;
print "threads left: ", scalar(threads->list), "\n";
print "CONTRACT_PASS\n";
