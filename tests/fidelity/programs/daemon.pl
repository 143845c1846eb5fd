# A daemon as in the textbooks: two forks, a new session. Its work begins after the program has ended.
use strict;
use warnings;
use POSIX ();
my $program = $$;
$| = 1;
print "started\n";
if (fork()) { exit 0; }
POSIX::setsid();
if (fork()) { POSIX::_exit(0); }
select(undef, undef, undef, 0.01) while kill(0, $program);
chdir '/';
umask 027;
POSIX::nice(1);
print "worked\n";
