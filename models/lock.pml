/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock of include/rmem/objects.h, with what it stands on: fencing tokens, fences, connections.
 *
 * Each client takes the lock ROUNDS times, and under it writes twice. It may stop for ever at any step, die,
 * lose any answer, and lose its lease without knowing. What it sends stays on its way for as long as
 * the network likes, and is carried out if the server still has the connection it was sent on. The
 * server expires sessions, takes their connections down later, and is killed and restarted.
 *
 *	SAFE	a write that is carried out is of whoever was the last to get the lock
 *	LIVE	whoever wants the lock gets it in the end, if nobody who lives and is not stopped keeps it: no
 *		end state but with everybody done or dead
 *
 * Each mutation takes one thing away and must be found out:
 *	NO_FENCE	the lock is broken without asking
 *	EARLY_FENCE	a session is called out when its lease is over, before its connections are gone
 *	NO_RETIRE	the server forgets, over a restart, whom it has called out
 *	SAME_TOKEN	whoever comes back after the lease was over keeps its fencing token
 *	REPEAT		the client repeats writes after its fencing token has changed
 *	NO_SETTLE	a swap whose answer was lost is judged by reading, on any connection
 *	OLD_CHANNEL	a channel that joins again leaves its predecessor as it is
 */
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define N 2
#ifndef BREAKS
#define BREAKS 1 /* answers that are lost without the server's doing */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1 /* leases that are over; the dead one's comes on top */
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#define NOBODY 0

#if defined(NO_FENCE) || defined(EARLY_FENCE) || defined(NO_RETIRE) || defined(SAME_TOKEN) || \
	defined(REPEAT) || defined(NO_SETTLE) || defined(OLD_CHANNEL)
#define MUTANT 1
#else
#define MUTANT 0
#endif

mtype = { CAS, WRITE, READ };

typedef request {
	mtype kind;
	byte connection;
	byte expected, desired; /* WRITE: desired is the value that it is written under */
	bool there;
};

request now[N];   /* what a client waits for */
request before[N]; /* what it has given up waiting for, and is still on its way */
bool answered[N];
byte answer[N];

byte word;     /* the lock */
byte last;     /* who got it last */

/* The server, by session. Connections are numbered; those from oldest on are there. */
byte oldest[N], newest[N];
bool up[N];      /* its control connection is there */
byte token[N];
bool expired[N]; /* lost by a restart */
bool retired[N]; /* kept */
byte tokens;    /* given so far */

bool idle[N];    /* nothing more to do: lives, and renews */
bool dead[N];
byte breaks, expiries, restarts;

#define VALUE(t, n) ((t) * 4 + (n))
#define TOKEN(v) ((v) / 4)

inline carry_out(r, c)
{
	if
	:: r.kind == CAS && word == r.expected ->
		answer[c] = word;
		word = r.desired;
		if
		:: r.desired != NOBODY -> last = r.desired
		:: else
		fi
	:: r.kind == CAS && word != r.expected -> answer[c] = word
	:: r.kind == READ -> answer[c] = word
	:: r.kind == WRITE -> assert(r.desired == last) /* SAFE */
	fi
}

/* So that states which differ only in what nobody will look at are one. */
inline forget(r)
{
	r.there = false;
	r.kind = 0;
	r.connection = 0;
	r.expected = 0;
	r.desired = 0
}

proctype network(byte c)
{
	byte kept;

end:	do
	:: d_step {
		now[c].there && !answered[c] && now[c].connection >= oldest[c] ->
		carry_out(now[c], c);
		answered[c] = true
	}
	:: d_step {
		before[c].there && before[c].connection >= oldest[c] ->
		kept = answer[c];
		carry_out(before[c], c);
		answer[c] = kept;
		forget(before[c])
	}
	od
}

inline expire(c)
{
	expired[c] = true;
	up[c] = false;
	if
	:: dead[c]
	:: else -> expiries++
	fi
}

inline lose_all(c)
{
	oldest[c] = newest[c] + 1;
	up[c] = false;
	expired[c] = false
}

proctype server()
{
end:	do
	:: d_step { !idle[0] && !expired[0] && (dead[0] || expiries < EXPIRIES) -> expire(0) }
	:: d_step { !idle[1] && !expired[1] && (dead[1] || expiries < EXPIRIES) -> expire(1) }
	:: d_step { expired[0] && oldest[0] <= newest[0] -> oldest[0] = newest[0] + 1 } /* reaped */
	:: d_step { expired[1] && oldest[1] <= newest[1] -> oldest[1] = newest[1] + 1 }
	:: d_step { restarts < RESTARTS -> restarts++; lose_all(0); lose_all(1) }
	od
}

/* FENCE: is the other one out, whose fencing token it is? Fencing tokens that nobody has are. */
#ifdef EARLY_FENCE
#define GONE(c) expired[c]
#else
#define GONE(c) (expired[c] && oldest[c] > newest[c])
#endif
#define IS_OUT(t, o) (token[o] != (t) || retired[o] || GONE(o))

