/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of one address: who it is lent to, one allocation after another, and what is still on its way when
 * it changes hands.
 *
 * One process has a control connection, on which its threads take turns (alloc, free, attach, detach), and a
 * channel that two of its threads share, each with one operation. Another session allocates at the same
 * address, shares that, frees it, and writes to what the process shares with it. Callers give up waiting,
 * connections break, requests of a connection that broke are handled late, leases end, and the server may
 * lose one allocation in a restart (a record that it rejects).
 *
 *	SAME	an operation that is carried out is on the allocation that it was started for
 *	ENDED	nothing is carried out on an allocation whose rmem_free() or rmem_detach() has returned 0
 *	NAMED	a FREE that is carried out ends the allocation that its caller named, and 0 means that it did
 *	ONE	the address is never in the hands of the program as two allocations
 *	TRUE	-ESTALE is what was lost, and nothing else
 *
 * Each mutation takes one thing away and must be found out:
 *	FREE_BY_ADDRESS		FREE names no serial
 *	ATTACH_BY_ADDRESS	ATTACH of the session's own memory names no serial
 *	REPEAT_BY_ADDRESS	an operation does not know when it was started (as_of)
 *	KEY_BY_ADDRESS		a key that the channel has is used without a look at the table
 *	FORGET_STALE		an ALLOC does not avoid what is STALE, and the client forgets that for what is lent
 *	FORGET_FREED		the same with what is FREED
 *	FORGET_ATTACHED		memory that is lent takes the place of what was attached
 *	ATTACH_OVER		rmem_attach() forgets a STALE or FREED one that it overlaps
 *	FREE_AT_ONCE		a FREE that is repeated is answered, although grants have not ended
 *	STALE_ANY		a refused ATTACH marks an entry STALE that is being freed
 */
#ifndef SERIALS
#define SERIALS 3 /* allocations at the address */
#endif
#ifndef LOSSES
#define LOSSES 1 /* leases that end */
#endif
#ifndef DAMAGES
#define DAMAGES 1 /* records that a restarted server rejects */
#endif
#ifndef BREAKS
#define BREAKS 1 /* of the control connection, by itself; the channel breaks as often as it is made to */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 1 /* callers that give up */
#endif
#ifndef ATTACHES
#define ATTACHES 1
#endif
#ifndef OPS
#define OPS 2
#endif
#define NONE 0

mtype = { FREE, ALLOC };                              /* requests */
mtype = { SENT, WAITS, ANSWERED };                    /* ... and how far they are */
mtype = { OK, GONE, FULL, GAVE_UP };                  /* ... and what becomes of them */
mtype = { LENT, REVOKING };                           /* the memory, NONE: to be had */
mtype = { LIVE, FREEING, FREED, STALE };              /* an entry of the client's table */
mtype = { STARTED, ASKING, POSTED, DONE };            /* an operation */

/* The server. */
mtype memory;
byte serial;      /* of the allocation that has it */
byte serials;     /* given so far */
bool ours;        /* the process has it, not the other session */
bool alive;       /* the process's session */
byte last_free;   /* the serial in the session's last FREE that was begun */
bool grant;       /* on the process's channel, for what is there */
bool other_grant; /* on the other session's connection */

/* The control connection: the one request. */
mtype request, stage;
byte named;       /* FREE: the serial */
byte meant_free;  /* ... and what its caller meant */
bool avoid;       /* ALLOC: not this address */
byte made;        /* ... and what it made */
mtype answer;
byte lent;
bool late;        /* a FREE of a connection that broke, still to be handled */
byte late_named, late_meant;

/* The client's table: the entry at the address, if state is not NONE. */
mtype state;
bool attached;
byte entry_serial; /* the server's */

/* The channel, with the key that it has for the entry. */
bool up;
byte key;

byte believed; /* which allocation the address is, to the program */
byte ended;    /* the last one whose end was answered with 0 */
byte losses, damages, breaks, timeouts, attaches;

mtype op[OPS];
byte meant[OPS], with[OPS];
/* Has the table got another entry since it was started (the entry's number is greater than as_of), or asked for a key? */
bool newer[OPS], moved[OPS];

inline forget_request()
{
	stage = NONE;
	request = NONE;
	named = 0;
	meant_free = 0;
	avoid = false;
	made = 0;
	answer = NONE;
	lent = 0
}

