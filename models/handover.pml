/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An allocation that becomes another session's: rmem_offer() and rmem_accept() of include/rmem/rmem.h. A, its owner, offers it,
 * takes it back, uses it although it has offered it, and frees it; B accepts it. Answers are lost, either may stop for ever
 * at any step, and the server is killed between any two stores and started again: it then goes by the ledger's records.
 *
 *	ONE		it is one session's at each instant, until it is freed
 *	QUIET		nobody reaches it when OFFER is answered
 *	ALONE		keys of the NIC of both never work at the same time
 *	TOLD		nobody who was told that it is theirs finds it another's, or gone, but by what they have asked for
 *
 * Mutations:
 *	FREE_FIRST	the old record is freed before the new one is published
 *	OLD_COUNTS	a restart goes by the old record, and the answer does not wait for its end
 *	NO_REVOKE	OFFER leaves the access that there is
 *	NO_BUSY		ACCEPT does not look whether the owner has got access again
 *	KEY_STAYS	the key is good after the offer was taken back
 *	BY_ADDRESS	FREE does not look whose it is, and which
 */
#define A 1
#define B 2
#define OFFERS 2   /* that A makes */
#define RETURNS 2  /* of what it has offered, that it asks for */
#define RESTARTS 2 /* of the server */

/* The records: whose it is, 0: FREE; and the serial number. */
byte owner[2];
byte serial[2];

byte key, offered; /* the number of the offer that A was given a key for, and of that which is good: 0: none */
bool access[3];    /* keys of the NIC that work, by session */
bool told[3];      /* it was told that it is its own, and has asked for nothing since that ends that */
bool freed;
byte restarts = RESTARTS, offers = OFFERS, returns = RETURNS;
bool busy; /* one request at a time: the server's loop */

/* The record that counts. */
#ifdef OLD_COUNTS
#define BETTER(a, b) (serial[a] < serial[b])
#else
#define BETTER(a, b) (serial[a] > serial[b])
#endif
#define NOW ((owner[1] && (!owner[0] || BETTER(1, 0))) -> 1 : 0)
#define OWNER owner[NOW]

inline look()
{
	assert(freed || OWNER);			  /* ONE */
	assert(!(access[A] && access[B]));	  /* ALONE */
	assert(!told[A] || (OWNER == A && !freed)); /* TOLD */
	assert(!told[B] || (OWNER == B && !freed))
}

/* The server is killed, perhaps, between two stores: what it was doing ends there, and no access outlives it. */
inline perhaps_killed()
{
	look();
	if
	:: skip
	:: atomic {
		restarts > 0 -> restarts--;
		access[A] = false;
		access[B] = false;
		if
		:: owner[0] && owner[1] -> owner[1 - NOW] = 0
		:: else
		fi;
		busy = false;
		look();
		goto lost
	   }
	fi
}

#ifdef NO_BUSY
#define NOT_IN_USE true
#else
#define NOT_IN_USE !access[A]
#endif

#define BEGIN atomic { !busy -> busy = true }
#define END busy = false

proctype owner_session()
{
	byte mine = 1; /* the serial number that it knows */

again:	do
	:: break /* it stops for ever, or has had enough */
	:: told[A] && offers > 0 -> /* rmem_offer() */
		told[A] = false;
		BEGIN;
		offers--;
		if
		:: OWNER == A && serial[NOW] == mine ->
			atomic {
				offered++;
#ifndef NO_REVOKE
				access[A] = false;
#endif
			}
			perhaps_killed();
			assert(!access[A] && !access[B]); /* QUIET */
			if
			:: key = offered /* told */
			:: skip		 /* the answer is lost */
			fi
		:: else
		fi;
		END
	:: !told[A] && returns > 0 -> /* rmem_unshare() */
		returns--;
		BEGIN;
		if
		:: OWNER == A && serial[NOW] == mine ->
#ifndef KEY_STAYS
			offered++;
#endif
			perhaps_killed();
			if
			:: told[A] = true
			:: skip
			fi
		:: else
		fi;
		END
	:: /* ATTACH, also of what it has offered */
		BEGIN;
		if
		:: OWNER == A && serial[NOW] == mine -> access[A] = true
		:: else
		fi;
		look();
		END
	:: /* rmem_free(), also of what it has offered */
		told[A] = false;
		BEGIN;
		if
#ifdef BY_ADDRESS
		:: OWNER ->
#else
		:: OWNER == A && serial[NOW] == mine ->
#endif
			atomic {
				access[A] = false;
				freed = true;
				owner[NOW] = 0
			};
			look()
		:: else
		fi;
		END
	od;
	goto done;
lost:	goto again;
done:	skip
}

/* It knows the last key that A was given, and those before. */
proctype other_session()
{
	byte with, old;

again:	do
	:: break
	:: key > 0 -> /* rmem_accept() */
		with = key;
		BEGIN;
		if
		:: OWNER == B && !freed -> told[B] = true /* repeated */
		:: OWNER == A && with == offered && NOT_IN_USE ->
			old = NOW;
#ifdef FREE_FIRST
			owner[old] = 0;
			perhaps_killed();
#endif
			atomic { serial[1 - old] = serial[old] + 1; owner[1 - old] = B };
#ifdef OLD_COUNTS
			told[B] = true;
#endif
			perhaps_killed();
			owner[old] = 0;
			perhaps_killed();
			if
			:: told[B] = true
			:: skip
			fi
		:: else
		fi;
		look();
		END
	:: told[B] ->
		BEGIN;
		access[B] = OWNER == B;
		look();
		END
	od;
	goto done;
lost:	goto again;
done:	skip
}

init {
	atomic {
		owner[0] = A;
		serial[0] = 1;
		told[A] = true;
		run owner_session();
		run other_session()
	}
}
