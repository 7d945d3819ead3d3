# Leaks one connection a way: `ledger.pl WAY PORT`. The comment "opened here" names the subroutine to be named.
use strict;
use warnings;
use IO::Socket::INET;

my ($way, $port) = @ARGV;
my @kept;

sub open_ledger {
    push @kept, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port); # opened here: open_ledger
}

sub serve {
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 16, ReuseAddr => 1);
    push @kept, scalar $listener->accept while 1; # opened here: serve
}

$way eq 'connect' ? open_ledger() : serve();
sleep 600;
