/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of one slot, whose objects come one after the other: a thread that allocates, writes and frees, with a
 * store that others see later; the journal, which sends the record and then says that all is there; and the connection
 * for data, where the record goes in front (journal=exact). It breaks, and what was on its way may still arrive until
 * there is another.
 *
 *	EXACT	when data arrives, the record on the server is of its object
 *	TRUE	when a renewal says that all records are there, the one on the server is as it was when the round began
 *
 * Each mutation takes one thing away and must be found out:
 *	NO_BARRIER	the journal makes no barrier before it reads records
 *	BLIND		a line is sent, whatever has changed since it was read
 *	ALONE		data goes on without a record that was given up
 *	SENT_AT_ONCE	a record counts as sent before its write has completed
 *	NO_GRACE	a slot is handed out again while an operation on it is on its way
 *	NO_LOOK		a record that has arrived after a later one is not sent again
 *	OVERTAKE	a record goes in front of data although the journal has one on its way
 *	NO_DOUBT	one that was given up is sent again at once, not when it cannot arrive any more
 */
#ifndef OBJECTS
#define OBJECTS 2
#endif
#define BREAKS 3

#define RECORD(object, live) (2 * (object) + (live))
#define OBJECT_OF(record) ((record) / 2)
#define NONE 0

mtype = { SENT, CHANGED, SENDING };

byte mine = 0, seen = 0; /* the record as its thread has it, and as others see it */
byte made = 0;           /* ... as of the last call that has returned */
mtype line = SENT;
byte server = 0;
byte object = 0;
bool live = false;

/* The operation: record and data as they are posted, what of them has completed, and breaks so far. */
bool busy = false, with_record = false, record_there = false, up = true, doubt = false;
bool in_flight = false; /* the journal has one on its way */
byte record = NONE, data = NONE, posted_record = NONE, posted_data = NONE;
byte late_record = NONE, late_data = NONE, known = NONE, failures = 0, breaks = 0;

/* The record has changed: the store, in this thread's buffer; then a look at the line. */
inline touch()
{
	if
	:: line != CHANGED -> line = CHANGED
	:: else
	fi
}

#ifdef NO_GRACE
#define MAY_REUSE true
#else
#define MAY_REUSE (!busy && late_record == NONE && late_data == NONE)
#endif

proctype program()
{
end:	do
	:: atomic { !live && object < OBJECTS && MAY_REUSE && seen == mine ->
		object++; live = true; mine = RECORD(object, 1) };
		touch();
		made = mine
	:: atomic { live && !busy ->
		busy = true; failures = 0; data = object; record = mine;
		with_record = (known != mine); record_there = false;
#ifdef SENT_AT_ONCE
		known = mine
#endif
	   }
	:: atomic { live && seen == mine -> live = false; mine = RECORD(object, 0) };
		touch();
		made = mine
	od
}

/* What has been stored becomes visible. */
proctype buffer()
{
end:	do
	:: seen != mine -> seen = mine
	od
}

inline post()
{
	posted_record = (with_record && !record_there -> record : NONE);
	posted_data = data
}

inline finish(ok)
{
	busy = false; data = NONE; posted_record = NONE; posted_data = NONE; record_there = false
}

#ifdef OVERTAKE
#define MAY_POST true
#else
#define MAY_POST !(with_record && in_flight)
#endif

inline deliver(what)
{
	assert(OBJECT_OF(server) == what); /* EXACT */
	what = NONE
}

proctype connection()
{
end:	do
	:: d_step { busy && up && posted_data == NONE && data != NONE && MAY_POST -> post() }
	:: d_step { up && posted_record != NONE -> server = posted_record; posted_record = NONE; record_there = true }
	:: d_step { up && posted_data != NONE && posted_record == NONE -> deliver(posted_data); data = NONE }
	/* All has completed: is the record the one of the slot still? */
	:: busy && up && data == NONE && posted_data == NONE ->
		if
		:: with_record && record == seen -> known = record
		:: with_record && record != seen ->
#ifndef NO_LOOK
			touch()
#else
			skip
#endif
		:: else
		fi;
		d_step { finish(true) }
	:: d_step { busy && up && data != NONE && breaks < BREAKS ->
		breaks++; failures++; up = false;
		late_record = posted_record; late_data = posted_data;
		posted_record = NONE; posted_data = NONE; record_there = false
	   }
	:: d_step { late_record != NONE -> server = late_record; late_record = NONE }
	:: d_step { late_data != NONE && late_record == NONE -> deliver(late_data) }
	/* Another one: the server has ended the one before. */
	:: d_step { !up -> up = true; late_record = NONE; late_data = NONE }
	/* Two have broken on it: it is given up, before there is another, or then. */
	:: busy && failures >= 2 && posted_data == NONE && data != NONE ->
#ifdef ALONE
		d_step { with_record = false; failures = 0 }
#else
		if
#ifndef NO_DOUBT
		:: with_record && !up -> doubt = true
		:: with_record && up -> touch()
#else
		:: with_record -> touch()
#endif
		:: else
		fi;
		d_step { finish(false) }
#endif
	od
}

/* Rounds of the journal, over a connection of its own, and renewals. */
proctype journal()
{
	byte began, sending;
	bool again;

end:	do
	:: atomic { doubt && late_record == NONE && late_data == NONE && up -> doubt = false; line = CHANGED }
	:: atomic { line != SENT || !doubt -> began = made; again = false };
		if
		:: line == CHANGED ->
			d_step { in_flight = true; line = SENDING };
#ifndef NO_BARRIER
			seen == mine;
#endif
			sending = seen;
			if
#ifdef BLIND
			:: true -> line = SENT
#else
			:: d_step { line == SENDING -> line = SENT }
			:: d_step { line != SENDING -> again = true }
#endif
			fi;
			d_step { server = sending; in_flight = false }
		:: else
		fi;
		d_step {
			if
			/* Nothing has changed since, and no write is on its way, whose record is the program's to wait for. */
			:: line == SENT && !again && !doubt && mine == began && !busy -> assert(server == began) /* TRUE */
			:: else
			fi;
			began = 0; sending = 0; again = false
		}
	od
}

init {
	atomic { run program(); run buffer(); run connection(); run journal() }
}