inline retire(t, o)
{
	if
	:: token[o] == (t) -> retired[o] = true
	:: else
	fi
}

/* HELLO: comes back over new connections, after all before are gone. */
inline come_back()
{
	d_step {
		newest[c]++;
		oldest[c] = newest[c];
		up[c] = true;
#ifndef SAME_TOKEN
		if
		:: expired[c] || retired[c] ->
			tokens++;
			token[c] = tokens
		:: else
		fi;
#endif
		expired[c] = false;
		retired[c] = false;
		forget(before[c])
	}
}

/* JOIN: another channel in the place of one that broke. */
inline join()
{
	d_step {
		newest[c]++;
#ifndef OLD_CHANNEL
		oldest[c] = newest[c]
#endif
	}
}

inline connect()
{
	if
	:: atomic { up[c] -> join() }
	:: atomic { !up[c] -> come_back() }
	fi
}

/* One request: lost if there is no telling whether it was carried out. */
inline perform(k, e, d)
{
	d_step {
		now[c].kind = k;
		now[c].expected = e;
		now[c].desired = d;
		now[c].connection = newest[c];
		now[c].there = true;
		answered[c] = false
	};
	if
	:: atomic { answered[c] -> lost = false }
	:: atomic {
		now[c].connection < oldest[c] || breaks < BREAKS ->
		if
		:: now[c].connection >= oldest[c] -> breaks++
		:: else
		fi;
		if
		:: !answered[c] ->
			before[c].kind = now[c].kind;
			before[c].expected = now[c].expected;
			before[c].desired = now[c].desired;
			before[c].connection = now[c].connection;
			before[c].there = true
		:: else
		fi;
		lost = true
	}
	fi;
	d_step {
		forget(now[c]);
		answered[c] = false;
		found = answer[c];
		answer[c] = 0
	}
}

/* A swap that ends up known: done. */
inline swap(e, d)
{
	perform(CAS, e, d);
	if
	:: !lost -> done = (found == e)
	:: else ->
#ifdef NO_SETTLE
		newest[c]++;
		if
		:: !up[c] -> come_back()
		:: else
		fi;
#else
		come_back();
#endif
		do
		:: perform(READ, 0, 0);
			if
			:: !lost -> break
			:: else -> connect()
			fi
		od;
		done = (d != NOBODY && found == d) || (d == NOBODY && found != e)
	fi;
	lost = false
}

/* What is written under the lock; repeated if the connection breaks, unless the fencing token has changed. */
inline write()
{
	do
	:: kept ->
		perform(WRITE, 0, value);
		if
		:: !lost -> break
		:: else ->
			connect();
#ifndef REPEAT
			kept = (token[c] == TOKEN(value))
#endif
		fi
	:: else -> break
	od
}

proctype client(byte c)
{
	byte value, found, seen, number, rounds;
	bool lost, done, kept;

	{
	connect();
	do
	:: rounds == ROUNDS -> break
	:: rounds < ROUNDS ->
		/* acquire */
		seen = NOBODY;
		do
		:: d_step { value = VALUE(token[c], number); number = (number + 1) % 4 };
			swap(seen, value);
			if
			:: !done && found == NOBODY -> seen = NOBODY
			:: !done && found != NOBODY ->
				seen = found;
				/* until it is released, or its holder is out */
				if
#ifdef NO_FENCE
				:: word == seen
#else
				:: d_step { word == seen && TOKEN(seen) != token[c] &&
					IS_OUT(TOKEN(seen), 1 - c) ->
#ifndef NO_RETIRE
					retire(TOKEN(seen), 1 - c)
#endif
					}
#endif
				:: word != seen -> seen = NOBODY
				fi
			:: done && token[c] == TOKEN(value) -> break
			:: done && token[c] != TOKEN(value) -> seen = value /* our own, of before */
			fi
		od;
		kept = true;
		write();
		write();
		/* release */
		done = false;
		do
		:: !done && token[c] == TOKEN(value) ->
			swap(value, NOBODY);
			/* Nobody else takes it out of the word. */
			assert(done || found == value || token[c] != TOKEN(value) || MUTANT)
		:: else -> break /* given back, or lost */
		od;
		rounds++;
		d_step { value = 0; found = 0; seen = 0; done = false; lost = false; kept = false }
	od;
	idle[c] = true;
	/* It lives on, with its lease. */
	do
	:: up[c] && !expired[c] -> break
	:: else -> connect()
	od
	} unless { dead[c] }
}

init {
	d_step {
		oldest[0] = 1;
		oldest[1] = 1;
		token[0] = 1;
		token[1] = 2;
		tokens = 2
	}
	atomic {
		run network(0); run network(1); run server();
		run client(0); run client(1)
	}
#ifdef DEATHS
	/* One of them dies, at any moment. */
	if
	:: atomic { !idle[0] -> dead[0] = true }
	:: idle[0]
	fi
#endif
}
