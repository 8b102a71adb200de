/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of include/rmem/objects.h: a version and two copies of two words each. Writers fill the copy that is
 * not good, word by word and in any order, and then move the version on. A reader takes the words of the
 * good copy in any order. The lock is taken as it is (models/lock.pml): one writer at a time; of one
 * that dies or loses it nothing is carried out after the next has it.
 *
 *	WHOLE	both words that a reader accepts are of one value, and that of a version that was good while it
 *		read
 *
 * Mutations:
 *	NO_FENCE	what the dead writer had sent may still be carried out
 *	ONE_COPY	there is one copy: the good one is written over
 *	NO_RECHECK	the reader does not look at the version again
 *	EARLY		the version is moved on before the copy is filled
 */
#define WRITES 2 /* of each writer */

byte version;
byte copy[4]; /* of version v: words 2 * (v & 1) and the next */
bool held;
byte gate = 1; /* whose words are carried out: the writer that has the lock */

/* A word on its way, of a writer that has died. */
bool late;
byte late_at, late_word;

#ifdef ONE_COPY
#define AT(v) 0
#else
#define AT(v) (2 * ((v) & 1))
#endif

inline take()
{
	atomic { !held -> held = true }
}

/* A value is its version: both words are. */
inline fill(v)
{
	if
	:: copy[AT(v)] = v; copy[AT(v) + 1] = v
	:: copy[AT(v) + 1] = v; copy[AT(v)] = v
	fi
}

proctype writer()
{
	byte v, i;

	do
	:: i == WRITES -> break
	:: i < WRITES ->
		take();
		v = version + 1;
#ifdef EARLY
		version = v;
#endif
		fill(v);
#ifndef EARLY
		version = v;
#endif
		held = false;
		i++
	od
}

/* One that dies in the middle, with a word on its way; the lock is broken then. */
proctype mortal()
{
	byte v;

	take();
	v = version + 1;
	if
	:: copy[AT(v)] = v
	:: copy[AT(v) + 1] = v
	:: skip
	fi;
	d_step { late = true; late_at = AT(v) + 1; late_word = v };
	/* out: nothing of it is carried out from here on */
#ifdef NO_FENCE
	held = false;
end:	d_step { late -> copy[late_at] = late_word; late = false }
#else
	if
	:: d_step { copy[late_at] = late_word; late = false }
	:: d_step { late = false }
	fi;
	held = false
#endif
}

proctype reader()
{
	byte known, seen, first, second, tries, at;

	do
	:: tries == 3 -> break
	:: tries < 3 ->
		at = AT(known);
		if
		:: first = copy[at]; second = copy[at + 1]
		:: second = copy[at + 1]; first = copy[at]
		fi;
		seen = version;
#ifdef NO_RECHECK
		known = seen;
		assert(first == second)
#else
		if
		:: seen == known -> assert(first == known && second == known) /* WHOLE */
		:: else -> known = seen
		fi
#endif
		;
		tries++
	od
}

init {
	atomic { run writer(); run writer(); run mortal(); run reader() }
}
