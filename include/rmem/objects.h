/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem: objects in remote memory that several processes use at once, made from the atomic operations of
 * <rmem/rmem.h>. Each lies in an allocation that one process makes, with RMEM_ALLOC_ZERO, and shares
 * (rmem_share(), rmem_attach()); all of one object's users must be machines of the same byte order.
 *
 * A process may be killed, stopped, or cut off at any instruction. What the others then rely on is not time
 * but the server's word: it gives every session a fencing token, which is not renewed once the lease has
 * expired, and tells anybody who asks when a fencing token is out, that is, when nothing that was sent under it
 * can be carried out any more. models/README.md tells how that was checked.
 *
 * An object's handle belongs to the session it was created in, and must be destroyed before that is closed.
 * Errors are as in <rmem/rmem.h>, whose list for any call holds here too, and rmem_errmsg() tells
 * about them. Every call blocks for at most the session's timeout unless it says otherwise.
 *
 * Masked atomic operations are not used, nor offered: libibverbs has none (enum ibv_wr_opcode of rdma-core
 * 44.0, Debian 12's, has compare-and-swap, fetch-and-add and an atomic write). What there is are opcodes
 * of Mellanox devices for programs that write their queue entries themselves (MLX5_OPCODE_ATOMIC_MASKED_CS
 * in infiniband/mlx5dv.h).
 */
#ifndef RMEM_OBJECTS_H
#define RMEM_OBJECTS_H

#include <rmem/rmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A lock: one word of remote memory, 8 bytes at a multiple of 8, zeroed. It is held by one handle at a time;
 * who waits asks again and again, at first quickly, then every few milliseconds. It is not fair.
 *
 * If the holder's process dies, or its lease expires, the next one to wait gets the lock, but only after the
 * server has said that the holder is out: not one byte of what it writes can arrive after that.
 * rmem_lock_acquire() then returns RMEM_LOCK_OWNER_DIED: what the lock protects may be half written, and
 * who gets this should mend it before releasing the lock.
 *
 * A holder that has lost the lock that way and comes back (it was stopped, or cut off) finds that all its
 * calls that move data fail with -EOWNERDEAD, in all threads and queues of the session, until every lost
 * lock has been given up: rmem_lock_release() with its handle returns -ESTALE, once, and so does
 * rmem_lock_acquire().
 *
 * Threads: a handle is used by one at a time. Threads that compete have a handle each, or a lock of their own
 * in front.
 */
struct rmem_lock;

#define RMEM_LOCK_BYTES 8
#define RMEM_LOCK_OWNER_DIED 1

/* Local only: what is at addr is not looked at yet. -EINVAL: addr is null, or not a multiple of 8. */
RMEM_API int rmem_lock_create(struct rmem *rm, rmem_addr_t addr, struct rmem_lock **out);

/* A lock that is held is released first, whatever comes of it. NULL is fine. */
RMEM_API void rmem_lock_destroy(struct rmem_lock *lock);

/*
 * Take the lock, waiting at most timeout_ms for others to release it; 0: only if it is free (or its holder
 * is known to be out); negative: as long as it takes. What the server takes to answer comes on top.
 *	0, or RMEM_LOCK_OWNER_DIED: it is held now
 *	-ETIMEDOUT	others have it. (Also: the server does not answer; see rmem_errmsg().)
 *	-EDEADLK	this handle has it already: it has looked, and the word says so
 *	-ESTALE		this handle had it, and has lost it: as above, or its memory was freed (also if other
 *			memory is there now), or somebody wrote over it. Call this again to have it anew.
 *			Or: the memory that the lock was in is gone
 *	-EREMOTEIO	the connection broke, and it could not be found out whether it is held: call
 *			this again, or rmem_lock_release()
 *	-EILSEQ		the word holds what no lock has written
 *	-EFAULT, -EOPNOTSUPP, -EOWNERDEAD (another lock was lost): as rmem_compare_swap()
 */
RMEM_API int rmem_lock_acquire(struct rmem_lock *lock, int timeout_ms);

/*
 * Give the lock back. Everything that was written before by calls that have returned (or was reaped) is
 * there for the next holder.
 *	-ESTALE		it had been lost, as above, or the memory it was in is gone (its owner has freed
 *			it, or the server has reclaimed it), or somebody wrote over it; it is not held any more
 *	-EFAULT		this session has detached or freed the memory: it can be released when that is
 *			attached again
 *	-EINVAL		it is not held
 *	-EREMOTEIO, -ETIMEDOUT, -ECONNRESET: it may be held still: call this again
 */
RMEM_API int rmem_lock_release(struct rmem_lock *lock);

/*
 * A counter that is exact whatever happens to those who add: lines of 64 bytes at a multiple of 8, zeroed, and
 * as many as processes add at once. Each handle that adds has a line of its own; the value is the sum of
 * all. A line stays when its process dies or its lease expires, and what is in it counts; the
 * next one without a line goes on with it, after the server has said that its owner is out.
 *
 * Threads: a handle may be used by any number of them. Every process has a handle of its own.
 */
struct rmem_counter;

#define RMEM_COUNTER_BYTES(lines) ((lines) * (size_t)64)

/* Local only. -EINVAL: addr is null, or not a multiple of 8, or lines is not 1 to 1024. */
RMEM_API int rmem_counter_create(
	struct rmem *rm, rmem_addr_t addr, unsigned lines, struct rmem_counter **out);

/* Gives its line to others; what it has added stays. NULL is fine. */
RMEM_API void rmem_counter_destroy(struct rmem_counter *counter);

/*
 * Add n. After 0 it was counted, once; after -EREMOTEIO once or not at all; after any other error it was
 * not. The first time some round trips, then one.
 *	-EREMOTEIO	the answer was lost, and then the lease or the server; or somebody wrote over the
 *			line meanwhile
 *	-EUSERS		all lines belong to processes that live
 *	-EILSEQ		a line holds what no counter has written
 */
RMEM_API int rmem_counter_add(struct rmem_counter *counter, uint64_t n);

/*
 * The value: everything whose rmem_counter_add() returned before this was called is in it, and nothing
 * that was not begun before this returns. A round trip, and one for each line that was ever used. It only adds
 * up: of memory that no counter has written it returns some number (no -EILSEQ).
 */
RMEM_API int rmem_counter_get(struct rmem_counter *counter, uint64_t *out);

/*
 * A record: bytes that are read and written as a whole. A reader never sees a part of one value and a part of
 * another, never waits for a writer, and needs no lock; a writer that dies leaves the value before. It
 * takes RMEM_RECORD_BYTES(bytes) at a multiple of 8, zeroed: then its value is zeroes. Writers take
 * turns by a lock of the record's own.
 *
 * Threads: a handle is used by one at a time.
 */
struct rmem_record;

#define RMEM_RECORD_COPY_BYTES(bytes) (((bytes) + (size_t)63) / 64 * 64)
#define RMEM_RECORD_BYTES(bytes) (64 + 2 * RMEM_RECORD_COPY_BYTES(bytes))

/*
 * Local only. All handles of a record must say the same size, which is at least 1; an allocation has to hold
 * RMEM_RECORD_BYTES() of it. -EINVAL: addr is null, or not a multiple of 8, or no such size.
 */
RMEM_API int rmem_record_create(
	struct rmem *rm, rmem_addr_t addr, size_t bytes, struct rmem_record **out);
RMEM_API void rmem_record_destroy(struct rmem_record *record); /* NULL is fine */

/*
 * The value as it was at some moment during the call. Two round trips, if nobody writes meanwhile. After an
 * error, what is in dst is worth nothing. Of memory that no record has written it gets some bytes (no -EILSEQ).
 *	-EAGAIN		it was written again and again meanwhile
 */
RMEM_API int rmem_record_read(struct rmem_record *record, void *dst);

/*
 * Write the whole value; timeout_ms is for the lock, as in rmem_lock_acquire(), whose errors come too. Five
 * round trips. After any error but -EREMOTEIO and -ESTALE it was not written (nor will it be), after those
 * it may have been; readers find the one value or the other.
 *	-EILSEQ		the lock's word is no lock's, or the version was changed without the lock
 *	-ESTALE, -EOWNERDEAD: the lease ended meanwhile (-EOWNERDEAD: it was not written)
 */
RMEM_API int rmem_record_write(struct rmem_record *record, const void *src, int timeout_ms);

#ifdef __cplusplus
}
#endif
#endif
