/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counter of include/rmem/objects.h: one line, two adders. The first has claimed it and adds; it may die or
 * lose its lease at any step, and answers may be lost. The second takes the line over when the first is
 * out, and adds too. What the first sends is carried out only under its fencing token (models/lock.pml shows
 * what that rests on), so the model has a gate for each instead of connections.
 *
 *	EXACT	in the end the total is what was added: each addition that was said to be made once, one whose
 *		fate is open at most once
 *
 * Mutations:
 *	NO_FENCE	the line is taken over without asking
 *	BLIND		a swap whose answer was lost is made again without settling it
 *	PLAIN		totals are written, not swapped, and the line taken over early: an old total comes late
 */
#define ADDITIONS 2
#define BREAKS 2

byte total;   /* in the line */
byte owner;   /* 1 or 2 */
bool gate[3]; /* what is sent under that fencing token is carried out */
byte sure, open_; /* said to be made; of unknown fate */
byte breaks;

/* On its way: by fencing token. */
bool there[3], late[3];
byte from[3], to[3], late_from[3], late_to[3];
bool answered[3];
byte answer[3];

inline store(t, a, b, swapped)
{
	swapped = total;
	if
#ifdef PLAIN
	:: true -> total = b
#else
	:: total == a -> total = b
	:: else
#endif
	fi
}

proctype network(byte t)
{
	byte was;

end:	do
	:: d_step { there[t] && !answered[t] && gate[t] -> store(t, from[t], to[t], was); answer[t] = was; answered[t] = true; was = 0 }
	:: d_step { late[t] && gate[t] -> store(t, late_from[t], late_to[t], was); late[t] = false; was = 0 }
	od
}

/* The server calls the first one out: what it had sent is never carried out after that. */
proctype server()
{
end:	d_step { gate[1] -> gate[1] = false }
}

/* Returns through found and lost. */
inline send(t, a, b)
{
	d_step { from[t] = a; to[t] = b; answered[t] = false; there[t] = true };
	if
	:: d_step { answered[t] -> lost = false; found = answer[t] }
	:: d_step { gate[t] && breaks < BREAKS -> breaks++; lost = true; late[t] = !answered[t]; late_from[t] = a; late_to[t] = b }
	:: d_step { !gate[t] -> lost = true; late[t] = false }
	fi;
	d_step { there[t] = false; answered[t] = false; answer[t] = 0 }
}

proctype adder(byte t)
{
	byte mine, found, i;
	bool lost;

	if
	:: t == 2 ->
		/* take the line over, with what is in it */
#if defined(NO_FENCE) || defined(PLAIN)
		owner = 2;
#else
		d_step { !gate[1] -> owner = 2 };
#endif
	:: else
	fi;
	mine = total;
	do
	:: i == ADDITIONS -> break
	:: i < ADDITIONS ->
		send(t, mine, mine + 1);
		if
		:: !lost && found == mine -> mine = mine + 1; sure++; i++
		:: !lost && found != mine ->
#if defined(NO_FENCE) || defined(PLAIN)
			mine = found
#else
			assert(false) /* nobody else writes here */
#endif
		:: lost && !gate[t] -> open_++; break /* its lease is over: it knows nothing more */
		:: lost && gate[t] ->
#ifndef BLIND
			/* settled: what is on its way is not carried out any more; then read */
			d_step { late[t] = false };
			if
			:: d_step { gate[t] && total == mine + 1 -> mine = mine + 1; sure++; i++ }
			:: d_step { gate[t] && total != mine + 1 -> mine = total }
			:: !gate[t] -> open_++; break
			fi
#else
			mine = total
#endif
		fi
	od
}

init {
	d_step { gate[1] = true; gate[2] = true; owner = 1 };
	atomic { run network(1); run network(2); run server(); run adder(1); run adder(2) };
	/* Everybody but the servants has ended, and nothing is on its way. */
	_nr_pr <= 4 && !(late[1] && gate[1]) && !(late[2] && gate[2]);
	assert(total >= sure && total <= sure + open_) /* EXACT */
}
