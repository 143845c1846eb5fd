# Files, sockets, pipes, sorting and signals in one Perl program.
use strict;
use warnings;
use File::Temp ();
use IO::Socket::UNIX;
use Socket;
use Digest::SHA 'sha1_hex';
my %count;
$count{length $_}++ for map { sprintf '%b', $_ } 1 .. 500;
print join(' ', map { "$_=$count{$_}" } sort { $a <=> $b } keys %count), "\n";
my $listener = IO::Socket::UNIX->new(Local => 's', Listen => 1) or die $!;
if (!(my $pid = fork())) {
    my $peer = IO::Socket::UNIX->new(Peer => 's') or die $!;
    print $peer "over a socket\n";
    exit 0;
}
print $listener->accept->getline;
wait;
open(my $pipe, '-|', 'echo', 'over a pipe') or die $!;
print <$pipe>;
close $pipe;
my $file = File::Temp->new;
print $file "x" x 100000;
close $file;
print -s $file->filename, ' ', substr(sha1_hex('x'), 0, 8), "\n";
local $SIG{ALRM} = sub { print "alarm\n" };
alarm 1 if 0;
kill ALRM => $$;