inline forget_entry()
{
	state = NONE;
	attached = false;
	entry_serial = 0;
	key = 0
}

inline enter(what, is_attached)
{
	state = LIVE;
	attached = is_attached;
	entry_serial = what;
	key = 0; /* those that there were are of other entries */
	newer[0] = (op[0] != NONE && op[0] != DONE);
	moved[0] = (op[0] == ASKING);
#if OPS > 1
	newer[1] = (op[1] != NONE && op[1] != DONE);
	moved[1] = (op[1] == ASKING);
#endif
	assert(believed == NONE); /* ONE */
	believed = what;
	if
	:: ended == what -> ended = 0 /* attached again */
	:: else
	fi
}

inline end_belief()
{
	ended = (serial == believed -> believed : 0); /* what nobody has any more cannot be reached */
	forget_entry();
	believed = NONE
}

/* ---- The server ---- */

/* outcome: NONE if the answer has to wait for the grants. */
inline do_free(name, intent, outcome)
{
	if
#ifdef FREE_BY_ADDRESS
	:: memory == LENT && ours ->
#else
	:: memory == LENT && ours && serial == name ->
#endif
		assert(serial == intent); /* NAMED */
		last_free = name;
		memory = REVOKING;
		outcome = NONE
	:: else ->
		if
#ifndef FREE_AT_ONCE
		:: memory == REVOKING && serial == name && last_free == name -> outcome = NONE
#endif
		:: else ->
			if
			:: last_free == name -> outcome = OK
			:: else -> outcome = GONE
			fi
		fi
	fi
}

inline lend(to_us)
{
	serials++;
	memory = LENT;
	serial = serials;
	ours = to_us
}

inline vacate()
{
	memory = NONE;
	serial = 0;
	ended = 0;
	ours = false
}

/* Connections end under the process: it sends again what is pending, or finds out that it is out. */
inline cut()
{
	up = false;
	if
	:: stage != NONE -> stage = SENT; answer = NONE; lent = 0
	:: else
	fi
}

proctype server()
{
	mtype outcome;

end:	do
	/* ALLOC: a repeated one gets what the first one made, which nothing else can have come after. */
	:: d_step { alive && stage == SENT && request == ALLOC ->
		if
		:: memory == NONE && !avoid && serials < SERIALS ->
			lend(true);
			made = serial;
			answer = OK;
			lent = serial
		:: memory == LENT && ours && serial == made ->
			answer = OK;
			lent = serial
		:: else -> answer = FULL
		fi;
		stage = ANSWERED
	}
	:: d_step { alive && stage == SENT && request == FREE ->
		do_free(named, meant_free, outcome);
		if
		:: outcome == NONE -> stage = WAITS
		:: else -> stage = ANSWERED; answer = outcome
		fi;
		outcome = NONE
	}
	:: d_step { late ->
		do_free(late_named, late_meant, outcome);
		late = false;
		late_named = 0;
		late_meant = 0;
		outcome = NONE
	}
	/* What is revoked: one grant after the other, then whoever waits for that is told. */
	:: d_step { memory == REVOKING && grant -> grant = false }
	:: d_step { memory == REVOKING && other_grant -> other_grant = false }
	:: d_step { memory == REVOKING && !grant && !other_grant ->
		if
		:: stage == WAITS -> stage = ANSWERED; answer = OK
		:: else
		fi;
		vacate()
	}
	/* A channel that broke is taken down. */
	:: d_step { !up && grant -> grant = false }
	/* The lease is over: all that the session had goes. Its late requests are refused with it. */
	:: d_step { alive && losses < LOSSES ->
		losses++;
		alive = false;
		last_free = 0;
		late = false;
		late_named = 0;
		late_meant = 0;
		cut();
		if
		:: memory == LENT && ours -> memory = REVOKING
		:: else
		fi
	}
	/* Restarted, with a record that it rejects. */
	:: d_step { alive && damages < DAMAGES && memory == LENT && ours ->
		damages++;
		late = false;
		late_named = 0;
		late_meant = 0;
		cut();
		grant = false;
		other_grant = false;
		vacate()
	}
	od
}

