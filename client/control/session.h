/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One session with one rmemd: its control connection, over as many connections as it takes, and what is
 * common to its channels (client/data/channel.h), over which data goes.
 *
 * Locks, in the order they are taken:
 *	control	one control request at a time; connecting; what identifies the session
 *	buffers	registering local memory, and the protection domain it is registered in
 *	sender	the control connection's send queue, which is empty whenever this lock is free.
 *		Replacing the connection takes control and sender, so either is enough to look at it
 *	table	the blocks, the registered buffers, the domain
 *	events	those that the program has not taken (client/control/events.h)
 * The reply to a request is awaited without the sender, so that renewals go on while the server is busy
 * or stopped. Channels remember what they have read under table. Changes to that increment `epoch` under table;
 * a channel with an older epoch rereads.
 */
#ifndef RMEM_CLIENT_CONTROL_SESSION_H
#define RMEM_CLIENT_CONTROL_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/control/blocks.h"
#include "client/control/buffers.h"
#include "client/base/grace.h"
#include "client/base/mark.h"
#include "client/control/events.h"
#include "client/control/lease_epoch.h"
#include "client/base/fair_lock.h"
#include "common/clock.h"
#include "common/endpoint.h"
#include "common/message.h"
#include "common/target.h"
#include "common/errinfo.h"

/* A request that was given a number and has not been answered. */
struct request {
	bool active;
	enum message_type type;
	uint32_t seq;
	uint64_t generation; /* of the connection it was sent on; 0: none yet */
	uint64_t sent_ns;
	uint64_t fences; /* of the session, when it was made */
	size_t bytes;
	uint8_t body[MESSAGE_MAX];
};

/*
 * What data calls look at all the time: nothing that changes often is near. A child process finds it zeroed
 * (client/base/wiped.h), and with it nothing that a channel remembers is as it was.
 */
struct vitals {
	/* Of all sessions that the process ever had, this one: for calls that have nothing else to ask; 0: there are none. */
	_Atomic uint64_t quick;
	_Atomic uint64_t epoch; /* changes when anything a channel remembers does; never 0 */
	_Atomic uint32_t ttl_ms;
	_Atomic uint64_t lease_ns; /* until then we may touch remote memory */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): what never changes is not beside what does */
struct session {
	struct heap *heap; /* for what holds remote addresses or keys; it outlives this */
	struct target target;
	char *device; /* NULL: any */
	uint64_t timeout_ns;
	bool exact;                  /* JOURNAL_EXACT */
	_Atomic uint64_t closing_ns; /* rmem_close() is to be over; UINT64_MAX: not called yet */
	struct identity identity;
	struct mark mark;
	int wake_fd;   /* wakes the lease thread, */
	int slab_fd;   /* ... and the slab thread, which works on the depot */
	int cancel_fd; /* ends every wait: closing */

	struct fair_lock control;
	/*
	 * The ways to the server; the one, once it was reached: a name may mean another machine the next time
	 * somebody asks, which does not know this session.
	 */
	struct target_path paths[TARGET_PATHS_MAX];
	int npaths;     /* 0: nobody has asked yet */
	bool resumable; /* the server knows id and secret */
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	uint64_t serial; /* changes when this process gets a new session: all before is stale */
	_Atomic uint64_t pool; /* whose memory the server lends */
	/* What the server has said of itself. */
	_Atomic uint64_t max_alloc_bytes;
	_Atomic uint64_t part_bytes; /* the most that one key reaches; a power of 2 */
	_Atomic uint32_t windows;    /* 0: unknown */
	_Atomic bool atomics;        /* its device has them, and this machine's */
	uint32_t seq;
	struct request pending;
	struct wire body; /* of the request being built, over body_bytes */
	uint8_t body_bytes[MESSAGE_MAX];

	struct fair_lock sender;
	struct endpoint *endpoint; /* NULL: not connected */
	atomic_int watch_fd;       /* its CM events, for the lease thread; -1 */
	uint64_t heartbeat_addr, heartbeat_value;
	uint32_t heartbeat_rkey;

	pthread_mutex_t buffers_lock;

