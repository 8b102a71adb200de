#!/usr/bin/perl
# What the database's trace is recorded from: commands for redis-cli --pipe. Strings, hashes, lists and sorted sets, of
# keys some of which are much more popular than others; they are overwritten, grow, and are deleted.
use strict;
use warnings;

my ($commands, $seed) = (150000, 42);

sub draw {    # below N; the same numbers on every machine
	$seed = ($seed * 1103515245 + 12345) & 0x7fffffff;
	return int(($seed >> 8) / (1 << 23) * $_[0]);
}

sub bytes {    # mostly some hundreds, seldom up to 16 KiB
	my $n = 16 << draw(draw(4) ? 6 : 11);
	return 'x' x ($n + draw($n));
}

sub key {
	return "$_[0]:" . draw(draw(3) ? 500 : 30000);
}

sub command {
	print '*', scalar @_, "\r\n";
	print '$', length, "\r\n$_\r\n" for @_;
}

for my $i (1 .. $commands) {
	my $what = draw(20);
	if ($what < 8) { command('SET', key('page'), bytes()) }
	elsif ($what < 10) { command('APPEND', key('log'), 'x' x (20 + draw(100))) }
	elsif ($what < 13) { command('HSET', key('user'), 'field' . draw(40), bytes()) }
	elsif ($what < 14) { command('HDEL', key('user'), 'field' . draw(40)) }
	elsif ($what < 15) { command('ZADD', key('rank'), draw(1000), 'member' . draw(500)) }
	elsif ($what < 16) { command('RPUSH', 'queue:' . draw(20), bytes()) }
	elsif ($what < 17) { command('LPOP', 'queue:' . draw(20)) }
	elsif ($what < 18) { command('GET', key('page')) }
	else { command('DEL', key(('page', 'log', 'user', 'rank')[draw(4)])) }
	# Now and then a tenth of the keys goes.
	if ($i % 50000 == 0) {
		command('DEL', "page:$_") for map { $_ * 10 } 0 .. 2999;
	}
}