/* The other session. */
proctype other()
{
end:	do
	:: d_step { memory == NONE && serials < SERIALS -> lend(false) }
	:: d_step { memory == LENT && !ours -> memory = REVOKING }
	:: d_step { memory == LENT && ours && !other_grant -> other_grant = true } /* shared with it */
	:: d_step { other_grant -> assert(serial != ended) }                       /* ENDED: it writes */
	od
}

/* ---- The process: its control connection ---- */

/* HELLO: a new session, if the lease was over; everything from before is gone. */
inline come_back()
{
	d_step {
		alive = true;
		forget_request();
		if
		:: (state == LIVE || state == FREEING) && !attached -> state = STALE
		:: else
		fi
	}
}

inline ask(what, name, intent)
{
	d_step {
		request = what;
		named = name;
		meant_free = intent;
		stage = SENT;
#if defined(FORGET_STALE)
		avoid = (what == ALLOC && state == FREED)
#elif defined(FORGET_FREED)
		avoid = (what == ALLOC && state == STALE)
#else
		avoid = (what == ALLOC && (state == STALE || state == FREED))
#endif
	}
}

/* Carry the request through: result, and got for an ALLOC. Given up, it stays, and may be carried out. */
inline finish()
{
	do
	:: atomic { !alive -> come_back(); result = GONE; break }
	:: atomic { alive && stage == ANSWERED ->
		result = answer;
		got = lent;
		last_free = 0; /* it is the last one to ask */
		forget_request();
		break
	   }
	:: d_step { alive && breaks < BREAKS ->
		breaks++;
		if
		:: stage == SENT && request == FREE ->
			late = true;
			late_named = named;
			late_meant = meant_free
		:: else
		fi;
		stage = SENT;
		answer = NONE;
		lent = 0
	   }
	:: atomic { alive && timeouts < TIMEOUTS -> timeouts++; result = GAVE_UP; break }
	od
}

/* What an earlier caller gave up on comes first; what it brought is given back. */
inline settle()
{
	result = OK;
	do
	:: atomic { stage != NONE && result != GAVE_UP -> what = request };
		finish();
		atomic {
			if
			:: what == FREE && state == FREEING && result == OK -> state = FREED
			:: what == FREE && state == FREEING && result == GONE -> state = STALE
			:: what == ALLOC && result == OK -> ask(FREE, got, got)
			:: else
			fi;
			what = NONE;
			got = 0
		}
	:: else -> break
	od
}

#ifdef FORGET_STALE
#define IN_THE_WAY (state != NONE && state != STALE)
#elif defined(FORGET_FREED)
#define IN_THE_WAY (state != NONE && state != FREED)
#elif defined(FORGET_ATTACHED)
#define IN_THE_WAY (state != NONE && !attached)
#else
#define IN_THE_WAY (state != NONE)
#endif

/* rmem_alloc() */
inline allocate()
{
	settle();
	do
	:: atomic { result != GAVE_UP -> ask(ALLOC, 0, 0) };
		finish();
		atomic {
			if
			:: result == OK && !IN_THE_WAY -> enter(got, false); break
			/* Lent to us, so it was not ours any more: that is over, this is given back, and again. */
			:: result == OK && IN_THE_WAY -> state = STALE; ask(FREE, got, got)
			:: else -> break
			fi
		};
		finish()
	:: else -> break
	od
}

/* rmem_free(): STALE and FREED are said here, and only then forgotten. */
inline release()
{
	settle();
	do
	:: d_step { state == STALE ->
		assert(losses + damages > 0); /* TRUE */
		forget_entry();
		believed = NONE
	   };
	   break
	:: d_step { state == FREED -> end_belief() }; break
	:: atomic { (state == LIVE || state == FREEING) && result != GAVE_UP ->
		state = FREEING;
		ask(FREE, entry_serial, believed)
	   };
		finish();
		atomic {
			if
			:: result == OK -> assert(entry_serial == believed); end_belief(); break /* NAMED */
			:: result == GONE -> state = STALE
			:: result == GAVE_UP -> break
			fi
		}
	:: (state == LIVE || state == FREEING) && result == GAVE_UP -> break
	od
}

/* rmem_attach(), when LOOKUP has told what the other session shares with us there. */
inline attach()
{
	atomic {
		if
#ifdef ATTACH_OVER
		:: state == NONE || state == STALE || state == FREED -> enter(got, true)
#else
		:: state == NONE -> enter(got, true)
#endif
		/* Another is attached: that is over, but stays until the program has detached it. */
		:: state == LIVE && attached && entry_serial != got -> state = STALE
		:: else
		fi;
		got = 0
	}
}