	pthread_mutex_t table;
	struct depot depot;
	struct blocks blocks;
	struct sharing_call *sharing_calls; /* that are not over */
	struct buffers buffers;
	uint64_t buffers_version; /* changes with the buffers */
	struct domain *domain;    /* outlives connections; changes with the device only */
	uint64_t generation;      /* of the connection; the channels of another one are dead */
	struct lease_epoch lease_epoch;
	_Atomic uint32_t channels;  /* that were ever made */
	struct grace grace;         /* of the operations on them */
	_Atomic uint64_t opened_ns; /* the session began then, on the boot clock */
	_Atomic uint64_t birth;     /* of objects that are allocated now: object_record_birth() */
	/* Changes when numbers of call sites that threads remember are not valid any more: another session has others. */
	_Atomic uint64_t numbering;
	struct vitals *vitals;

	struct events events;
};

/* Memory that is zeroed but for the heap becomes a session that is not connected. 0, -ENOMEM, -EMFILE. */
int session_init(struct session *s, struct errinfo *errinfo);
/* Disconnected, without registrations (client/control/registry.h); after a failed init too. */
void session_destroy(struct session *s);
/* In a child after fork(): the device's objects are the parent's. */
void session_abandon(struct session *s);

/* control, at most until the deadline: 0 or -ETIMEDOUT. */
int session_lock(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo);
void session_unlock(struct session *s);

/* With control or the sender: is there a connection that works? */
bool session_connected(const struct session *s);
/* With control: there is none from now on. */
void session_disconnect(struct session *s);

/*
 * A call that shares what begins at addr, or revokes its keys. What is shared while it is revoked may have another key:
 * overlapped is set in the call that revokes, under the table.
 */
struct sharing_call {
	uint64_t addr;
	bool revokes, overlapped;
	struct sharing_call *prev, *next;
};

/* Without the table: it begins, before anything of it is noted or asked for; it is over. */
void session_sharing_begin(struct session *s, struct sharing_call *call);
void session_sharing_end(struct session *s, struct sharing_call *call);

/* With the table: what channels remember is to be looked at again. */
static inline void session_next_epoch(struct session *s)
{
	atomic_fetch_add(&s->vitals->epoch, 1);
}

/*
 * With the table: the server says that this block is gone, or has lent these addresses anew, so that what was there
 * is. The program gets an event for each that it could still use.
 */
void session_revoke(struct session *s, struct block *block);
void session_displace(struct session *s, uint64_t addr, uint64_t bytes);

/* The sender, for a short message, at most until the deadline: 0 or -ETIMEDOUT. */
int session_sender_lock(struct session *s, uint64_t deadline_ns);
void session_sender_unlock(struct session *s);

/* May remote memory be touched now? */
static inline bool session_lease_good(const struct session *s)
{
	return clock_boot_ns() < atomic_load_explicit(&s->vitals->lease_ns, memory_order_relaxed);
}

/* A sign of life was sent then, and was acknowledged. */
void session_lease_extend(struct session *s, uint64_t sent_ns);
/* Tells the program what has become of the lease. Returns when to look again: until_ns, or when that changes before. */
uint64_t session_judge(struct session *s, uint64_t until_ns);
/*
 * One-sided renewal; journaled: all records of objects that had changed before have reached the server. 0, -ECONNRESET, -ETIMEDOUT, -ECANCELED, or -ESTALE if it is too late for that.
 */
int session_renew(struct session *s, bool journaled, struct errinfo *errinfo);

/* When a call that begins now has to be over, for all that it waits for. */
static inline uint64_t session_deadline(const struct session *s)
{
	const uint64_t deadline = clock_boot_ns() + s->timeout_ns;
	const uint64_t closing = atomic_load(&s->closing_ns);

	return deadline < closing ? deadline : closing;
}

void session_wake_lease_thread(struct session *s);
void session_wake_slab_thread(struct session *s);

/* A new session, opened at this time. */
void session_begin_time(struct session *s, uint64_t opened_ns);
/* Changes when another session takes the place of the one before, whose numbers of call sites mean nothing to it. */
static inline uint64_t session_numbering(const struct session *s)
{
	return atomic_load_explicit(&s->numbering, memory_order_acquire);
}

/* Look at the clock for session_birth(). */
void session_note_age(struct session *s);
/* object_record_birth() of an object that is allocated now, as of the last renewal, or of a later session_note_age(). */
static inline uint64_t session_birth(const struct session *s)
{
	return atomic_load_explicit(&s->birth, memory_order_relaxed);
}

/* The same in seconds since the session was opened. */
static inline uint32_t session_age_s(const struct session *s)
{
	return object_record_unpack(session_birth(s)).birth_s;
}

#endif
