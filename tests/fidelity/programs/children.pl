# 500 children of a millisecond each, and a daemon whose parent is gone when it does its work.
use strict;
use warnings;
use POSIX ();
my @children;
for my $number (1 .. 500) {
    my $pid = fork() // die "fork: $!";
    if (!$pid) { select(undef, undef, undef, 0.001); POSIX::_exit($number % 7); }
    push @children, $pid;
}
my $sum = 0;
for my $pid (@children) { waitpid($pid, 0); $sum += $? >> 8; }
print "$sum\n";