/* rmem_detach(): nobody uses it from here on; then DETACH, which ends the grant that names it. */
inline detach()
{
	state = FREEING;
	d_step {
		if
		:: grant && serial == entry_serial -> grant = false
		:: else
		fi;
		end_belief()
	}
}

proctype control()
{
	mtype result, what;
	byte got;

end:	do
	:: stage == NONE && !alive -> come_back() /* the keeper */
	:: serials < SERIALS || stage != NONE -> allocate(); atomic { result = NONE; got = 0 }
	:: believed && !attached -> release(); atomic { result = NONE; got = 0 }
	:: d_step { alive && stage == NONE && memory == LENT && !ours && attaches < ATTACHES ->
		attaches++;
		got = serial
	   };
		attach()
	:: alive && stage == NONE && attached -> detach()
	od
}

/* ---- The process: its channel ---- */

/* With grant: of what it was started for, or nothing. */
#define REACHES(i) (grant && serial == with[i])
#if OPS > 1
#define OTHERS(i, what) (op[1 - i] == what)
#else
#define OTHERS(i, what) false
#endif

inline settle_op(i)
{
	op[i] = DONE;
	newer[i] = false;
	moved[i] = false;
	meant[i] = 0;
	with[i] = 0
}

proctype operation(byte i)
{
	byte wanted;

end1:	d_step { believed && (i == 0 || op[0] != NONE) -> meant[i] = believed; op[i] = STARTED };
	do
	/* In its turn, with the table: may it be used, and is there a key? */
	:: d_step { op[i] == STARTED && up && !OTHERS(i, ASKING) ->
		if
#ifdef KEY_BY_ADDRESS
		:: key -> op[i] = POSTED; with[i] = key
		:: !key && state != LIVE -> settle_op(i)
		:: !key && state == LIVE ->
#else
		:: state != LIVE -> settle_op(i)
		:: state == LIVE ->
#endif
			if
#ifndef REPEAT_BY_ADDRESS
			:: newer[i] -> settle_op(i) /* -EFAULT */
#endif
			:: else ->
				if
				:: key -> op[i] = POSTED; with[i] = key
				:: else -> op[i] = ASKING; wanted = entry_serial
				fi
			fi
		fi
	   }
	/* ATTACH, when all that is posted has completed, and its answer */
	:: d_step { op[i] == ASKING && up && !OTHERS(i, POSTED) ->
		if
#ifdef ATTACH_BY_ADDRESS
		:: memory == LENT && (serial == wanted || ours) ->
#else
		:: memory == LENT && serial == wanted ->
#endif
			grant = true;
			key = (moved[i] -> 0 : serial);
			op[i] = STARTED
		:: else ->
			if
#ifdef STALE_ANY
			:: !moved[i] && state != NONE -> state = STALE
#else
			:: !moved[i] && state == LIVE -> state = STALE
#endif
			:: else
			fi;
			settle_op(i)
		fi;
		wanted = 0;
		moved[i] = false
	   }
	:: d_step { op[i] == ASKING && !up -> op[i] = STARTED; wanted = 0; moved[i] = false }
	/* Carried out; without a connection that says so, it will be repeated. */
	:: d_step { op[i] == POSTED && REACHES(i) ->
		assert(serial == meant[i]); /* SAME */
		assert(serial != ended);    /* ENDED */
		if
		:: up -> settle_op(i)
		:: else
		fi
	   }
	/* Refused by the server's device, which breaks the connection for all. */
	:: d_step { op[i] == POSTED && up && !REACHES(i) -> up = false }
	:: op[i] == DONE -> break
	od
}

/* Recovery: another connection in the place of one that is gone. What was posted is repeated, with new keys. */
proctype recovery()
{
	byte i;

end:	do
	:: d_step { !up && !grant && alive ->
		up = true;
		key = 0;
		i = 0;
		do
		:: i < OPS ->
			if
			:: op[i] == POSTED -> op[i] = STARTED; with[i] = 0
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
	:: up -> up = false /* at any time */
	od
}

init {
	d_step { alive = true; up = true };
	atomic { run server(); run other(); run control(); run operation(0); run recovery() };
#if OPS > 1
	run operation(1)
#endif
}
